"""Bytes of a layer on their way: unpacked within bounds, hashed, taken in one pass."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from core.errors import Corrupt

CHUNK = 1 << 20
#: Of a member of a compressed file, so much is looked at first.
_FIRST = 4096
#: A layer may grow by this factor when it is unpacked, beyond the first :data:`_FREE_GROWTH` bytes.
_MAX_RATIO = 200
_FREE_GROWTH = 1 << 30


class Stream:
    """A layer's bytes in one pass. What the reader of tars and the extraction ask of a file."""

    def __init__(self, chunks: Iterator[bytes], taken: Callable[[bytes | memoryview], None] | None = None) -> None:
        """``taken`` is told of all bytes but those of :meth:`part`, in their order."""
        self._chunks = chunks
        self._taken = taken
        self._chunk = memoryview(b"")
        self._at = 0
        self._before = 0

    def _fill(self) -> bool:
        self._before += len(self._chunk)
        data = next(self._chunks, b"")
        self._chunk, self._at = memoryview(data), 0
        return bool(data)

    def tell(self) -> int:
        """How many bytes were taken."""
        return self._before + self._at

    def part(self, size: int) -> memoryview:
        """Some of the next ``size`` bytes, as many as need no joining; none at the end. Content of a file."""
        if self._at == len(self._chunk) and not self._fill():
            return self._chunk
        piece = self._chunk[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next ``size`` bytes without joining them; fewer at the end."""
        while size > 0 and (piece := self.part(size)):
            if self._taken is not None:
                self._taken(piece)
            yield piece
            size -= len(piece)

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer at the end."""
        end = self._at + size
        if end > len(self._chunk):
            return b"".join(self.pieces(size))
        data = bytes(self._chunk[self._at : end])
        self._at = end
        if self._taken is not None:
            self._taken(data)
        return data

    def seek(self, position: int) -> int:
        """Forward only."""
        if position < self.tell():
            raise Corrupt(f"the tar leads back to byte {position}")
        if position > self.tell():
            for _ in self.pieces(position - self.tell()):
                continue
        return self.tell()

    def finish(self) -> None:
        """Read what is left."""
        for _ in self.pieces(1 << 62):
            continue


def decompress(source: BinaryIO) -> BinaryIO:
    """``source`` unpacked when its first bytes say gzip or zstd, else as it is. It must be seekable."""
    magic = source.read(4)
    source.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return cast(BinaryIO, _Chunks(_gunzip(source)))
    # A zstd stream may begin with a frame to skip (RFC 8878, 3.1.2).
    if magic == b"\x28\xb5\x2f\xfd" or (magic[1:] == b"\x2a\x4d\x18" and 0x50 <= magic[0] <= 0x5F):
        return cast(BinaryIO, _Chunks(_unzstd(source)))
    if magic[:3] == b"BZh":
        import bz2

        return cast(BinaryIO, _Chunks(_in_members(source, bz2.BZ2Decompressor)))
    if magic == b"\xfd7zX":
        return cast(BinaryIO, _Chunks(_in_members(source, _xz)))
    return source


class _Counted:
    """Counts what is read of a file, and what it became."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._taken = 0
        self._given = 0

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._taken += len(data)
        return data

    def gives(self, data: bytes) -> bytes:
        self._given += len(data)
        if self._given > _FREE_GROWTH and self._given > self._taken * _MAX_RATIO:
            raise Corrupt(f"the layer grows more than {_MAX_RATIO}-fold when unpacked: a decompression bomb")
        return data


class _Feed:
    """A compressed file for engines that decompress one member each.

    Pieces are small where a member begins: what is behind its end, the engine copies, and there may be a million.
    """

    def __init__(self, source: _Counted) -> None:
        self._source = source
        self._data = memoryview(b"")
        self._at = 0
        self._size = _FIRST
        self._is_first = True

    def take(self) -> memoryview:
        """The next piece; nothing at the end."""
        if self._at == len(self._data):
            self._data, self._at = memoryview(self._source.read(CHUNK)), 0
        piece = self._data[self._at : self._at + self._size]
        self._at += len(piece)
        self._size = min(4 * self._size, CHUNK)
        return piece

    def begin(self) -> memoryview:
        """The first piece of a member; zeros between members are padding (RFC 1952)."""
        while True:
            piece = self.take()
            if self._is_first or not piece or piece[0]:
                self._is_first = False
                return piece
            rest = len(bytes(piece).lstrip(b"\0"))
            self.give_back(rest)

    def give_back(self, count: int) -> None:
        """So many bytes of the last piece were not used."""
        self._at -= count

    def end(self, unused: int) -> None:
        """A member ended, so many bytes before the last piece's end."""
        self.give_back(unused)
        self._size = _FIRST


def _gunzip(source: BinaryIO) -> Iterator[bytes]:
    """The members of a gzip file, one after the other (RFC 1952)."""
    counted = _Counted(source)
    feed = _Feed(counted)
    while piece := feed.begin():
        engine = _inflater()
        while not engine.eof:
            data = engine.decompress(piece, CHUNK)
            yield counted.gives(data)
            feed.give_back(len(engine.unconsumed_tail))
            if not engine.eof:
                # Nothing is behind the last piece, but the engine may still hold something of it.
                piece = feed.take()
                if not piece and not data:
                    raise Corrupt("the gzip stream ends in its middle")
        feed.end(len(engine.unused_data))


def _inflater() -> Any:
    """ISA-L's where its wheel exists, more than twice as fast; else zlib's. Both check the sum at the end."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.decompressobj(wbits=31)
    return isal_zlib.decompressobj(wbits=31)


def _xz() -> Any:
    import lzma

    # What xz -9 needs, and a little more.
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=128 << 20)


def _in_members(source: BinaryIO, make: Callable[[], Any]) -> Iterator[bytes]:
    """bzip2's and xz's streams, one after the other."""
    counted = _Counted(source)
    feed = _Feed(counted)
    while piece := feed.begin():
        engine = make()
        yield counted.gives(_decompressed(engine, piece))
        while not engine.eof:
            piece = feed.take() if engine.needs_input else memoryview(b"")
            if engine.needs_input and not piece:
                raise Corrupt("the compressed stream ends in its middle")
            yield counted.gives(_decompressed(engine, piece))
        feed.end(len(engine.unused_data))


def _decompressed(engine: Any, piece: memoryview) -> bytes:
    import lzma

    try:
        data: bytes = engine.decompress(piece, CHUNK)
        return data
    except (lzma.LZMAError, OSError) as error:
        raise Corrupt(f"the compressed stream is damaged: {error}") from error


def _unzstd(source: BinaryIO) -> Iterator[bytes]:
    import zstandard

    counted = _Counted(source)
    # The window is the decoder's memory: 128 MiB is what zstd itself takes without being asked to.
    decoder = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    with decoder.stream_reader(cast(BinaryIO, counted), read_across_frames=True, closefd=False) as reader:
        while data := reader.read(CHUNK):
            yield counted.gives(data)


class _Chunks(io.RawIOBase):
    """An iterator of bytes as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, none at the end only. A chunk that fits is handed on as it is."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while self._at == len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._chunk, self._at = chunk, 0
        start, self._at = self._at, min(self._at + size, len(self._chunk))
        if start == 0 and self._at == len(self._chunk):
            return self._chunk
        return self._chunk[start : self._at]
