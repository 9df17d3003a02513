"""One client of a container's streams: its socket, what waits to be sent to it, and its detach keys."""

from __future__ import annotations

import socket
import struct

from core.errors import Conflict

STDIN = 0
STDOUT = 1
STDERR = 2

#: What may wait for a client that does not read; beyond it the container's stream is not read any more.
MAX_WAITING = 1 << 20
MAX_SESSIONS = 64
_READ_SIZE = 1 << 16
# Plain numbers: each ``|`` of two enum members runs a page of Python.
_SEND_NOW = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_READ_NOW = int(socket.MSG_DONTWAIT)

#: Docker's stdcopy: the stream's number, three zeros, the length (github.com/moby/moby pkg/stdcopy).
_STDCOPY = struct.Struct(">BxxxI")


class Slots:
    """How many sessions one monitor may hold, over all its streams (CVE-2022-23471: attach leaks)."""

    def __init__(self, limit: int = MAX_SESSIONS) -> None:
        self._limit = limit
        self.used = 0

    def take(self) -> None:
        """One more. Raises Conflict when all are taken."""
        if self.used >= self._limit:
            raise Conflict(
                f"{self._limit} clients are attached to this container already",
                hint="detach some of them first",
            )
        self.used += 1

    def give_back(self) -> None:
        """One less."""
        self.used -= 1


class DetachKeys:
    """Finds a sequence of bytes in a client's input, however it is cut; an empty sequence is never found.

    What may still become the sequence is held back until the next byte decides. Unlike Docker, a failed attempt can
    itself be the beginning of the next one (``^P ^P ^Q`` detaches).
    """

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(bytes to pass on, whether the sequence was completed); what follows it is dropped."""
        sequence = self._sequence
        if not sequence or (not self._held and sequence[0] not in data):
            return data, False
        passed = bytearray()
        held = self._held
        for byte in data:
            held += bytes((byte,))
            while not sequence.startswith(held):
                passed += held[:1]
                held = held[1:]
            if held == sequence:
                self._held = b""
                return bytes(passed), True
        self._held = held
        return bytes(passed), False

    def rest(self) -> bytes:
        """What is held back at the end of the input: it was no sequence after all."""
        held, self._held = self._held, b""
        return held


class Session:
    """One attached client. Owns ``fd``, its socket.

    ``wants`` are the streams it gets. ``reading``: its input has not ended. ``gone``: nothing can be sent any more.
    ``ending``: closed as soon as all that waits is sent.
    """

    def __init__(self, fd: int, wants: frozenset[int], *, framed: bool, stdin: bool, detach_keys: bytes) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self.fd = fd
        self.wants = wants
        self.reading = stdin
        self.takes_input = stdin
        self.keys = DetachKeys(detach_keys)
        self.gone = False
        self.ending = False
        self.closed = False
        self._framed = framed
        self._waiting = bytearray()

    @property
    def waiting(self) -> int:
        """Bytes not sent yet."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether it must read first before it gets more."""
        return len(self._waiting) >= MAX_WAITING

    def push(self, stream: int, data: memoryview) -> None:
        """Send ``data`` of ``stream``; what the socket does not take now waits."""
        if self.gone:
            return
        header = _STDCOPY.pack(stream, len(data)) if self._framed else b""
        sent = 0
        if not self._waiting:
            sent = self._send([header, data] if header else [data])
            if sent >= len(header) + len(data) or self.gone:
                return
        self._waiting += header[sent:]
        self._waiting += data[max(0, sent - len(header)) :]

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._waiting and not self.gone:
            sent = self._send([self._waiting])
            if not sent:
                return
            del self._waiting[:sent]

    def _send(self, parts: list[bytes | bytearray | memoryview]) -> int:
        try:
            return self._socket.sendmsg(parts, [], _SEND_NOW)
        except BlockingIOError:
            return 0
        except OSError:  # it went away: that is no error of the container
            self.lose()
            return 0

    def lose(self) -> None:
        """Nothing can be sent to it any more."""
        self.gone = True
        self._waiting.clear()

    def read(self) -> bytes | None:
        """The next piece of input, b"" at its end, None when there is none now."""
        try:
            data = self._socket.recv(_READ_SIZE, _READ_NOW)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self.reading = False
        return data

    def close(self) -> None:
        """End it. Unread input is taken first, or the client would see a reset instead of the end (unix(7))."""
        if self.closed:
            return
        self.closed = True
        self.reading = False
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
            while self._socket.recv(_READ_SIZE, _READ_NOW):
                pass
        except OSError:
            pass
        self._socket.close()
