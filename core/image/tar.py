"""The entries of a hostile tar, in one pass: ustar, GNU and pax (POSIX.1-2008; GNU tar's manual, "Tar internals").

``tarfile`` is not used to read: to it a damaged header in the middle is the end of the archive, a negative size leads
backwards for ever (CVE-2025-8194), an extended header is searched in quadratic time with the interpreter's lock held
(CVE-2024-6232), chains of them and sparse maps are kept in memory whatever their size, and each entry takes four times
as long. Here what is out of bounds is Corrupt, and memory is bounded by one extended header of each kind.

Where readers differ, this one reads as Go's archive/tar, which Docker and containerd read layers with: global pax
headers change nothing, the last of several pax headers counts, and a GNU long name outdoes a pax path.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import NoReturn, Protocol

from core.errors import Corrupt

BLOCK = 512
FILE, HARDLINK, SYMLINK, CHAR, BLOCKDEV, FOLDER, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"

#: Extended headers and long names: bytes.
_MAX_HEADER = 1 << 20
_MAX_PIECES = 1 << 16
_MAX_SIZE = 1 << 62
#: Beyond this no file system keeps a time (year 2262): nanoseconds.
_FARTHEST = 2**63 - 1

_PAX, _PAX_GLOBAL, _PAX_SOLARIS, _LONG_NAME, _LONG_LINK, _SPARSE = b"x", b"g", b"X", b"L", b"K", b"S"
_EXTENDED = {_PAX, _PAX_GLOBAL, _PAX_SOLARIS, _LONG_NAME, _LONG_LINK}
#: AREGTYPE, CONTTYPE and sparse files are files as well.
_FILES = {b"\0", b"7", _SPARSE}
_WITHOUT_CONTENT = {HARDLINK, SYMLINK, CHAR, BLOCKDEV, FOLDER, FIFO}

# name, mode, uid, gid, mtime, type, linkname, magic, devmajor, devminor, prefix; size and checksum are looked at before
_HEADER = struct.Struct("100s8s8s8s12x12s8xc100s8s64x8s8s155s12x")
_SIGNED = struct.Struct("148b8x356b")
_BLANK_SUM = 8 * 32
_STAR = b"tar\0"
_ZEROS = bytes(BLOCK)
_XATTR = b"SCHILY.xattr."
_TIME = re.compile(rb"(-?)([0-9]{1,20})(?:\.([0-9]*))?")


class Source(Protocol):
    """What a tar is read from; seeking forward is enough."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, position: int, /) -> int: ...

    def tell(self) -> int: ...


class Entry:
    """One member. ``kind`` is one of this module's constants, or a letter that nobody knows.

    ``mtime`` is in nanoseconds, ``size`` the file's, ``offset`` and ``stored`` say where its content lies in the tar;
    ``pieces`` are (offset, length) in the file, in rising order and inside its size, ``sparse`` whether there are
    holes between them. ``xattrs`` are those of pax headers, unchecked. Names are what the tar says, also ``../x``.
    """

    __slots__ = (
        "device", "gid", "kind", "linkname", "mode", "mtime", "name", "offset", "pieces", "size", "sparse", "stored",
        "uid", "xattrs",
    )  # fmt: skip

    name: str
    linkname: str
    kind: bytes
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    device: tuple[int, int]
    xattrs: dict[str, bytes]
    offset: int
    stored: int
    pieces: list[tuple[int, int]]
    sparse: bool


