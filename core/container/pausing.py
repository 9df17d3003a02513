"""Pause and unpause: every process of a container stops where it is, and goes on.

The kernel's freezer is the truth, the record follows it: a daemon that died between the two is put right by
:meth:`Pauser.recover`. The numbered points (``core.faults``)::

    pause    1 frozen, not recorded   2 recorded
    unpause  1 thawed, not recorded   2 recorded
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core import faults
from core.container.status import Container, Status
from core.container.store import ContainerStore
from core.container.supervisor import event_attributes
from core.errors import Conflict
from core.events import EventBus
from core.runtime.client import Runtime


class Pauser:
    """Freezes and thaws containers. Callers hold the container's lock."""

    def __init__(self, store: ContainerStore, events: EventBus, runtime: Runtime) -> None:
        self._store = store
        self._events = events
        self._runtime = runtime
        self.on_change: Callable[[Container], None] = lambda container: None

    async def pause(self, container: Container) -> None:
        """Stop every process of it. Conflict unless it runs; Unavailable when one cannot be stopped."""
        if container.restarting:
            raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
        if container.status is Status.PAUSED:
            raise Conflict(f"Container {container.id} is already paused")
        if not container.status.is_up:
            raise Conflict(f"container {container.id} is not running")
        group = self._runtime.cgroup(container.id)
        # Up to ten seconds: a process may be in the middle of what cannot be interrupted.
        await asyncio.to_thread(group.freeze)
        faults.point("pause", 1)
        self._record(container, Status.PAUSED, "pause")
        faults.point("pause", 2)

    async def unpause(self, container: Container) -> None:
        """Let it go on. Conflict unless it is paused."""
        if container.status is not Status.PAUSED:
            raise Conflict(f"Container {container.id} is not paused")
        self.thaw(container)

    def thaw(self, container: Container) -> None:
        """Let a paused one go on; also what a signal that is to end it needs."""
        self._runtime.cgroup(container.id).thaw()
        faults.point("unpause", 1)
        self._record(container, Status.RUNNING, "unpause")
        faults.point("unpause", 2)

    def recover(self) -> None:
        """At the daemon's start: what its predecessor froze or thawed and could not record."""
        for container in self._store.all():
            if container.status.is_up:
                found = Status.PAUSED if self._is_frozen(container) else Status.RUNNING
                if found is not container.status:
                    self._store.update(container.id, status=found)

    def _is_frozen(self, container: Container) -> bool:
        try:
            return self._runtime.cgroup(container.id).is_frozen()
        except (OSError, KeyError):
            return False

    def _record(self, container: Container, status: Status, action: str) -> None:
        """It may have ended meanwhile: killed by the kernel, or from outside."""
        current = self._store.find(container.id)
        if current is None or not current.status.is_up:
            raise Conflict(f"container {container.id} is not running")
        self.on_change(self._store.update(container.id, status=status))
        self._events.publish("container", action, container.id, event_attributes(container))
