"""What a container wrote, against what lies below: Docker's ``diff``, and the layer that ``commit`` makes.

Both read the overlay's upper folder: a character device 0:0 there is a deletion, ``trusted.overlay.opaque`` a folder
that hides the one below (Documentation/filesystems/overlayfs.rst). What the engine put there as a place to mount on is
no change of the container's: empty, and at one of :data:`PLACES`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from core.archive.pack import Packer
from core.archive.sinks import Sink
from core.linux import syscalls

_INSIDE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_OPAQUE = "trusted.overlay.opaque"

#: Where the engine mounts something into every container.
PLACES = frozenset(
    "/dev /proc /sys /dev/console /dev/mqueue /dev/pts /dev/shm /etc/hostname /etc/hosts /etc/resolv.conf".split()
)


class Kind(IntEnum):
    """The numbers of Docker's API (``ContainerChangeItem``)."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


class Change(NamedTuple):
    """``path`` is absolute."""

    path: str
    kind: Kind


class _Entry(NamedTuple):
    path: str  # relative
    status: os.stat_result
    is_deletion: bool
    is_opaque: bool


def changes(upper: str, lower: int) -> list[Change]:
    """Every path that was added, changed or deleted, sorted. ``lower`` is the image's root.

    A folder counts as changed when its owner or mode did, or something in it.
    """
    found: dict[str, Kind] = {}
    for entry in _entries(upper):
        path = "/" + entry.path
        before = _status(lower, entry.path)
        if entry.is_deletion:
            if before is not None:
                found[path] = Kind.DELETED
        elif before is None:
            found[path] = Kind.ADDED
        elif not _same_folder(before, entry.status):
            found[path] = Kind.MODIFIED
        if entry.is_opaque and before is not None and stat.S_ISDIR(before.st_mode):
            found[path] = Kind.MODIFIED
            found.update(dict.fromkeys(_hidden(upper, lower, entry.path), Kind.DELETED))
    for path in list(found):
        while (path := os.path.dirname(path)) != "/":
            found.setdefault(path, Kind.MODIFIED)
    return [Change(path, found[path]) for path in sorted(found)]


def pack_layer(upper: str, lower: int, sink: Sink) -> None:
    """The changes as a layer's tar (image-spec layer.md): whiteouts for deletions, ``.wh..wh..opq`` for opaque
    folders. Folders that merely lead to a change are in it, with their owners and modes."""
    wanted = {change.path for change in changes(upper, lower)}
    packer = Packer(sink)
    folder = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for entry in _entries(upper):
            if "/" + entry.path not in wanted:
                continue
            head, slash, base = entry.path.rpartition("/")
            if entry.is_deletion:
                packer.empty(f"{head}{slash}.wh.{base}")
                continue
            packer.one(folder, entry.path, entry.path)
            if entry.is_opaque:
                packer.empty(f"{entry.path}/.wh..wh..opq")
        packer.end()
    finally:
        os.close(folder)


def _entries(upper: str) -> Iterator[_Entry]:
    """Everything in the upper folder, folders before what is in them, in the order of names."""
    waiting = [""]
    root = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while waiting:
            path = waiting.pop()
            entry = _look(root, path) if path else None
            if entry is not None:
                yield entry
            if path and (entry is None or not stat.S_ISDIR(entry.status.st_mode)):
                continue
            waiting += [f"{path}/{name}" if path else name for name in sorted(_names(root, path), reverse=True)]
    finally:
        os.close(root)


def _names(root: int, path: str) -> list[str]:
    try:
        fd = syscalls.openat2(root, path or ".", os.O_RDONLY | os.O_DIRECTORY, 0, _INSIDE)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _look(root: int, path: str) -> _Entry | None:
    """None for what has gone, and for an empty place that the engine mounts on."""
    found = _status(root, path)
    if found is None or ("/" + path in PLACES and _is_place(root, path, found)):
        return None
    deletion = stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
    return _Entry(path, found, deletion, stat.S_ISDIR(found.st_mode) and _is_opaque(root, path))


def _is_place(root: int, path: str, found: os.stat_result) -> bool:
    if stat.S_ISDIR(found.st_mode):
        return all("/" + f"{path}/{name}" in PLACES for name in _names(root, path))
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


def _status(root: int, path: str) -> os.stat_result | None:
    head, _, base = path.rpartition("/")
    try:
        parent = syscalls.openat2(root, head or ".", os.O_PATH | os.O_DIRECTORY, 0, _INSIDE)
    except OSError:
        return None
    try:
        return os.stat(base, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    finally:
        os.close(parent)


def _is_opaque(root: int, path: str) -> bool:
    try:
        fd = syscalls.openat2(root, path, os.O_RDONLY | os.O_DIRECTORY, 0, _INSIDE)
    except OSError:
        return False
    try:
        return os.getxattr(fd, _OPAQUE) == b"y"
    except OSError:
        return False
    finally:
        os.close(fd)


def _same_folder(before: os.stat_result, now: os.stat_result) -> bool:
    both = stat.S_ISDIR(before.st_mode) and stat.S_ISDIR(now.st_mode)
    return both and (before.st_mode, before.st_uid, before.st_gid) == (now.st_mode, now.st_uid, now.st_gid)


def _hidden(upper: str, lower: int, path: str) -> list[str]:
    """What an opaque folder hides and does not have itself."""
    root = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        gone = set(_names(lower, path)) - set(_names(root, path))
    finally:
        os.close(root)
    return [f"/{path}/{name}" for name in gone]
