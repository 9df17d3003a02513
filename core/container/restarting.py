"""Starts containers again whose policy asks for it (``core.container.restart`` says whether and when).

The numbered points (``core.faults``)::

    restart  1 wait recorded  2 wait over  3 runs again
"""

from __future__ import annotations

import logging
import time

from core import faults
from core.container import restart
from core.container.health import UNHEALTHY
from core.container.service import ContainerService
from core.container.status import Container, Status
from core.container.supervisor import Supervisor
from core.errors import DockyardError

log = logging.getLogger("dockyard.restart")


class RestartService:
    """Ends the waits that the supervisor keeps, each with a start."""

    def __init__(self, containers: ContainerService, supervisor: Supervisor) -> None:
        self._containers = containers
        self._supervisor = supervisor
        supervisor.on_restart = self._due

    def resume(self) -> None:
        """At the daemon's start: waits that its predecessor began go on; policies that ask for it start theirs."""
        store = self._containers.store
        for container in store.all():
            if container.status is Status.EXITED and container.restarting:
                self._supervisor.schedule_restart(container)
            elif restart.at_engine_start(container):
                self._supervisor.schedule_restart(
                    store.update(container.id, restart_at=time.time_ns(), restart_count=0, restart_delay=0)
                )

    def unhealthy(self, container: Container) -> None:
        """Its probes failed: end it, for its policy to start it again, when that was asked for."""
        if restart.when_unhealthy(container):
            self._supervisor.spawn(self._end(container.id), f"end {container.name}, which is unhealthy")

    async def _end(self, container_id: str) -> None:
        if self._containers.store.find(container_id) is None:
            return
        async with self._containers.locked(container_id) as container:
            if container.status is Status.RUNNING and container.health == UNHEALTHY:
                await self._containers.stop_held(container, None, "", "unhealthy")

    def _due(self, container_id: str) -> None:
        self._supervisor.spawn(self._start_again(container_id), f"restart {container_id[:12]}")

    async def _start_again(self, container_id: str) -> None:
        faults.point("restart", 2)
        if self._containers.store.find(container_id) is None:
            return
        async with self._containers.locked(container_id) as container:
            if not container.restarting:
                return
            try:
                await self._containers.start_held(container)
            except DockyardError as error:
                log.error("%s could not be restarted: %s", container.name, error)
            else:
                faults.point("restart", 3)