def entries(file: Source, *, need_end: bool = False) -> Iterator[Entry]:
    """The entries in their order. Corrupt for what is no tar, damaged or cut short.

    After each the reader goes on behind its content, however much of that was read. Nothing tells that a tar was cut
    between two entries but its missing end marker, a block of zeros: with ``need_end`` that is Corrupt.
    """
    position = padding = 0
    extended = _Extended()
    while True:
        block = _next_block(file, position, padding)
        position += padding
        if len(block) < BLOCK or block == _ZEROS:
            _check_end(block, position, need_end, extended)
            return
        try:
            letter = block[156:157]
            if letter in _EXTENDED:
                size = _check_sum(block)
                position += BLOCK + size
                extended.take(letter, _body(file, size))
                padding = -size % BLOCK
                continue
            entry = _parse(block)
            position += BLOCK
            entry.offset = position
            if extended:
                extended.apply(entry, file)
                extended = _Extended()
            if letter == _SPARSE:
                _old_sparse(entry, block, file)
            elif letter == b"\0" and entry.name.endswith("/"):
                entry.kind, entry.size, entry.stored = FOLDER, 0, 0  # before POSIX folders had no letter
            position = entry.offset + entry.stored
            padding = -entry.stored % BLOCK
            _check_sizes(entry)
        except ValueError as error:
            what = "not a tar" if position == 0 else f"the tar is damaged or cut short at byte {position}"
            raise Corrupt(f"{what}: {error}") from error
        yield entry
        if entry.stored:
            _skip(file, position)


def _next_block(file: Source, position: int, padding: int) -> bytes:
    """The block behind the padding of what is before it; fewer bytes at the end."""
    data = file.read(padding + BLOCK)
    if len(data) < padding:
        raise Corrupt(f"the tar is damaged or cut short at byte {position}")
    return data[padding:] if padding else data


def _check_end(block: bytes, position: int, need_end: bool, extended: _Extended) -> None:
    if position == 0 and not block:
        raise Corrupt("not a tar: it is empty")
    if 0 < len(block) < BLOCK or extended:
        raise Corrupt(f"the tar is damaged or cut short at byte {position}")
    if need_end and not block:
        raise Corrupt(f"the tar is cut short at byte {position}: it has no end marker")


def _skip(file: Source, position: int) -> None:
    """To ``position``, which must not lie behind the end."""
    here = file.tell()
    if here == position:
        return
    if here > position:
        raise Corrupt(f"the tar leads back to byte {position}")
    file.seek(position - 1)
    if not file.read(1):
        raise Corrupt(f"the tar is damaged or cut short at byte {position}")


def _body(file: Source, size: int) -> bytes:
    """The content of an extended header."""
    if size > _MAX_HEADER:
        raise Corrupt(f"the tar has an extended header of {size} bytes")
    data = file.read(size)
    if len(data) < size:
        raise ValueError("an extended header is cut short")
    return data


# --- one header ------------------------------------------------------------------------------------


def _parse(block: bytes) -> Entry:
    """The entry that a header describes. ValueError for what is none."""
    name, mode, uid, gid, mtime, kind, linkname, magic, major, minor, prefix = _HEADER.unpack(block)
    size = _check_sum(block)
    entry = Entry()
    entry.name = _text(name)
    if magic[:6] == b"ustar\0" and prefix[0]:
        # star has times behind a shorter prefix, and says so in the last four bytes.
        entry.name = f"{_text(prefix[:131] if block.endswith(_STAR) else prefix)}/{entry.name}"
    entry.kind = FILE if kind in _FILES else kind
    entry.linkname = _text(linkname) if linkname[0] else ""
    entry.mode = _number(mode) & 0o7777
    entry.uid, entry.gid = _number(uid), _number(gid)
    entry.mtime = _clamped(_number(mtime) * 1_000_000_000)
    entry.size = entry.stored = 0 if entry.kind in _WITHOUT_CONTENT else size
    entry.device = (_number(major), _number(minor)) if kind in (CHAR, BLOCKDEV) else (0, 0)
    entry.xattrs = {}
    entry.pieces = []
    entry.sparse = False
    return entry


def _check_sum(block: bytes) -> int:
    """The size that a header tells, once its checksum is right. Old tars added signed bytes."""
    checksum = block[148:156]
    wanted = _number(checksum)
    if wanted != sum(block) - sum(checksum) + _BLANK_SUM and wanted != sum(_SIGNED.unpack(block)) + _BLANK_SUM:
        raise ValueError("bad checksum")
    size = _number(block[124:136])
    if not 0 <= size <= _MAX_SIZE:
        raise ValueError(f"entry {_text(block[:100])!r} has the size {size}")
    return size


