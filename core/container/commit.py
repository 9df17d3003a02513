"""An image from a container: its changes as one more layer.

The numbered points (``core.faults``)::

    commit   1 layer packed   2 layer unpacked (in ImageStore)   3 image kept
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator
from typing import Any, BinaryIO

from core import faults
from core.archive import changes
from core.archive.sinks import FileSink
from core.container.archives import ArchiveService
from core.container.service import ContainerService
from core.container.status import Container, Status
from core.container.supervisor import event_attributes
from core.errors import InvalidArgument, NotFound
from core.events import EventBus
from core.image import intake, model
from core.image.changes import apply
from core.image.model import Image
from core.image.snapshots import Snapshotter
from core.image.store import ImageStore

#: What of a container's Config an image's config has (image-spec config.md, and Docker's own members).
_MEMBERS = "User ExposedPorts Env Entrypoint Cmd Volumes WorkingDir Labels StopSignal Healthcheck OnBuild Shell".split()


class CommitService:
    """``commit``."""

    def __init__(
        self,
        containers: ContainerService,
        archives: ArchiveService,
        images: ImageStore,
        snapshots: Snapshotter,
        events: EventBus,
        root: str,
    ) -> None:
        self._containers = containers
        self._archives = archives
        self._images = images
        self._snapshots = snapshots
        self._events = events
        self._tmp = os.path.join(root, "tmp")

    async def commit(
        self,
        ref: str,
        name: str,
        *,
        author: str = "",
        message: str = "",
        instructions: list[str] | None = None,
        config: dict[str, Any] | None = None,
        pause: bool = True,
    ) -> Image:
        """Make an image. It is paused meanwhile unless ``pause`` is false, so that its files belong together.

        ``config`` has members of an image's config that win over the container's, ``instructions`` (``CMD …``) over
        both. Raises InvalidArgument for bad instructions, names, or a container that writes to memory.
        """
        container = self._containers.get(ref)
        wanted = self._images.free_name(name) if name else ""
        parent = self._parent(container)
        document = _document(container, parent, author, message, instructions or [], config or {})
        upper = self._snapshots.upper(container.id)
        if not upper:
            raise InvalidArgument(f"container {container.name} writes to memory: there is no layer to make of it")
        with intake.anonymous(self._tmp) as file:
            async with self._still(container, pause):
                await self._pack(container, upper, file)
            faults.point("commit", 1)
            image = await self._images.commit(file, document, parent.id, wanted)
        faults.point("commit", 3)
        attributes = event_attributes(container) | {"comment": message, "imageID": image.id, "imageRef": wanted}
        self._events.publish("container", "commit", container.id, attributes)
        return image

    def _parent(self, container: Container) -> Image:
        try:
            return self._images.get(container.image_id)
        except NotFound:
            raise NotFound(
                f"the image of container {container.name} is not here any more: its layers have no names",
                hint="save the container's files with export",
            ) from None

    @contextlib.asynccontextmanager
    async def _still(self, container: Container, pause: bool) -> AsyncIterator[None]:
        """Its files do not change inside: it is paused when it runs, and does not start when it is down."""
        async with self._containers.locked(container.id) as current:
            paused = pause and current.status is Status.RUNNING
            if paused:
                await self._containers.pauser.pause(current)
            try:
                yield
            finally:
                now = self._containers.store.find(container.id)
                if paused and now is not None and now.status is Status.PAUSED:
                    self._containers.pauser.thaw(now)

    async def _pack(self, container: Container, upper: str, file: BinaryIO) -> None:
        sink = FileSink(file.fileno())

        def work(lower: int) -> None:
            changes.pack_layer(upper, lower, sink)
            sink.flush()

        async with self._archives.image_root(container) as opened:
            await opened.run(work)
        file.seek(0)


def _document(
    container: Container, parent: Image, author: str, message: str, instructions: list[str], given: dict[str, Any]
) -> Any:
    """The config of the image that is made; the DiffID of its layer comes later."""
    merged = {**container.config, **{key: value for key, value in given.items() if value and key in _MEMBERS}}
    config = {key: merged[key] for key in _MEMBERS if merged.get(key)}
    apply(config, instructions)
    base: dict[str, Any] = dict(parent.config)
    now = model.rfc3339(time.time_ns())
    step = {"created": now, "created_by": " ".join(container.args), "comment": message}
    if author:
        step["author"] = author
    return {
        "architecture": base["architecture"],
        "os": base.get("os") or "linux",
        "created": now,
        **({"author": author} if author else {}),
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": list(parent.layers)},
        "history": [*(base.get("history") or []), step],
    }
