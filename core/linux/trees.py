"""Walking a tree that a container made, without ever leaving it.

Every folder is opened anew from the tree's root by openat2, without following any link. No recursion: a tree may be as
deep as a path can be long.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

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
        for parent, name in _walk(root):
            try:
                found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(found.st_mode) or (found.st_dev, found.st_ino) in seen:
                continue
            seen.add((found.st_dev, found.st_ino))
            total += found.st_size
    finally:
        os.close(root)
    return total


def _walk(root: int) -> Iterator[tuple[int, str]]:
    """(open parent, name) of everything below ``root``; what vanishes meanwhile is left out."""
    waiting = ["."]
    while waiting:
        path = waiting.pop()
        try:
            fd = syscalls.openat2(root, path, _FOLDER & ~os.O_NOFOLLOW, 0, _INSIDE)
        except OSError:
            continue
        try:
            for name in os.listdir(fd):
                yield fd, name
                if _is_folder(fd, name):
                    waiting.append(f"{path}/{name}")
        finally:
            os.close(fd)


def _is_folder(parent: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except OSError:
        return False
