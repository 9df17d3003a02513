"""The monitor's loop: file descriptors, each with one handler, in one thread.

Handlers must bear being called for nothing: an fd may have been closed, and its number taken by another, between
poll(2) and the call. All fds are non-blocking.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable

READ = select.POLLIN
WRITE = select.POLLOUT
GONE = select.POLLHUP | select.POLLERR

Handler = Callable[[int], object]


class Timer:
    """One call in the future."""

    def __init__(self, due: float, call: Callable[[], object]) -> None:
        self.due = due
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """It will not be called; nothing happens when it was."""
        self.cancelled = True


class Poller:
    """``watch`` an fd for READ and WRITE; its handler gets the events of poll(2), GONE always among them.

    ``call_later`` for what is to happen by time.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Handler] = {}
        #: By the time they are due. Most come in that order: each is put in from the end.
        self._timers: list[Timer] = []

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call ``call`` once, not before ``seconds`` have passed."""
        timer = Timer(time.monotonic() + seconds, call)
        place = len(self._timers)
        while place and self._timers[place - 1].due > timer.due:
            place -= 1
        self._timers.insert(place, timer)
        return timer

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Begin to watch ``fd``, or change what it is watched for."""
        self._poll.register(fd, events)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Stop watching ``fd`` (before it is closed); nothing happens when it was not watched."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def run_once(self, timeout_ms: int | None = None) -> bool:
        """Wait for events and timers and call them; False when the time was over first."""
        while self._timers and self._timers[0].cancelled:
            del self._timers[0]
        next_due = self._timers[0].due if self._timers else 0.0
        if next_due:
            wait_ms = max(0, int((next_due - time.monotonic()) * 1000) + 1)
            if timeout_ms is None or wait_ms < timeout_ms:
                timeout_ms = wait_ms
        ready = self._poll.poll(timeout_ms)
        called = self._call_due() if next_due else False
        for fd, events in ready:
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(events)
        return bool(ready) or called

    def _call_due(self) -> bool:
        now = time.monotonic()
        called = False
        while self._timers and (self._timers[0].cancelled or self._timers[0].due <= now):
            timer = self._timers.pop(0)
            if not timer.cancelled:
                timer.call()
                called = True
        return called
