"""First use: the image's content at a volume's path is copied into the volume while that is empty.

The image is mounted read-only in a mount namespace that belongs to one thread and ends with it: nothing is mounted on
the host, and the old way of mounting (mount(2), relative to the working directory) works there as well. The path is
looked up inside that root by openat2, so that a link in the image leads nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from core.errors import InvalidArgument, from_os_error
from core.linux import rootfs, syscalls
from core.linux.mounts import RootfsMount
from core.volumes import tree


def fill(pieces: list[RootfsMount], at: str, path: str, target: str, staging: str) -> bool:
    """Copy what the image ``pieces`` has at ``path`` into the folder ``target`` if that is empty. Blocks.

    ``at`` is an empty folder to mount on, privately. With ``staging`` (a path beside ``target``) the copy is made
    there and takes the target's place in one step, and is the caller's to remove after a failure; without, it is made
    in place. Returns whether something was copied. Raises InvalidArgument when the image has a file there.
    """
    if os.listdir(target):
        return False
    return _in_private_mounts(lambda: _fill(pieces, at, path, target, staging))


def _fill(pieces: list[RootfsMount], at: str, path: str, target: str, staging: str) -> bool:
    root = rootfs.mount_root([_read_only(piece) for piece in pieces], None, at)
    source = -1
    try:
        source = _open_folder(root, path)
        if source < 0:
            return False
        if staging:
            os.mkdir(staging, 0o700)
        _copy_to(source, staging or target)
        if staging:
            os.rename(staging, target)
        return True
    except OSError as error:
        raise from_os_error(error, f"copy the image's {path} into the volume") from error
    finally:
        for fd in (source, root):
            if fd >= 0:
                os.close(fd)


def _copy_to(source: int, folder: str) -> None:
    target = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        tree.copy(source, target)
    finally:
        os.close(target)


def _read_only(piece: RootfsMount) -> RootfsMount:
    """The piece without a place to write to; ephemeral ones keep theirs, which is a tmpfs of their own."""
    if piece.get("ephemeral"):
        return piece
    return {"target": piece["target"], "lower": piece["lower"]}


def _open_folder(root: int, path: str) -> int:
    """-1 when the image has nothing there. InvalidArgument for a file."""
    try:
        return syscalls.open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return -1
    except NotADirectoryError:
        raise InvalidArgument(f"cannot mount volume over existing file, file exists {path}") from None


def _in_private_mounts(do: Callable[[], bool]) -> bool:
    """``do`` in a thread with mounts and a working directory of its own; its error is raised here."""

    def apart() -> bool:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        return do()

    # Its one thread ends with the pool, and its mounts with the thread.
    with ThreadPoolExecutor(1, "copy-up") as pool:
        done = pool.submit(apart)
    return done.result()
