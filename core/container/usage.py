"""What lies on the disk, and what of it is needed: Docker's ``system df``."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import NamedTuple

from core.container.service import ContainerService
from core.container.sizes import Sizes
from core.container.status import Container
from core.container.volumes import VolumeService
from core.image.model import Image
from core.image.registry.ingest import Ingests
from core.image.store import ImageStore
from core.volumes.store import Volume


class ImageUse(NamedTuple):
    """``shared``: bytes of layers that other images have as well; ``containers``: how many use the image."""

    image: Image
    shared: int
    containers: int


class ContainerUse(NamedTuple):
    """``written`` and ``whole``: SizeRw and SizeRootFs, in bytes."""

    container: Container
    written: int
    whole: int


class VolumeUse(NamedTuple):
    """``users``: how many containers have it."""

    volume: Volume
    bytes: int
    users: int


class LogUse(NamedTuple):
    """``bytes`` of a container's log files."""

    container: Container
    bytes: int


class DiskUsage:
    """Counts files anew each time; each walk is done in a thread."""

    def __init__(
        self,
        containers: ContainerService,
        images: ImageStore,
        ingests: Ingests,
        volumes: VolumeService,
        sizes: Sizes,
    ) -> None:
        self._containers = containers
        self._images = images
        self._ingests = ingests
        self._volumes = volumes
        self._sizes = sizes

    def images(self) -> tuple[list[ImageUse], int]:
        """Every image that is listed, and the bytes of all layers, each counted once."""
        sizes = self._images.layers.sizes()
        found = [image for image in self._images.all() if image.tags or not self._images.children(image.id)]
        owners = Counter(diff_id for image in found for diff_id in set(image.layers))
        uses = Counter(container.image_id for container in self._containers.store.all())
        listed = [
            ImageUse(image, sum(sizes.get(d, 0) for d in set(image.layers) if owners[d] > 1), uses.get(image.id, 0))
            for image in found
        ]
        return listed, sum(sizes.values())

    async def containers(self) -> list[ContainerUse]:
        """Every container with what it wrote."""
        return [
            ContainerUse(container, *await self._sizes.both(container)) for container in self._containers.store.all()
        ]

    async def logs(self) -> list[LogUse]:
        """Every container's log."""
        return [
            LogUse(container, await asyncio.to_thread(_size, self._containers.log_folder(container)))
            for container in self._containers.store.all()
        ]

    def interrupted(self) -> tuple[int, int]:
        """How many blobs of broken-off pulls wait for the next, and the bytes of these and of finished layers."""
        count, size = self._ingests.kept()
        return count, size + self._images.layers.leased_bytes()

    async def volumes(self) -> list[VolumeUse]:
        """Every volume with its size."""
        store = self._volumes.store
        return [
            VolumeUse(volume, await asyncio.to_thread(store.size, volume), len(self._volumes.users(volume.name)))
            for volume in store.all()
        ]


def _size(folder: str) -> int:
    """Bytes of the files in a log's folder; 0 before the first start."""
    try:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(folder))
    except FileNotFoundError:
        return 0
