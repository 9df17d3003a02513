"""Removing folders without making anybody wait: renamed aside at once, deleted in a thread.

A folder in the graveyard is gone for everybody; what a dead daemon left there is deleted at the next start.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import uuid


class Graveyard:
    """``<root>/tmp`` and its like: one per file system, made when needed."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._running: set[asyncio.Task[None]] = set()

    def bury(self, path: str) -> None:
        """Remove the folder ``path``; nothing happens when it does not exist."""
        grave = os.path.join(self._folder, f"gone-{uuid.uuid4().hex}")
        try:
            os.rename(path, grave)
        except FileNotFoundError:
            return
        except OSError as error:
            # The run directory is another file system; what lies there is small.
            if error.errno != errno.EXDEV:
                raise
            shutil.rmtree(path)
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            shutil.rmtree(grave)
            return
        task = loop.create_task(asyncio.to_thread(shutil.rmtree, grave, True))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def sweep(self) -> None:
        """Delete what an earlier daemon left."""
        for entry in os.scandir(self._folder):
            if entry.name.startswith("gone-"):
                shutil.rmtree(entry.path, ignore_errors=True)

    async def settle(self) -> None:
        """Wait for the deletions under way."""
        while self._running:
            await asyncio.wait(set(self._running))
