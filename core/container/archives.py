"""Files of containers: cp both ways, diff, export. Running, paused or down.

A running container is looked at through its first process, so that its mounts are seen as it sees them. One that is
down is mounted for the moment: to read, with what was written as one more layer below a throw-away upper folder, which
disturbs nobody; to write, with its lock held, so that it does not start meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from core.archive import changes, lookup, unpack, view
from core.archive.lookup import Found
from core.archive.pack import Packer
from core.archive.sinks import Sink
from core.archive.view import Bind, View
from core.container.mounts import BindMount, VolumeMount, mounts_of
from core.container.service import ContainerService
from core.container.status import Container
from core.container.supervisor import event_attributes
from core.errors import Conflict, Forbidden, InvalidArgument
from core.events import EventBus
from core.image.snapshots import Snapshotter
from core.linux.mounts import RootfsMount


class Reading:
    """A path that is about to be packed; ``send`` writes the tar."""

    def __init__(self, found: Found, send: Callable[[Sink], object]) -> None:
        self.found = found
        self._send = send

    async def send(self, sink: Sink) -> None:
        """Write the whole tar, its end marker included."""
        result = self._send(sink)
        assert asyncio.iscoroutine(result)
        await result


class ArchiveService:
    """cp, diff and export. ``at`` is an empty folder that views are mounted on, each for itself."""

    def __init__(self, containers: ContainerService, snapshots: Snapshotter, events: EventBus, at: str) -> None:
        self._containers = containers
        self._snapshots = snapshots
        self._events = events
        self._at = at
        os.makedirs(at, mode=0o700, exist_ok=True)

    # --- cp ----------------------------------------------------------------------------------------

    async def stat(self, ref: str, path: str) -> Found:
        """What is at a path. NotFound, InvalidArgument."""
        container = self._containers.get(ref)
        async with self._reading(container) as opened:
            return await opened.run(lookup.look, path, container.name)

    @asynccontextmanager
    async def read(self, ref: str, path: str) -> AsyncIterator[Reading]:
        """A path to be packed: a file, a link itself, or a folder with all that is in it."""
        container = self._containers.get(ref)
        async with self._reading(container) as opened:
            found = await opened.run(lookup.look, path, container.name)

            async def send(sink: Sink) -> None:
                await opened.run(_pack, found, sink)
                self._tell(container, "archive-path")

            yield Reading(found, send)

    async def write(self, ref: str, path: str, source: AsyncIterator[bytes], *, keep_kinds: bool, own: bool) -> None:
        """Extract a tar into the folder ``path``. With ``own`` the files become those of the container's user."""
        async with AsyncExitStack() as stack:
            container = self._containers.get(ref)
            if not container.status.is_alive:
                container = await stack.enter_async_context(self._containers.locked(ref))
            opened = await stack.enter_async_context(self._writing(container, path))
            user = container.config["User"] if own else ""
            await _feed(opened, source, lambda chunks: (path, container.name, chunks, user, keep_kinds))
        self._tell(container, "extract-to-dir")

    def _tell(self, container: Container, action: str) -> None:
        self._events.publish("container", action, container.id, event_attributes(container))

    def _reading(self, container: Container) -> View:
        if container.status.is_up:
            return view.of_process(container.pid)
        return view.of_pieces(view.frozen(self._pieces(container)), _binds(container), self._at)

    def _writing(self, container: Container, path: str) -> View:
        _check_writable(container, path)
        if container.status.is_up:
            return view.of_process(container.pid)
        if container.status.is_alive:
            raise Conflict(f"container {container.name} is being started", hint="try again in a moment")
        if not self._snapshots.upper(container.id):
            raise InvalidArgument(
                f"container {container.name} keeps no files while it is down: its image is this server",
                hint="start it first",
            )
        return view.of_pieces(self._pieces(container), _binds(container), self._at)

    def _pieces(self, container: Container) -> list[RootfsMount]:
        return self._snapshots.mounts(container.id)

    # --- export, diff ------------------------------------------------------------------------------

    @asynccontextmanager
    async def export(self, ref: str) -> AsyncIterator[Reading]:
        """The whole root file system without what is mounted in it."""
        container = self._containers.get(ref)
        pieces = view.frozen(self._pieces(container))
        async with view.of_pieces(pieces, (), self._at) as opened:
            found = await opened.run(lookup.look, "/.", container.name)

            async def send(sink: Sink) -> None:
                await opened.run(_pack_root, sink)
                self._tell(container, "export")

            yield Reading(found, send)

    async def diff(self, ref: str) -> list[changes.Change]:
        """What it wrote, sorted by path; nothing of a container that writes to memory."""
        container = self._containers.get(ref)
        upper = self._snapshots.upper(container.id)
        if not upper:
            return []
        async with self.image_root(container) as opened:
            return await opened.run(lambda root: changes.changes(upper, root))

    def image_root(self, container: Container) -> View:
        """The image below a container, read-only."""
        return view.of_pieces(view.below(self._pieces(container)), (), self._at)


def _binds(container: Container) -> list[Bind]:
    """What of its mounts is there while it is down: binds and volumes."""
    found = []
    for mount in mounts_of(container):
        if isinstance(mount, BindMount):
            found.append(Bind(mount.source, mount.target, mount.read_only))
        elif isinstance(mount, VolumeMount):
            found.append(Bind(mount.source, mount.target, mount.read_only, mount.subpath))
    return found


def _check_writable(container: Container, path: str) -> None:
    """Docker's words for what the kernel would call a read-only file system."""
    wanted = lookup.clean(path).removesuffix("/.").rstrip("/") or "/"
    inside = [m for m in mounts_of(container) if wanted == m.target or wanted.startswith(m.target.rstrip("/") + "/")]
    if inside:
        last = inside[-1]
        if isinstance(last, BindMount | VolumeMount) and last.read_only:
            raise Forbidden("mounted volume is marked read-only")
    elif container.host_config["ReadonlyRootfs"]:
        raise Forbidden("container rootfs is marked read-only")


def _pack(root: int, found: Found, sink: Sink) -> None:
    packer = Packer(sink)
    if found.is_folder:
        folder = lookup.open_folder(root, found.path)
        try:
            packer.tree(folder, found.name)
        finally:
            os.close(folder)
    else:
        parent = lookup.open_folder(root, os.path.dirname(found.path))
        try:
            packer.one(parent, found.name, found.name)
        finally:
            os.close(parent)
    packer.end()


def _pack_root(root: int, sink: Sink) -> None:
    folder = lookup.open_folder(root, "/")
    try:
        packer = Packer(sink)
        packer.tree(folder, "")
        packer.end()
    finally:
        os.close(folder)


async def _feed(
    opened: View, source: AsyncIterator[bytes], arguments: Callable[[unpack.Feed], tuple[object, ...]]
) -> None:
    """Unpack in the view's thread what ``source`` gives here."""
    loop = asyncio.get_running_loop()
    room = asyncio.Event()

    def has_room() -> None:
        loop.call_soon_threadsafe(room.set)

    feed = unpack.Feed(has_room)
    work = asyncio.ensure_future(opened.run(unpack.unpack_for, *arguments(feed)))
    work.add_done_callback(lambda _: room.set())
    try:
        async for chunk in source:
            room.clear()
            if not feed.put(chunk):
                await room.wait()
            if work.done():
                break
        feed.end()
    except BaseException as error:
        feed.end(error if isinstance(error, Exception) else ConnectionAbortedError("the client left"))
        await asyncio.wait([work])
        work.exception()
        raise
    await work
