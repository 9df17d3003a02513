"""Walking a tree that a container made, without ever leaving it.

Every folder is opened anew from the tree's root by openat2, without following any link. No recursion: a tree may be as
deep as a path can be long.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from core.linux import syscalls

_INSIDE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def size(folder: str) -> int:
    """Bytes of all files below ``folder``, hard links once; 0 when it is not there."""
    try:
        root = os.open(folder, _FOLDER)
    except OSError:
        return 0
    seen: set[tuple[int, int]] = set()
    total = 0
    try:
        for entry in walk(root):
            found = entry.status
            if stat.S_ISDIR(found.st_mode) or (found.st_dev, found.st_ino) in seen:
                continue
            seen.add((found.st_dev, found.st_ino))
            total += found.st_size
    finally:
        os.close(root)
    return total


class Entry(NamedTuple):
    """Something in a tree: ``path`` from its root, ``name`` in the open folder ``parent``, valid until the next."""

    path: str
    parent: int
    name: str
    status: os.stat_result


def walk(root: int) -> Iterator[Entry]:
    """Everything below the open folder ``root``, a folder before what is in it; what vanishes meanwhile is left out."""
    waiting = [""]
    while waiting:
        path = waiting.pop()
        try:
            fd = syscalls.openat2(root, path or ".", _FOLDER & ~os.O_NOFOLLOW, 0, _INSIDE)
        except OSError:
            continue
        try:
            for name in sorted(os.listdir(fd)):
                try:
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except OSError:
                    continue
                inner = f"{path}/{name}" if path else name
                yield Entry(inner, fd, name, status)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(inner)
        finally:
            os.close(fd)
