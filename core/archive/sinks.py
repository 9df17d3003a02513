"""Where a tar goes, piece by piece, written by a thread that may wait."""

from __future__ import annotations

import os
import socket
from typing import Protocol

from core.errors import Unavailable

_BLOCK = 1 << 30
_BUFFER = 256 * 1024
#: Seconds that a client may take nothing. It is gone or stopped then, and what it reads from is wanted by others.
PATIENCE = 60.0


class Sink(Protocol):
    """What the packer writes to."""

    def write(self, data: bytes) -> None:
        """Take ``data``."""

    def send_file(self, fd: int, size: int) -> None:
        """Take ``size`` bytes of a file from its position. Raises ShrunkFile when there are fewer."""


class ShrunkFile(Exception):
    """A file became shorter while it was read: the tar cannot be gone on with."""


class FileSink:
    """Into a file, from its position on."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._parts: list[bytes] = []
        self._waiting = 0

    def write(self, data: bytes) -> None:
        """Take ``data``; small pieces are gathered."""
        self._parts.append(data)
        self._waiting += len(data)
        if self._waiting >= _BUFFER:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        data = memoryview(b"".join(self._parts))
        self._parts, self._waiting = [], 0
        while data:
            data = data[os.write(self._fd, data) :]

    def send_file(self, fd: int, size: int) -> None:
        """In the kernel."""
        self.flush()
        while size:
            sent = os.sendfile(self._fd, fd, None, min(size, _BLOCK))
            if not sent:
                raise ShrunkFile
            size -= sent


class ChunkedSink:
    """The body of an HTTP answer in chunks (RFC 9112, 7.1), straight onto a client's socket.

    Only :meth:`finish` writes the last chunk: a client that does not see it knows that the answer is not whole.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        self._sock = sock
        self._parts: list[bytes] = []
        self._waiting = 0

    def write(self, data: bytes) -> None:
        """Take ``data``; small pieces are gathered into one chunk, a large one is a chunk of its own."""
        if len(data) >= _BUFFER:
            self._flush()
            self._send(b"%x\r\n" % len(data))
            self._send(data)
            self._send(b"\r\n")
            return
        self._parts.append(data)
        self._waiting += len(data)
        if self._waiting >= _BUFFER:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._send(b"%x\r\n%b\r\n" % (self._waiting, b"".join(self._parts)))
            self._parts, self._waiting = [], 0

    def send_file(self, fd: int, size: int) -> None:
        """As a chunk of its own, in the kernel."""
        if size < _BUFFER:
            data = os.read(fd, size)
            if len(data) < size:
                raise ShrunkFile
            self.write(data)
            return
        self._flush()
        self._send(b"%x\r\n" % size)
        with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
            try:
                sent = self._sock.sendfile(file, file.tell(), size)
            except OSError as error:
                raise _gone(error) from error
        if sent < size:
            raise ShrunkFile
        os.lseek(fd, size, os.SEEK_CUR)
        self._send(b"\r\n")

    def finish(self) -> None:
        """The end of the body."""
        self._flush()
        self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise _gone(error) from error


def _gone(error: OSError) -> Unavailable:
    return Unavailable(f"the client does not take the archive any more: {error.strerror or error}")
