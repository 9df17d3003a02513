"""Who waits for a container: the answers of ``wait`` and of everything inside the engine that needs an end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from core.container.status import Container
from core.errors import InvalidArgument

CONDITIONS = ("not-running", "next-exit", "removed")


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """What ``wait`` answers: the exit code, and an error when the engine lost sight of the container."""

    code: int
    error: str = ""


class WaitHandle:
    """A wait that has begun; ``result`` gives its answer. It holds nothing but a future."""

    def __init__(self, future: asyncio.Future[ExitStatus]) -> None:
        self._future = future

    async def result(self) -> ExitStatus:
        """The exit status, as soon as the condition holds."""
        return await asyncio.shield(self._future)


class Waiters:
    """The pending waits of all containers."""

    def __init__(self) -> None:
        self._pending: dict[str, list[tuple[str, asyncio.Future[ExitStatus]]]] = {}

    def add(self, container: Container, condition: str) -> WaitHandle:
        """Begin to wait for ``condition``; one that holds already is answered at once."""
        condition = condition or "not-running"
        if condition not in CONDITIONS:
            raise InvalidArgument(
                f'invalid condition: "{condition}"', hint="not-running, next-exit and removed are known"
            )
        future: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        if condition == "not-running" and not (container.status.is_alive or container.restarting):
            future.set_result(ExitStatus(container.exit_code))
        else:
            self._pending.setdefault(container.id, []).append((condition, future))
        return WaitHandle(future)

    def ended(self, container: Container, error: str = "") -> None:
        """The container's process ended (or it failed to start): answer everybody but those who wait for removal."""
        self._answer(container, ("not-running", "next-exit"), error)

    def removed(self, container: Container) -> None:
        """The container is gone: answer everybody."""
        self._answer(container, CONDITIONS, "")

    def close(self) -> None:
        """The engine ends: no answer will come any more."""
        for entries in self._pending.values():
            for _, future in entries:
                future.cancel()
        self._pending.clear()

    def _answer(self, container: Container, conditions: tuple[str, ...], error: str) -> None:
        kept = []
        for condition, future in self._pending.pop(container.id, []):
            if condition not in conditions:
                kept.append((condition, future))
            elif not future.done():
                future.set_result(ExitStatus(container.exit_code, error))
        if kept:
            self._pending[container.id] = kept
