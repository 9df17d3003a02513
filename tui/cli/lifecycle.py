"""``stop kill restart rm wait pause unpause rename``: one request for each container, errors told as they come."""

from __future__ import annotations

from tui.cli import output
from tui.cli.engine import call
from tui.cli.errors import ApiError, CliError
from tui.cli.transport import container_path, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tui.cli.flags import Options


def _each(names: list[str], do: Callable[[str], Any], forgiven: int = 0) -> int:
    """``do`` for every name; what it returns is printed. 1 when one failed with another status than ``forgiven``."""
    code = 0
    for name in names:
        try:
            output.out(f"{do(name)}\n")
        except ApiError as error:
            output.err(error.message + "\n")
            if error.status != forgiven:
                code = 1
    return code


def _stop_query(options: Options) -> dict[str, Any]:
    seconds = options["timeout"] if options.given("timeout") else options["time"]
    return {"signal": options["signal"], "t": None if seconds is None else str(seconds)}


def stop(options: Options) -> int:
    """Ask to end, then kill after the timeout."""
    query = _stop_query(options)

    def do(name: str) -> str:
        call("POST", target(f"{container_path(name)}/stop", query))
        return name

    return _each(options.args, do)


def restart(options: Options) -> int:
    """Stop and start."""
    query = _stop_query(options)

    def do(name: str) -> str:
        call("POST", target(f"{container_path(name)}/restart", query))
        return name

    return _each(options.args, do)


def kill(options: Options) -> int:
    """Send a signal, KILL by default."""

    def do(name: str) -> str:
        call("POST", target(f"{container_path(name)}/kill", {"signal": options["signal"] or "KILL"}))
        return name

    return _each(options.args, do)


def rm(options: Options) -> int:
    """Remove containers. With ``-f`` one that does not exist is told and is no failure, as Docker has it."""
    query = {"force": options["force"], "v": options["volumes"]}

    def do(name: str) -> str:
        call("DELETE", target(container_path(name), query))
        return name

    return _each(options.args, do, forgiven=404 if options["force"] else 0)


def wait(options: Options) -> int:
    """Wait for each to stop and print its exit code."""

    def do(name: str) -> int:
        return int(call("POST", f"{container_path(name)}/wait")["StatusCode"])

    return _each(options.args, do)


def pause(options: Options) -> int:
    """Stop all processes where they are."""

    def do(name: str) -> str:
        call("POST", f"{container_path(name)}/pause")
        return name

    return _each(options.args, do)


def unpause(options: Options) -> int:
    """Let them go on."""

    def do(name: str) -> str:
        call("POST", f"{container_path(name)}/unpause")
        return name

    return _each(options.args, do)


def rename(options: Options) -> int:
    """Give a container another name; says nothing when it worked."""
    old, new = options.args
    if not old.strip() or not new.strip():
        raise CliError("Error: Neither old nor new names may be empty")
    call("POST", target(f"{container_path(old)}/rename", {"name": new}))
    return 0
