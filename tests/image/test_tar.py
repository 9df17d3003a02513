"""The reader of tars: what it reads is what was written, what is damaged is Corrupt, and nothing costs more than it
weighs."""

from __future__ import annotations

import io
import random
import tarfile
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Corrupt
from core.image import tar
from tests.image import tars
from tests.image.tars import Member


def read(data: bytes, *, need_end: bool = True) -> list[tuple[tar.Entry, bytes]]:
    """Each entry and its content, by the offsets that the entry gives."""
    file = io.BytesIO(data)
    return [(entry, data[entry.offset :][: entry.stored]) for entry in tar.entries(file, need_end=need_end)]


_any_name = st.one_of(tars.paths, tars.long_paths)
_members = st.one_of(
    tars.files(_any_name), tars.folders(_any_name), tars.links(_any_name, _any_name), tars.devices(_any_name)
)


@given(st.lists(_members, max_size=6), st.sampled_from(["gnu", "pax"]))
def test_what_is_written_is_read(members: list[Member], format: str) -> None:
    members = [tars.as_written(member, format) for member in members]
    found = read(tars.write(members, format))
    assert len(found) == len(members)
    for member, (entry, stored) in zip(members, found, strict=True):
        assert (entry.name.rstrip("/"), entry.kind, entry.linkname) == (member.name, member.kind, member.target)
        assert (entry.mode, entry.uid, entry.gid, entry.device) == (member.mode, member.uid, member.gid, member.device)
        assert (entry.mtime, entry.xattrs) == (member.mtime, member.xattrs)
        assert entry.sparse == bool(member.holes)
        assert stored == (b"".join(data for _, data in member.holes) or member.content)
        assert entry.size == len(tars.content_of(member))
        if member.holes:
            assert entry.pieces == [(offset, len(data)) for offset, data in member.holes]


_short_name = st.one_of(tars.paths, st.sampled_from(["p" * 90 + "/" + "q" * 90, "p" * 150 + "/" + "q" * 98]))


@given(st.lists(st.one_of(tars.files(_short_name), tars.folders(_short_name)), max_size=6))
def test_ustar_with_its_prefix(members: list[Member]) -> None:
    members = [tars.as_written(member, "ustar") for member in members]
    for member, (entry, stored) in zip(members, read(tars.write(members, "ustar")), strict=True):
        assert (entry.name.rstrip("/"), entry.kind, stored) == (member.name, member.kind, member.content)
        assert (entry.mode, entry.uid, entry.gid, entry.mtime) == (member.mode, member.uid, member.gid, member.mtime)


