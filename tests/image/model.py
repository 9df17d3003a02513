"""What a layer's folder should hold, by a model in memory: written from image-spec's layer.md and tar's manual.

``Model().apply(member)`` for each; :class:`Refused` where a tar must be refused. ``describe`` is comparable with what
:func:`tests.image.trees.describe` finds on the disk. Parents are never links here: other tests are about those.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Any

from core.image import tar
from tests.image.tars import Member, content_of

_TYPES = {
    tar.FILE: stat.S_IFREG, tar.SYMLINK: stat.S_IFLNK, tar.CHAR: stat.S_IFCHR, tar.BLOCKDEV: stat.S_IFBLK,
    tar.FOLDER: stat.S_IFDIR, tar.FIFO: stat.S_IFIFO,
}  # fmt: skip
_OPAQUE = "trusted.overlay.opaque"


class Refused(Exception):
    """The tar is Corrupt at this member."""


@dataclass(eq=False)
class Node:
    kind: bytes
    mode: int = 0o755
    owner: tuple[int, int] = (0, 0)
    mtime: int | None = None
    xattrs: dict[str, bytes] = field(default_factory=dict)
    content: bytes = b""
    target: str = ""
    device: tuple[int, int] = (0, 0)
    children: dict[str, Node] = field(default_factory=dict)

    @property
    def is_mark(self) -> bool:
        return self.kind == tar.CHAR and self.device == (0, 0)


class Model:
    def __init__(self) -> None:
        self.root = Node(tar.FOLDER)

    def apply(self, member: Member) -> None:
        parts = _parts(member.name)
        if any(part.startswith(".wh..wh.") and part != ".wh..wh..opq" for part in parts):
            return
        if not parts:
            self._root(member)
            return
        *heads, base = parts
        parent = self._parent(heads)
        if base == ".wh..wh..opq":
            parent.xattrs[_OPAQUE] = b"y"
        elif base.startswith(".wh."):
            self._whiteout(parent, base[4:])
        elif member.kind == tar.HARDLINK:
            self._link(parent, base, member, parts)
        elif member.kind == tar.FOLDER:
            self._folder(parent, base, member)
        else:
            parent.children[base] = _new(member)

    def _root(self, member: Member) -> None:
        if member.kind == tar.FOLDER:
            _describe_as(self.root, member)

    def _parent(self, heads: list[str]) -> Node:
        here = self.root
        for part in heads:
            there = here.children.get(part)
            if there is None or there.is_mark:
                here.children[part] = Node(tar.FOLDER, xattrs={_OPAQUE: b"y"} if there else {})
            elif there.kind != tar.FOLDER:
                raise Refused
            here = here.children[part]
        return here

    def _whiteout(self, parent: Node, name: str) -> None:
        if name in ("", ".", ".."):
            raise Refused
        there = parent.children.get(name)
        if there is None:
            parent.children[name] = Node(tar.CHAR, 0)
        elif there.kind == tar.FOLDER:
            there.xattrs[_OPAQUE] = b"y"

    def _folder(self, parent: Node, base: str, member: Member) -> None:
        there = parent.children.get(base)
        if there is None or there.kind != tar.FOLDER:
            fresh = Node(tar.FOLDER, xattrs={_OPAQUE: b"y"} if there is not None and there.is_mark else {})
            there = parent.children[base] = fresh
        _describe_as(there, member)

    def _link(self, parent: Node, base: str, member: Member, parts: list[str]) -> None:
        linked = _parts(member.target)
        if linked == parts:
            return
        found = self._find(linked)
        if found is None or found.is_mark:
            raise Refused
        if parent.children.get(base) is found:
            return
        parent.children.pop(base, None)
        # What is replaced may be the folder that the target is in; and folders have one name only.
        if self._find(linked) is None or found.kind == tar.FOLDER:
            raise Refused
        parent.children[base] = found

    def _find(self, parts: list[str]) -> Node | None:
        here: Node | None = self.root
        for part in parts:
            here = here.children.get(part) if here is not None and here.kind == tar.FOLDER else None
        return here

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = {".": _item(self.root)}
        names: dict[int, str] = {}
        waiting = [("", self.root)]
        order: list[tuple[str, Node]] = []
        while waiting:
            path, node = waiting.pop()
            order += [(f"{path}{name}", child) for name, child in node.children.items()]
            waiting += [(f"{path}{name}/", child) for name, child in node.children.items() if child.kind == tar.FOLDER]
        for path, node in order:
            found[path] = _item(node)
            if node.kind != tar.FOLDER:
                found[path]["same as"] = names.setdefault(id(node), path)
        return found


def _parts(name: str) -> list[str]:
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                raise Refused
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return parts


def _new(member: Member) -> Node:
    node = Node(member.kind, content=content_of(member), target=member.target, device=member.device)
    _describe_as(node, member)
    if node.kind == tar.SYMLINK:
        node.mode = 0o777
    return node


def _describe_as(node: Node, member: Member) -> None:
    node.mode, node.owner, node.mtime = member.mode, (member.uid, member.gid), member.mtime
    # Others are overlayfs's and the host's own words.
    allowed = {k: v for k, v in member.xattrs.items() if k.startswith("user.") and not k.startswith("user.overlay.")}
    node.xattrs = {**node.xattrs, **allowed}


def _item(node: Node) -> dict[str, Any]:
    item: dict[str, Any] = {
        "mode": oct(_TYPES[node.kind] | node.mode),
        "owner": node.owner,
        "mtime": node.mtime,
        "xattrs": node.xattrs,
    }
    if node.kind == tar.SYMLINK:
        item["target"] = os.fsencode(node.target)
    elif node.kind == tar.FILE:
        item["content"] = node.content
    elif node.kind != tar.FOLDER:
        item["device"] = node.device
    return item
