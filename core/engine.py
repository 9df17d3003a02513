"""The composition root: configuration in, services out. Only ``__main__`` and the API's server import it.

An engine is one root folder, one run folder, one socket. Entering it takes the lock on the root folder, opens the
database, starts the zygote, and brings the records in line with what is there; leaving it lets go of everything and
ends no container.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from core import about
from core.container.archives import ArchiveService
from core.container.commit import CommitService
from core.container.execs import ExecService
from core.container.files import Graveyard
from core.container.networking import Networking
from core.container.pausing import Pauser
from core.container.probing import HealthService
from core.container.processes import top
from core.container.pruning import ContainerPruner
from core.container.restarting import RestartService
from core.container.service import ContainerService
from core.container.sizes import Sizes
from core.container.status import Container, Status
from core.container.store import ContainerStore
from core.container.supervisor import Supervisor
from core.container.update import UpdateService
from core.container.usage import DiskUsage
from core.container.volumes import VolumeService
from core.container.waiting import Waiters
from core.db import Database
from core.errors import Conflict, Forbidden, Unsupported
from core.events import EventBus
from core.image.pruning import ImagePruner
from core.image.registry.hosts import CONFIGURATION, Hosts
from core.image.registry.service import RegistryService
from core.image.snapshots import Snapshotter
from core.image.store import ImageStore
from core.linux import cgroups, placement
from core.linux.features import Feature, kernel_features
from core.network.service import NetworkService
from core.runtime.client import Runtime
from core.volumes.store import VolumeStore

log = logging.getLogger("dockyard.engine")

_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Where an engine keeps its things. ``name`` tells engines on one machine apart (cgroups, systemd scope)."""

    root: str = "/var/lib/dockyard"
    run: str = "/run/dockyard"
    socket: str = ""
    ip: str = ""  # where a published port goes that names no address; "": all addresses
    file: str = ""  # the configuration file; "": the usual one, when it is there

    @property
    def socket_path(self) -> str:
        """The API's socket."""
        return self.socket or os.path.join(self.run, "dockyard.sock")

    @property
    def name(self) -> str:
        """``main`` for the default root folder, else eight digits that stand for it."""
        if os.path.realpath(self.root) == "/var/lib/dockyard":
            return "main"
        return hashlib.sha256(os.path.realpath(self.root).encode()).hexdigest()[:8]


