"""The streams of one program: its output to the log and to every client, the clients' input to it.

Output is read once, into one buffer, and goes to the log first. A client that does not read makes the program wait
when a mebibyte waits for it; one that has gone or detached never does. Input of several clients is mixed as it comes.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
import termios
import time
from typing import Protocol

from core.runtime.poller import GONE, READ, WRITE, Poller
from core.runtime.session import STDERR, STDOUT, Session, Slots

#: As much input as may wait for a program that does not read it.
_MAX_INPUT = 1 << 18
_BUFFER_SIZE = 1 << 18
#: At the end at most this much more is read of a source; a process elsewhere might hold it open and write on.
_MAX_DRAIN = 1 << 26
_F_SETPIPE_SZ = 1031
_PIPE_SIZES = (1 << 20, 1 << 18)


class Log(Protocol):
    """Where output is kept: :class:`core.runtime.logs.LogWriter`."""

    def write(self, stream: int, data: memoryview, at_ns: int) -> object:
        """Append what one read gave."""


class Buffer:
    """The one read buffer of a process. Not a bytearray: the pages of a map are only there once they were used."""

    def __init__(self) -> None:
        self.map = mmap.mmap(-1, _BUFFER_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.view = memoryview(self.map)


def enlarge_pipe(fd: int) -> None:
    """Make a pipe large, for throughput; without CAP_SYS_RESOURCE the kernel caps it (pipe(7))."""
    for size in _PIPE_SIZES:
        try:
            fcntl.fcntl(fd, _F_SETPIPE_SZ, size)
            return
        except OSError:
            continue


class Streams:
    """See the module. Owns the fds of sources and sink, and the sessions."""

    def __init__(self, poller: Poller, buffer: Buffer, slots: Slots, *, tty: bool, log: Log | None = None) -> None:
        self._poller = poller
        self._buffer = buffer
        self._slots = slots
        #: Where output is kept; it must be there before the program writes.
        self.log = log
        self._tty = tty
        self._sources: dict[int, int] = {}
        self._paused: set[int] = set()
        self._sessions: list[Session] = []
        self._sink = -1
        self._input = bytearray()
        self._sink_closing = False
        #: The first client whose input ends takes the program's input with it.
        self.close_with_client = False
        self._expects_sink = False
        self._size = (0, 0)
        self._master = -1

    # --- what the program is connected by --------------------------------------------------------------

    def add_output(self, fd: int, stream: int) -> None:
        """Read ``fd``, a pipe, as ``stream`` from now on."""
        os.set_blocking(fd, False)
        self._sources[fd] = stream
        self._poller.watch(fd, READ, lambda events: self._readable(fd))

    def set_input(self, fd: int) -> None:
        """``fd`` takes the clients' input from now on."""
        os.set_blocking(fd, False)
        self._sink = fd
        self._flush_input()

    def set_terminal(self, master: int) -> None:
        """The program's terminal: output and input in one."""
        self._master = master
        self.set_input(os.dup(master))
        if self._size != (0, 0):
            self.resize(*self._size)
        self.add_output(master, STDOUT)

    def resize(self, rows: int, columns: int) -> None:
        """The size of the terminal; kept until there is one."""
        self._size = (rows, columns)
        if self._master in self._sources:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect_input(self) -> None:
        """A sink will come; what clients send before it is kept."""
        self._expects_sink = True

    # --- output ----------------------------------------------------------------------------------------

    def _readable(self, fd: int) -> int:
        """Read once and hand on; the number of bytes, 0 at the end, -1 when there was nothing."""
        stream = self._sources.get(fd)
        if stream is None:
            return 0
        try:
            count = os.readv(fd, [self._buffer.map])
        except BlockingIOError:
            return -1
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: nobody has the terminal open any more
                raise
            count = 0
        if not count:
            self._end_output(fd)
            return 0
        data = self._buffer.view[:count]
        if self.log is not None:
            self.log.write(stream, data, time.time_ns())
        for session in tuple(self._sessions):
            if stream in session.wants:
                session.push(stream, data)
                if session.waiting or session.gone:
                    self._watch(session)
        return count

    def _end_output(self, fd: int) -> None:
        self._paused.discard(fd)
        self._poller.forget(fd)
        del self._sources[fd]
        os.close(fd)

    def _pace(self) -> None:
        """Read exactly those sources that no client is behind with.

        A paused one is not watched at all: its end would be reported again and again.
        """
        behind: set[int] = set()
        for session in self._sessions:
            if session.full:
                behind |= session.wants
        for fd, stream in self._sources.items():
            if stream in behind and fd not in self._paused:
                self._paused.add(fd)
                self._poller.forget(fd)
            elif stream not in behind and fd in self._paused:
                self._paused.discard(fd)
                self._poller.watch(fd, READ, lambda events, fd=fd: self._readable(fd))  # type: ignore[misc]

    # --- clients ---------------------------------------------------------------------------------------

    def attach(
        self,
        fd: int,
        *,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        detach_keys: bytes = b"",
        preread: bytes = b"",
    ) -> None:
        """Add a client; ``fd`` is its socket, owned from now on. Raises Conflict when there are too many."""
        try:
            self._slots.take()
        except BaseException:
            os.close(fd)
            raise
        wants = frozenset(stream for stream, wanted in ((STDOUT, stdout), (STDERR, stderr)) if wanted)
        stdin = stdin and (self._expects_sink or self._sink >= 0)
        keys = detach_keys if self._tty else b""
        session = Session(fd, wants, framed=not self._tty, stdin=stdin, detach_keys=keys)
        self._sessions.append(session)
        if preread and stdin:
            self._take_input(session, preread)
        if not session.closed:
            self._watch(session)

    def _watch(self, session: Session) -> None:
        """Bring what is polled in line with what the session waits for, or end it."""
        if session.closed:
            return
        over = session.gone and not session.reading
        if over or (session.ending and not session.waiting):
            self._drop(session)
            return
        events = WRITE if session.waiting else 0
        if session.reading and len(self._input) < _MAX_INPUT:
            events |= READ
        if session.gone and not events:
            self._poller.forget(session.fd)  # its end would be reported again and again
        else:
            self._poller.watch(session.fd, events, lambda events: self._session_event(session, events))
        self._pace()

    def _session_event(self, session: Session, events: int) -> None:
        if session.closed:
            return
        if events & GONE:
            session.lose()
        elif events & WRITE:
            session.flush()
        if session.reading and events & (READ | GONE) and len(self._input) < _MAX_INPUT:
            data = session.read()
            if data:
                self._take_input(session, data)
            elif data is not None:
                self._input_ended(session)
        self._watch(session)

    def _take_input(self, session: Session, data: bytes) -> None:
        passed, detached = session.keys.feed(data)
        if passed:
            self._write_input(passed)
        if detached:
            self._drop(session)

    def _input_ended(self, session: Session) -> None:
        rest = session.keys.rest()
        if rest:
            self._write_input(rest)
        if self.close_with_client and not self._tty:
            self.close_input()

    def _drop(self, session: Session) -> None:
        if session.closed:
            return
        self._poller.forget(session.fd)
        session.close()
        self._sessions.remove(session)
        self._slots.give_back()
        self._pace()

    # --- input -----------------------------------------------------------------------------------------

    def _write_input(self, data: bytes) -> None:
        if self._sink_closing or (self._sink < 0 and not self._expects_sink):
            return
        self._input += data
        self._flush_input()

    def _flush_input(self, events: int = 0) -> None:
        if self._sink < 0:
            return
        was_full = len(self._input) >= _MAX_INPUT
        while self._input:
            try:
                del self._input[: os.write(self._sink, self._input)]
            except BlockingIOError:
                break
            except OSError:  # the program has closed its end: what is typed on goes nowhere, as in a pipeline
                self._end_input()
                return
        if self._input:
            self._poller.watch(self._sink, WRITE, self._flush_input)
        else:
            self._poller.forget(self._sink)
            if self._sink_closing:
                self._end_input()
        if was_full and len(self._input) < _MAX_INPUT:
            self._watch_all()

    def _watch_all(self) -> None:
        for session in tuple(self._sessions):
            self._watch(session)

    def _end_input(self) -> None:
        self._expects_sink = False
        self._input.clear()
        if self._sink >= 0:
            self._poller.forget(self._sink)
            os.close(self._sink)
            self._sink = -1
        self._watch_all()

    def close_input(self) -> None:
        """The program sees the end of its input once it has read what waits. A terminal has no such end."""
        if self._tty:
            return
        self._sink_closing = True
        if self._sink >= 0:
            self._flush_input()

    # --- the end ---------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Read what is left of the program's output, to log and clients, without waiting; then end all sources.

        Clients that are behind do not hold it up: at most a pipe's content more waits for each.
        """
        for fd in tuple(self._sources):
            total = 0
            while fd in self._sources and total < _MAX_DRAIN:
                count = self._readable(fd)
                if count < 0:
                    break
                total += count
            if fd in self._sources:
                self._end_output(fd)
        self._master = -1

    def tell(self, text: bytes) -> None:
        """A word of the engine's own to every client, whatever streams it wants."""
        for session in tuple(self._sessions):
            session.push(STDERR, memoryview(text))
            self._watch(session)

    def finish(self) -> None:
        """Nothing comes any more: close input, and each client once it has everything."""
        self._end_input()
        for session in tuple(self._sessions):
            session.ending = True
            session.reading = False
            self._watch(session)

    @property
    def attached(self) -> int:
        """Clients that are still there."""
        return len(self._sessions)

    @property
    def waiting(self) -> int:
        """Bytes that clients have not taken yet."""
        return sum(session.waiting for session in self._sessions)
