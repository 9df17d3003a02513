"""The monitor's loop: file descriptors, each with one handler, in one thread.

Handlers must bear being called for nothing: an fd may have been closed, and its number taken by another, between
poll(2) and the call. All fds are non-blocking.
"""

from __future__ import annotations

import select
from collections.abc import Callable

READ = select.POLLIN
WRITE = select.POLLOUT
GONE = select.POLLHUP | select.POLLERR

Handler = Callable[[int], object]


class Poller:
    """``watch`` an fd for READ and WRITE; its handler gets the events of poll(2), GONE always among them."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Handler] = {}

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Begin to watch ``fd``, or change what it is watched for."""
        self._poll.register(fd, events)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Stop watching ``fd`` (before it is closed); nothing happens when it was not watched."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def run_once(self, timeout_ms: int | None = None) -> bool:
        """Wait for events and call the handlers; False when the time was over first."""
        ready = self._poll.poll(timeout_ms)
        for fd, events in ready:
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(events)
        return bool(ready)
