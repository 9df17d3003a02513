"""A layer's tar → a folder: the same as GNU tar makes of it, and overlayfs's marks for whiteouts."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import random
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Corrupt
from core.image import layers
from tests import images
from tests.image.trees import describe, extract, gnu_tar
from tests.images import Entry, folder, hardlink, layer, symlink

pytestmark = pytest.mark.root

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def both(data: bytes, at: Path) -> tuple[dict[str, object], dict[str, object]]:
    """What the engine and what GNU tar make of ``data``."""
    extract(data, at / "ours")
    (at / "theirs").mkdir()
    gnu_tar("-xp", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", at / "theirs", input=data)
    return describe(at / "ours"), describe(at / "theirs")


def make_tree(root: Path, seed: int) -> None:
    """A tree with everything that a file system can hold; the same for the same ``seed``."""
    chance = random.Random(seed)
    folders = [os.fsencode(root)]
    files: list[bytes] = []
    for number in range(60):
        parent = chance.choice(folders)
        name = chance.choice([b"f%d", b"n\xff%d", "ü%d".encode(), b"x" * 120 + b"%d", b" %d\n", b"-%d"]) % number
        path = os.path.join(parent, name)
        kind = chance.randrange(7)
        if kind < 2:
            os.mkdir(path)
            folders.append(path)
        elif kind == 2:
            os.symlink(chance.choice([b"/etc/passwd", b"../..", b"no where", b"\xfe", b"t" * 150]), path)
        elif kind == 3 and files:
            os.link(chance.choice(files), path)
            continue
        elif kind == 4:
            os.mkfifo(path)
        elif kind == 5:
            os.mknod(path, stat.S_IFCHR, os.makedev(1, chance.randrange(3, 9)))
        else:
            Path(os.fsdecode(path)).write_bytes(chance.randbytes(chance.choice([0, 1, 511, 512, 513, 70_000])))
            files.append(path)
        os.chown(path, chance.choice([0, 1000, 2**21 + 7, 2**31]), chance.choice([0, 50, 2**22]), follow_symlinks=False)
        if kind != 2:
            os.chmod(path, chance.choice([0o644, 0o755, 0o4755, 0o2750, 0o1777, 0o0]))
        if kind in (0, 6):
            os.setxattr(path, "user.note", chance.randbytes(5))
        if kind == 6 and chance.random() < 0.5:
            os.setxattr(path, "security.capability", CAPABILITY)
    for path in [*files, *reversed(folders)]:
        when = chance.randrange(-(10**18), 2 * 10**18)
        os.utime(path, ns=(when, when))


@pytest.mark.parametrize("seed", range(6))
def test_random_trees_as_gnu_tar_unpacks_them(short_folder: Path, seed: int) -> None:
    source = short_folder / "source"
    source.mkdir()
    make_tree(source, seed)
    data = gnu_tar("-c", "--format=pax", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", source, ".")
    ours, theirs = both(data, short_folder)
    assert ours == theirs
    assert ours == describe(source)


@pytest.mark.parametrize("seed", [11, 12])
def test_random_trees_in_the_gnu_format(short_folder: Path, seed: int) -> None:
    source = short_folder / "source"
    source.mkdir()
    make_tree(source, seed)
    ours, theirs = both(gnu_tar("-c", "--format=gnu", "--numeric-owner", "-C", source, "."), short_folder)
    assert ours == theirs


_SPARSE = ["--format=gnu", *(f"--format=pax --sparse-version={version}" for version in ("0.0", "0.1", "1.0"))]


@pytest.mark.parametrize("options", _SPARSE)
def test_sparse_files(short_folder: Path, options: str) -> None:
    source = short_folder / "source"
    source.mkdir()
    with (source / "holes").open("wb") as file:
        for number in range(40):  # more than the header's four and the next block's 21
            file.seek(number * 1_000_000 + 4096)
            file.write(b"island %d" % number)
        file.truncate(50_000_000)
    (source / "only-a-hole").touch()
    os.truncate(source / "only-a-hole", 3_000_000)
    (source / "after").write_bytes(b"the next entry")
    data = gnu_tar("-cS", *options.split(), "-C", source, ".")
    assert len(data) < 2_000_000
    ours, theirs = both(data, short_folder)
    assert ours == theirs
    made = short_folder / "ours" / "holes"
    assert made.read_bytes() == (source / "holes").read_bytes()
    assert made.stat().st_blocks * 512 < 2_000_000


@pytest.mark.parametrize("format", ["v7", "oldgnu", "ustar", "posix"])
def test_old_formats(short_folder: Path, format: str) -> None:
    source = short_folder / "source"
    (source / ("d" * 60) / ("e" * 30)).mkdir(parents=True)
    (source / ("d" * 60) / ("e" * 30) / "f").write_bytes(b"x")
    data = gnu_tar("-c", f"--format={format}", "-C", source, "d" * 60)
    ours, theirs = both(data, short_folder)
    assert "d" * 60 + "/" + "e" * 30 + "/f" in ours
    for made in (ours, theirs):  # the root is named by no entry
        del made["."]
    assert ours == theirs


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_the_diff_id_is_of_the_uncompressed_tar(short_folder: Path, compression: str) -> None:
    data = layer([Entry("a", b"a" * 5000)]) + b"behind the end"
    diff_id, size = extract(images.compress(data, compression), short_folder / "x")
    assert diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert size == 5000


def test_frames_and_members_follow_each_other(short_folder: Path) -> None:
    data = layer([Entry("a", os.urandom(3_000_000))])
    half = len(data) // 2
    gz = gzip.compress(data[:half]) + bytes(700) + gzip.compress(data[half:]) + bytes(1000)
    skip = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    zst = skip + zstandard.compress(data[:half]) + skip + zstandard.compress(data[half:])
    wanted = "sha256:" + hashlib.sha256(data).hexdigest()
    assert extract(gz, short_folder / "g")[0] == wanted
    assert extract(zst, short_folder / "z")[0] == wanted


@pytest.mark.parametrize("cut", [10, 100, 20_000, 59_000])
def test_a_cut_gzip_stream_is_an_error(short_folder: Path, cut: int) -> None:
    data = gzip.compress(layer([Entry("a", random.Random(1).randbytes(60_000))]))
    with pytest.raises(Corrupt):
        extract(data[:cut], short_folder / "x")


@pytest.mark.parametrize("cut", [1, 511, 513, 700, 1024, 1025, 1536 + 3])
def test_a_cut_tar_is_an_error(short_folder: Path, cut: int) -> None:
    data = layer([Entry("a", b"x" * 700), Entry("b", b"x" * 100)])
    with pytest.raises(Corrupt, match=r"cut short|not a tar|ends in the middle"):
        extract(data[:cut], short_folder / "x")


def test_a_damaged_header_in_the_middle_is_an_error(short_folder: Path) -> None:
    data = bytearray(layer([Entry("a", b"x"), Entry("b", b"x"), Entry("c", b"x")]))
    data[1024 + 5] ^= 0xFF
    with pytest.raises(Corrupt, match="byte 1024"):
        extract(bytes(data), short_folder / "x")


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress])
def test_bzip2_and_xz(short_folder: Path, compress: Callable[[bytes], bytes]) -> None:
    data = layer([Entry("a", b"x" * 100_000), Entry("b", b"y")])
    half = len(data) // 2
    diff_id, _ = extract(compress(data[:half]) + compress(data[half:]), short_folder / "x")
    assert diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert (short_folder / "x" / "a").read_bytes() == b"x" * 100_000
    with pytest.raises(Corrupt):
        extract(compress(data)[:-20], short_folder / "y")
    with pytest.raises(Corrupt):
        extract(compress(data)[:12] + bytes(600), short_folder / "z")


# --- the same name twice ---------------------------------------------------------------------------


def test_the_later_entry_wins(short_folder: Path) -> None:
    root = short_folder / "x"
    entries = [
        Entry("a", b"first"), hardlink("b", "a"), Entry("a", b"second"),
        folder("d"), Entry("d/inner", b"gone with it"), Entry("d", b"a file"),
        symlink("l", "a"), Entry("l", b"not through the link"),
        Entry("f", b"a file"), folder("f", 0o700), Entry("f/inner", b"in it"),
        folder("k", 0o700), Entry("k/stays", b""), folder("k", 0o751),
    ]  # fmt: skip
    extract(layer(entries), root)
    assert (root / "a").read_bytes() == b"second"
    assert (root / "b").read_bytes() == b"first"
    assert (root / "d").read_bytes() == b"a file"
    assert (root / "l").read_bytes() == b"not through the link"
    assert (root / "f/inner").read_bytes() == b"in it"
    assert (root / "k/stays").exists()
    assert stat.S_IMODE((root / "k").stat().st_mode) == 0o751


def test_the_later_time_of_a_folder_wins(short_folder: Path) -> None:
    first = folder("d")._replace(pax={"mtime": "1.5"})
    later = folder("d")._replace(pax={"mtime": "-2.25"})
    extract(layer([first, Entry("d/f"), later, Entry("d/g")]), short_folder / "x")
    assert (short_folder / "x/d").stat().st_mtime_ns == -2_250_000_000


def test_a_file_given_twice_is_a_link_to_itself(short_folder: Path) -> None:
    entries = [Entry("a", b"kept"), hardlink("a", "./a"), hardlink("b", "a"), hardlink("b", "a")]
    extract(layer(entries), short_folder / "x")
    assert (short_folder / "x/a").read_bytes() == b"kept"
    assert (short_folder / "x/b").stat().st_nlink == 2


def test_folders_that_no_entry_names(short_folder: Path) -> None:
    before = os.umask(0o077)
    try:
        extract(layer([Entry("a/b/c", b"x")]), short_folder / "x")
    finally:
        os.umask(before)
    for name in ("a", "a/b"):
        assert stat.S_IMODE((short_folder / "x" / name).stat().st_mode) == 0o755


# --- whiteouts -------------------------------------------------------------------------------------


def is_mark(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def test_whiteouts_become_marks(short_folder: Path) -> None:
    root = short_folder / "x"
    extract(layer([Entry(".wh.top"), Entry("d/.wh.inner"), folder("o"), Entry("o/.wh..wh..opq")]), root)
    assert is_mark(root / "top")
    assert is_mark(root / "d/inner")
    assert is_opaque(root / "o")
    assert not is_opaque(root / "d")
    assert sorted(os.listdir(root)) == ["d", "o", "top"]


def test_a_whiteout_spares_what_its_own_layer_has(short_folder: Path) -> None:
    """image-spec layer.md: whiteouts apply to lower layers only, in whichever order they come."""
    root = short_folder / "x"
    entries = [
        Entry("file", b"mine"), Entry(".wh.file"),
        folder("before"), Entry("before/f"), Entry(".wh.before"),
        Entry(".wh.after"), folder("after"), Entry("after/f"),
        Entry(".wh.implied"), Entry("implied/f"),
        Entry(".wh.late"), Entry("late", b"mine"),
    ]  # fmt: skip
    extract(layer(entries), root)
    assert (root / "file").read_bytes() == b"mine"
    assert (root / "late").read_bytes() == b"mine"
    for name in ("before", "after", "implied"):
        assert (root / name / "f").exists()
        assert is_opaque(root / name), name


def test_bookkeeping_of_aufs_is_ignored(short_folder: Path) -> None:
    entries = [folder(".wh..wh.plnk"), Entry(".wh..wh.plnk/12.34", b"x"), Entry(".wh..wh.aufs"), Entry("a")]
    extract(layer(entries), short_folder / "x")
    assert os.listdir(short_folder / "x") == ["a"]


# --- names -----------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["", ".", "..", "a", "b", "..."]), max_size=8))
def test_clean_names(parts: list[str]) -> None:
    name = "/".join(parts)
    try:
        cleaned = layers.clean_name(name)
    except Corrupt:
        assert ".." in parts
        return
    assert not cleaned.startswith("/")
    assert {"", ".", ".."} & set(cleaned.split("/")) <= ({""} if cleaned == "" else set())
    assert layers.clean_name(cleaned) == cleaned
    assert os.path.normpath("/" + name).lstrip("/") == cleaned


_names = st.sampled_from(["a", "b", "a/b", "a/b/c", "b/a", ".wh.a", "a/.wh.b", "a/.wh..wh..opq", "./a/", "b/../a", "."])
_types = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])


@settings(max_examples=150)
@given(st.lists(st.tuples(_names, _types, st.sampled_from(["a", "b", "/", "..", "../../x", "a/b"])), max_size=12))
def test_any_sequence_unpacks_or_is_corrupt(rows: list[tuple[str, bytes, str]]) -> None:
    """Nothing but Corrupt, and nothing outside the folder."""
    import tempfile

    outer = Path(tempfile.mkdtemp())
    try:
        data = layer([Entry(name, type=kind, target=target if kind in b"12" else "") for name, kind, target in rows])
        try:
            extract(data, outer / "x")
        except Corrupt:
            pass
        assert os.listdir(outer) == ["x"]
    finally:
        shutil.rmtree(outer)


@settings(max_examples=150)
@given(st.data())
def test_any_damage_is_corrupt_or_unpacks(data: st.DataObject) -> None:
    """Bytes flipped anywhere in headers with a checksum that fits: no other exception, no endless loop."""
    import tempfile

    raw = bytearray(layer([Entry("a", b"x" * 20, pax={"SCHILY.xattr.user.a": "b"}), folder("d"), symlink("l", "a")]))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for block in range(0, len(raw), 512):
        if raw[block + 257 : block + 262] == b"ustar":
            raw[block + 148 : block + 156] = b" " * 8
            raw[block + 148 : block + 156] = b"%06o\0 " % sum(raw[block : block + 512])
    outer = Path(tempfile.mkdtemp())
    try:
        extract(bytes(raw), outer / "x")
    except Corrupt:
        pass
    finally:
        shutil.rmtree(outer)