@lru_cache(4096)  # most numbers of a tar are the same few
def _number(field: bytes) -> int:
    """Octal digits, or base 256 where the first bit is set (GNU)."""
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        found = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return found - (1 << bits) if field[0] & 0x40 else found
    digits = field.strip(b" \0")
    if b"\0" in digits:
        digits = digits.partition(b"\0")[0].rstrip(b" ")
    if not digits:
        return 0
    if not digits.isdigit():
        raise ValueError(f"bad number {digits!r}")
    return int(digits, 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _clamped(nanoseconds: int) -> int:
    return max(-_FARTHEST, min(nanoseconds, _FARTHEST))


def _check_sizes(entry: Entry) -> None:
    """The pieces rise inside the size, and the tar holds them."""
    if not entry.sparse:
        entry.pieces = [(0, entry.size)] if entry.size else []
        return
    entry.pieces = [piece for piece in entry.pieces if piece[1]]
    end = total = 0
    for offset, length in entry.pieces:
        if offset < end or length < 0 or offset + length > entry.size:
            raise ValueError(f"entry {entry.name!r}: its map of pieces is damaged")
        end = offset + length
        total += length
    if total > entry.stored:
        raise ValueError(f"entry {entry.name!r}: its map of pieces is damaged")


# --- what headers before it say about an entry -----------------------------------------------------


class _Extended:
    """A pax header and GNU's long names: they hold for the entry that follows."""

    __slots__ = ("_any", "_long_link", "_long_name", "_map", "_records")

    def __init__(self) -> None:
        self._any = False
        self._long_name = self._long_link = b""
        self._records: dict[bytes, bytes] = {}
        self._map: list[bytes] = []

    def __bool__(self) -> bool:
        return self._any

    def take(self, kind: bytes, data: bytes) -> None:
        if kind == _PAX_GLOBAL:
            return
        self._any = True
        if kind == _LONG_NAME:
            self._long_name = data.partition(b"\0")[0]
        elif kind == _LONG_LINK:
            self._long_link = data.partition(b"\0")[0]
        else:
            self._records, self._map = _records(data)

    def apply(self, entry: Entry, file: Source) -> None:
        """What was said becomes the entry's."""
        if self._records or self._map:
            self._apply_records(entry)
            self._apply_sparse(entry, file)
        if self._long_name:
            entry.name = _text(self._long_name)
        if self._long_link:
            entry.linkname = _text(self._long_link)

    def _apply_records(self, entry: Entry) -> None:
        for key, value in self._records.items():
            if key.startswith(_XATTR):
                entry.xattrs[_name(key[len(_XATTR) :])] = value
            elif not value:
                continue  # that is how one is taken back
            elif key == b"path":
                entry.name = _name(value)
            elif key == b"linkpath":
                entry.linkname = _name(value)
            elif key == b"mtime":
                entry.mtime = _time(value)
            elif key == b"uid":
                entry.uid = _decimal(value)
            elif key == b"gid":
                entry.gid = _decimal(value)
            elif key == b"size" and entry.kind not in _WITHOUT_CONTENT:
                entry.size = entry.stored = _size(value, entry)

    def _apply_sparse(self, entry: Entry, file: Source) -> None:
        """GNU's sparse formats in pax headers: 0.0 and 0.1 have their map there, 1.0 before the content."""
        found = self._records
        if entry.kind != FILE:
            return
        version = (found.get(b"GNU.sparse.major"), found.get(b"GNU.sparse.minor"))
        if version == (b"1", b"0"):
            entry.pieces = _map_before_content(entry, file)
        elif b"GNU.sparse.map" in found or self._map:
            listed = found.get(b"GNU.sparse.map")
            entry.pieces = _pairs([_decimal(part) for part in (listed.split(b",") if listed else self._map)], entry)
        else:
            return
        entry.sparse = True
        if name := found.get(b"GNU.sparse.name"):
            entry.name = _name(name)
        if size := found.get(b"GNU.sparse.realsize") or found.get(b"GNU.sparse.size"):
            entry.size = _size(size, entry)


def _records(data: bytes) -> tuple[dict[bytes, bytes], list[bytes]]:
    """``LENGTH KEY=VALUE\\n`` …, LENGTH in bytes and of the whole; and the map of sparse format 0.0, in its order."""
    found: dict[bytes, bytes] = {}
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 8)
        digits = data[at : max(at, space)]
        end = at + int(digits) if digits.isdigit() else 0
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end <= max(at, space) or end > len(data) or data[end - 1] != 0x0A or not equals or not key:
            raise ValueError("a pax header is damaged")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            if len(pieces) % 2 != (key == b"GNU.sparse.numbytes"):
                raise ValueError("a map of pieces is damaged")
            pieces.append(value)
        else:
            found[key] = value
        at = end
    return found, pieces


