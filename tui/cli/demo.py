"""``demo``: some containers of the built-in image ``host`` to look at. All carry the label ``dockyard.demo=1``.

Two of them are an app: ``demo-web`` asks ``demo-api`` by its alias, ``api``, on a network that leads nowhere else.
"""

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
NETWORK = "demo-net"
#: perl-base is part of every Debian; one line in, one line out.
_API = (
    "exec perl -MSocket -e 'use strict; $| = 1; my ($n, $c) = 0; socket(my $s, PF_INET, SOCK_STREAM, 0) or die $!; "
    "setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1); bind($s, sockaddr_in(80, INADDR_ANY)) or die $!; listen($s, 9); "
    'print "api listens on port 80\\n"; while (my $a = accept($c, $s)) { my $q = <$c>; '
    "my (undef, $i) = sockaddr_in($a); "
    "$q =~ s/\\s+$//; my @k = (200, 200, 200, 304, 404); my $k = $k[rand 5]; select((select($c), $| = 1)[0]); "
    'print $c "$k " . ++$n . "\\n"; close $c; print inet_ntoa($i) . " $q $k\\n" }\''
)
_WEB = (
    "paths=(/ /login /cart /items /favicon.ico); "
    'while :; do path=${paths[RANDOM % 5]}; if exec 3<>/dev/tcp/api/80; then echo "GET $path" >&3; '
    'read -r code count <&3; echo "GET $path $code (answer $count of api)"; exec 3>&-; '
    'else echo "api does not answer" >&2; fi 2>&1; sleep 0.$((RANDOM % 8 + 2)); done'
)
_BUSY = "while :; do for ((i = 0; i < 60000; i++)); do :; done; echo batch done; sleep 1; done"
_FAILED = 'echo "connecting to database"; sleep 2; echo "no such host: db" >&2; exit 3'
_GREEDY = "echo reading everything into memory; tail /dev/zero"
#: Name, script, limits.
_WORKLOAD: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("demo-api", _API, {"NetworkMode": NETWORK}),
    ("demo-web", _WEB, {"NetworkMode": NETWORK}),
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
    """Remove every container and network with the demo's label. Nothing else is touched."""
    code = 0
    for item in _existing():
        try:
            call("DELETE", f"/containers/{item['Id']}?force=1&v=1")
            output.out((item.get("Names") or [item["Id"]])[0].removeprefix("/") + "\n")
        except ApiError as error:
            output.err(error.message + "\n")
            code = 1
    filters = encode({"label": {f"{LABEL}=1": True}}).decode()
    for network in call("GET", target("/networks", {"filters": filters})):
        try:
            call("DELETE", f"/networks/{network['Id']}")
        except ApiError as error:
            output.err(error.message + "\n")
            code = 1
    return code


def start() -> list[str]:
    """Make and start what is missing of the demo. Returns the names, in order."""
    network = _network()
    present = {name.removeprefix("/"): item for item in _existing() for name in item.get("Names") or ()}
    for name, script, limits in _WORKLOAD:
        if name not in present:
            _create(name, script, limits if network else {**limits, "NetworkMode": "none"})
        elif present[name].get("State") == "running":
            continue
        try:
            call("POST", f"/containers/{quote(name)}/start")
        except ApiError as error:
            output.err(f"{name}: {error.message}\n")
    return [name for name, _, _ in _WORKLOAD]


def _network() -> bool:
    """See that the app's network is there; False where none can be made, and why."""
    try:
        call("POST", "/networks/create", {"Name": NETWORK, "Internal": True, "Labels": {LABEL: "1"}})
    except ApiError as error:
        if error.status != 409:
            output.err(f"{NETWORK}: {error.message}\n")
            return False
    return True


def _create(name: str, script: str, limits: dict[str, Any]) -> None:
    body: dict[str, Any] = {
        "Image": IMAGE,
        "Cmd": ["bash", "-c", script],
        "Labels": {LABEL: "1"},
        "HostConfig": {"NetworkMode": "none", **limits},
    }
    if name == "demo-api" and limits.get("NetworkMode") == NETWORK:
        body["NetworkingConfig"] = {"EndpointsConfig": {NETWORK: {"Aliases": ["api"]}}}
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
