"""``run`` and ``create``."""

from __future__ import annotations

import posix

from tui.cli import create as creation
from tui.cli import output, session
from tui.cli.engine import connect
from tui.cli.errors import ApiError, CliError, Exit
from tui.cli.transport import Connection, Response, quote, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tui.cli.flags import Options

_ENGINE_ERROR = 125
_NOT_EXECUTABLE = 126
_NOT_FOUND = 127
_REMOVAL_SECONDS = 10
_NOT_FOUND_WORDS = ("executable file not found", "no such file or directory")
_NOT_EXECUTABLE_WORDS = ("permission denied", "is a directory", "exec format error")


def create(options: Options) -> int:
    """``dockyard create``: make it, print its id."""
    _check(options)
    body = creation.request(options)
    identifier = make(connect(), options, body)
    output.out(identifier + "\n")
    return 0


def run(options: Options) -> int:
    """``dockyard run``. Every failure before the container's own exit is 125, 126 or 127."""
    try:
        return _run(options)
    except ApiError as error:
        raise CliError(f"dockyard: {error.message}", _ENGINE_ERROR) from None
    except CliError as error:
        error.code = error.code if error.code > 1 else _ENGINE_ERROR
        raise


def _run(options: Options) -> int:
    _check(options)
    if not options["detach"]:
        return _attached(options)
    if options["attach"]:
        raise CliError("conflicting options: cannot specify both --attach and --detach", _ENGINE_ERROR)
    body = creation.request(options, detach=True)
    connection = connect()
    identifier = make(connection, options, body)
    output.out(identifier + "\n")
    start(connection, identifier)
    return 0


def _check(options: Options) -> None:
    pull = options["pull"]
    if pull not in ("always", "missing", "never"):
        words = 'must be one of "always", "missing" or "never"'
        raise CliError(f"dockyard: invalid pull option: '{pull}': {words}", _ENGINE_ERROR)
    if options["cidfile"]:
        try:
            posix.stat(options["cidfile"])
        except FileNotFoundError:
            return
        raise CliError(
            f"container ID file found, make sure the other container isn't running or delete {options['cidfile']}",
            _ENGINE_ERROR,
        )


def make(connection: Connection, options: Options, body: dict[str, Any]) -> str:
    """Create the container; warnings to stderr, the id to ``--cidfile``. Returns the id."""
    where = target("/containers/create", {"name": options["name"], "platform": options["platform"]})
    if options["pull"] == "always":
        _pull(options)
    try:
        answer = connection.request("POST", where, body).json()
    except ApiError as error:
        if not _is_missing(error) or options["pull"] != "missing":
            raise _explained(error, options) from None
        output.err(f"Unable to find image '{_full_name(options)}' locally\n")
        _pull(options)
        answer = connection.request("POST", where, body).json()
    for warning in answer.get("Warnings") or ():
        output.err(f"WARNING: {warning}\n")
    if options["dns"]:
        from tui.cli.endpoints import loopback_warnings

        output.err("".join([f"WARNING: {warning}\n" for warning in loopback_warnings(body)]))
    identifier: str = answer["Id"]
    if options["cidfile"]:
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
        try:
            fd = posix.open(options["cidfile"], flags, 0o644)
            output.write(fd, identifier.encode())
            posix.close(fd)
        except OSError as error:
            raise CliError(
                f"failed to create the container ID file {options['cidfile']}: {error.strerror}", _ENGINE_ERROR
            ) from None
    return identifier


def _is_missing(error: ApiError) -> bool:
    words = ("no such image", "does not match the specified platform")
    return error.status == 404 and any(text in error.reason.lower() for text in words)


def _full_name(options: Options) -> str:
    image: str = options.args[0]
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


def _pull(options: Options) -> None:
    from tui.cli.registries import fetch_for_run

    fetch_for_run(options.args[0], options["platform"], options["quiet"])


def _explained(error: ApiError, options: Options) -> CliError:
    """What a person can do about a refused create."""
    if _is_missing(error):
        return CliError(f"dockyard: {error.message}\nIt is pulled without --pull never", _ENGINE_ERROR)
    if "source path does not exist" in error.reason and "bind-create-src" not in error.reason:
        return CliError(
            f"dockyard: {error.message}\nMake the folder first, or let the engine make it: "
            "--mount type=bind,src=SOURCE,dst=TARGET,bind-create-src",
            _ENGINE_ERROR,
        )
    return error


def _attached(options: Options) -> int:
    streams = creation.attached_streams(options, False)
    tty, stdin = options["tty"], options["interactive"] and "stdin" in streams
    if tty and stdin and not output.is_terminal(0):
        raise CliError("the input device is not a TTY", _ENGINE_ERROR)
    if options["detach-keys"]:
        session.parse_keys(options["detach-keys"])
    body = creation.request(options)
    connection = connect()
    identifier = make(connection, options, body)
    condition = "removed" if options["rm"] else "next-exit"
    attachment = Attachment(
        connection, identifier, tty=tty, stdin=stdin, streams=streams, detach_keys=options["detach-keys"]
    )
    attachment.open(condition)
    return attachment.run(lambda control: start(control, identifier), options["sig-proxy"])


