"""What the monitors say, applied to the records; and what is found after a daemon's death.

One coroutine per running container consumes its monitor's messages. Everything that changes a record here is
done without waiting in between, so that an exit needs no lock: ``stop`` may hold the container's lock while it
waits for that very exit.

Recovery looks at each container that its record says may be alive::

    monitor's socket answers          → adopt: running, or ended meanwhile
    exit record in the run directory  → apply it
    (pid, start time) alive but mute  → keep and report: an orphan; its end is seen by pidfd
    nothing left, was starting        → undo the start
    nothing left, was running         → exited 255, "monitor lost"
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Any, Protocol

from core import faults
from core.container import health, restart
from core.container.status import Container, Status
from core.container.store import ContainerStore
from core.container.waiting import Waiters
from core.errors import DockyardError, NotFound, Unavailable
from core.events import EventBus
from core.linux.process import start_time
from core.runtime import protocol
from core.runtime.client import Runtime, Task, read_exit

log = logging.getLogger("dockyard.supervisor")

ADOPT_DEADLINE = 5.0
LOST = 255


class ExecListener(Protocol):
    """Who is told about other processes in containers (``core.container.execs``)."""

    def exec_event(self, container: Container, message: Any) -> None:
        """An exec started, failed or ended."""

    def adopt(self, container: Container, execs: list[list[Any]]) -> None:
        """The execs that a monitor knew when it was adopted."""

    def container_ended(self, container: Container) -> None:
        """Nothing in this container runs any more."""


#: What is wrong with a container that runs without its monitor.
ORPHANED = "its monitor is lost: no logs, exec, attach and names until it is restarted"


class HealthListener(Protocol):
    """Who probes containers (``core.container.probing``)."""

    def up(self, container: Container) -> None:
        """It runs."""

    def down(self, container: Container) -> None:
        """It runs no more."""


class Supervisor:
    """The living containers: their tasks, and what becomes of them."""

    def __init__(self, store: ContainerStore, events: EventBus, waiters: Waiters, runtime: Runtime) -> None:
        self._store = store
        self._events = events
        self._waiters = waiters
        self._runtime = runtime
        self._tasks: dict[str, Task] = {}
        self._orphans: dict[str, int] = {}
        self._group: asyncio.TaskGroup | None = None
        self._closing = False
        self.execs: ExecListener | None = None
        self.health: HealthListener | None = None
        self._restarts: dict[str, asyncio.TimerHandle] = {}
        self.on_restart: Callable[[str], None] = lambda container_id: None
        self.on_ended: Callable[[Container], None] = lambda container: None

    def use(self, group: asyncio.TaskGroup) -> None:
        """Run the watching coroutines in ``group``."""
        self._group = group

    def spawn(self, coroutine: Any, name: str) -> asyncio.Task[None]:
        """Run ``coroutine`` in the engine's group; its failure is logged and ends nothing else."""

        async def guarded() -> None:
            try:
                await coroutine
            except Exception:
                log.exception("%s failed", name)

        if self._group is None:
            coroutine.close()
            raise Unavailable("the engine is not running")
        return self._group.create_task(guarded(), name=name)

    def task(self, container: Container) -> Task:
        """The connection to the container's monitor. Unavailable for an orphan, NotFound when not running."""
        task = self._tasks.get(container.id)
        if task is None:
            if container.id in self._orphans:
                raise Unavailable(f"container {container.name} lost its monitor; only stop, kill and rm work on it")
            raise NotFound(f"container {container.name} has no running task")
        return task

    async def signal(self, container: Container, number: int, *, everything: bool = False) -> None:
        """Send a signal to pid 1 of the container, or to all of it."""
        pidfd = self._orphans.get(container.id)
        if pidfd is None:
            await self.task(container).signal(number, all=everything)
            return
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            log.info("%s had ended already", container.name)

    def started(self, container_id: str, task: Task) -> Container:
        """``task`` runs its program: record it and watch it."""
        container = self._record_running(container_id, task, time.time_ns())
        self._events.publish("container", "start", container.id, event_attributes(container))
        self.watch(container, task)
        return container

    def watch(self, container: Container, task: Task) -> None:
        """Follow the monitor's messages until it leaves."""
        self._tasks[container.id] = task
        self.spawn(self._follow(container.id, task), f"watch {container.name}")
        if self.health is not None:
            self.health.up(container)

    def _record_running(self, container_id: str, task: Task, at: int) -> Container:
        return self._store.update(
            container_id,
            status=Status.RUNNING,
            pid=task.pid,
            pid_start=task.start_time,
            monitor_pid=task.monitor_pid,
            started_at=at,
            finished_at=0,
            exit_code=0,
            signal=0,
            oom_killed=False,
            error="",
            error_kind="",
            error_step="",
            error_path="",
            stopped_by="",
            restart_at=0,
            deaf=False,
            health_state=health.begun(self._store.get(container_id)),
        )

    async def _follow(self, container_id: str, task: Task) -> None:
        ended = False
        try:
            async for message in task.events:
                container = self._store.find(container_id)
                if container is None:
                    break
                if isinstance(message, protocol.Exited):
                    ended = True
                    self._apply_exit(container, message)
                elif isinstance(message, protocol.Oom):
                    self._events.publish("container", "oom", container.id, event_attributes(container))
                elif isinstance(message, protocol.Warned):
                    log.warning("%s: %s", container.name, message.message)
                elif self.execs is not None:
                    self.execs.exec_event(container, message)
        finally:
            if self._tasks.get(container_id) is task and (ended or self._store.find(container_id) is None):
                del self._tasks[container_id]
            await task.close()
        if not ended:
            await self._monitor_gone(container_id, task)

    async def _monitor_gone(self, container_id: str, task: Task) -> None:
        """The connection ended without an exit: the monitor died, or this daemon is being closed."""
        self._tasks.pop(container_id, None)
        container = self._store.find(container_id)
        if not self._closing and container is not None and container.status.is_up:
            await self._settle(container)

    def _apply_exit(self, container: Container, exited: protocol.Exited, error: str = "") -> None:
        """Record the end of a running container and tell everybody."""
        if not container.status.is_alive:
            return
        self._tasks.pop(container.id, None)
        container = self._store.update(
            container.id,
            status=Status.EXITED,
            pid=0,
            pid_start=0,
            monitor_pid=0,
            finished_at=exited.at,
            exit_code=exited.exit_code,
            signal=exited.signal,
            oom_killed=exited.oom_kills > 0,
            memory_limit=exited.memory_limit,
            error=error,
        )
        if self.execs is not None:
            self.execs.container_ended(container)
        if self.health is not None:
            self.health.down(container)
        attributes = event_attributes(container) | {"exitCode": str(exited.exit_code)}
        seconds = max(0, exited.at - container.started_at) // 1_000_000_000
        self._events.publish("container", "die", container.id, attributes | {"execDuration": str(seconds)})
        self._after_exit(container, error)

    def _after_exit(self, container: Container, error: str) -> None:
        """Down for good, or until its policy starts it again. Who waits for its end is told of both, as Docker does."""
        planned = restart.plan(container, time.time_ns())
        if planned:
            container = self._store.update(container.id, **planned)
            faults.point("restart", 1)
            self.schedule_restart(container)
        self._waiters.ended(container, error)
        self.on_ended(container)

    def schedule_restart(self, container: Container) -> None:
        """Start it again when its wait is over."""
        if self._closing:
            return
        self._forget_restart(container.id)
        loop = asyncio.get_running_loop()
        delay = restart.remaining(container, time.time_ns())
        self._restarts[container.id] = loop.call_later(delay, self._restart_due, container.id)

    def _restart_due(self, container_id: str) -> None:
        self._restarts.pop(container_id, None)
        self.on_restart(container_id)

    def _forget_restart(self, container_id: str) -> None:
        handle = self._restarts.pop(container_id, None)
        if handle is not None:
            handle.cancel()

    def cancel_restart(self, container: Container, verb: str = "") -> Container:
        """It does not wait for its next start any more: it is down, and who waits for that is told."""
        self._forget_restart(container.id)
        container = self._store.update(container.id, restart_at=0, **({"stopped_by": verb} if verb else {}))
        self._waiters.ended(container, container.error)
        return container

    # --- recovery ----------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Bring the records of all containers that may be alive in line with what is there.

        All at once: a monitor that is mute (stopped, say) has its deadline, and the others do not wait for it.
        """
        await asyncio.gather(*(self._settle(c) for c in self._store.all() if c.status.is_alive))

    def run_dir(self, container: Container) -> str:
        """The container's folder in the run directory."""
        return self._runtime.run_dir(container.short)

    async def _settle(self, container: Container) -> None:
        try:
            async with asyncio.timeout(ADOPT_DEADLINE):
                task = await self._runtime.adopt(self.run_dir(container))
        except (DockyardError, TimeoutError, OSError):
            self._settle_without_monitor(container)
            return
        if task.phase == "created":
            # It has not got its Start and never will: its lease ended with the daemon that made it.
            await task.close()
            self._undo_start(container)
            return
        if container.status is Status.STARTING:
            container = self._record_running(container.id, task, time.time_ns())
            self._events.publish("container", "start", container.id, event_attributes(container))
        if container.error == ORPHANED:
            container = self._store.update(container.id, monitor_pid=task.monitor_pid, error="")
        log.info("adopted %s (pid %d)", container.name, container.pid)
        if self.execs is not None:
            self.execs.adopt(container, task.execs)
        self.watch(container, task)

    def _settle_without_monitor(self, container: Container) -> None:
        record = read_exit(self.run_dir(container))
        if record is not None:
            if container.status is Status.STARTING:
                container = self._store.update(container.id, status=Status.RUNNING, started_at=record.at)
            self._apply_exit(container, record)
        elif container.pid and _is_alive(container.pid, container.pid_start):
            self._keep_orphan(container)
        elif container.status is Status.STARTING:
            self._undo_start(container)
        else:
            self._lost(container)

    def _undo_start(self, container: Container) -> None:
        back = Status.EXITED if container.finished_at else Status.CREATED
        container = self._store.update(
            container.id,
            status=back,
            error="the engine ended while it was starting this container",
            error_kind="unavailable",
        )
        if not container.restarting:
            self._waiters.ended(container, container.error)
        log.warning("%s: start undone", container.name)

    def _lost(self, container: Container) -> None:
        """Nothing of it is left but what its monitor would have cleared away."""
        gone = protocol.Exited(LOST, 0, False, 0, 0, time.time_ns())
        group = self._runtime.cgroup(container.id)
        self.spawn(asyncio.to_thread(group.remove), f"remove the cgroup of {container.name}")
        self._apply_exit(
            container,
            gone,
            "monitor lost: it ended together with the container, or the machine was restarted",
        )

    def _keep_orphan(self, container: Container) -> None:
        try:
            pidfd = os.pidfd_open(container.pid)
        except ProcessLookupError:
            self._lost(container)
            return
        log.error("%s runs (pid %d), but its monitor does not answer; it is kept", container.name, container.pid)
        self._orphans[container.id] = pidfd
        self._store.update(container.id, monitor_pid=0, error=ORPHANED)
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            self._orphans.pop(container.id, None)
            current = self._store.find(container.id)
            if current is not None and current.status.is_alive:
                self._lost(current)

        loop.add_reader(pidfd, ended)

    async def close(self) -> None:
        """Let go of all monitors; they and their containers live on."""
        self._closing = True
        loop = asyncio.get_running_loop()
        for pidfd in self._orphans.values():
            loop.remove_reader(pidfd)
            os.close(pidfd)
        self._orphans.clear()
        for handle in self._restarts.values():
            handle.cancel()
        self._restarts.clear()
        for task in list(self._tasks.values()):
            await task.close()


def _is_alive(pid: int, started: int) -> bool:
    """Whether the process of this pid is still the one that started then."""
    try:
        return start_time(pid) == started
    except ProcessLookupError:
        return False


def event_attributes(container: Container) -> dict[str, str]:
    """What every event of a container carries: image, name and its labels."""
    return {**container.labels, "image": container.image, "name": container.name}
