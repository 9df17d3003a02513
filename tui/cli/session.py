"""A person in front of a container: output as it comes, keys and signals as they are given.

Signals are handled in Python's own handlers: they run while ``recv`` or ``poll`` waits (PEP 475), so no wake-up
descriptor is needed.
"""

from __future__ import annotations

import posix

from tui.cli import output
from tui.cli.errors import CliError, Exit
from tui.cli.streams import Demultiplexer, Raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import FrameType

    from tui.cli.transport import Connection
else:
    import _signal as signal  # signal.py loads enum, which costs a millisecond

_SHUT_WR = 1
_MSG_DONTWAIT = 0x40
_CHUNK = 64 * 1024
_FORWARDED = "HUP INT QUIT USR1 USR2 ALRM TERM CONT WINCH".split()
_PATIENCE = 3


class DetachKeys:
    """Recognises the sequence among what is typed. The engine acts on it; the client only has to know."""

    def __init__(self, spec: str) -> None:
        self._keys = parse_keys(spec or "ctrl-p,ctrl-q")
        self._matched = 0

    def seen(self, data: bytes) -> bool:
        """Whether the sequence is complete with ``data``."""
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
            else:
                self._matched = int(byte == self._keys[0])
            if self._matched == len(self._keys):
                self._matched = 0
                return True
        return False


def parse_keys(spec: str) -> bytes:
    """``ctrl-p,ctrl-q`` or ``a,b`` as bytes. Raises CliError for anything else."""
    keys = bytearray()
    for word in spec.split(","):
        letter = word.removeprefix("ctrl-")
        if len(letter) != 1 or not letter.isascii():
            raise CliError(
                f'invalid detach keys ({spec}): "{word}" is no key\n'
                "Give letters or ctrl-X (X: a letter or one of @ [ \\ ] ^ _), separated by commas",
                125,
            )
        if letter == word:
            keys.append(ord(letter))
        elif letter.lower() in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
            keys.append(ord(letter.upper()) & 0x1F)
        else:
            raise CliError(f'invalid detach keys ({spec}): "{word}" is no key', 125)
    return bytes(keys)


class Session:
    """The copying between the standard descriptors and one upgraded connection."""

    def __init__(self, stream: Connection, *, tty: bool, stdin: bool, detach_keys: str = "") -> None:
        self.stream = stream
        self.sink = Raw() if tty else Demultiplexer()
        self.stdin = stdin
        self.detach_keys = DetachKeys(detach_keys) if tty and stdin else None

    def pump(self) -> bool:
        """Copy until the engine ends the stream; True when the person typed the detach sequence."""
        if self.stdin:
            return _Duplex(self).pump()
        while data := self.stream.receive():
            self.sink.feed(data)
        return False


class _Duplex:
    """Both directions by poll(2). What cannot be sent waits here, and stdin is not read meanwhile."""

    def __init__(self, session: Session) -> None:
        from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll

        self.session = session
        self.input, self.output = POLLIN | POLLHUP | POLLERR, POLLOUT
        self.poll = poll()
        self.socket = session.stream.fileno()
        self.poll.register(self.socket, POLLIN)
        self.reading = False
        self.waiting = b""
        self.ended = False
        self._read_stdin(True)

    def _read_stdin(self, wanted: bool) -> None:
        if wanted and not self.reading:
            self.poll.register(0, self.input)
        elif self.reading and not wanted:
            self.poll.unregister(0)
        self.reading = wanted

    def pump(self) -> bool:
        stream, sink = self.session.stream, self.session.sink
        while True:
            ready = {} if stream.pending() else dict(self.poll.poll())
            if stream.pending() or ready.get(self.socket, 0) & ~self.output:
                data = stream.receive()
                if not data:
                    return False
                sink.feed(data)
            if 0 in ready and self._take_input():
                return True
            if self.waiting and ready.get(self.socket, 0) & self.output:
                self._send()

    def _take_input(self) -> bool:
        try:
            data = posix.read(0, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the terminal is gone; EBADF: stdin is closed
            data = b""
        if not data:
            self.ended = True
            self._read_stdin(False)
        self.waiting += data
        self._send()
        return bool(data) and self.session.detach_keys is not None and self.session.detach_keys.seen(data)

    def _send(self) -> None:
        sock = self.session.stream.socket
        try:
            while self.waiting:
                self.waiting = self.waiting[sock.send(self.waiting, _MSG_DONTWAIT) :]
        except BlockingIOError:
            pass
        except OSError:  # the container no longer reads: its output may still come
            self.waiting = b""
            self.ended = True
        self._read_stdin(not self.waiting and not self.ended)
        self.poll.modify(self.socket, self.input | (self.output if self.waiting else 0))
        if self.ended and not self.waiting:
            try:
                sock.shutdown(_SHUT_WR)
            except OSError:
                pass


def forward_signals(send: Callable[[str], None]) -> None:
    """Give the signals this process gets to ``send`` by name; a third INT or TERM ends the client itself."""
    impatience = 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal impatience
        if number in (signal.SIGINT, signal.SIGTERM):
            impatience += 1
            if impatience >= _PATIENCE:
                output.err(f"got {_PATIENCE} SIGTERM/SIGINTs, forcefully exiting\n")
                raise Exit(1)
        send(names[number])

    names = {getattr(signal, f"SIG{name}"): name for name in _FORWARDED}
    for number in names:
        signal.signal(number, handler)


def end_on_signals() -> None:
    """In raw mode keys make no signals: those that come are meant for this client. The terminal is put back."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise Exit(128 + number)

    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, handler)


def take_terminal(resize: Callable[[int, int], None], *, typing: bool) -> None:
    """``resize(rows, columns)`` whenever the terminal changes; raw mode when the container gets what is typed.

    Without ``typing`` the terminal stays as it is, so that ctrl-c still ends the client.
    Undone by :func:`give_terminal_back`.
    """
    from tui.cli import terminal

    def changed(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGCONT:
            terminal.make_raw(0)
        resize(*terminal.size())

    end_on_signals()
    if typing and output.is_terminal(0):
        terminal.make_raw(0)
        signal.signal(signal.SIGCONT, changed)
    signal.signal(signal.SIGWINCH, changed)


def give_terminal_back() -> None:
    """Undo :func:`take_terminal`."""
    from tui.cli import terminal

    terminal.restore()
