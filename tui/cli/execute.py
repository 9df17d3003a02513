"""``exec``."""

from __future__ import annotations

from tui.cli import output, session
from tui.cli.create import environment
from tui.cli.engine import connect
from tui.cli.errors import ApiError, CliError
from tui.cli.run import failure_code
from tui.cli.transport import Connection, container_path, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

_ENGINE_ERROR = 125
_SECONDS = 10
_QUESTIONS = 50


def run(options: Options) -> int:
    """Run a command in a running container; its exit code, or 126 or 127 when it could not be run."""
    tty, detach = options["tty"], options["detach"]
    stdin = options["interactive"] and not detach
    if tty and stdin and not output.is_terminal(0):
        raise CliError("the input device is not a TTY")
    if options["detach-keys"]:
        session.parse_keys(options["detach-keys"])
    console = list(_size()) if tty and not detach else None
    connection = connect()
    where = f"{container_path(options.args[0])}/exec"
    identifier = connection.request("POST", where, _config(options, stdin, console)).json()["Id"]
    begin: dict[str, Any] = {"Detach": detach, "Tty": tty}
    if console and all(console):
        begin["ConsoleSize"] = console
    try:
        if detach:
            connection.request("POST", f"/exec/{identifier}/start", begin).read()
            return 0
        connection.send_upgrade(f"/exec/{identifier}/start", begin)
        connection.answer_upgrade()
    except ApiError as error:
        code = failure_code(error.reason)
        raise CliError(error.message, 1 if code == _ENGINE_ERROR else code) from None
    if _interact(connection, options, identifier, stdin):
        output.err("read escape sequence\n")
        return 0
    return _exit_code(identifier)


def _exit_code(identifier: str) -> int:
    """The command's exit code, once its stream has ended.

    The stream comes from the container's monitor, the code from the daemon: it may not have heard yet. Each question
    lets it hear; a command that closed its output and runs on is not waited for, as with Docker.
    """
    connection = connect()
    for _ in range(_QUESTIONS):
        found = connection.request("GET", f"/exec/{identifier}/json").json()
        if found["ExitCode"] is not None and not found.get("Running"):
            return int(found["ExitCode"])
    return 0


def _config(options: Options, stdin: bool, console: list[int] | None) -> dict[str, Any]:
    config: dict[str, Any] = {
        "AttachStdin": stdin,
        "AttachStdout": not options["detach"],
        "AttachStderr": not options["detach"],
        "Tty": options["tty"],
        "Cmd": options.args[1:],
        "User": options["user"],
        "Privileged": options["privileged"],
        "WorkingDir": options["workdir"],
        "DetachKeys": options["detach-keys"],
    }
    variables = environment(options["env-file"], options["env"])
    if variables:
        config["Env"] = variables
    if console and all(console):
        config["ConsoleSize"] = console
    return config


def _interact(connection: Connection, options: Options, identifier: str, stdin: bool) -> bool:
    tty = options["tty"]

    def resize(rows: int, columns: int) -> None:
        if not rows or not columns:
            return
        try:
            aside = Connection(connection.path)
            aside.socket.settimeout(_SECONDS)
            aside.request("POST", target(f"/exec/{identifier}/resize", {"h": rows, "w": columns})).read()
            aside.close()
        except CliError:
            return

    if tty:
        session.take_terminal(resize, typing=stdin)
    try:
        if tty:
            resize(*_size())
        return session.Session(connection, tty=tty, stdin=stdin, detach_keys=options["detach-keys"]).pump()
    finally:
        if tty:
            session.give_terminal_back()


def _size() -> tuple[int, int]:
    from tui.cli.terminal import size

    return size()