@dataclass
class Engine:
    """All services of one engine. Use as ``async with Engine(configuration) as engine``."""

    configuration: Configuration
    placement: cgroups.Placement
    events: EventBus = field(default_factory=EventBus)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Engine:
        root, run = self.configuration.root, self.configuration.run
        self.warnings += check_kernel()
        self.lock = take_lock(root)
        make_private(root)
        self.db = Database(os.path.join(root, "dockyard.db"))
        self.graveyard = Graveyard(os.path.join(root, "tmp"))
        self.graveyard.sweep()
        self.runtime = Runtime(root, run, self.placement)
        await self.runtime.start()
        self.images = ImageStore(self.db, root, run, self.events.publish)
        hosts = Hosts(self.configuration.file or CONFIGURATION, explicit=bool(self.configuration.file))
        hosts.check()
        self.registries = RegistryService(self.images, root, hosts, self.events.publish)
        self.image_pruner = ImagePruner(self.images, self.registries.ingests, self.events.publish)
        self.snapshots = Snapshotter(self.db, root, self.images)
        self.waiters = Waiters()
        self.store = ContainerStore(self.db)
        self.volumes = VolumeService(VolumeStore(self.db, root, self.graveyard.bury), self.store, self.events, root)
        self.networks = NetworkService(self.db, run, self.configuration.name, self.events)
        self.warnings += self.networks.open()
        self.supervisor = Supervisor(self.store, self.events, self.waiters, self.runtime)
        self.pauser = Pauser(self.store, self.events, self.runtime)
        await self._group.__aenter__()
        self.supervisor.use(self._group)
        self.networking = Networking(
            self.networks, self.store, self.events, lambda c: os.path.join(root, "containers", c.id),
            lambda c: self.runtime.run_dir(c.short), self.configuration.ip,
        )  # fmt: skip
        self.containers = ContainerService(
            root, self.store, self.images, self.snapshots, self.runtime, self.supervisor, self.waiters, self.events,
            self.graveyard, self.volumes, self.networking, self.pauser,
        )  # fmt: skip
        self.restarts = RestartService(self.containers, self.supervisor)
        self.sizes = Sizes(self.images, self.snapshots)
        self.usage = DiskUsage(self.containers, self.images, self.registries.ingests, self.volumes, self.sizes)
        self.container_pruner = ContainerPruner(self.containers, self.sizes, self.events)
        self.archives = ArchiveService(
            self.containers, self.snapshots, self.events, os.path.join(root, "cache", "view")
        )
        self.commits = CommitService(self.containers, self.archives, self.images, self.snapshots, self.events, root)
        self.updates = UpdateService(self.containers, self.runtime, self.events)
        self.execs = ExecService(self.store, self.supervisor, self.events, self.containers.seccomp_path)
        self.health = HealthService(self.store, self.supervisor, self.execs, self.events)
        self.health.on_unhealthy = self.restarts.unhealthy
        self.pauser.on_change = self.health.changed
        self.images.in_use = self._users_of_image
        await self._recover()
        self.warnings += [f"{what}: {cost}" for what, cost in cgroups.lacks(self.placement)]
        return self

    async def _recover(self) -> None:
        await self.supervisor.recover()
        self.pauser.recover()
        await self.containers.finish_removals()
        self.networking.recover()
        self.volumes.recover()
        self.restarts.resume()
        self.health.resume()
        await self.snapshots.sweep({container.id for container in self.store.all()})
        await self.images.sweep()
        self._sweep_run_dir()
        self._sweep_cgroups()
        self.supervisor.spawn(self.networking.settle(), "repair networks")

    def _sweep_run_dir(self) -> None:
        """Folders of containers that no longer exist (a daemon died in the middle of a removal)."""
        folder = os.path.join(self.configuration.run, "c")
        alive = {container.short for container in self.store.all()}
        for entry in os.scandir(folder) if os.path.isdir(folder) else ():
            if entry.name not in alive:
                self.graveyard.bury(entry.path)

    def _sweep_cgroups(self) -> None:
        """Groups of containers that no longer exist (their monitor was killed, and this daemon's predecessor too)."""
        where = cgroups.Placement.from_json(self.runtime.placement_json())
        for folder in dict.fromkeys(where.parents.values()):
            for entry in os.scandir(folder) if os.path.isdir(folder) else ():
                if _CONTAINER_ID.fullmatch(entry.name) and self.store.find(entry.name) is None:
                    group = cgroups.Cgroup(where.version, {"": entry.path})
                    self.supervisor.spawn(asyncio.to_thread(group.remove), f"remove the cgroup {entry.path}")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.events.close()
        self.waiters.close()
        self.health.close()
        await self.supervisor.close()
        await self._group.__aexit__(None, None, None)
        await self.runtime.close()
        if not self.placement.scope and not any(c.status.is_alive for c in self.store.all()):
            await asyncio.to_thread(placement.release, self.placement)
        self.registries.close()
        await self.graveyard.settle()
        self.networks.close()
        self.db.close()
        os.close(self.lock)

    def _users_of_image(self, image_id: str) -> list[tuple[str, bool]]:
        return [(c.id, c.status.is_alive) for c in self.store.all() if c.image_id == image_id]

    async def top(self, container: Container, arguments: str) -> dict[str, Any]:
        """A container's processes as ps shows them."""
        return await top(self.runtime, container, arguments)

    # --- what it is --------------------------------------------------------------------------------

    def version(self) -> dict[str, Any]:
        """The answer of ``GET /version``."""
        return about.version()

    def info(self) -> dict[str, Any]:
        """The answer of ``GET /info``."""
        counts = about.Counts(
            containers=len(self.store.all()),
            running=sum(c.status is Status.RUNNING for c in self.store.all()),
            paused=sum(c.status is Status.PAUSED for c in self.store.all()),
            images=self.images.count(),
        )
        return about.info(
            self.configuration.name, self.configuration.root, bool(self.placement.scope), counts, self.warnings
        )


def make_private(root: str) -> None:
    """Keep what lies in the root folder to root, also where somebody else made that folder (CVE-2021-41091)."""
    for name in ("blobs", "cache", "containers", "host", "layers", "recipes", "snapshots", "tmp", "volumes"):
        path = os.path.join(root, name)
        os.makedirs(path, mode=0o700, exist_ok=True)
        os.chmod(path, 0o700)


def check_kernel(features: Sequence[Feature] | None = None) -> list[str]:
    """What this machine lacks, with its cost. Unsupported when no container could start without it."""
    missing = [f for f in (kernel_features() if features is None else features) if not f.present]
    needed = [f"{f.name} is missing: {f.cost}" for f in missing if f.needed]
    if needed:
        raise Unsupported("; ".join(needed), hint="the engine cannot run on this kernel")
    return [f"{f.name}: {f.cost}" for f in missing]


def take_lock(root: str) -> int:
    """Lock the root folder for this process. Returns the open file; Conflict when another engine holds it."""
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        fd = os.open(os.path.join(root, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise Forbidden(f"cannot use {root}: {error.strerror}", hint="run the engine as root") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(fd, 32, 0).decode().strip()
        os.close(fd)
        raise Conflict(
            f"another engine (pid {holder or 'unknown'}) uses {root}",
            hint="stop it, or choose another --root",
        ) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd
