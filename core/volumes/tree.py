"""Trees that a container or an image made, copied and measured without ever leaving them.

Every folder is opened anew from the tree's root by openat2, without following any link: a container that swaps a
folder for a link meanwhile is answered ELOOP, never a path of the host. No recursion: a tree may be as deep as a path
can be long.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from core.linux import syscalls

_INSIDE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK = 1 << 30
#: Overlayfs's own marks: in an image of one layer, which is shown without an overlay, they would be files' attributes.
_OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")
_NO_XATTRS = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.ENODATA)


class _Directory(NamedTuple):
    """A folder that was made: its times are set when everything in it is there."""

    path: str
    found: os.stat_result


def copy(source: int, target: int) -> None:
    """Copy all below the folder ``source`` into the empty folder ``target``, and the folder's own owner and mode.

    Owners, modes, times, hard links, devices and extended attributes are kept; sockets are left out. OSError names
    what could not be copied.
    """
    links: dict[tuple[int, int], str] = {}
    made = [_Directory(".", os.fstat(source))]
    waiting = ["."]
    while waiting:
        path = waiting.pop()
        here = syscalls.openat2(source, path, _FOLDER & ~os.O_NOFOLLOW, 0, _INSIDE)
        there = syscalls.openat2(target, path, _FOLDER & ~os.O_NOFOLLOW, 0, _INSIDE)
        try:
            for name in os.listdir(here):
                found = os.stat(name, dir_fd=here, follow_symlinks=False)
                inner = f"{path}/{name}"
                if stat.S_ISDIR(found.st_mode):
                    os.mkdir(name, 0o700, dir_fd=there)
                    made.append(_Directory(inner, found))
                    waiting.append(inner)
                else:
                    _copy_one(here, there, name, found, target, links, inner)
        finally:
            os.close(here)
            os.close(there)
    for folder in reversed(made):
        _finish_folder(source, target, folder)


def _copy_one(
    here: int,
    there: int,
    name: str,
    found: os.stat_result,
    root: int,
    links: dict[tuple[int, int], str],
    path: str,
) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFSOCK or (kind == stat.S_IFCHR and found.st_rdev == 0):  # a whiteout is no file
        return
    identity = (found.st_dev, found.st_ino)
    if found.st_nlink > 1 and identity in links:
        os.link(links[identity], name, src_dir_fd=root, dst_dir_fd=there, follow_symlinks=False)
        return
    links[identity] = path
    if kind == stat.S_IFREG:
        _copy_file(here, there, name, found)
        return
    if kind == stat.S_IFLNK:
        os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
    else:
        os.mknod(name, kind | 0o600, found.st_rdev, dir_fd=there)
    os.chown(name, found.st_uid, found.st_gid, dir_fd=there, follow_symlinks=False)
    _copy_xattrs(f"/proc/self/fd/{here}/{name}", f"/proc/self/fd/{there}/{name}", follow=False)
    if kind != stat.S_IFLNK:
        os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=there)
    os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=there, follow_symlinks=False)


def _copy_file(here: int, there: int, name: str, found: os.stat_result) -> None:
    source = os.open(name, _READ, dir_fd=here)
    try:
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=there)
        try:
            _copy_data(source, target)
            _finish(source, target, found)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_data(source: int, target: int) -> None:
    """In the kernel; where the file systems cannot (EXDEV and its like), by sendfile."""
    try:
        while os.copy_file_range(source, target, _BLOCK):
            pass
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    while os.sendfile(target, source, None, _BLOCK):
        pass


def _finish(source: int, target: int, found: os.stat_result) -> None:
    """Owner first: chown takes set-user-id bits and file capabilities away."""
    os.fchown(target, found.st_uid, found.st_gid)
    os.fchmod(target, stat.S_IMODE(found.st_mode))
    _copy_xattrs(source, target)
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def _finish_folder(source: int, target: int, folder: _Directory) -> None:
    here = syscalls.openat2(source, folder.path, _FOLDER & ~os.O_NOFOLLOW, 0, _INSIDE)
    try:
        there = syscalls.openat2(target, folder.path, _FOLDER & ~os.O_NOFOLLOW, 0, _INSIDE)
        try:
            _finish(here, there, folder.found)
        finally:
            os.close(there)
    finally:
        os.close(here)


def _copy_xattrs(source: int | str, target: int | str, *, follow: bool = True) -> None:
    """What the target's file system does not take is left out, as cp -a does."""
    try:
        names = os.listxattr(source, follow_symlinks=follow)
    except OSError:
        return
    for name in names:
        if name.startswith(_OVERLAY_XATTRS):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=follow), follow_symlinks=follow)
        except OSError as error:
            if error.errno not in _NO_XATTRS:
                raise
