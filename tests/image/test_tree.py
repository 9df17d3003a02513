"""What layers add, change, remove and hide, on trees made by hand."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from core.image.tree import Comparison, compare

pytestmark = pytest.mark.root


def make(folder: Path, files: dict[str, bytes | None]) -> str:
    """A layer: files with their content, None for a deletion; a name with a slash at its end is a folder."""
    folder.mkdir()
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        elif data is None:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))
        else:
            path.write_bytes(data)
    return str(folder)


def told(found: Comparison, number: int) -> list[tuple[str, str]]:
    return [(file.kind, file.path) for file in found.layers[number].files]


def counts(found: Comparison) -> list[tuple[int, int, int, int]]:
    return [(one.added, one.changed, one.removed, one.wasted) for one in found.layers]


def test_files_come_change_and_go(tmp_path: Path) -> None:
    base = make(tmp_path / "0", {"etc/a": b"1234", "etc/b": b"12", "usr/x/y": b"123", "same": b"1"})
    next_ = make(tmp_path / "1", {"etc/a": b"1", "etc/c": b"1", "usr/x": None})
    last = make(tmp_path / "2", {"etc/a": None, "etc/b": None, "nothing": None})
    found = compare([base, next_, last], 1)
    assert counts(found) == [(7, 0, 0, 0), (1, 1, 2, 7), (0, 0, 2, 3)]
    assert told(found, 1) == [
        ("changed", "/etc/a"), ("added", "/etc/c"), ("removed", "/usr/x"), ("removed", "/usr/x/y"),
    ]  # fmt: skip
    assert told(found, 0) == []
    assert [(one.path, one.size, one.times) for one in found.wasted] == [
        ("etc/a", 5, 2), ("usr/x/y", 3, 1), ("etc/b", 2, 1),
    ]  # fmt: skip


def test_an_opaque_folder_hides_what_is_below_it(tmp_path: Path) -> None:
    base = make(tmp_path / "0", {"d/old": b"12", "d/sub/x": b"1", "d/kept": b"123"})
    above = make(tmp_path / "1", {"d/kept": b"1", "d/new": b"1"})
    os.setxattr(f"{above}/d", "trusted.overlay.opaque", b"y")
    found = compare([base, above], 1)
    assert told(found, 1) == [
        ("changed", "/d/kept"), ("added", "/d/new"), ("removed", "/d/old"), ("removed", "/d/sub"),
        ("removed", "/d/sub/x"),
    ]  # fmt: skip
    assert found.layers[1].wasted == 6


def test_a_folder_changes_by_its_mode_alone(tmp_path: Path) -> None:
    base = make(tmp_path / "0", {"a/": b"", "b/": b""})
    above = make(tmp_path / "1", {"a/": b"", "b/": b""})
    os.chmod(f"{above}/b", 0o700)
    assert told(compare([base, above], 1), 1) == [("changed", "/b")]


def test_a_file_in_a_folders_place_and_back(tmp_path: Path) -> None:
    base = make(tmp_path / "0", {"x/y": b"123"})
    above = make(tmp_path / "1", {"x": b"12"})
    again = make(tmp_path / "2", {"x/y": b"1"})
    found = compare([base, above, again], 2)
    assert counts(found) == [(2, 0, 0, 0), (0, 1, 0, 3), (1, 1, 0, 2)]


def test_links_are_not_followed_and_hard_links_count_once(tmp_path: Path) -> None:
    base = make(tmp_path / "0", {"f": b"1234"})
    os.link(f"{base}/f", f"{base}/g")
    os.symlink("/", f"{base}/root")
    os.mkfifo(f"{base}/pipe")
    above = make(tmp_path / "1", {"f": None, "g": None, "root/etc": b"1"})
    found = compare([base, above], 0)
    assert {file.path: file.type for file in found.layers[0].files} == {
        "/f": "file", "/g": "file", "/root": "link", "/pipe": "fifo",
    }  # fmt: skip
    assert found.layers[1].wasted == 4


def test_a_deep_tree(tmp_path: Path) -> None:
    folder = tmp_path / "0"
    folder.mkdir()
    fd = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    found = compare([str(folder)])
    assert found.layers[0].added == 1500
    from core.image import trees

    trees.remove(str(folder))
