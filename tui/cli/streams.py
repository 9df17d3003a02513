"""What an attached container sends: frames of two streams, or a terminal's bytes."""

from __future__ import annotations

from _struct import Struct

from tui.cli.output import write, write_vector

_STDOUT, _STDERR = 1, 2
#: Frame's stream number → descriptor. 3 is the engine's own error text.
_FD = (_STDOUT, _STDOUT, _STDERR, _STDERR)

_SMALL = 1024


class Raw:
    """A terminal's bytes: to stdout as they are."""

    def feed(self, data: memoryview) -> None:
        write(_STDOUT, data)


class Demultiplexer:
    """Docker's stdcopy frames: stream, three zeros, length (big-endian, 4 bytes), payload.

    Large payloads are written from where they were received; small ones (a frame for each line) are joined first.
    """

    def __init__(self) -> None:
        self._fd = _STDOUT
        self._left = 0
        self._head = b""

    def feed(self, data: memoryview) -> None:
        """Write what ``data`` holds; frames may begin and end anywhere."""
        position = self._resume(data)
        size, stream = len(data), -1
        parts: list[memoryview] = []
        last = size - 8
        while position <= last:
            found, length = _header(data, position)
            if found != stream:
                _flush(self._fd, parts)
                parts = []
                stream, self._fd = found, _FD[found] if found < len(_FD) else _STDOUT
            position += 8
            parts.append(data[position : position + length])
            position += length
        if position > size:
            self._left = position - size
        elif position < size:
            self._head = bytes(data[position:])
        _flush(self._fd, parts)

    def _resume(self, data: memoryview) -> int:
        """Finish the frame that the last piece cut; where the next one begins in ``data``."""
        position = 0
        if self._head:
            position = 8 - len(self._head)
            self._head += bytes(data[:position])
            if len(self._head) < 8:
                return len(data)
            stream, self._left = _header(self._head, 0)
            self._fd = _FD[stream] if stream < len(_FD) else _STDOUT
            self._head = b""
        if self._left:
            part = data[position : position + self._left]
            write(self._fd, part)
            self._left -= len(part)
            position += len(part)
        return position


_header = Struct(">B3xI").unpack_from


def _flush(fd: int, parts: list[memoryview]) -> None:
    if len(parts) == 1:
        write(fd, parts[0])
    elif parts:
        if len(parts[0]) < _SMALL:
            write(fd, b"".join(parts))
        else:
            write_vector(fd, parts)
