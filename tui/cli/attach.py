"""``attach`` and ``start``."""

from __future__ import annotations

from tui.cli import output, session
from tui.cli.engine import call, connect
from tui.cli.errors import ApiError, CliError
from tui.cli.run import Attachment, terminal_size
from tui.cli.transport import Connection, container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options


def _inspect(name: str) -> dict[str, Any]:
    found: dict[str, Any] = call("GET", f"{container_path(name)}/json")
    return found


def attach(options: Options) -> int:
    """Attach to a running container; its exit code when it ends."""
    found = _inspect(options.args[0])
    state = found["State"]
    if not state["Running"]:
        raise CliError("You cannot attach to a stopped container, start it first")
    if state["Paused"]:
        raise CliError("You cannot attach to a paused container, unpause it first")
    if state["Restarting"]:
        raise CliError("You cannot attach to a restarting container, wait until it is running")
    stdin = not options["no-stdin"] and found["Config"]["OpenStdin"]
    attachment = _attachment(found, stdin, options["detach-keys"])
    attachment.open("not-running")

    def redraw(control: Connection) -> None:
        """A size it does not have, so that the real one, told next, makes a full-screen program draw again."""
        rows, columns = terminal_size() if attachment.tty else (0, 0)
        if rows and columns:
            attachment.resize(rows + 1, columns + 1)

    return attachment.run(redraw, options["sig-proxy"])


def _attachment(found: dict[str, Any], stdin: bool, detach_keys: str) -> Attachment:
    tty = found["Config"]["Tty"]
    if tty and stdin and not output.is_terminal(0):
        raise CliError("the input device is not a TTY")
    if detach_keys:
        session.parse_keys(detach_keys)
    return Attachment(connect(), found["Id"], tty=tty, stdin=stdin, detach_keys=detach_keys)


def start(options: Options) -> int:
    """Start containers; with ``-a`` or ``-i`` one, attached, and its exit code."""
    if options["attach"] or options["interactive"]:
        return _start_attached(options)
    failed = []
    for name in options.args:
        try:
            call("POST", f"{container_path(name)}/start")
            output.out(name + "\n")
        except ApiError as error:
            output.err(error.message + "\n")
            failed.append(name)
    if failed:
        raise CliError(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _start_attached(options: Options) -> int:
    if len(options.args) > 1:
        raise CliError("you cannot start and attach multiple containers at once")
    found = _inspect(options.args[0])
    stdin = options["interactive"] and found["Config"]["OpenStdin"]
    attachment = _attachment(found, stdin, options["detach-keys"])
    attachment.open("removed" if found["HostConfig"]["AutoRemove"] else "next-exit")

    def begin(control: Connection) -> None:
        control.request("POST", f"{container_path(found['Id'])}/start").read()

    return attachment.run(begin, True)
