"""A layer's tar as an attacker writes it: nothing outside its folder is written, changed or made.

Each test has a canary beside the folder. CVE-2021-32760 and CVE-2025-47290 (chmod and writes through links),
CVE-2019-14271's kin, CVE-2025-8194 (negative sizes), bombs of every sort.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from core.errors import Corrupt, DockyardError, Exhausted
from core.image import layers, streams
from tests.image.trees import extract
from tests.images import Entry, folder, hardlink, layer, symlink

pytestmark = [pytest.mark.root, pytest.mark.security]


@pytest.fixture
def outside(short_folder: Path) -> Iterator[Path]:
    """A folder with a file that must be the same afterwards."""
    path = short_folder / "outside"
    path.mkdir(mode=0o711)
    secret = path / "canary"
    secret.write_text("untouched")
    secret.chmod(0o640)
    before = (path.stat(), secret.stat(), sorted(os.listdir(short_folder)))
    yield path
    after = (path.stat(), secret.stat())
    assert secret.read_text() == "untouched"
    for was, found in zip(before, after, strict=False):
        assert isinstance(was, os.stat_result)
        same = [(s.st_mode, s.st_uid, s.st_gid, s.st_mtime_ns, s.st_ctime_ns, s.st_nlink) for s in (was, found)]
        assert same[0] == same[1]
    assert set(os.listdir(short_folder)) <= {"outside", "x"}
    assert os.listdir(path) == ["canary"]


def attempt(entries: list[Entry], at: Path) -> None:
    """Unpack; whether it is refused does not matter where the canary is looked at."""
    try:
        extract(layer(entries), at / "x")
    except DockyardError:
        pass


@pytest.mark.parametrize("target", ["../outside", "{outside}", "../x/../outside", "/proc/self/cwd", "/proc/self/root"])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_through_a_linked_parent(short_folder: Path, outside: Path, target: str, kind: bytes) -> None:
    link = symlink("l", target.format(outside=outside))
    for name in ("l/new", "l/canary", "l/.wh.canary", "l/.wh..wh..opq"):
        attempt([link, Entry(name, type=kind, mode=0o777, uid=9, gid=9, device=(1, 3))], short_folder)
        shutil.rmtree(short_folder / "x")


@pytest.mark.parametrize("target", ["../outside/canary", "{outside}/canary"])
def test_onto_a_link(short_folder: Path, outside: Path, target: str) -> None:
    """What is written onto a link replaces it; mode, owner, times and attributes are never set through it."""
    path = target.format(outside=outside)
    attributes = {"SCHILY.xattr.user.a": "b", "mtime": "1"}
    entries = [
        symlink("a", path)._replace(mode=0o777, uid=9, pax=attributes), Entry("a", b"replaced", mode=0o777, uid=9),
        symlink("b", path), hardlink("c", "b"), Entry("c", b"replaced", mode=0o777, pax=attributes),
        symlink("d", os.path.dirname(path)), folder("d", 0o777, 9, 9),
    ]  # fmt: skip
    extract(layer(entries), short_folder / "x")
    assert (short_folder / "x/a").read_bytes() == b"replaced"
    assert (short_folder / "x/b").is_symlink()
    assert stat.S_ISDIR((short_folder / "x/d").lstat().st_mode)


def test_a_folders_time_is_not_set_through_what_replaced_it(short_folder: Path, outside: Path) -> None:
    extract(layer([folder("d"), symlink("d", "../outside")]), short_folder / "x")


@pytest.mark.parametrize(
    "linked", ["../outside/canary", "a/../../outside/canary", "{outside}/canary", "/etc/passwd", "l/canary", "nothing"]
)
def test_hard_links_lead_to_this_layer_only(short_folder: Path, outside: Path, linked: str) -> None:
    entries = [symlink("l", str(outside)), hardlink("h", linked.format(outside=outside))]
    with pytest.raises(Corrupt, match=r"leads out|not in this layer"):
        extract(layer([*entries, Entry("h", b"overwritten")]), short_folder / "x")


def test_a_hard_link_to_a_link_is_the_link(short_folder: Path, outside: Path) -> None:
    extract(layer([symlink("l", str(outside / "canary")), hardlink("h", "l")]), short_folder / "x")
    assert os.readlink(short_folder / "x/h") == str(outside / "canary")


@pytest.mark.parametrize(
    "name", ["../evil", "../outside/canary", "a/../../evil", "..", "a/../..", ".wh.../x/../../../y"]
)
def test_names_that_lead_out_are_named(short_folder: Path, outside: Path, name: str) -> None:
    with pytest.raises(Corrupt, match="leads out"):
        extract(layer([Entry(name, b"x")]), short_folder / "x")


def test_absolute_names_stay_inside(short_folder: Path, outside: Path) -> None:
    extract(layer([Entry(f"/{outside}/canary", b"inside"), Entry("//etc/x")]), short_folder / "x")
    assert Path(f"{short_folder}/x/{outside}/canary").read_bytes() == b"inside"


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh..."])
def test_whiteouts_of_nothing(short_folder: Path, outside: Path, name: str) -> None:
    with pytest.raises(Corrupt, match="names nothing"):
        extract(layer([folder("a"), Entry(name)]), short_folder / "x")


_NUL = [
    Entry("a", pax={"path": "a\0b"}),
    symlink("s", "x")._replace(pax={"linkpath": "a\0"}),
    hardlink("h", "x")._replace(pax={"linkpath": "a\0"}),
]


@pytest.mark.parametrize("entry", _NUL, ids=["name", "link", "hard link"])
def test_names_with_nul(short_folder: Path, outside: Path, entry: Entry) -> None:
    with pytest.raises(Corrupt):
        extract(layer([entry]), short_folder / "x")


def test_marks_of_overlayfs_cannot_be_forged(short_folder: Path) -> None:
    with pytest.raises(Corrupt, match="deletion mark"):
        extract(layer([Entry("a", type=tarfile.CHRTYPE, device=(0, 0))]), short_folder / "x")
    with pytest.raises(Corrupt, match="impossible device"):
        extract(layer([Entry("a", type=tarfile.CHRTYPE, device=(4096, 0))]), short_folder / "y")
    words = ("trusted.overlay.opaque", "trusted.overlay.redirect", "trusted.x", "user.overlay.opaque", "system.x",
             "security.selinux", "security.ima")  # fmt: skip
    pax = {f"SCHILY.xattr.{word}": "y" for word in words} | {"SCHILY.xattr.user.ok": "y"}
    extract(
        layer([Entry("f", pax=pax), folder("d")._replace(pax=pax), folder(".")._replace(pax=pax)]), short_folder / "z"
    )
    for name in ("f", "d", "."):
        assert os.listxattr(short_folder / "z" / name) == ["user.ok"]


# --- bombs and absurd numbers ----------------------------------------------------------------------


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header whose size is what it is, in base 256 where octal digits do not do."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (b"\x80" if size >= 0 else b"\xff") + size.to_bytes(11, "big", signed=True)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("size", [-512, -1, -(2**80), 2**63, 2**80])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, b"Z"])
def test_sizes_that_cannot_be(short_folder: Path, size: int, kind: bytes) -> None:
    data = layer([Entry("first")])[:512] + header("bad", size, kind) + bytes(2048)
    with pytest.raises(Corrupt, match=r"size|extended header"):
        extract(data, short_folder / "x")


@pytest.mark.parametrize("size", ["-512", "9" * 30, "x"])
def test_sizes_of_extended_headers(short_folder: Path, size: str) -> None:
    with pytest.raises(Corrupt):
        extract(layer([Entry("a", b"12345", pax={"size": size})])[:-8192], short_folder / "x")


def test_a_file_larger_than_the_disk(short_folder: Path) -> None:
    with pytest.raises(Exhausted, match="no space left"):
        extract(header("huge", 1 << 60) + bytes(4096), short_folder / "x")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_extended_headers_have_an_end(short_folder: Path, kind: bytes) -> None:
    with pytest.raises(Corrupt, match="extended header of 1073741824 bytes"):
        extract(header("x", 1 << 30, kind) + bytes(4096), short_folder / "x")


def test_a_chain_of_extended_headers(short_folder: Path) -> None:
    with pytest.raises(Corrupt):
        extract((header("x", 512, tarfile.XHDTYPE) + bytes(512)) * 5000, short_folder / "x")


@pytest.mark.parametrize(
    "numbers", ["1\n-5\n3\n", "2\n5\n5\n0\n5\n", "1\n0\n99999999\n", "99999999\n", "x\n", "1\n" + "1" * 600]
)
def test_maps_of_sparse_files(short_folder: Path, numbers: str) -> None:
    data = numbers.encode().ljust(1024, b"\0")
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a", "GNU.sparse.realsize": "100"}
    with pytest.raises(Corrupt):
        extract(layer([Entry("a", data + bytes(512), pax=pax)]), short_folder / "x")


def test_a_hole_of_an_exabyte_costs_nothing(short_folder: Path) -> None:
    pax = {"GNU.sparse.map": "0,5", "GNU.sparse.size": str(1 << 43), "GNU.sparse.name": "hole"}
    _, size = extract(layer([Entry("a", b"12345", pax=pax)]), short_folder / "x")
    assert size == 5
    assert (short_folder / "x/hole").stat().st_size == 1 << 43
    pax["GNU.sparse.size"] = str(1 << 61)
    with pytest.raises(Corrupt, match="hole"):
        extract(layer([Entry("a", b"12345", pax=pax)]), short_folder / "y")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_decompression_bombs(short_folder: Path, monkeypatch: pytest.MonkeyPatch, compression: str) -> None:
    monkeypatch.setattr(streams, "_FREE_GROWTH", 8 << 20)
    plain = header("zeros", 64 << 20) + bytes((64 << 20) + 1024)
    bomb = gzip.compress(plain) if compression == "gzip" else zstandard.compress(plain)
    with pytest.raises(Corrupt, match="decompression bomb"):
        extract(bomb, short_folder / "x")


def test_a_window_larger_than_memory(short_folder: Path) -> None:
    """RFC 8878 3.1.1.1.2: a frame may ask its reader for terabytes."""
    frame = b"\x28\xb5\x2f\xfd" + bytes([0x00, 31 - 10 << 3]) + bytes(100)
    with pytest.raises(Corrupt):
        extract(frame, short_folder / "x")


def test_the_disk_keeps_its_reserve(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also against many small files, none of which is large enough to be asked for."""
    monkeypatch.setattr(layers, "DISK_RESERVE", 1 << 60)
    with pytest.raises(Exhausted, match="no space left"):
        extract(layer([Entry("a")]), short_folder / "x")


@pytest.mark.parametrize("pax", [{"mtime": "nan"}, {"mtime": "inf"}, {"uid": "-1"}, {"gid": str(2**32 - 1)},
                                 {"uid": "9" * 40}])  # fmt: skip
def test_absurd_numbers(short_folder: Path, pax: dict[str, str]) -> None:
    with pytest.raises(Corrupt):
        extract(layer([Entry("a", pax=pax)]), short_folder / "x")
