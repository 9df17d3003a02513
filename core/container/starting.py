"""How a container is brought up: bundle, monitor, networks, attached clients, program; each with its undo."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack

from core import faults
from core.container import bundle, etc, specgen
from core.container.devices import look_up
from core.container.files import Graveyard
from core.container.mounts import collect, prepare_sources
from core.container.networking import Networking
from core.container.seccomp_cache import SeccompCache
from core.container.status import Container
from core.container.store import ContainerStore
from core.container.streams import PendingAttach, PendingStreams
from core.container.volumes import VolumeService
from core.errors import Conflict
from core.image.snapshots import Snapshotter
from core.runtime.client import Runtime, Task

_JOINED = {"net": "network", "pid": "pid namespace"}


class Starter:
    """``root`` is the engine's folder."""

    def __init__(
        self,
        root: str,
        store: ContainerStore,
        snapshots: Snapshotter,
        runtime: Runtime,
        graveyard: Graveyard,
        volumes: VolumeService,
        networking: Networking,
        pending: PendingStreams,
    ) -> None:
        self._root = root
        self._store = store
        self._snapshots = snapshots
        self._runtime = runtime
        self._graveyard = graveyard
        self._volumes = volumes
        self._networking = networking
        self._pending = pending
        self.seccomp = SeccompCache(os.path.join(root, "cache", "seccomp"))

    def folder(self, container: Container) -> str:
        """What is kept of it besides its record and its files: its output, the generated files of its /etc."""
        return os.path.join(self._root, "containers", container.id)

    def run_dir(self, container: Container) -> str:
        """Its folder in the run directory."""
        return self._runtime.run_dir(container.short)

    async def bring_up(self, container: Container, undo: AsyncExitStack) -> Task:
        """Its program runs when this returns; what was made is undone through ``undo`` on failure."""
        faults.point("start", 1)
        self._networking.directory.check_links(container)
        reserved = await self._networking.reserve(container)
        undo.callback(self._networking.release, container)
        undo.callback(reserved.close)
        self._write_bundle(container)
        undo.callback(self._graveyard.bury, self.run_dir(container))
        faults.point("start", 2)
        task = await self._runtime.spawn(self.run_dir(container))
        undo.push_async_callback(task.close)
        faults.point("start", 3)
        await self._networking.attach(container, task, reserved)
        for pending in self._pending.take(container.id):
            await attach_task(task, pending)
        faults.point("start", 4)
        await task.start()
        return task

    def _write_bundle(self, container: Container) -> None:
        host = container.host_config
        prepare_sources(collect(host), create=True)
        self._volumes.mount(container)
        name = etc.hostname(container)
        other = self._joined(container)
        around = specgen.Surroundings(
            run_dir=self.run_dir(container),
            log_folder=os.path.join(self.folder(container), "log"),
            # Who shares a network shares the files that tell of it.
            etc_folder=self.folder(other or container),
            rootfs=self._snapshots.mounts(container.id),
            scratch_size=self._snapshots.scratch_size(container.id),
            cgroup=self._runtime.placement_json(),
            cgroups_path=self._runtime.cgroups_path(container.id),
            seccomp=self.seccomp.path(specgen.seccomp_profile(host)),
            network_path=self._joined_path("net", host["NetworkMode"]),
            pid_path=self._joined_path("pid", host["PidMode"]),
            hostname=etc.hostname(other) if other is not None else name,
            devices=look_up(host),
            resolver=self._networking.directory.resolver(container) is not None,
        )
        os.makedirs(around.log_folder, mode=0o700, exist_ok=True)
        spec = specgen.make_spec(container, around)
        monitor = specgen.make_monitor_config(container, around)
        files = {} if other is not None else self._networking.directory.etc_files(container, name)
        bundle.write(around.run_dir, around.etc_folder, spec, monitor, files)
        self._networking.directory.write_resolver(container)

    def _joined(self, container: Container) -> Container | None:
        mode = container.host_config["NetworkMode"]
        return self._store.get(mode.partition(":")[2]) if mode.startswith("container:") else None

    def _joined_path(self, kind: str, mode: str) -> str:
        """The namespace that ``container:NAME`` means, "" for every other mode."""
        if not mode.startswith("container:"):
            return ""
        other = self._store.get(mode.partition(":")[2])
        if not other.status.is_up:
            raise Conflict(
                f"cannot join the {_JOINED[kind]} of container {other.name}: it is not running", hint="start it first"
            )
        return f"/proc/{other.pid}/ns/{kind}"


async def attach_task(task: Task, attach: PendingAttach) -> None:
    """Hand a waiting client's socket to a container's monitor."""
    await task.attach(
        attach.sock,
        stdin=attach.stdin,
        stdout=attach.stdout,
        stderr=attach.stderr,
        detach_keys=attach.detach_keys,
        preread=attach.preread,
    )
