"""What each layer of an image adds, changes and removes, and what bytes lie hidden below others.

A file that a later layer replaces or removes still lies in its own: those bytes are downloaded and stored for nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from core.linux import trees

_OPAQUE = "trusted.overlay.opaque"
_MOST_WASTED = 50
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "char device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


class File(NamedTuple):
    """One path of a layer. ``kind`` is added, changed or removed; ``size`` in bytes, of what was removed before."""

    path: str
    kind: str
    type: str
    mode: int
    size: int


@dataclass
class Layer:
    """Counts of paths, and ``wasted``: bytes of layers below that this one hides. ``files`` when they are wanted."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    wasted: int = 0
    files: list[File] = field(default_factory=list)


class Wasted(NamedTuple):
    """A path whose bytes are hidden so many ``times``."""

    path: str
    size: int
    times: int


@dataclass
class Comparison:
    """All layers, base first, and the paths with the most hidden bytes."""

    layers: list[Layer]
    wasted: list[Wasted]


class _Node:
    """A path of the image as the layers so far make it."""

    __slots__ = ("children", "mode", "owner", "size")

    def __init__(self, status: os.stat_result, size: int) -> None:
        self.mode, self.size = status.st_mode, size
        self.owner = (status.st_uid, status.st_gid)
        self.children: dict[str, _Node] | None = {} if stat.S_ISDIR(status.st_mode) else None


def compare(folders: Sequence[str], wanted: int = -1) -> Comparison:
    """Compare the layers in ``folders``, base first; the files of layer number ``wanted`` are listed.

    In a thread: a large image takes seconds.
    """
    return _Comparer().run(folders, wanted)


class _Comparer:
    def __init__(self) -> None:
        self._top: dict[str, _Node] = {}
        self._hidden: dict[str, tuple[int, int]] = {}

    def run(self, folders: Sequence[str], wanted: int) -> Comparison:
        layers = []
        for number, folder in enumerate(folders):
            layer = Layer()
            root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._apply(root, layer, number == wanted)
            finally:
                os.close(root)
            layer.files.sort()
            layers.append(layer)
        found = (Wasted(path, size, times) for path, (size, times) in self._hidden.items() if size)
        return Comparison(layers, sorted(found, key=lambda one: (-one.size, one.path))[:_MOST_WASTED])

    def _apply(self, root: int, layer: Layer, listed: bool) -> None:
        links: set[int] = set()
        if _is_opaque(root, "."):
            self._hide_rest(layer, listed, "", self._top, set(os.listdir(root)))
        for entry in trees.walk(root):
            siblings = self._siblings(entry.path)
            if siblings is None:
                continue  # below something that is no folder any more
            before = siblings.get(entry.name)
            if _is_deletion(entry.status):
                if before is not None:
                    self._remove(layer, listed, entry.path, siblings.pop(entry.name))
                continue
            size = entry.status.st_size if stat.S_ISREG(entry.status.st_mode) else 0
            if entry.status.st_nlink > 1 and size:
                size = 0 if entry.status.st_ino in links else size
                links.add(entry.status.st_ino)
            node = _Node(entry.status, size)
            if before is not None and before.children is not None and node.children is not None:
                self._merge(layer, listed, entry, before, node)
                siblings[entry.name] = node
                continue
            siblings[entry.name] = node
            if before is None:
                layer.added += 1
            else:
                layer.changed += 1
                self._waste(layer, entry.path, before)
            self._list(layer, listed, entry.path, "added" if before is None else "changed", node)

    def _merge(self, layer: Layer, listed: bool, entry: trees.Entry, before: _Node, node: _Node) -> None:
        """A folder over a folder keeps what is in it, unless it hides that."""
        node.children = before.children
        if _is_opaque(entry.parent, entry.name):
            kept = set(os.listdir(f"/proc/self/fd/{entry.parent}/{entry.name}"))
            self._hide_rest(layer, listed, entry.path, node.children or {}, kept)
        if (before.mode, before.owner) != (node.mode, node.owner):
            layer.changed += 1
            self._list(layer, listed, entry.path, "changed", node)

    def _siblings(self, path: str) -> dict[str, _Node] | None:
        found: dict[str, _Node] | None = self._top
        for part in path.split("/")[:-1]:
            node = found.get(part) if found is not None else None
            found = node.children if node is not None else None
        return found

    def _hide_rest(self, layer: Layer, listed: bool, path: str, children: dict[str, _Node], kept: set[str]) -> None:
        for name in [name for name in children if name not in kept]:
            self._remove(layer, listed, f"{path}/{name}" if path else name, children.pop(name))

    def _remove(self, layer: Layer, listed: bool, path: str, node: _Node) -> None:
        for inner, one in _below(path, node):
            layer.removed += 1
            self._waste_one(layer, inner, one)
            self._list(layer, listed, inner, "removed", one)

    def _waste(self, layer: Layer, path: str, node: _Node) -> None:
        for inner, one in _below(path, node):
            self._waste_one(layer, inner, one)

    def _waste_one(self, layer: Layer, path: str, node: _Node) -> None:
        layer.wasted += node.size
        size, count = self._hidden.get(path, (0, 0))
        self._hidden[path] = (size + node.size, count + 1)

    @staticmethod
    def _list(layer: Layer, listed: bool, path: str, kind: str, node: _Node) -> None:
        if listed:
            name = _KINDS.get(stat.S_IFMT(node.mode), "other")
            layer.files.append(File("/" + path, kind, name, stat.S_IMODE(node.mode), node.size))


def _below(path: str, node: _Node) -> Iterator[tuple[str, _Node]]:
    """A path and all below it, without recursion."""
    waiting = [(path, node)]
    while waiting:
        path, node = waiting.pop()
        yield path, node
        for name, child in (node.children or {}).items():
            waiting.append((f"{path}/{name}", child))


def _is_deletion(status: os.stat_result) -> bool:
    """overlayfs's own mark."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(parent: int, name: str) -> bool:
    try:
        return os.getxattr(f"/proc/self/fd/{parent}/{name}", _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False
