"""Blobs that are still coming: ``<root>/ingest/<hex>``, kept over a broken pull and over the daemon's death.

A file holds the blob's first bytes. Nothing is believed of them: the digest is of the whole, and is checked when the
last byte is there. What nobody went on with for a week is swept.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.errors import from_os_error
from core.image.content import check_digest

#: Seconds that a broken-off blob waits for the next pull.
KEPT = 7 * 24 * 3600


class Ingest:
    """One blob's file, ours alone meanwhile. ``length`` bytes of ``size`` are there."""

    def __init__(self, fd: int, digest: str, size: int, length: int) -> None:
        self.fd = fd
        self.digest = digest
        self.size = size
        self.length = length
        self.is_done = False

    def restart(self) -> None:
        """Forget what is there."""
        os.ftruncate(self.fd, 0)
        self.length = 0


class Ingests:
    """All of them. One at a time goes on with a blob; a second pull of it waits, and finds it done."""

    def __init__(self, root: str) -> None:
        self._folder = os.path.join(root, "ingest")
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def lock(self, digest: str) -> AsyncIterator[None]:
        """Nobody else goes on with this blob meanwhile."""
        lock = self._locks.setdefault(digest, asyncio.Lock())
        self._users[digest] = self._users.get(digest, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._users[digest] -= 1
            if not self._users[digest]:
                del self._users[digest], self._locks[digest]

    def is_busy(self, digest: str) -> bool:
        """Whether somebody goes on with it now."""
        return digest in self._locks and self._locks[digest].locked()

    @asynccontextmanager
    async def open(self, digest: str, size: int) -> AsyncIterator[Ingest]:
        """The blob's file, under its lock. It stays when the block is left before ``is_done`` is set."""
        path = os.path.join(self._folder, check_digest(digest))
        async with self.lock(digest):
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise from_os_error(error, "open") from error
            ingest = Ingest(fd, digest, size, min(os.fstat(fd).st_size, size))
            try:
                os.ftruncate(fd, ingest.length)
                yield ingest
            finally:
                os.close(fd)
                if ingest.is_done or not ingest.length:
                    os.unlink(path)

    def kept(self) -> tuple[int, int]:
        """How many there are, and the bytes they take."""
        sizes = [entry.stat(follow_symlinks=False).st_blocks * 512 for entry in os.scandir(self._folder)]
        return len(sizes), sum(sizes)

    def prune(self, older: float = 0.0) -> int:
        """Forget those that nobody goes on with and that are older than so many seconds; the bytes freed."""
        before = time.time() - older
        freed = 0
        for entry in os.scandir(self._folder):
            found = entry.stat(follow_symlinks=False)
            if f"sha256:{entry.name}" not in self._locks and found.st_mtime <= before:
                os.unlink(entry.path)
                freed += found.st_blocks * 512
        return freed