def start(connection: Connection, identifier: str) -> None:
    """Start it. Raises CliError with the exit code that says why the program could not run."""
    try:
        connection.request("POST", f"/containers/{quote(identifier)}/start").read()
    except ApiError as error:
        raise CliError(f"dockyard: {error.message}", failure_code(error.reason)) from None


def failure_code(reason: str) -> int:
    """127: no such program, 126: not executable, 125: everything else (docker/cli, toStatusError)."""
    text = reason.lower()
    if any(words in text for words in _NOT_FOUND_WORDS):
        return _NOT_FOUND
    if any(words in text for words in _NOT_EXECUTABLE_WORDS):
        return _NOT_EXECUTABLE
    return _ENGINE_ERROR


class Attachment:
    """A container with the person attached: three connections (stream, exit status, control)."""

    def __init__(
        self,
        stream: Connection,
        identifier: str,
        *,
        tty: bool,
        stdin: bool,
        streams: tuple[str, ...] = ("stdout", "stderr"),
        detach_keys: str = "",
    ) -> None:
        self.stream, self.identifier, self.tty, self.stdin = stream, identifier, tty, stdin
        self.streams, self.detach_keys = streams, detach_keys
        self.waiter: Connection | None = None
        self.exit: Response | None = None

    def open(self, condition: str) -> None:
        """Attach and ask for the exit status: both are in place when this returns, so nothing is missed."""
        path = f"/containers/{quote(self.identifier)}"
        query: dict[str, Any] = {"stream": True, "stdin": self.stdin, "detachKeys": self.detach_keys}
        query.update(stdout="stdout" in self.streams, stderr="stderr" in self.streams)
        self.stream.send_upgrade(target(f"{path}/attach", query))
        self.waiter = connect()
        self.waiter.send("POST", target(f"{path}/wait", {"condition": condition}))
        self.stream.answer_upgrade()
        self.exit = self.waiter.answer().check()

    def run(self, begin: Callable[[Connection], None], proxy: bool) -> int:
        """Begin, copy until the stream ends, and return the container's exit code (0 after a detach)."""
        control = connect()
        if self.tty:
            session.take_terminal(self.resize, typing=self.stdin)
        elif proxy:
            session.forward_signals(self.signal)
        try:
            try:
                begin(control)
            except CliError:
                self._let_it_go()
                raise
            if self.tty:
                self.resize(*terminal_size())
            attached = session.Session(self.stream, tty=self.tty, stdin=self.stdin, detach_keys=self.detach_keys)
            detached = attached.pump()
        finally:
            if self.tty:
                session.give_terminal_back()
        if detached:
            output.err("read escape sequence\n")
            return 0
        return self.status()

    def status(self) -> int:
        """The exit code the engine reports."""
        assert self.exit is not None, "open() comes first"
        try:
            result = self.exit.json()
        except CliError:
            result = self._status_from_the_next_engine()
        error = (result.get("Error") or {}).get("Message")
        if error:
            output.err(f"dockyard: {error}\n")
            raise Exit(_ENGINE_ERROR)
        return int(result["StatusCode"])

    def _status_from_the_next_engine(self) -> dict[str, Any]:
        """The engine died while the container, which outlives it, ran: ask the one that has taken over."""
        try:
            try:
                found = connect().request("POST", f"/containers/{quote(self.identifier)}/wait").json()
            except ApiError as error:
                found = self._status_from_events()  # with --rm it is gone already
                if error.status != 404 or found is None:
                    raise
        except CliError as error:
            raise CliError(
                f"the engine went away while the container ran; its exit code is not known ({error.message})",
                _ENGINE_ERROR,
            ) from None
        return dict(found)

    def _status_from_events(self) -> dict[str, Any] | None:
        """What the engine's memory of events says of the container's end."""
        from tui.cli.events import past

        told = {"container": {self.identifier: True}, "event": {"die": True}}
        codes = [event["Actor"]["Attributes"].get("exitCode") for event in past(told)]
        return {"StatusCode": int(codes[-1])} if codes and codes[-1] else None

    def _let_it_go(self) -> None:
        """After a failed start: a container with --rm is about to vanish; be back when it has."""
        if self.waiter is None or self.exit is None:
            return
        self.waiter.socket.settimeout(_REMOVAL_SECONDS)
        try:
            self.exit.read()
        except (CliError, OSError):
            return

    def signal(self, name: str) -> None:
        """Send a signal to the container's first process; one that has ended is no error."""
        self._aside(target(f"/containers/{quote(self.identifier)}/kill", {"signal": name}))

    def resize(self, rows: int, columns: int) -> None:
        """Tell the engine the terminal's size."""
        if rows and columns:
            self._aside(target(f"/containers/{quote(self.identifier)}/resize", {"h": rows, "w": columns}))

    def _aside(self, where: str) -> None:
        try:
            connection = Connection(self.stream.path)
            connection.socket.settimeout(_REMOVAL_SECONDS)
            connection.request("POST", where).read()
            connection.close()
        except CliError:
            return


def terminal_size() -> tuple[int, int]:
    """(rows, columns) of the person's terminal, loaded only for those who have one."""
    from tui.cli.terminal import size

    return size()
