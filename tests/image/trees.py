"""Unpacking for the tests, and what a tree consists of."""

from __future__ import annotations

import io
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

from core.image import layers
from core.image.streams import CHUNK


def extract(data: bytes, folder: Path) -> tuple[str, int]:
    """``data`` unpacked by the engine into the new ``folder``."""
    folder.mkdir()
    return layers.extract(io.BytesIO(data), str(folder))


def gnu_tar(*args: str | Path, **options: Any) -> bytes:
    """GNU tar, as root would use it; its output."""
    done = subprocess.run(["tar", *map(str, args)], capture_output=True, **options)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return bytes(done.stdout)


def describe(root: Path) -> dict[str, Any]:
    """Every path of a tree → all that an image keeps of it. Links of one file name the first of them."""
    found: dict[str, Any] = {}
    inodes: dict[int, str] = {}
    base = os.fsencode(root)
    for folder, folders, files in os.walk(base):
        folders.sort()
        for name in sorted([*folders, *files, b"."]):
            path = os.path.normpath(os.path.join(folder, name))
            if name == b"." and path != base:
                continue
            shown = os.fsdecode(os.path.relpath(path, base))
            found[shown] = _one(path, shown, inodes)
    return found


def _one(path: bytes, shown: str, inodes: dict[int, str]) -> dict[str, Any]:
    status = os.lstat(path)
    item: dict[str, Any] = {
        "mode": oct(status.st_mode),
        "owner": (status.st_uid, status.st_gid),
        "mtime": status.st_mtime_ns,
        "xattrs": {key: os.getxattr(path, key, follow_symlinks=False) for key in _xattrs(path)},
    }
    if stat.S_ISLNK(status.st_mode):
        item["target"] = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        item["content"] = Path(os.fsdecode(path)).read_bytes() if status.st_size < 8 * CHUNK else status.st_size
    elif not stat.S_ISDIR(status.st_mode):
        item["device"] = (os.major(status.st_rdev), os.minor(status.st_rdev))
    if not stat.S_ISDIR(status.st_mode):
        item["same as"] = inodes.setdefault(status.st_ino, shown)
    return item


def _xattrs(path: bytes) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))
