"""How a layer's tar was written, so that it can be written again byte for byte without being kept.

An unpacked layer has lost what its digest is of: headers, their order, padding. The recipe has all of the tar but the
content of files, which is taken from the layer's folder again. It is made while the layer is unpacked and lies beside
it as long as the layer does.

A recipe is the length of the tar (8 bytes, little-endian), then one zstd stream of steps::

    0x00  length:u32                     so many bytes of the tar follow
    0x01  offset:u64 length:u64 path:u16 a piece of the file whose path follows, relative to the layer

(tar-split keeps the same knowledge in JSON; here there is no text to parse.)
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from core.errors import Corrupt
from core.linux import syscalls

_SIZE = struct.Struct("<Q")
_RAW = struct.Struct("<BI")
_PIECE = struct.Struct("<BQQH")
_GATHERED = 256 * 1024
_BLOCK = 1 << 20
#: Of files in ``tmp`` that are being written.
PREFIX = "recipe-"


class Recorder:
    """Writes a recipe to an open file. ``broken``: a file was replaced by a later entry, its content is gone."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._parts: list[bytes] = []
        self.broken = False
        self._begin()

    def _begin(self) -> None:
        import zstandard  # here and below: an idle engine does without it

        self._file.write(bytes(_SIZE.size))
        self._zstd = zstandard.ZstdCompressor(level=1).stream_writer(self._file, closefd=False)
        self._steps: list[bytes] = []
        self._parts.clear()
        self._raw = 0
        self._waiting = 0
        self._size = 0

    def raw(self, data: bytes | memoryview) -> None:
        """Bytes of the tar that are no file's content."""
        self._parts.append(bytes(data))
        self._raw += len(data)
        if self._raw >= _GATHERED:
            self._flush()

    def piece(self, path: str, offset: int, length: int) -> None:
        """``length`` bytes that were written to ``path`` at ``offset``."""
        self._end_raw()
        name = os.fsencode(path)
        self._steps.append(_PIECE.pack(1, offset, length, len(name)) + name)
        self._waiting += len(name)
        self._size += length
        if self._waiting >= _GATHERED:
            self._flush()

    def finish(self) -> None:
        """Everything was recorded."""
        self._flush()
        self._zstd.flush(1)  # FLUSH_FRAME
        self._file.seek(0)
        self._file.write(_SIZE.pack(self._size))
        self._file.flush()

    def start_over(self) -> None:
        """Forget what was recorded: the whole tar follows as raw bytes."""
        self._file.seek(0)
        self._file.truncate()
        self._begin()

    def _end_raw(self) -> None:
        """What was gathered of raw bytes becomes a step."""
        if self._raw:
            self._steps.append(_RAW.pack(0, self._raw))
            self._steps += self._parts
            self._size += self._raw
            self._waiting += self._raw
            self._parts, self._raw = [], 0

    def _flush(self) -> None:
        self._end_raw()
        self._zstd.write(b"".join(self._steps))
        self._steps, self._waiting = [], 0


def size(path: str) -> int:
    """Bytes of the tar that a recipe makes. FileNotFoundError when there is none."""
    with open(path, "rb") as file:
        found: int = _SIZE.unpack(file.read(_SIZE.size))[0]
    return found


def replay(path: str, folder: str, diff_id: str) -> Iterator[bytes]:
    """The tar of the layer in ``folder``, in pieces. Corrupt, after the last, when it is not that of ``diff_id``."""
    digester = hashlib.sha256()
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(path, "rb") as file:
            file.seek(_SIZE.size)
            for data in _steps(file, root):
                digester.update(data)
                yield data
    except (OSError, EOFError, struct.error) as error:
        raise Corrupt(f"layer {diff_id[:19]} cannot be read: {error}") from error
    finally:
        os.close(root)
    if f"sha256:{digester.hexdigest()}" != diff_id:
        raise Corrupt(f"layer {diff_id[:19]} was damaged on disk", hint="remove its images and load them again")


def _steps(file: BinaryIO, root: int) -> Iterator[bytes]:
    import zstandard

    with zstandard.ZstdDecompressor().stream_reader(file, closefd=False) as steps:
        while kind := _read(steps, 1):
            if kind == b"\0":
                left = struct.unpack("<I", _exactly(steps, 4))[0]
                while left:
                    data = _exactly(steps, min(left, _BLOCK))
                    left -= len(data)
                    yield data
            else:
                offset, length, name = struct.unpack("<QQH", _exactly(steps, 18))
                yield from _piece(root, _exactly(steps, name), offset, length)


def _read(steps: BinaryIO, count: int) -> bytes:
    import zstandard

    try:
        return steps.read(count)
    except zstandard.ZstdError as error:
        raise EOFError(f"its recipe is damaged: {error}") from error


def _exactly(steps: BinaryIO, count: int) -> bytes:
    data = _read(steps, count)
    while len(data) < count:
        more = _read(steps, count - len(data))
        if not more:
            raise EOFError("its recipe is cut short")
        data += more
    return data


def _piece(root: int, path: bytes, offset: int, length: int) -> Iterator[bytes]:
    # An entry may have come through a link of its own layer; it leads nowhere else now than it did then.
    fd = syscalls.open_in_root(root, path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        while length:
            data = os.pread(fd, min(length, _BLOCK), offset)
            if not data:
                raise OSError(f"{os.fsdecode(path)} is shorter than it was")
            offset += len(data)
            length -= len(data)
            yield data
    finally:
        os.close(fd)
