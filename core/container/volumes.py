"""Volumes and the containers that use them: the composition of both, and the events.

A container's volumes are settled at its create, in Docker's order: those of other containers (``--volumes-from``)
first, the request's own over them, and an anonymous one for each path of the image's VOLUME that nothing covers.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from core import faults, patterns
from core.container.config import CreateRequest
from core.container.mounts import (
    AnyMount,
    TmpfsMount,
    VolumeMount,
    anonymous_volume,
    collect,
    mounts_of,
    to_record,
    volumes_of,
)
from core.container.status import Container
from core.container.store import ContainerStore
from core.errors import Conflict, DockyardError, InvalidArgument, NotFound
from core.events import EventBus
from core.linux.mounts import RootfsMount
from core.volumes import copyup
from core.volumes.store import DRIVER, Volume, VolumeStore

FILTERS = ("dangling", "driver", "label", "name")
PRUNE_FILTERS = ("all", "label", "label!")


class VolumeService:
    """What can be done to volumes."""

    def __init__(self, volumes: VolumeStore, containers: ContainerStore, events: EventBus, root: str) -> None:
        self.store = volumes
        self._containers = containers
        self._events = events
        self._view = os.path.join(root, "cache", "view")
        os.makedirs(self._view, mode=0o700, exist_ok=True)
        self._held: Counter[str] = Counter()
        self._filling = asyncio.Lock()

    # --- the noun ----------------------------------------------------------------------------------

    def users(self, name: str) -> list[str]:
        """The ids of the containers that have the volume ``name``."""
        return [c.id for c in self._containers.all() if any(m.name == name for m in volumes_of(c))]

    def create(self, name: str, driver: str, options: dict[str, str], labels: dict[str, str]) -> Volume:
        """The volume of this name, made when there is none."""
        return self._create(name, options, labels, driver)

    def _create(
        self, name: str, options: dict[str, str], labels: dict[str, str], driver: str = "", made_for: str = ""
    ) -> Volume:
        volume, made = self.store.create(name, options, labels, driver=driver, made_for=made_for)
        if made:
            self._tell("create", volume.name)
        return volume

    def list_volumes(self, filters: dict[str, list[str]]) -> list[Volume]:
        """Volumes that match Docker's filters. InvalidArgument for an unknown one."""
        for key in filters:
            if key not in FILTERS:
                raise InvalidArgument(f"invalid filter '{key}'")
        return [volume for volume in self.store.all() if self._matches(volume, filters)]

    def _matches(self, volume: Volume, filters: dict[str, list[str]]) -> bool:
        dangling = filters.get("dangling")
        if dangling and (dangling[0].lower() in ("true", "1")) == bool(self.users(volume.name)):
            return False
        names, drivers = filters.get("name"), filters.get("driver")
        if names and not any(_name_fits(name, volume.name) for name in names):
            return False
        if drivers and DRIVER not in drivers:
            return False
        return all(_has_label(volume, label) for label in filters.get("label", ()))

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume. Conflict names the containers that use it; with ``force`` a missing one is no error."""
        if self.store.find(name) is None and force:
            return
        self.store.get(name)
        users = self.users(name)
        if users or self._held[name]:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users) or 'a container being created'}]")
        self._remove(name)

    def _remove(self, name: str) -> None:
        self.store.remove(name)
        self._tell("destroy", name)

    async def prune(self, filters: dict[str, list[str]], *, named: bool) -> tuple[list[str], int]:
        """Remove volumes nobody uses (``named``: also those with a name). Their names, and the bytes freed."""
        for key in filters:
            if key not in PRUNE_FILTERS:
                raise InvalidArgument(f"invalid filter '{key}'")
        everything = named or (filters.get("all") or ["false"])[0].lower() in ("true", "1")
        gone, freed = [], 0
        for volume in self.store.all():
            labels, without = filters.get("label", ()), filters.get("label!", ())
            if not (everything or volume.anonymous) or not all(_has_label(volume, label) for label in labels):
                continue
            if any(_has_label(volume, label) for label in without):
                continue
            size = await asyncio.to_thread(self.store.size, volume)
            # Looked at after the wait: a container may have taken it meanwhile.
            if self.store.find(volume.name) is None or self.users(volume.name) or self._held[volume.name]:
                continue
            self._remove(volume.name)
            faults.point("volume-prune", 1)
            gone.append(volume.name)
            freed += size
        self._events.publish("volume", "prune", "", {"reclaimed": str(freed)})
        return gone, freed

    # --- of a container ----------------------------------------------------------------------------

    @asynccontextmanager
    async def given(
        self, container: Container, request: CreateRequest, pieces: Callable[[], list[RootfsMount]]
    ) -> AsyncIterator[Container]:
        """``container`` with its volumes, made and filled; what was made for it goes again when the block fails."""
        held: list[str] = []
        try:
            settled: list[AnyMount] = []
            for mount in self._wanted(container, request):
                if isinstance(mount, VolumeMount):
                    mount = self._settle(mount, container)
                    self._held[mount.name] += 1
                    held.append(mount.name)
                    await self._fill(mount, pieces)
                settled.append(mount)
            yield replace(container, mounts=tuple(map(to_record, settled)))
            self.store.settled(container.id)
        except BaseException:
            for volume in self.store.all():
                if volume.made_for == container.id:
                    self._remove(volume.name)
            raise
        finally:
            self._held.subtract(held)

    def _wanted(self, container: Container, request: CreateRequest) -> list[AnyMount]:
        """The mounts that are kept in the record: not the request's own binds and tmpfs."""
        own = collect(request.host_config)
        taken = {os.path.normpath(mount.target) for mount in own}
        found: dict[str, AnyMount] = {}
        for text in request.host_config["VolumesFrom"]:
            found |= {key: m for key, m in self._from(text).items() if key not in taken}
        found |= {os.path.normpath(mount.target): mount for mount in own if isinstance(mount, VolumeMount)}
        for path in container.config["Volumes"]:
            mount = anonymous_volume(path)
            if mount.target not in taken:
                found.setdefault(mount.target, mount)
        return list(found.values())

    def _from(self, text: str) -> dict[str, AnyMount]:
        """``CONTAINER[:ro|rw]``: its mounts by target."""
        ref, _, mode = text.partition(":")
        if mode not in ("", "ro", "rw", "z", "Z") or not ref:
            raise InvalidArgument(f"invalid mode: {mode}" if ref else f"malformed volumes-from specification: {text}")
        found: dict[str, AnyMount] = {}
        for mount in mounts_of(self._containers.get(ref)):
            if not isinstance(mount, TmpfsMount):
                found[os.path.normpath(mount.target)] = replace(mount, read_only=mount.read_only or mode == "ro")
        return found

    def _settle(self, mount: VolumeMount, container: Container) -> VolumeMount:
        """Which volume it is; made when there is none of its name."""
        volume = self._create(mount.name, mount.options, mount.labels, mount.driver, "" if mount.name else container.id)
        return replace(
            mount,
            name=volume.name,
            read_only=mount.read_only or volume.read_only,
            source=self.store.mountpoint(volume.name),
            backing=self.store.backing(volume),
        )

    async def _fill(self, mount: VolumeMount, pieces: Callable[[], list[RootfsMount]]) -> None:
        volume = self.store.get(mount.name)
        if not mount.copy or mount.subpath or volume.is_tmpfs:
            return
        async with self._filling:
            # Taken over in one step where nobody sees the empty folder already.
            alone = mount.backing == mount.source and not any(
                self._containers.get(user).status.is_alive for user in self.users(mount.name)
            )
            staging = self.store.staging(mount.name) if alone else ""
            try:
                await asyncio.to_thread(copyup.fill, pieces(), self._view, mount.target, mount.backing, staging)
            except FileNotFoundError as error:
                raise NotFound(f"volume {mount.name}: {error.filename} does not exist") from error
            except DockyardError:
                self.store.discard_staging(mount.name)
                raise

    def mount(self, container: Container) -> None:
        """Its volumes are about to be used."""
        for mount in volumes_of(container):
            self.store.mount(self.store.get(mount.name))

    def mounted(self, container: Container) -> None:
        """It runs with its volumes."""
        for mount in volumes_of(container):
            self._tell("mount", mount.name, container, mount)

    def unmounted(self, container: Container) -> None:
        """It has ended."""
        for mount in volumes_of(container):
            self._tell("unmount", mount.name, container)
        self.release()

    def release(self) -> None:
        """Let go of the tmpfs volumes that no living container uses."""
        for volume in self.store.all():
            if volume.is_tmpfs and not any(self._containers.get(u).status.is_alive for u in self.users(volume.name)):
                self.store.unmount(volume)

    def removed(self, container: Container) -> None:
        """The container is gone; so are those of its volumes that go with it and that nobody else has."""
        for mount in volumes_of(container):
            if mount.doomed and self.store.find(mount.name) and not (self.users(mount.name) or self._held[mount.name]):
                self._remove(mount.name)

    def recover(self) -> None:
        """At the daemon's start, when the containers' records are right."""
        self.store.recover({container.id for container in self._containers.all()})
        self.release()

    def _tell(
        self, action: str, name: str, container: Container | None = None, mount: VolumeMount | None = None
    ) -> None:
        attributes = {"driver": DRIVER}
        if container is not None:
            attributes["container"] = container.id
        if mount is not None:
            attributes |= {
                "destination": mount.target,
                "propagation": "",
                "read/write": "false" if mount.read_only else "true",
            }
        self._events.publish("volume", action, name, attributes)


def doom(container: Container) -> tuple[dict[str, Any], ...]:
    """The record's mounts with its anonymous volumes marked to go with it."""
    return tuple({**m, "doomed": True} if m.get("anonymous") else m for m in container.mounts)


def _has_label(volume: Volume, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in volume.labels and (not equals or volume.labels[key] == value)


def _name_fits(pattern: str, name: str) -> bool:
    """Docker's match of a name: a regular expression anywhere in it; one that is none fits nothing."""
    try:
        return patterns.found(pattern, name)
    except InvalidArgument:
        return False
