"""How much a container has written: the bytes of its upper folder, and what it sees in all."""

from __future__ import annotations

import asyncio

from core.container.status import Container
from core.errors import NotFound
from core.image.snapshots import Snapshotter
from core.image.store import ImageStore


class Sizes:
    """Docker's SizeRw and SizeRootFs, in bytes. Counted anew each time: a walk over the upper folder."""

    def __init__(self, images: ImageStore, snapshots: Snapshotter) -> None:
        self._images = images
        self._snapshots = snapshots

    async def written(self, container: Container) -> int:
        """Bytes of the files in its upper folder, hard links once; 0 for a container that writes to memory."""
        return await asyncio.to_thread(self._snapshots.written, container.id)

    async def both(self, container: Container) -> tuple[int, int]:
        """(SizeRw, SizeRootFs). An image that was removed by force counts nothing."""
        written = await self.written(container)
        try:
            image = self._images.get(container.image_id)
        except NotFound:
            return written, written
        return written, written + image.size
