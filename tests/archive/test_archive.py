"""Packing, unpacking and comparing trees, without a container around them."""

from __future__ import annotations

import io
import os
import socket
import stat
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.archive import changes, lookup, unpack
from core.archive.pack import Packer
from core.archive.sinks import ChunkedSink, FileSink, ShrunkFile
from core.errors import Corrupt, InvalidArgument, NotFound, Unavailable


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


class Memory:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def send_file(self, fd: int, size: int) -> None:
        data = os.read(fd, size)
        if len(data) < size:
            raise ShrunkFile
        self.data += data

    def entries(self) -> dict[str, tarfile.TarInfo]:
        with tarfile.open(fileobj=io.BytesIO(self.data), errors="surrogateescape") as archive:
            return {entry.name: entry for entry in archive.getmembers()}


def packed(folder: int, name: str = "top") -> Memory:
    sink = Memory()
    packer = Packer(sink)
    packer.tree(folder, name)
    packer.end()
    return sink


# --- pack ------------------------------------------------------------------------------------------


def test_every_kind_of_file(root: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 1000)
    os.link(tmp_path / "f", tmp_path / "hard")
    (tmp_path / "soft").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (tmp_path / "d").mkdir(mode=0o1777)
    os.chmod(tmp_path / "d", 0o1777)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    sock.close()
    os.setxattr(tmp_path / "f", "user.note", b"\xff1")
    found = packed(root).entries()
    assert list(found) == ["top", "top/d", "top/f", "top/hard", "top/null", "top/pipe", "top/soft"]
    assert found["top/f"].size == 1000
    assert found["top/f"].pax_headers["SCHILY.xattr.user.note"].encode("utf-8", "surrogateescape") == b"\xff1"
    assert found["top/hard"].islnk()
    assert found["top/hard"].linkname == "top/f"
    assert found["top/soft"].linkname == "/etc/passwd"
    assert found["top/pipe"].isfifo()
    assert (found["top/null"].devmajor, found["top/null"].devminor) == (1, 3)
    assert found["top/d"].mode == 0o1777


def test_names_of_any_bytes_and_length(root: int) -> None:
    long = b"n" * 250
    for name in (b"\xff\xfe", long):
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=root))
    names = {os.fsencode(name) for name in packed(root).entries()}
    assert names == {b"top", b"top/\xff\xfe", b"top/" + long}


def test_a_file_that_shrinks_is_said(root: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 100)

    class Shrinking(Memory):
        def send_file(self, fd: int, size: int) -> None:
            os.truncate(tmp_path / "f", 10)
            super().send_file(fd, size)

    with pytest.raises(Unavailable, match="top/f became shorter"):
        Packer(Shrinking()).tree(root, "top")


# --- sinks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 5, 300_000])
def test_chunks(tmp_path: Path, size: int) -> None:
    ours, theirs = socket.socketpair()
    (tmp_path / "f").write_bytes(b"z" * size)
    got: list[bytes] = []

    def read() -> None:
        while block := theirs.recv(1 << 16):
            got.append(block)

    reader = threading.Thread(target=read)
    reader.start()
    sink = ChunkedSink(ours)
    sink.write(b"abc")
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    if size:
        sink.send_file(fd, size)
    os.close(fd)
    sink.finish()
    ours.close()
    reader.join(10)
    theirs.close()
    assert dechunked(b"".join(got)) == b"abc" + b"z" * size


def dechunked(data: bytes) -> bytes:
    whole = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        if not int(size, 16):
            assert data == b"\r\n"
            return whole
        whole += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]


def test_a_client_that_left(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    sink = ChunkedSink(ours)
    with pytest.raises(Unavailable, match="does not take the archive"):
        sink.finish()
    ours.close()


# --- lookup ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "clean", "base"),
    [
        ("", "/", "/"),
        ("/", "/", "/"),
        (".", "/.", "."),
        ("a/../..", "/", "/"),
        ("/a//b/", "/a/b/", "b"),
        ("/a/b/.", "/a/b/.", "."),
        ("//a", "/a", "a"),
    ],
)
def test_clean(path: str, clean: str, base: str) -> None:
    assert lookup.clean(path) == clean
    assert lookup.base(clean) == base


