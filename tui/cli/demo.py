"""``demo``: some containers of the built-in image ``host`` to look at. All carry the label ``dockyard.demo=1``."""

from __future__ import annotations

from tui.cli import launch, output
from tui.cli.engine import call
from tui.cli.errors import ApiError, CliError
from tui.cli.jsonlite import encode
from tui.cli.transport import quote, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

LABEL = "dockyard.demo"
IMAGE = "host"
_CLOCK = 'while :; do date "+%F %T  tick"; sleep 1; done'
_WEB = (
    "paths=(/ /login /cart /api/items /favicon.ico); codes=(200 200 200 304 404); "
    'while :; do echo "GET ${paths[RANDOM % 5]} ${codes[RANDOM % 5]} $((RANDOM % 90 + 3))ms"; '
    'if ((RANDOM % 9 == 0)); then echo "slow answer from upstream" >&2; fi; sleep 0.$((RANDOM % 8 + 2)); done'
)
_BUSY = "while :; do for ((i = 0; i < 60000; i++)); do :; done; echo batch done; sleep 1; done"
_FAILED = 'echo "connecting to database"; sleep 2; echo "no such host: db" >&2; exit 3'
_GREEDY = "echo reading everything into memory; tail /dev/zero"
#: Name, script, limits.
_WORKLOAD: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("demo-web", _WEB, {}),
    ("demo-clock", _CLOCK, {"Memory": 64 << 20}),
    ("demo-worker", _BUSY, {"NanoCpus": 200_000_000}),
    ("demo-failed", _FAILED, {}),
    ("demo-greedy", _GREEDY, {"Memory": 32 << 20, "MemorySwap": 32 << 20}),
)


def run(options: Options) -> int:
    """Start the demo, or remove it with ``--rm``."""
    if options["rm"]:
        return remove()
    for name in start():
        output.out(name + "\n")
    return 0


def _existing() -> list[dict[str, Any]]:
    filters = encode({"label": {f"{LABEL}=1": True}}).decode()
    found: list[dict[str, Any]] = call("GET", target("/containers/json", {"all": True, "filters": filters}))
    return found


def remove() -> int:
    """Remove every container with the demo's label. Nothing else is touched."""
    code = 0
    for item in _existing():
        try:
            call("DELETE", f"/containers/{item['Id']}?force=1&v=1")
            output.out((item.get("Names") or [item["Id"]])[0].removeprefix("/") + "\n")
        except ApiError as error:
            output.err(error.message + "\n")
            code = 1
    return code


def start() -> list[str]:
    """Make and start what is missing of the demo. Returns the names, in order."""
    present = {name.removeprefix("/"): item for item in _existing() for name in item.get("Names") or ()}
    for name, script, limits in _WORKLOAD:
        if name not in present:
            _create(name, script, limits)
        elif present[name].get("State") == "running":
            continue
        try:
            call("POST", f"/containers/{quote(name)}/start")
        except ApiError as error:
            output.err(f"{name}: {error.message}\n")
    return [name for name, _, _ in _WORKLOAD]


def _create(name: str, script: str, limits: dict[str, Any]) -> None:
    body = {
        "Image": IMAGE,
        "Cmd": ["bash", "-c", script],
        "Labels": {LABEL: "1"},
        "HostConfig": {"NetworkMode": "none", **limits},
    }
    try:
        call("POST", target("/containers/create", {"name": name}), body)
    except ApiError as error:
        if error.status == 404:
            raise CliError("the demo needs the built-in image 'host', which only a Dockyard engine has") from None
        raise


def welcome() -> None:
    """On an engine that this command has just started and that has nothing at all: something to look at."""
    if not launch.started or call("GET", "/containers/json?all=1"):
        return
    if all(f"{IMAGE}:latest" in (item.get("RepoTags") or ()) for item in call("GET", "/images/json")):
        try:
            start()
        except CliError as error:
            output.err(f"the demo could not be started: {error.message}\n")
