"""A terminal for a container, opened inside its own devpts after pivot_root.

The slave is taken from the master (TIOCGPTPEER), never by name: a path in /dev/pts could by then be something else
(CVE-2025-52565). What is opened is checked to lie on a devpts.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios

from core.errors import StartFailed
from core.linux import syscalls

_TIOCSPTLCK = 0x4004_5431
_TIOCGPTPEER = 0x5441


def open_console(rows: int = 0, columns: int = 0) -> tuple[int, int]:
    """(master, slave), both close-on-exec, sized when known. Raises StartFailed with step ``console``.

    Call it inside: the master comes from the /dev/pts of the root that this process has now (also for an exec).
    """
    try:
        master = _open_master()
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        _check_devpts(slave)
        if rows and columns:
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    except OSError as error:
        raise StartFailed(f"terminal: {error.strerror}", step="console", path="/dev/pts/ptmx") from error
    return master, slave


def _open_master() -> int:
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = os.O_RDWR | os.O_NOCTTY
        resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS
        fd = syscalls.openat2(root_fd, "dev/pts/ptmx", flags, 0, resolve)
    finally:
        os.close(root_fd)
    _check_devpts(fd)
    return fd


def _check_devpts(fd: int) -> None:
    if not stat.S_ISCHR(os.fstat(fd).st_mode) or syscalls.statfs_type(fd) != syscalls.DEVPTS_SUPER_MAGIC:
        os.close(fd)
        raise OSError(errno.ENOTTY, "it is not on a devpts", "/dev/pts/ptmx")


def bind_console(slave: int) -> None:
    """Show the slave as /dev/console: a mount on a file that is made here, or one that is no link."""
    try:
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        dev = os.open("/dev", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            try:
                os.close(os.open("console", flags | os.O_EXCL, 0o600, dir_fd=dev))
            except FileExistsError:
                pass
            target = os.open("console", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dev)
        finally:
            os.close(dev)
        try:
            if stat.S_ISLNK(os.fstat(target).st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), "/dev/console")
            copy = syscalls.open_tree(slave, "", syscalls.OPEN_TREE_CLONE)
            try:
                syscalls.move_mount(copy, target)
            finally:
                os.close(copy)
        finally:
            os.close(target)
    except OSError as error:
        raise StartFailed(f"/dev/console: {error.strerror}", step="console", path="/dev/console") from error


def take_terminal(slave: int, uid: int | None = None) -> None:
    """Make ``slave`` the controlling terminal of this new session and its fds 0, 1 and 2.

    Call ``os.setsid()`` first. With ``uid`` the terminal is given to the user, as login does, so that programs can
    open /dev/tty's other name again.
    """
    try:
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        if uid is not None:
            os.fchown(slave, uid, -1)
        for number in (0, 1, 2):
            os.dup2(slave, number)
    except OSError as error:
        raise StartFailed(f"terminal: {error.strerror}", step="console", path="/dev/console") from error