def header(name: str = "x", size: int = 0, kind: bytes = b"0", **members: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for key, value in members.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def block(data: bytes, kind: bytes) -> bytes:
    """An extended header with this content."""
    return header("ext", len(data), kind) + data + bytes(-len(data) % 512)


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


END = bytes(1024)


def test_where_readers_differ_it_is_read_as_docker_does() -> None:
    """archive/tar of Go, reader.go: next, mergePAX and the type of global headers."""
    data = (
        block(record(b"path", b"global"), b"g") + header("a")
        + block(record(b"path", b"first") + record(b"mtime", b"5"), b"x")
        + block(record(b"path", b"second"), b"x") + header("b")
        + block(record(b"path", b"pax"), b"x") + block(b"gnu\0", b"L") + header("c")
        + block(record(b"path", b"") + record(b"uid", b""), b"x") + header("d", uid=7)
        + END
    )  # fmt: skip
    found = [entry for entry, _ in read(data)]
    assert [entry.name for entry in found] == ["a", "second", "gnu", "d"]
    assert [entry.mtime for entry in found] == [0, 0, 0, 0]
    assert found[3].uid == 7


def test_formats_of_old() -> None:
    """Letters NUL and 7, folders by their slash, signed sums, star's shorter prefix, atimes in GNU's prefix."""
    star = bytearray(header("name"))
    star[257:265] = b"ustar\x0000"
    star[345:350] = b"front"
    star[476:487] = b"0" * 11
    star[508:512] = b"tar\0"
    gnu = bytearray(header("plain"))
    gnu[345:356] = b"12345670123"
    signed = bytearray(header("\udcff" * 10))
    blocks = [bytes(star), bytes(gnu), header("old/", kind=b"\0"), header("old", 3, b"\0") + b"abc" + bytes(509),
              header("contiguous", kind=b"7")]  # fmt: skip
    summed = [summed_again(data[:512]) + data[512:] for data in blocks] + [summed_again(bytes(signed), signed=True)]
    found = [(entry.name, entry.kind) for entry, _ in read(b"".join(summed) + END)]
    assert found == [
        ("front/name", tar.FILE), ("plain", tar.FILE), ("old/", tar.FOLDER), ("old", tar.FILE),
        ("contiguous", tar.FILE), ("\udcff" * 10, tar.FILE),
    ]  # fmt: skip


def summed_again(data: bytes, *, signed: bool = False) -> bytes:
    blank = data[:148] + b" " * 8 + data[156:]
    total = sum(byte - 256 if signed and byte > 127 else byte for byte in blank)
    return data[:148] + b"%06o\0 " % total + data[156:]


@pytest.mark.parametrize(
    "numbers",
    [b"0o17\0", b"+7", b"-7", b"1_0", b"9", b"0x1", b"7 7", "٣".encode(), b"\x80" + b"\xff" * 11, b"\xff" * 12],
)
def test_numbers_that_are_none(numbers: bytes) -> None:
    damaged = bytearray(header("x", 1))
    damaged[124:136] = numbers.ljust(12, b"\0")
    with pytest.raises(Corrupt):
        read(summed_again(bytes(damaged)) + bytes(512) + END)


@pytest.mark.parametrize(
    "data",
    [
        b"x", b"5 a=b\n", b"999 a=b\n", b"6 a=bc\n", b"6 abcd\n", b"5 =b\n", b"-6 a=b\n", b"0 a=b\n", b" 6 a=b\n",
        b"\0" * 10, b"6 a=b\nc=d\n", record(b"path", b"a\0b"), record(b"size", b"-1"), record(b"size", b"9" * 30),
        record(b"uid", b"0x1"), record(b"mtime", b"1e9"), record(b"mtime", b"1_0"), record(b"mtime", b"--1"),
        record(b"SCHILY.xattr.user.a\0b", b"c"), record(b"GNU.sparse.offset", b"1"),
        record(b"GNU.sparse.numbytes", b"1"), record(b"GNU.sparse.map", b"1,2,3"),
    ],
)  # fmt: skip
def test_records_that_are_none(data: bytes) -> None:
    with pytest.raises(Corrupt):
        read(block(data, b"x") + header("x", 10) + bytes(512) + END)


@pytest.mark.parametrize("kind", [b"x", b"L", b"K"])
def test_an_extended_header_belongs_to_an_entry(kind: bytes) -> None:
    with pytest.raises(Corrupt, match="cut short"):
        read(block(record(b"path", b"p"), kind) + END)


@given(st.binary(max_size=600), st.integers(0, 5), st.randoms(use_true_random=False))
def test_any_bytes_are_entries_or_corrupt(noise: bytes, cuts: int, chance: random.Random) -> None:
    data = bytearray(
        block(record(b"path", b"p" * 30), b"x") + header("a", 3) + b"abc" + bytes(509)
        + block(b"l" * 120, b"L") + header("s", kind=b"S") + END
    )  # fmt: skip
    for _ in range(cuts):
        at = chance.randrange(len(data))
        data[at : at + len(noise)] = noise
        start = at // 512 * 512
        data[start : start + 512] = summed_again(bytes(data[start : start + 512]))
    try:
        for entry, _ in read(bytes(data)):
            assert 0 <= entry.stored <= len(data)
            assert sum(length for _, length in entry.pieces) <= entry.stored
    except Corrupt:
        pass


# --- what a tar may cost ---------------------------------------------------------------------------


class Endless:
    """A tar that is made as it is read: no test should hold a gigabyte itself."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""
        self._at = 0

    def read(self, size: int, /) -> bytes:
        while len(self._rest) < size:
            more = next(self._blocks, b"")
            if not more:
                break
            self._rest += more
        data, self._rest = self._rest[:size], self._rest[size:]
        self._at += len(data)
        return data

    def tell(self) -> int:
        return self._at

    def seek(self, position: int, /) -> int:
        while self._at < position and self.read(min(1 << 20, position - self._at)):
            continue
        return self._at


def many_records(number: int) -> bytes:
    return b"".join(b"14 %03d%06d=\n" % (number, n) for n in range(60_000))


@pytest.mark.parametrize("kind", [b"g", b"x"])
def test_extended_headers_do_not_add_up_in_memory(kind: bytes) -> None:
    """tarfile keeps all of a chain, and global headers for good: of a layer of a few kilobytes that was a gigabyte."""
    chain = (block(many_records(number), kind) for number in range(6))
    tail = iter([header("a"), END])
    tracemalloc.start()
    try:
        found = [entry.name for entry in tar.entries(Endless(piece for part in (chain, tail) for piece in part))]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == ["a"]
    assert peak < 30 << 20


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "data", [b"1" * (1 << 20), b"1 " * (1 << 19), b"5 a=\n" * (1 << 17)], ids=["digits", "spaces", "records"]
)
def test_extended_headers_are_read_in_linear_time(data: bytes) -> None:
    """CVE-2024-6232: twenty minutes in tarfile, with the interpreter's lock held."""
    for kind in (b"x", b"g"):
        try:
            read(block(data, kind) + header("a") + END)
        except Corrupt:
            continue


@pytest.mark.timeout(20)
def test_maps_of_pieces_have_an_end() -> None:
    numbers = b",".join(b"%d,0" % n for n in range(70_000))
    with pytest.raises(Corrupt, match="more than 65536 pieces"):
        read(block(record(b"GNU.sparse.map", numbers), b"x") + header("a") + END)
    sparse = bytearray(header("s", kind=b"S"))
    sparse[482] = 1
    more = bytes(504) + b"\1" + bytes(7)
    with pytest.raises(Corrupt, match="more than 65536 pieces"):
        read(summed_again(bytes(sparse)) + more * 4000 + END)
