"""Network namespaces: entering one for a moment, as network_namespaces(7) allows each thread to."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from core.linux import syscalls

_T = TypeVar("_T")

#: The namespace that this process was started in; opened once, so that the way back never fails for want of an fd.
_home = -1


def inside(fd: int, work: Callable[[], _T]) -> _T:
    """The result of ``work``, done in the network namespace ``fd``.

    Only this thread goes there, and it must not await or hand over while it is there. Sockets and netlink contexts
    that ``work`` opens stay in that namespace. ``/proc/sys/net`` is that namespace's too; ``/sys/class/net`` is not.
    """
    global _home
    if _home < 0:
        _home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    syscalls.setns(fd, syscalls.CLONE_NEWNET)
    try:
        return work()
    finally:
        syscalls.setns(_home, syscalls.CLONE_NEWNET)


def open_of(pid: int) -> int:
    """The network namespace of a process, as a file descriptor the caller closes. Raises OSError."""
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