def _name(value: bytes) -> str:
    if b"\0" in value:
        raise ValueError(f"{value[:100]!r} has a NUL byte in its name")
    return value.decode("utf-8", "surrogateescape")


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise ValueError(f"bad number {value[:40]!r}")
    return int(value)


def _size(value: bytes, entry: Entry) -> int:
    found = _decimal(value)
    if found > _MAX_SIZE:
        raise ValueError(f"entry {entry.name!r} has the size {found}")
    return found


def _time(value: bytes) -> int:
    found = _TIME.fullmatch(value)
    if found is None:
        raise ValueError(f"bad time {value[:40]!r}")
    sign, seconds, fraction = found.groups()
    total = int(seconds) * 1_000_000_000 + int((fraction or b"0")[:9].ljust(9, b"0"))
    return _clamped(-total if sign else total)


# --- sparse files ----------------------------------------------------------------------------------


def _pairs(numbers: list[int], entry: Entry) -> list[tuple[int, int]]:
    if len(numbers) % 2:
        raise ValueError(f"entry {entry.name!r}: its map of pieces is damaged")
    if len(numbers) > 2 * _MAX_PIECES:
        _too_many(entry)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _too_many(entry: Entry) -> NoReturn:
    raise ValueError(f"entry {entry.name!r} has more than {_MAX_PIECES} pieces")


def _old_sparse(entry: Entry, block: bytes, file: Source) -> None:
    """The old GNU format: a map of four pieces in the header, and in blocks of 21 behind it."""
    entry.sparse = True
    numbers = [_number(block[at : at + 12]) for at in range(386, 482, 12)]
    more = block[482]
    entry.size = _number(block[483:495])
    if not 0 <= entry.size <= _MAX_SIZE:
        raise ValueError(f"entry {entry.name!r} has the size {entry.size}")
    while more:
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise ValueError("a map of pieces is cut short")
        numbers += [_number(block[at : at + 12]) for at in range(0, 504, 12)]
        entry.offset += BLOCK
        more = block[504]
        if len(numbers) > 2 * _MAX_PIECES:
            _too_many(entry)
    entry.pieces = _pairs(numbers, entry)


def _map_before_content(entry: Entry, file: Source) -> list[tuple[int, int]]:
    """Sparse format 1.0: how many pieces, then their numbers, decimal, one a line, padded to whole blocks."""
    lines: list[bytes] = []
    rest, wanted = b"", 1
    while len(lines) < wanted:
        block = file.read(BLOCK) if entry.stored >= BLOCK else b""
        *whole, rest = (rest + block).split(b"\n")
        lines += whole
        if len(block) < BLOCK or not lines or len(rest.rstrip(b"\0")) > 32:
            raise ValueError(f"entry {entry.name!r}: its map of pieces is damaged")
        entry.offset += BLOCK
        entry.stored -= BLOCK
        wanted = 1 + 2 * _decimal(lines[0])
        if wanted > 2 * _MAX_PIECES:
            _too_many(entry)
    return _pairs([_decimal(line) for line in lines[1:wanted]], entry)
