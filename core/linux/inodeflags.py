"""Attributes of folders that ext4 and others keep in the inode (ioctl_iflags(2))."""

from __future__ import annotations

import fcntl
import os

_GET = 0x80086601  # FS_IOC_GETFLAGS
_SET = 0x40086602  # FS_IOC_SETFLAGS
_TOPDIR = 0x00020000  # FS_TOPDIR_FL


def spread(folder: str) -> bool:
    """Let the folders made in ``folder`` lie far apart on the disk; whether the file system does that.

    ext4 puts what is made in a folder near it. Where many files were deleted a moment ago that is slow: an inode is not
    given out again for minutes (``recently_deleted`` in fs/ext4/ialloc.c), and each new file looks through all of
    them. A tree that is unpacked, removed and unpacked again took three times as long the third time.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = bytearray(8)
        fcntl.ioctl(fd, _GET, flags)
        value = int.from_bytes(flags[:4], "little")
        if not value & _TOPDIR:
            fcntl.ioctl(fd, _SET, (value | _TOPDIR).to_bytes(8, "little"))
        return True
    except OSError:
        return False  # tmpfs, xfs, btrfs: they do it in their own way
    finally:
        os.close(fd)
