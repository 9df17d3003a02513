"""The transitions of a container: create, start, stop, kill, restart, remove.

Each transition holds the container's lock, stores its intent before its first deed, and has its undo. The numbered
points (``core.faults``) are where the tests kill the daemon; recovery (``supervisor``, ``finish_removals``) is
what puts things right afterwards::

    create   1 image found   2 snapshot prepared            3 row inserted
    start    1 intent stored 2 bundle written 3 monitor up  4 clients attached   5 program runs   6 recorded
    stop     1 verb recorded 2 signal sent    3 ended
    remove   1 intent stored 2 snapshot gone  3 files gone  4 row deleted
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from core import faults
from core.container import specgen
from core.container.admission import check_platform
from core.container.config import CreateRequest, parse_signal
from core.container.connecting import Connector
from core.container.files import Graveyard
from core.container.merge import command_line, merge_image_config
from core.container.mounts import collect, prepare_sources
from core.container.naming import new_id, random_name
from core.container.networking import Networking
from core.container.pausing import Pauser
from core.container.starting import Starter, attach_task
from core.container.stats import stats
from core.container.status import Container, Status
from core.container.store import ContainerStore
from core.container.streams import PendingAttach, PendingStreams
from core.container.supervisor import Supervisor, event_attributes
from core.container.volumes import VolumeService, doom
from core.container.waiting import Waiters, WaitHandle
from core.errors import Conflict, DockyardError, InvalidArgument, NotFound, NotModified, StartFailed, Unavailable
from core.events import EventBus
from core.image.snapshots import Snapshotter
from core.image.store import ImageStore
from core.linux.process import handles
from core.network.model import Published
from core.runtime.client import Runtime

STOP_TIMEOUT = 10
KILL_DEADLINE = 30.0


class ContainerService:
    """What can be done to containers. ``ref`` is a name, an id, or the unambiguous beginning of an id."""

    def __init__(
        self,
        root: str,
        store: ContainerStore,
        images: ImageStore,
        snapshots: Snapshotter,
        runtime: Runtime,
        supervisor: Supervisor,
        waiters: Waiters,
        events: EventBus,
        graveyard: Graveyard,
        volumes: VolumeService,
        networking: Networking,
        pauser: Pauser,
    ) -> None:
        self.store = store
        self._images = images
        self._snapshots = snapshots
        self._runtime = runtime
        self._supervisor = supervisor
        self._waiters = waiters
        self._events = events
        self._graveyard = graveyard
        self._volumes = volumes
        self.networking = networking
        self.pauser = pauser
        self._locks: dict[str, asyncio.Lock] = {}
        self._pending = PendingStreams()
        self._starter = Starter(root, store, snapshots, runtime, graveyard, volumes, networking, self._pending)
        self._connector = Connector(networking, supervisor.task)
        supervisor.on_ended = self._ended

    # --- reading -----------------------------------------------------------------------------------

    def get(self, ref: str) -> Container:
        """The record. Raises NotFound, or InvalidArgument for an ambiguous beginning."""
        return self.store.get(ref)

    def folder(self, container: Container) -> str:
        """What is kept of it besides its record and its files: its output, the generated files of its /etc."""
        return self._starter.folder(container)

    def log_folder(self, container: Container) -> str:
        """Where its output is kept."""
        return os.path.join(self.folder(container), "log")

    def run_dir(self, container: Container) -> str:
        """Its folder in the run directory."""
        return self._runtime.run_dir(container.short)

    def stats(self, ref: str) -> dict[str, Any]:
        """What it uses now, as :mod:`core.container.stats` says it; nothing when it does not run."""
        container = self.store.get(ref)
        return (
            stats(self._runtime.known_cgroup(container.id, container.pid), container.pid)
            if container.status.is_up
            else {}
        )

    def seccomp_path(self, host: dict[str, Any]) -> str:
        """The compiled filter for a HostConfig."""
        return self._starter.seccomp.path(specgen.seccomp_profile(host))

    def wait_handle(self, ref: str, condition: str = "") -> WaitHandle:
        """Begin to wait; the handle's ``result`` gives the exit status."""
        return self._waiters.add(self.store.get(ref), condition)

    # --- create ------------------------------------------------------------------------------------

    async def create(self, request: CreateRequest) -> tuple[Container, list[str]]:
        """Make a container from a checked request. Returns it and warnings for the person."""
        image = self._images.get(request.config["Image"])
        faults.point("create", 1)
        if request.name:
            self.store.check_name(request.name)
        check_platform(request.platform, image)
        config = merge_image_config(request.config, image.config.get("config") or {})
        self.networking.check(request.endpoints)
        warnings = [*request.warnings, *self.networking.warnings(request)]
        mounts = collect(request.host_config)
        prepare_sources(mounts, create=False)
        container = Container(
            id=new_id(),
            name=request.name or random_name({c.name for c in self.store.all()}),
            created=time.time_ns(),
            image=request.config["Image"],
            image_id=image.id,
            args=tuple(command_line(config)),
            config=config,
            host_config=request.host_config,
        )
        specgen.seccomp_profile(container.host_config)
        for member in ("NetworkMode", "PidMode"):
            if container.host_config[member].startswith("container:"):
                try:
                    other = self.store.get(container.host_config[member].partition(":")[2])
                except NotFound as error:
                    # Docker's clients take NotFound of a create for a missing image, and pull.
                    raise InvalidArgument(error.message, hint="start the container to join first") from error
                # By its id: the name may become another's.
                container.host_config[member] = f"container:{other.id}"
        self._snapshots.prepare(container.id, image)
        faults.point("create", 2)
        try:
            async with self._volumes.given(
                container, request, lambda: self._snapshots.mounts(container.id)
            ) as complete:
                with self.networking.given(container, request.endpoints):
                    self.store.insert(complete)
        except BaseException:
            await self._snapshots.remove(container.id)
            raise
        faults.point("create", 3)
        self._events.publish("container", "create", container.id, event_attributes(container))
        return self.store.get(container.id), warnings

    # --- start -------------------------------------------------------------------------------------

    async def start(self, ref: str) -> Container:
        """Start a container that does not run. NotModified when it does; StartFailed names step and file."""
        async with self.locked(ref) as container:
            if container.restarting:
                raise NotModified(f"container {container.name} is restarting already")
            return await self.start_held(self._begin_anew(container))

    def _begin_anew(self, container: Container) -> Container:
        """A person starts it: restarts are counted from here."""
        if container.restarting:
            container = self._supervisor.cancel_restart(container)
        if container.restart_count or container.restart_delay:
            container = self.store.update(container.id, restart_count=0, restart_delay=0, loop_starts=0)
        return container

    async def start_held(self, container: Container) -> Container:
        """Start it; the caller holds its lock. Raises as :meth:`start`."""
        if container.status is Status.PAUSED:
            raise Conflict("cannot start a paused container, try unpause instead")
        if container.status is Status.RUNNING:
            raise NotModified(f"container {container.name} is already running")
        if container.status is Status.REMOVING:
            raise Conflict(f"container {container.name} is being removed")
        before = container.status
        self.store.update(container.id, status=Status.STARTING)
        try:
            async with AsyncExitStack() as undo:
                task = await self._starter.bring_up(container, undo)
                undo.pop_all()
        except BaseException as error:
            self._start_failed(container, before, error)
            raise
        faults.point("start", 5)
        running = self._supervisor.started(container.id, task)
        faults.point("start", 6)
        self._volumes.mounted(running)
        return running

    def _start_failed(self, container: Container, before: Status, error: BaseException) -> None:
        """Back to the state before, with the reason in the record."""
        current = self.store.find(container.id)
        if current is None or current.status is not Status.STARTING:
            return
        changes: dict[str, Any] = {"status": before, "error": "start was cancelled", "error_kind": "internal"}
        changes["restart_at"] = 0
        if isinstance(error, DockyardError):
            changes |= {"error": str(error), "error_kind": error.kind}
        elif isinstance(error, Exception):
            changes["error"] = f"{type(error).__name__}: {error}"
        changes["exit_code"] = 128
        if isinstance(error, StartFailed):
            changes |= {"error_step": error.step, "error_path": error.path, "exit_code": error.exit_code}
        failed = self.store.update(container.id, **changes)
        self._pending.drop(container.id)
        self._volumes.release()
        self._waiters.ended(failed, failed.error)
        if failed.auto_remove:
            self._supervisor.spawn(self._auto_remove(failed.id), f"remove {failed.name}")

    # --- stop, kill, restart -----------------------------------------------------------------------

    async def stop(self, ref: str, timeout: int | None = None, signal_name: str = "") -> Container:
        """Ask it to end, and kill it after ``timeout`` seconds (its own StopTimeout, else 10; -1: never)."""
        async with self.locked(ref) as container:
            if container.restarting:
                stopped = self._supervisor.cancel_restart(container, "stop")
                self._events.publish("container", "stop", container.id, event_attributes(stopped))
                return stopped
            if not container.status.is_up:
                raise NotModified(f"container {container.name} is not running")
            return await self.stop_held(container, timeout, signal_name, "stop")

    async def stop_held(self, container: Container, timeout: int | None, signal_name: str, verb: str) -> Container:
        """End a running container; the caller holds its lock. ``verb`` is noted as what ended it."""
        number = parse_signal(signal_name) if signal_name else specgen.stop_signal(container)
        if timeout is None:
            own = container.config.get("StopTimeout")
            timeout = STOP_TIMEOUT if own is None else own
        self.store.update(container.id, stopped_by=verb)
        faults.point("stop", 1)
        handle = self._waiters.add(container, "next-exit")
        await self._signal(container, number)
        faults.point("stop", 2)
        try:
            async with asyncio.timeout(None if timeout < 0 else timeout):
                await handle.result()
        except TimeoutError:
            self.store.update(container.id, deaf=not handles(container.pid, number))
            await self._kill_and_wait(container, handle)
        faults.point("stop", 3)
        self._events.publish("container", "stop", container.id, event_attributes(container))
        return self.store.find(container.id) or container

    async def _kill_and_wait(self, container: Container, handle: WaitHandle) -> None:
        await self._signal(container, signal.SIGKILL, everything=True)
        try:
            async with asyncio.timeout(KILL_DEADLINE):
                await handle.result()
        except TimeoutError:
            raise Unavailable(
                f"container {container.name} did not end within {KILL_DEADLINE:.0f} s of SIGKILL",
                hint="a process in it may wait for a device or a network file system",
            ) from None

    async def _signal(self, container: Container, number: int, *, everything: bool = False) -> None:
        current = self.store.find(container.id)
        if current is None or not current.status.is_up:
            return
        self._events.publish(
            "container", "kill", container.id, event_attributes(container) | {"signal": str(int(number))}
        )
        await self._supervisor.signal(current, number, everything=everything)
        # Docker's rule: without a stop signal of its own, whatever signal is to reach it.
        goes_on = not current.config.get("StopSignal") or number in (signal.SIGKILL, specgen.stop_signal(current))
        if goes_on and getattr(self.store.find(current.id), "status", None) is Status.PAUSED:
            self.pauser.thaw(current)

    async def pause(self, ref: str) -> None:
        """Stop all its processes where they are; see :class:`~core.container.pausing.Pauser`."""
        async with self.locked(ref) as container:
            await self.pauser.pause(container)

    async def unpause(self, ref: str) -> None:
        """Let them go on."""
        async with self.locked(ref) as container:
            await self.pauser.unpause(container)

    async def kill(self, ref: str, signal_name: str = "KILL") -> None:
        """Send one signal to pid 1. Conflict when it does not run."""
        number = parse_signal(signal_name or "KILL")
        container = self.store.get(ref)
        if container.restarting and container.status is Status.EXITED:
            self._supervisor.cancel_restart(container, "kill")
            return
        if not container.status.is_up:
            raise Conflict(f"cannot kill container: {ref}: container {container.id} is not running")
        if number in (signal.SIGKILL, specgen.stop_signal(container)):
            self.store.update(container.id, stopped_by="kill")
        await self._signal(container, number)

    async def restart(self, ref: str, timeout: int | None = None, signal_name: str = "") -> Container:
        """Stop it when it runs, and start it."""
        async with self.locked(ref) as container:
            if container.status.is_up:
                container = await self.stop_held(container, timeout, signal_name, "restart")
            running = await self.start_held(self._begin_anew(container))
            self._events.publish("container", "restart", container.id, event_attributes(container))
            return running

    # --- remove ------------------------------------------------------------------------------------

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container; with ``force`` a running one is killed first, else that is a Conflict.

        With ``volumes`` its anonymous volumes go too.
        """
        async with self.locked(ref) as container:
            if container.restarting:
                if not force:
                    raise Conflict(
                        f'cannot remove container "/{container.name}": container is restarting: '
                        "stop the container before removing or force remove"
                    )
                self._supervisor.cancel_restart(container, "remove")
            if container.status.is_up:
                if not force:
                    advice = "unpause and then stop" if container.status is Status.PAUSED else "stop"
                    raise Conflict(
                        f'cannot remove container "/{container.name}": container is {container.status.value}: '
                        f"{advice} the container before removing or force remove"
                    )
                self.store.update(container.id, stopped_by="remove")
                await self._kill_and_wait(container, self._waiters.add(container, "next-exit"))
                if self.store.find(container.id) is None:
                    return
            await self._remove(container.id, volumes=volumes)

    async def _remove(self, container_id: str, *, volumes: bool = False) -> None:
        container = self.store.get(container_id)
        mounts = doom(container) if volumes or container.auto_remove else container.mounts
        container = self.store.update(container_id, status=Status.REMOVING, mounts=mounts)
        faults.point("remove", 1)
        await self._snapshots.remove(container_id)
        faults.point("remove", 2)
        self._graveyard.bury(self.folder(container))
        self._graveyard.bury(self.run_dir(container))
        faults.point("remove", 3)
        self._pending.drop(container_id)
        self.store.delete(container_id)
        self.networking.removed(container)
        faults.point("remove", 4)
        self._volumes.removed(container)
        self._events.publish("container", "destroy", container_id, event_attributes(container))
        self._waiters.removed(container)
        self._locks.pop(container_id, None)
        self._supervisor.spawn(self._remove_cgroup(container), f"remove the cgroup of {container.name}")

    async def _remove_cgroup(self, container: Container) -> None:
        """Its monitor does this; one that was killed could not."""
        await self._runtime.previous_gone(self.run_dir(container))
        group = self._runtime.cgroup(container.id)
        if group.folders:
            await asyncio.to_thread(group.remove)

    def _ended(self, container: Container) -> None:
        self.networking.release(container)
        self._volumes.unmounted(container)
        if container.auto_remove:
            self._supervisor.spawn(self._auto_remove(container.id), f"remove {container.name}")

    async def _auto_remove(self, container_id: str) -> None:
        with suppress(NotFound):  # removed while this waited for the lock
            async with self.locked(container_id) as container:
                if container.status in (Status.EXITED, Status.CREATED) and not container.restarting:
                    await self._remove(container_id)

    async def finish_removals(self) -> None:
        """At the daemon's start: end the removals that its predecessor began, and those it did not get to."""
        for container in self.store.all():
            if container.status is Status.REMOVING:
                self._finish_removal(container)
                await self._snapshots.remove(container.id)
                self.store.delete(container.id)
                self.networking.removed(container)
                self._volumes.removed(container)
            elif (container.auto_remove and container.status is Status.EXITED) or (
                container.auto_remove and container.status is Status.CREATED and container.error
            ):
                await self._remove(container.id)

    def _finish_removal(self, container: Container) -> None:
        self._graveyard.bury(self.folder(container))
        self._graveyard.bury(self.run_dir(container))

    # --- networks ----------------------------------------------------------------------------------

    async def connect(self, network: str, ref: str, settings: dict[str, Any]) -> None:
        """Connect a container, running or not, to a network."""
        async with self.locked(ref) as container:
            await self._connector.connect(container, network, settings)

    async def disconnect(self, network: str, ref: str, *, force: bool = False) -> None:
        """Take a container off a network."""
        async with self.locked(ref) as container:
            await self._connector.disconnect(container, network, force=force)

    async def publish(self, ref: str, bindings: dict[str, list[dict[str, str]]]) -> list[Published]:
        """Publish more ports of a container; those that are open now."""
        async with self.locked(ref) as container:
            published, host = await self._connector.publish(container, bindings)
            self._ports_changed(container, host)
            return published

    async def unpublish(self, ref: str, bindings: dict[str, list[dict[str, str]]]) -> None:
        """Take published ports away."""
        async with self.locked(ref) as container:
            host = await self._connector.unpublish(container, bindings)
            self._ports_changed(container, host)

    def _ports_changed(self, container: Container, host: dict[str, Any]) -> None:
        changed = self.store.update(container.id, host_config=host)
        self._events.publish("container", "update", container.id, event_attributes(changed))

    # --- streams -----------------------------------------------------------------------------------

    async def attach(self, ref: str, sock: socket.socket, **wanted: Any) -> None:
        """Hand a client's stream socket to the container; see :class:`~core.container.streams.PendingAttach`.

        A container that does not run yet gets it at its next start, before its program's first byte.
        """
        container = self.store.get(ref)
        attach = PendingAttach(sock, **wanted)
        if container.status is Status.PAUSED:
            raise Conflict(f"container {container.name} is paused, unpause the container before attach")
        if container.status is Status.RUNNING:
            await attach_task(self._supervisor.task(container), attach)
        else:
            self._pending.add(container.id, attach)
        self._events.publish("container", "attach", container.id, event_attributes(container))

    async def resize(self, ref: str, rows: int, columns: int) -> None:
        """The client's terminal has a new size."""
        container = self.store.get(ref)
        if not container.status.is_up:
            raise Conflict(f"container {container.id} is not running")
        if not (0 < rows <= 0xFFFF and 0 < columns <= 0xFFFF):
            raise InvalidArgument(f"terminal size {rows}×{columns} is out of range")
        await self._supervisor.task(container).resize(rows, columns)
        self._events.publish(
            "container",
            "resize",
            container.id,
            event_attributes(container) | {"height": str(rows), "width": str(columns)},
        )

    # --- helpers -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def locked(self, ref: str) -> AsyncIterator[Container]:
        """The container, with its lock held; NotFound when it was removed while we waited for the lock."""
        container = self.store.get(ref)
        lock = self._locks.setdefault(container.id, asyncio.Lock())
        async with lock:
            yield self.store.get(container.id)
