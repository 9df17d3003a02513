"""Deleting a tree that somebody else made.

``shutil.rmtree`` goes down by recursion (until Python 3.13) or keeps a descriptor open for each level, and a container
can nest folders as deep as it likes. Here what lies too deep is moved up first; no link is ever followed.
"""

from __future__ import annotations

import os

_DEEPEST = 64
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(path: str, parent: int | None = None) -> None:
    """Delete the folder ``path`` (relative to ``parent``) and all that is in it. OSError when something resists."""
    top = os.open(path, _FLAGS, dir_fd=parent)
    try:
        moved = 0
        # Each round takes the tree down by 64 levels: what lay deeper is a folder of the top by then.
        while True:
            before = moved
            moved = _empty(top, top, 0, moved)
            if moved == before:
                break
    finally:
        os.close(top)
    os.rmdir(path, dir_fd=parent)


def _empty(top: int, folder: int, depth: int, moved: int) -> int:
    for name in os.listdir(folder):
        try:
            os.unlink(name, dir_fd=folder)
            continue
        except IsADirectoryError:
            pass
        if depth == _DEEPEST:
            os.rename(name, f".moved-{os.urandom(8).hex()}-{moved}", src_dir_fd=folder, dst_dir_fd=top)
            moved += 1
            continue
        inner = os.open(name, _FLAGS, dir_fd=folder)
        try:
            moved = _empty(top, inner, depth + 1, moved)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=folder)
    return moved


def discard(path: str) -> None:
    """As :func:`remove`, of what may be gone already or partly; what resists is left for the next sweep."""
    try:
        remove(path)
    except OSError:
        return
