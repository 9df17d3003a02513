"""Probes the containers that have a health check: one task for each that runs, none for the others.

A probe is an exec like any other, so its end is seen by the monitor. The record is written after each answer: a
daemon that finds a running container goes on where its predecessor was (``health``: point 1 lies between the
record and the event).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable

from core import faults
from core.container import health
from core.container.execs import ExecRequest, ExecService
from core.container.health import Check, Result
from core.container.status import Container, Status
from core.container.store import ContainerStore
from core.container.supervisor import Supervisor, event_attributes
from core.errors import DockyardError
from core.events import EventBus

log = logging.getLogger("dockyard.health")

_CHUNK = 1 << 16
_HEADER = 8
#: Seconds for a killed probe to be gone.
_DEATH = 10.0


class Output:
    """What a probe wrote: the first bytes are kept, the rest is read and dropped."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._kept = bytearray()
        self._more = False

    def feed(self, data: bytes) -> None:
        """Take what came from the stream: frames with a header of eight bytes (kind, 0, 0, 0, length)."""
        if self._more:
            return
        self._raw += data
        while len(self._raw) >= _HEADER:
            end = _HEADER + int.from_bytes(self._raw[4:_HEADER], "big")
            if len(self._raw) < end:
                return
            self._keep(self._raw[_HEADER:end])
            del self._raw[:end]

    def _keep(self, payload: bytearray) -> None:
        room = health.MOST_OUTPUT - len(self._kept)
        self._kept += payload[:room]
        if len(payload) > room:
            self._more = True
            self._raw.clear()

    async def read(self, sock: socket.socket) -> None:
        """Until the end of the stream."""
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(sock, _CHUNK):
            self.feed(data)

    def text(self) -> str:
        """As Docker keeps it: ``...`` stands for what was dropped."""
        return self._kept.decode("utf-8", "replace") + ("..." if self._more else "")


class HealthService:
    """The probes of all containers."""

    def __init__(self, store: ContainerStore, supervisor: Supervisor, execs: ExecService, events: EventBus) -> None:
        self._store = store
        self._supervisor = supervisor
        self._execs = execs
        self._events = events
        self._watches: dict[str, asyncio.Task[None]] = {}
        self.on_unhealthy: Callable[[Container], None] = lambda container: None
        supervisor.health = self

    def resume(self) -> None:
        """At the daemon's start: go on probing what runs."""
        for container in self._store.all():
            self.up(container)

    def up(self, container: Container, due: int = 0) -> None:
        """It runs: probe it from ``due`` on (0: where its record says)."""
        check = health.check_of(container)
        if check is None or container.status is not Status.RUNNING or container.id in self._watches:
            return
        if container.health == health.UNHEALTHY:
            self.on_unhealthy(container)
        due = due or health.next_probe(container, check, time.time_ns())
        watch = self._supervisor.spawn(self._watch(container.id, check, due), f"probe {container.name}")
        self._watches[container.id] = watch
        watch.add_done_callback(lambda task: self._forget(container.id, task))

    def _forget(self, container_id: str, task: asyncio.Task[None]) -> None:
        if self._watches.get(container_id) is task:
            del self._watches[container_id]

    def down(self, container: Container) -> None:
        """It ended or was paused: nobody probes it."""
        watch = self._watches.pop(container.id, None)
        if watch is not None:
            watch.cancel()
        if container.health_state:
            self._store.update(container.id, health_state=health.left(container))

    def changed(self, container: Container) -> None:
        """It was paused, or goes on."""
        check = health.check_of(container)
        if check is not None and container.status is Status.RUNNING:
            now = time.time_ns()
            self.up(container, now + health.pause_between(container, check, now))
        else:
            self.down(container)

    def close(self) -> None:
        """The engine ends: no more probes. Their records stay as they are."""
        for watch in list(self._watches.values()):
            watch.cancel()

    async def _watch(self, container_id: str, check: Check, due: int) -> None:
        while True:
            await asyncio.sleep(max(0, due - time.time_ns()) / 1e9)
            container = self._store.find(container_id)
            if container is None or container.status is not Status.RUNNING:
                return
            self._apply(container_id, check, await self._probe(container, check))
            container = self._store.find(container_id)
            if container is None:
                return
            now = time.time_ns()
            due = now + health.pause_between(container, check, now)

    def _apply(self, container_id: str, check: Check, result: Result) -> None:
        before = self._store.find(container_id)
        if before is None or before.status is not Status.RUNNING:
            return
        after = self._store.update(container_id, health_state=health.answered(before, check, result))
        if after.health == before.health:
            return
        faults.point("health", 1)
        self._events.publish("container", f"health_status: {after.health}", after.id, event_attributes(after))
        if after.health == health.UNHEALTHY:
            self.on_unhealthy(after)

    async def _probe(self, container: Container, check: Check) -> Result:
        started = time.time_ns()
        try:
            code, text = await self._run(container, check)
        except DockyardError as error:
            log.info("%s: the probe could not run: %s", container.name, error)
            code, text = -1, str(error)
        return Result(started, time.time_ns(), code, text)

    async def _run(self, container: Container, check: Check) -> tuple[int, str]:
        """(exit code, output) of one probe; one that takes too long is killed, and has -1."""
        exec_id = self._execs.create(container.id, ExecRequest(check.command, stdout=True, stderr=True))
        ours, theirs = socket.socketpair()
        output = Output()
        try:
            ours.setblocking(False)
            await self._execs.start(exec_id, theirs)
            async with asyncio.timeout(check.timeout / 1e9):
                await output.read(ours)
                return await self._execs.ended(exec_id), output.text()
        except TimeoutError:
            await self._kill(exec_id)
            text = output.text()
            said = f"Health check exceeded timeout ({health.go_duration(check.timeout)})"
            return -1, f"{said}: {text}" if text else said
        except asyncio.CancelledError:
            self._supervisor.spawn(self._kill(exec_id), "end a probe")
            raise
        finally:
            ours.close()
            theirs.close()

    async def _kill(self, exec_id: str) -> None:
        """End a probe, and wait for that: dying ones must not pile up."""
        try:
            await self._execs.kill(exec_id)
            async with asyncio.timeout(_DEATH):
                await self._execs.ended(exec_id)
        except (DockyardError, TimeoutError) as error:
            log.info("a probe could not be ended: %s", error)
