"""Removing folders without making anybody wait: renamed aside at once, deleted in a thread.

A folder in the graveyard is gone for everybody; what a dead daemon left there is deleted at the next start.
"""

from __future__ import annotations

import asyncio
import errno
import os
import uuid

from core.image import trees


class Graveyard:
    """``<root>/tmp`` and its like: one per file system, made when needed."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._running: set[asyncio.Task[None]] = set()

    def bury(self, path: str) -> None:
        """Remove the folder ``path``; nothing happens when it does not exist."""
        grave = self._dig(path)
        if not grave:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            trees.discard(grave)
            return
        task = loop.create_task(asyncio.to_thread(trees.discard, grave))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _dig(self, path: str) -> str:
        """Where ``path`` was renamed to, empty when it did not exist.

        The run directory is another file system, as a rule: there it is its own neighbour, and never deleted in place,
        where a monitor that is leaving still removes its things too.
        """
        name = f"gone-{uuid.uuid4().hex}"
        for folder in (self._folder, os.path.dirname(path)):
            grave = os.path.join(folder, name)
            try:
                os.rename(path, grave)
            except FileNotFoundError:
                return ""
            except OSError as error:
                if error.errno != errno.EXDEV or folder != self._folder:
                    raise
            else:
                return grave
        return ""

    def sweep(self) -> None:
        """Delete what an earlier daemon left."""
        for entry in os.scandir(self._folder):
            if entry.name.startswith("gone-"):
                trees.discard(entry.path)

    async def settle(self) -> None:
        """Wait for the deletions under way."""
        while self._running:
            await asyncio.wait(set(self._running))
