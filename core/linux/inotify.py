"""inotify(7): being told that a folder's files changed, without polling.

One :class:`Inotify` watches many folders; a user may have few of them (fs.inotify.max_user_instances, 128)
but many watches. Its descriptor is non-blocking, for poll(2) or an event loop's ``add_reader``.
"""

from __future__ import annotations

import ctypes
import os
import struct

IN_MODIFY = 0x002
IN_MOVED_TO = 0x080
IN_CREATE = 0x100
IN_DELETE_SELF = 0x400
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x01000000

_EVENT = struct.Struct("iIII")  # struct inotify_event: wd, mask, cookie, len; then len bytes of name
_BUFFER = 64 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """An inotify instance. ``fd`` becomes readable when something happened. Raises OSError as the kernel
    does."""

    def __init__(self) -> None:
        self.fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.fd < 0:
            raise _error("inotify")

    def add(self, path: str, mask: int) -> int:
        """Watch ``path``; the number of the watch, which is the same for the same file."""
        watch: int = _libc.inotify_add_watch(self.fd, os.fsencode(path), ctypes.c_uint32(mask))
        if watch < 0:
            raise _error(path)
        return watch

    def remove(self, watch: int) -> None:
        """End a watch; one that the kernel has ended already (its folder is gone) is no error."""
        _libc.inotify_rm_watch(self.fd, watch)

    def read(self) -> list[tuple[int, int, bytes]]:
        """What happened since the last call, as (watch, mask, name). An overflow has the watch -1."""
        events: list[tuple[int, int, bytes]] = []
        while True:
            try:
                raw = os.read(self.fd, _BUFFER)
            except BlockingIOError:
                return events
            at = 0
            while at < len(raw):
                watch, mask, _, length = _EVENT.unpack_from(raw, at)
                at += _EVENT.size + length
                events.append((watch, mask, raw[at - length : at].rstrip(b"\0")))

    def close(self) -> None:
        """Give the descriptor back; all watches end."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _error(path: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), path)