def test_links_are_shown_and_followed_inside(root: int, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("x")
    (tmp_path / "l").symlink_to("/d")
    (tmp_path / "out").symlink_to("../../../etc")
    (tmp_path / "round").symlink_to("round")
    assert lookup.look(root, "/l", "box").link_target == "/d"
    assert lookup.look(root, "/l/f", "box").status.st_size == 1
    assert lookup.look(root, "/l/.", "box").is_folder
    assert lookup.look(root, "/out", "box").link_target == "/etc"
    assert lookup.look(root, "/round", "box").name == "round"
    with pytest.raises(NotFound, match="Could not find the file /out/passwd in container box"):
        lookup.look(root, "/out/passwd", "box")
    with pytest.raises(InvalidArgument, match="not a directory"):
        lookup.look(root, "/d/f/", "box")
    with pytest.raises(InvalidArgument, match="NUL"):
        lookup.look(root, "/d\0", "box")


# --- unpack ----------------------------------------------------------------------------------------


def tar_of(*entries: tarfile.TarInfo) -> list[bytes]:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for entry in entries:
            made.addfile(entry, io.BytesIO(b"x" * entry.size))
    return [file.getvalue()]


def entry(name: str, kind: bytes = tarfile.REGTYPE, **members: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    made.size = 3 if kind == tarfile.REGTYPE else 0
    for key, value in members.items():
        setattr(made, key, value)
    return made


def test_what_is_packed_can_be_unpacked(tmp_path: Path) -> None:
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    (tmp_path / "from" / "d").mkdir(mode=0o700)
    (tmp_path / "from" / "d" / "f").write_text("content")
    os.chown(tmp_path / "from" / "d" / "f", 12, 34)
    folder = os.open(tmp_path / "from", os.O_RDONLY)
    data = packed(folder, "d2").data
    target = os.open(tmp_path, os.O_RDONLY)
    unpack.unpack(target, "/to", "box", iter([data[:700], data[700:]]), unpack.Options())
    found = (tmp_path / "to" / "d2" / "d" / "f").stat()
    assert (found.st_uid, found.st_gid, found.st_size) == (12, 34, 7)
    unpack.unpack(target, "/to", "box", iter([data]), unpack.Options(owner=(5, 6)))
    assert (tmp_path / "to" / "d2" / "d" / "f").stat().st_uid == 5
    os.close(folder)
    os.close(target)


def test_kinds_replace_each_other_unless_they_are_kept(root: int, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "in").write_text("")
    (tmp_path / "f").write_text("")
    kept = unpack.Options(keep_kinds=True)
    with pytest.raises(InvalidArgument, match="cannot overwrite directory"):
        unpack.unpack(root, "/", "box", iter(tar_of(entry("d"))), kept)
    with pytest.raises(InvalidArgument, match="cannot overwrite non-directory"):
        unpack.unpack(root, "/", "box", iter(tar_of(entry("f", tarfile.DIRTYPE))), kept)
    unpack.unpack(root, "/", "box", iter(tar_of(entry("d"), entry("f", tarfile.DIRTYPE))), unpack.Options())
    assert (tmp_path / "d").read_text() == "xxx"
    assert (tmp_path / "f").is_dir()


def test_a_link_that_was_put_in_the_way_is_replaced_and_not_followed(root: int, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("v")
    (tmp_path / "a").symlink_to(tmp_path / "victim")
    unpack.unpack(root, "/", "box", iter(tar_of(entry("a", mode=0o777))), unpack.Options())
    assert (tmp_path / "victim").read_text() == "v"
    assert (tmp_path / "a").read_text() == "xxx"


@pytest.mark.parametrize("name", ["../x", "a/../../x"])
def test_names_that_lead_out(root: int, name: str) -> None:
    with pytest.raises(Corrupt, match="leads out"):
        unpack.unpack(root, "/", "box", iter(tar_of(entry("ok"), entry(name))), unpack.Options())


def test_what_is_no_tar(root: int) -> None:
    with pytest.raises(Corrupt):
        unpack.unpack(root, "/", "box", iter([b"\xff" * 1024]), unpack.Options())


def test_the_target_must_be_a_folder(root: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(InvalidArgument):
        unpack.unpack(root, "/f", "box", iter(tar_of(entry("a"))), unpack.Options())
    with pytest.raises(NotFound, match="/none"):
        unpack.unpack(root, "/none", "box", iter(tar_of(entry("a"))), unpack.Options())


def test_the_feed_says_when_enough_waits() -> None:
    calls: list[int] = []
    feed = unpack.Feed(lambda: calls.append(1))
    assert feed.put(b"a" * (4 << 20))
    assert not feed.put(b"b" * (5 << 20))
    feed.end()
    assert [len(chunk) for chunk in feed] == [4 << 20, 5 << 20]
    assert calls == [1]
    broken = unpack.Feed(lambda: None)
    broken.end(ConnectionAbortedError("gone"))
    with pytest.raises(ConnectionAbortedError):
        list(broken)


# --- changes ---------------------------------------------------------------------------------------


def test_changes_and_their_layer(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for folder in (
        lower / "etc",
        lower / "old",
        lower / "same",
        upper / "etc",
        upper / "old",
        upper / "dev",
        upper / "same",
    ):
        folder.mkdir(parents=True)
    for name in ("etc/passwd", "etc/group", "old/hidden", "old/again"):
        (lower / name).write_text("x")
    (upper / "etc/passwd").write_text("y")
    (upper / "etc/new").write_text("n")
    (upper / "etc/hosts").write_text("")
    os.mknod(upper / "etc/group", stat.S_IFCHR, os.makedev(0, 0))
    os.setxattr(upper / "old", "trusted.overlay.opaque", b"y")
    (upper / "old/again").write_text("a")
    root = os.open(lower, os.O_RDONLY | os.O_DIRECTORY)
    found = {change.path: change.kind.name for change in changes.changes(str(upper), root)}
    assert found == {
        "/etc": "MODIFIED", "/etc/passwd": "MODIFIED", "/etc/new": "ADDED", "/etc/group": "DELETED",
        "/old": "MODIFIED", "/old/again": "MODIFIED", "/old/hidden": "DELETED",
    }  # fmt: skip
    sink = Memory()
    changes.pack_layer(str(upper), root, sink)
    os.close(root)
    assert set(sink.entries()) == {
        "etc", "etc/passwd", "etc/new", "etc/.wh.group", "old", "old/.wh..wh..opq", "old/again",
    }  # fmt: skip


def test_a_file_sink_gathers_small_pieces(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    (tmp_path / "in").write_bytes(b"f" * 10)
    source = os.open(tmp_path / "in", os.O_RDONLY)
    sink = FileSink(fd)
    sink.write(b"a")
    sink.send_file(source, 10)
    sink.write(b"b")
    sink.flush()
    assert (tmp_path / "out").read_bytes() == b"a" + b"f" * 10 + b"b"
    with pytest.raises(ShrunkFile):
        sink.send_file(source, 1)
    os.close(fd)
    os.close(source)
