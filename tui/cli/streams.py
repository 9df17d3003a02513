"""What an attached container sends: frames of two streams, or a terminal's bytes."""

from __future__ import annotations

from tui.cli.output import write, write_vector

_STDOUT, _STDERR = 1, 2
#: Frame's stream number → descriptor. 3 is the engine's own error text.
_FD = (_STDOUT, _STDOUT, _STDERR, _STDERR)


class Raw:
    """A terminal's bytes: to stdout as they are."""

    def feed(self, data: memoryview) -> None:
        write(_STDOUT, data)


class Demultiplexer:
    """Docker's stdcopy frames: stream, three zeros, length (big-endian, 4 bytes), payload. Written without copies."""

    def __init__(self) -> None:
        self._fd = _STDOUT
        self._left = 0
        self._head = b""

    def feed(self, data: memoryview) -> None:
        """Write what ``data`` holds; frames may begin and end anywhere."""
        position, size = 0, len(data)
        if self._head:
            position = min(8 - len(self._head), size)
            self._head += bytes(data[:position])
            if len(self._head) < 8:
                return
            self._fd = _descriptor(self._head[0])
            self._left = int.from_bytes(self._head[4:], "big")
            self._head = b""
        fd = self._fd
        parts = []
        if self._left:
            end = position + self._left
            parts.append(data[position:end])
            self._left = max(0, end - size)
            position = min(end, size)
        while position + 8 <= size:
            stream = _descriptor(data[position])
            if stream != fd and parts:
                write_vector(fd, parts)
                parts = []
            fd = stream
            end = position + 8 + int.from_bytes(data[position + 4 : position + 8], "big")
            parts.append(data[position + 8 : end])
            if end > size:
                self._left = end - size
                position = size
                break
            position = end
        self._fd = fd
        if position < size:
            self._head = bytes(data[position:])
        if parts:
            write_vector(fd, parts)


def _descriptor(stream: int) -> int:
    return _FD[stream] if stream < 4 else _STDOUT
