"""Mount targets below a root's fd: found as the kernel finds them, made without leaving the root."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.linux import paths, syscalls


@pytest.fixture
def root(short_folder: Path) -> Iterator[tuple[Path, int]]:
    folder = short_folder / "root"
    folder.mkdir()
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    yield folder, fd
    os.close(fd)


def place(fd: int) -> str:
    """Where an fd is, and close it."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


@pytest.mark.parametrize(("path", "made"), [
    ("/a/b/c", "a/b/c"), ("a/b", "a/b"), ("//a///b//", "a/b"), ("/a/../b", "b"), ("/../../../x", "x"),
    ("/a/./b/.", "a/b"),
])  # fmt: skip
def test_missing_folders_are_made(root: tuple[Path, int], path: str, made: str) -> None:
    folder, fd = root
    assert place(paths.ensure_target(fd, path, directory=True)) == str(folder / made)
    assert stat.S_IMODE((folder / made).stat().st_mode) == 0o755


def test_missing_file_is_made_in_missing_folders(root: tuple[Path, int]) -> None:
    folder, fd = root
    assert place(paths.ensure_target(fd, "/etc/deep/file", directory=False)) == str(folder / "etc/deep/file")
    assert (folder / "etc/deep/file").is_file()
    assert (folder / "etc/deep").is_dir()


@pytest.mark.parametrize(("link", "target", "path", "made"), [
    ("data", "/elsewhere", "/data/x", "elsewhere/x"),
    ("data", "../../elsewhere", "/data", "elsewhere"),
    ("a", "b/c", "/a/d", "b/c/d"),
    ("run", "/var/run", "/run/lock", "var/run/lock"),
    ("data", "/etc/../../..", "/data/x", "x"),
    ("data", ".", "/data/data/y", "y"),
])  # fmt: skip
def test_dangling_links_are_followed_inside(
    root: tuple[Path, int], link: str, target: str, path: str, made: str
) -> None:
    folder, fd = root
    (folder / link).symlink_to(target)
    assert place(paths.ensure_target(fd, path, directory=True)) == str(folder / made)
    assert os.listdir(folder.parent) == ["root"]


def test_chain_of_links(root: tuple[Path, int]) -> None:
    folder, fd = root
    for number in range(20):
        (folder / f"l{number}").symlink_to(f"l{number + 1}")
    assert place(paths.ensure_target(fd, "/l0", directory=False)) == str(folder / "l20")


def test_loops_end(root: tuple[Path, int]) -> None:
    folder, fd = root
    (folder / "a").symlink_to("b/x")
    (folder / "b").symlink_to("a/y")
    with pytest.raises(OSError) as caught:
        paths.ensure_target(fd, "/a/z", directory=True)
    assert (caught.value.errno, caught.value.filename) == (errno.ELOOP, "/a/z")


def test_a_file_in_the_way_is_named(root: tuple[Path, int]) -> None:
    folder, fd = root
    (folder / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        paths.ensure_target(fd, "/file/below", directory=True)
    assert caught.value.filename == "/file/below"


@pytest.mark.root
def test_magic_links_lead_nowhere(root: tuple[Path, int]) -> None:
    """A link through a procfs could lead to any open file: refused there, plain text without one."""
    folder, fd = root
    outside = os.open("/", os.O_PATH)
    (folder / "trick").symlink_to(f"/proc/self/fd/{outside}")
    (folder / "proc").mkdir()
    syscalls.mount("proc", str(folder / "proc"), "proc")
    try:
        with pytest.raises(OSError) as caught:
            paths.ensure_target(fd, "/trick/etc", directory=True)
        assert caught.value.errno == errno.ELOOP
    finally:
        syscalls.umount2(str(folder / "proc"))
        os.close(outside)
    text = f"{folder}/proc/self/fd/{outside}/etc"
    assert place(paths.ensure_target(fd, "/trick/etc", directory=True)) == text


def test_nothing_stays_open(root: tuple[Path, int]) -> None:
    folder, fd = root
    (folder / "loop").symlink_to("loop/x")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        os.close(paths.ensure_target(fd, "/a/b/c/d/../e", directory=False))
        with pytest.raises(OSError):
            paths.ensure_target(fd, "/loop/y", directory=True)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.root
def test_existing_targets_are_where_the_kernel_finds_them(root: tuple[Path, int]) -> None:
    """Mounts below the root are entered like folders."""
    folder, fd = root
    (folder / "m").mkdir()
    syscalls.mount("tmpfs", str(folder / "m"), "tmpfs", 0, "size=64k")
    try:
        assert place(paths.ensure_target(fd, "/m/new/../other", directory=True)) == str(folder / "m/other")
        assert (folder / "m/new").is_dir()
    finally:
        syscalls.umount2(str(folder / "m"))
    assert not list((folder / "m").iterdir())
