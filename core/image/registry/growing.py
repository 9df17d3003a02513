"""A file that one side writes while the other reads it.

A pull unpacks a layer while it comes; a push sends one while it is compressed. The reader of the first and the writer
of the second are threads, the other side is the event loop.
"""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator

from core.errors import DockyardError


class Growing(io.RawIOBase):
    """Read by a thread: blocks for what has not come yet. Seekable within what has."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._changed = threading.Condition()
        self._length = 0
        self._whole = False
        self._error: BaseException | None = None
        self._at = 0

    def grow(self, length: int) -> None:
        """The first ``length`` bytes are there."""
        with self._changed:
            self._length = length
            self._changed.notify_all()

    def complete(self) -> None:
        """All of it is there."""
        with self._changed:
            self._whole = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """No more will come: readers get ``error``."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    @property
    def position(self) -> int:
        """How far it was read."""
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET:
            raise io.UnsupportedOperation("seek from the start only")
        self._at = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, at least one before the end."""
        with self._changed:
            while self._length <= self._at and not self._whole and self._error is None:
                self._changed.wait()
            if self._error is not None:
                raise self._error
            left = self._length - self._at
        data = os.pread(self._fd, left if size < 0 else min(size, left), self._at)
        self._at += len(data)
        return data


class Spool:
    """Written by a thread, read by the loop, from any place and as often as it takes."""

    def __init__(self, fd: int, loop: asyncio.AbstractEventLoop) -> None:
        self._fd = fd
        self._loop = loop
        self._changed = asyncio.Event()
        self.length = 0
        self._whole = False
        self._stopped = False
        self._error: BaseException | None = None

    def stop(self) -> None:
        """Nobody reads any more."""
        self._stopped = True

    def write(self, data: bytes) -> None:
        """In the thread: append. Raises :class:`Abandoned` when nobody reads any more."""
        if self._stopped:
            raise Abandoned("given up")
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        self._loop.call_soon_threadsafe(self._grow, len(data))

    @property
    def error(self) -> BaseException | None:
        """What ended the writing before its end."""
        return self._error

    async def written(self) -> None:
        """Wait for the end of the writing; raises what ended it early."""
        while not self._whole:
            self._changed.clear()
            await self._changed.wait()
        if self._error is not None:
            raise self._error

    def _grow(self, count: int) -> None:
        self.length += count
        self._changed.set()

    def finish(self, error: BaseException | None = None) -> None:
        """On the loop: all was written, or ``error`` happened."""
        self._error = error
        self._whole = True
        self._changed.set()

    async def read(self, offset: int, block: int = 1 << 20) -> AsyncIterator[bytes]:
        """Everything from ``offset`` on, as it comes; raises what ended the writing."""
        while True:
            if offset < self.length:
                data = os.pread(self._fd, min(block, self.length - offset), offset)
                offset += len(data)
                yield data
            elif self._error is not None:
                raise self._error
            elif self._whole:
                return
            else:
                self._changed.clear()
                await self._changed.wait()


class Abandoned(DockyardError):
    """The other side was given up; whoever waits for the result is told something better."""

    kind = "abandoned"
