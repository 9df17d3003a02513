"""``stop kill restart rm wait pause unpause rename``: one request for each container, errors told as they come."""

from __future__ import annotations

from tui.cli import output
from tui.cli.engine import call, connect
from tui.cli.errors import ApiError, CliError
from tui.cli.transport import as_json, container_path, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tui.cli.flags import Options

#: Requests at the same time, as Docker's command line has them.
_AT_ONCE = 50


def _each(names: list[str], request: Callable[[str], tuple[str, str]], *, show: str = "", forgiven: int = 0) -> int:
    """One request for every name, many at the same time; the name, or the answer's member ``show``, is printed.

    Answers are told in the order of the names. 1 when one failed with another status than ``forgiven``.
    """
    code = 0
    for at in range(0, len(names), _AT_ONCE):
        batch = names[at : at + _AT_ONCE]
        for name, answer in zip(batch, _answers(batch, request), strict=True):
            try:
                found = answer()
            except ApiError as error:
                output.err(error.message + "\n")
                if error.status != forgiven:
                    code = 1
                continue
            output.out(f"{found[show] if show else name}\n")
    return code


def _answers(names: list[str], request: Callable[[str], tuple[str, str]]) -> list[Callable[[], Any]]:
    """For each name what waits for its answer. One alone takes the connection that is kept."""
    if len(names) == 1:
        return [lambda: call(*request(names[0]))]
    return [_begin(name, request) for name in names]


def _begin(name: str, request: Callable[[str], tuple[str, str]]) -> Callable[[], Any]:
    try:
        where = request(name)
    except ApiError as error:
        return _raising(error)
    connection = connect()
    connection.send(*where)

    def answer() -> Any:
        try:
            response = connection.answer().check()
            body = response.read()
        finally:
            connection.close()
        return as_json(body) if body else None

    return answer


def _raising(error: ApiError) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


def _stop_query(options: Options) -> dict[str, Any]:
    seconds = options["timeout"] if options.given("timeout") else options["time"]
    return {"signal": options["signal"], "t": None if seconds is None else str(seconds)}


def stop(options: Options) -> int:
    """Ask to end, then kill after the timeout."""
    query = _stop_query(options)

    return _each(options.args, lambda name: ("POST", target(f"{container_path(name)}/stop", query)))


def restart(options: Options) -> int:
    """Stop and start."""
    query = _stop_query(options)

    return _each(options.args, lambda name: ("POST", target(f"{container_path(name)}/restart", query)))


def kill(options: Options) -> int:
    """Send a signal, KILL by default."""

    return _each(
        options.args,
        lambda name: ("POST", target(f"{container_path(name)}/kill", {"signal": options["signal"] or "KILL"})),
    )


def rm(options: Options) -> int:
    """Remove containers. With ``-f`` one that does not exist is told and is no failure, as Docker has it."""
    query = {"force": options["force"], "v": options["volumes"]}

    return _each(
        options.args,
        lambda name: ("DELETE", target(container_path(name), query)),
        forgiven=404 if options["force"] else 0,
    )


def wait(options: Options) -> int:
    """Wait for each to stop and print its exit code."""

    return _each(options.args, lambda name: ("POST", f"{container_path(name)}/wait"), show="StatusCode")


def pause(options: Options) -> int:
    """Stop all processes where they are."""

    return _each(options.args, lambda name: ("POST", f"{container_path(name)}/pause"))


def unpause(options: Options) -> int:
    """Let them go on."""

    return _each(options.args, lambda name: ("POST", f"{container_path(name)}/unpause"))


def rename(options: Options) -> int:
    """Give a container another name; says nothing when it worked."""
    old, new = options.args
    if not old.strip() or not new.strip():
        raise CliError("Error: Neither old nor new names may be empty")
    try:
        call("POST", target(f"{container_path(old)}/rename", {"name": new}))
    except ApiError as error:
        raise CliError(f"{error.message}\nError: failed to rename container named {old}") from None
    return 0
