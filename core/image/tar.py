"""``tarfile`` with bounds: the entries of a hostile tar, in one pass.

What tarfile alone does wrong here: a damaged header in the middle is the end of the archive to it, and files are lost
without a word; a negative size sends it backwards for ever (CVE-2025-8194); extended headers, long names and sparse
maps are read into memory whatever their size; and a strange number ends in any of a dozen exceptions. Here all of that
is Corrupt.
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Iterator
from typing import Any, cast

from core.errors import Corrupt

#: Extended headers and long names: bytes.
_MAX_HEADER = 1 << 20
_MAX_PIECES = 1 << 16
_MAX_SIZE = 1 << 62
_IN_MEMORY = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
#: What tarfile's parsing of hostile numbers and texts ends in.
_ACCIDENTS = (
    tarfile.TarError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError, struct.error,
)  # fmt: skip


class _Entry(tarfile.TarInfo):
    """A TarInfo that refuses what is out of bounds. The methods are those that tarfile names for overriding."""

    __slots__ = ()
    _sparse_structs: tuple[list[tuple[int, int]], bool, int]

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> _Entry:
        entry: _Entry = super().frombuf(buf, encoding or "utf-8", errors)
        _check_size(entry)
        if entry.type in _IN_MEMORY and entry.size > _MAX_HEADER:
            raise Corrupt(f"the tar has an extended header of {entry.size} bytes")
        return entry

    @classmethod
    def fromtarfile(cls, tarfile_: Any) -> _Entry:
        try:
            entry: _Entry = super().fromtarfile(tarfile_)
            return entry
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            tarfile_.has_end = True
            raise
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise Corrupt(f"the tar is damaged or cut short at byte {tarfile_.offset}: {error}") from error

    def _apply_pax_info(self, pax_headers: Any, encoding: Any, errors: Any) -> None:
        super()._apply_pax_info(pax_headers, encoding, errors)  # type: ignore[misc]
        _check_size(self)

    def _proc_sparse(self, tar: Any) -> _Entry:
        """The old GNU format: a map in the header, and in blocks of 21 pieces after it."""
        pieces, more, size = self._sparse_structs
        while more:
            block = tar.fileobj.read(tarfile.BLOCKSIZE)
            for at in range(0, 504, 24):
                offset, length = tarfile.nti(block[at : at + 12]), tarfile.nti(block[at + 12 : at + 24])  # type: ignore[attr-defined]
                if length or offset:
                    pieces.append((offset, length))
            if len(pieces) > _MAX_PIECES:
                raise Corrupt(f"entry {self.name!r} has more than {_MAX_PIECES} pieces")
            more = bool(block[504])
        self.sparse = cast(Any, pieces)  # typeshed says bytes
        self.offset_data = tar.fileobj.tell()
        tar.offset = self.offset_data + self._block(self.size)  # type: ignore[attr-defined]
        self.size = size
        return self

    def _proc_gnusparse_10(self, entry: Any, pax_headers: Any, tar: Any) -> None:
        """Sparse format 1.0: decimal numbers, one a line, in the blocks before the content."""
        lines: list[bytes] = []
        rest, wanted = b"", 1
        while len(lines) < wanted:
            block = tar.fileobj.read(tarfile.BLOCKSIZE)
            *whole, rest = (rest + block).split(b"\n")
            lines += whole
            if len(block) < tarfile.BLOCKSIZE or not lines or len(rest.rstrip(b"\0")) > 32:
                raise Corrupt(f"entry {entry.name!r}: its map of pieces is damaged")
            wanted = 1 + 2 * int(lines[0])
            if not 0 < wanted <= 2 * _MAX_PIECES:
                raise Corrupt(f"entry {entry.name!r} has {int(lines[0])} pieces")
        numbers = [int(line) for line in lines[1:wanted]]
        entry.offset_data = tar.fileobj.tell()
        entry.sparse = list(zip(numbers[::2], numbers[1::2], strict=True))


def _check_size(entry: tarfile.TarInfo) -> None:
    if not 0 <= entry.size <= _MAX_SIZE:
        raise Corrupt(f"entry {entry.name!r} has the size {entry.size}")


class Tar(tarfile.TarFile):
    """``has_end``: the end marker was read, a block of zeros."""

    has_end = False


def open_tar(file: Any) -> Tar:
    """A reader over ``file``, which has read, tell and seek (forward is enough)."""
    try:
        return Tar(fileobj=file, mode="r", tarinfo=_Entry, encoding="utf-8", errors="surrogateescape")
    except _ACCIDENTS as error:
        raise Corrupt(f"not a tar: {error}") from error


def entries(tar: Tar, *, keep: bool = False, need_end: bool = False) -> Iterator[tarfile.TarInfo]:
    """The entries in their order. Without ``keep`` they are forgotten as they go by: there may be millions.

    With ``need_end`` a tar that ends without its end marker is Corrupt: it may have been cut between two entries.
    """
    while True:
        try:
            entry = tar.next()
        except _ACCIDENTS as error:
            raise Corrupt(f"the tar is damaged or cut short at byte {tar.offset}: {error}") from error
        if entry is None:
            if need_end and not tar.has_end:
                raise Corrupt(f"the tar is cut short at byte {tar.offset}: it has no end marker")
            return
        _check_size(entry)
        yield entry
        if not keep:
            tar.members.clear()  # type: ignore[attr-defined]


def pieces(entry: tarfile.TarInfo) -> list[tuple[int, int]]:
    """Where the content of a file lies: (offset, length), in rising order and inside its size."""
    if not entry.issparse():
        return [(0, entry.size)] if entry.size else []
    listed: Any = entry.sparse
    found: list[tuple[int, int]] = [(offset, length) for offset, length in listed or () if length]
    end = 0
    for offset, length in found:
        if offset < end or length < 0 or offset + length > entry.size:
            raise Corrupt(f"entry {entry.name!r}: its map of pieces is damaged")
        end = offset + length
    return found
