"""What the list shows, kept current: one stream of events, one list per burst of them, no polling.

Not a widget: it knows the client and rows, and tells by callbacks. ``run`` and the meter's ``run`` live as long as the
workstation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from tui.client import Client, ConnectionLost, EngineError, usage_of
from tui.frame import Usage
from tui.rows import Row

#: Events within this many seconds are answered by one list.
BURST = 0.05
_RETRY_FIRST, _RETRY_LAST = 0.2, 5.0
_IGNORED = ("exec_", "top", "resize", "attach", "copy", "export", "archive-path", "commit")


class Feed:
    """Rows by id. ``on_rows`` is called after every change, ``on_link`` with "" (connected) or the reason."""

    def __init__(self, client: Client, on_rows: Callable[[], None], on_link: Callable[[str], None]) -> None:
        self.client = client
        self.rows: dict[str, Row] = {}
        self._on_rows, self._on_link = on_rows, on_link
        self._stale: set[str] = set()
        self._changed = asyncio.Event()
        self._delay = _RETRY_FIRST

    def seed(self, rows: list[Row]) -> None:
        """What the first picture already knows."""
        self.rows = {row.id: row for row in rows}

    def refresh(self) -> None:
        """List again soon."""
        self._changed.set()

    async def run(self) -> None:
        """Follow the engine for ever; survives its death and its return."""
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    updates = group.create_task(self._update())
                    async with aclosing(self.client.events()) as events:
                        async for event in events:
                            if event:
                                self._note(event)
                            else:
                                self._on_link("")
                                self._changed.set()
                    updates.cancel()
                reason = "the engine closed the connection"
            except* (ConnectionLost, EngineError, TimeoutError) as errors:
                reason = str(errors.exceptions[0]) or "the engine does not answer"
            self._on_link(reason)
            await asyncio.sleep(self._delay)
            self._delay = min(self._delay * 2, _RETRY_LAST)

    def _note(self, event: dict[str, object]) -> None:
        action = str(event.get("Action") or event.get("status") or "")
        if action.startswith(_IGNORED):
            return
        actor = event.get("Actor")
        if isinstance(actor, dict):
            self._stale.add(str(actor.get("ID", "")))
        self._changed.set()

    async def _update(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(BURST)  # gathers the burst
            self._changed.clear()
            await self.update()

    async def update(self) -> None:
        """One list, then an inspection of every row that needs one."""
        stale, self._stale = self._stale, set()
        rows = [Row(item) for item in await self.client.containers()]
        for row in rows:
            before = self.rows.get(row.id)
            if before is not None and before.state == row.state and row.id not in stale:
                _keep(row, before)
        self.rows = {row.id: row for row in rows}
        self._delay = _RETRY_FIRST
        self._on_rows()
        await self._learn([row for row in rows if not row.explained])

    async def _learn(self, rows: list[Row]) -> None:
        for index, row in enumerate(rows):
            if self._changed.is_set():
                self._stale.update(other.id for other in rows[index:])
                break
            try:
                row.learn(await self.client.inspect(row.id))
            except EngineError:
                continue  # it went away meanwhile: its own event is on the way
            except (ConnectionLost, TimeoutError):
                break  # if the engine is gone, the stream of events tells
            if index % 16 == 15:
                self._on_rows()
        if rows:
            self._on_rows()


def _keep(row: Row, before: Row) -> None:
    if row.explained and row.started:
        return
    row.started, row.ended, row.oom, row.error = before.started, before.ended, before.oom, before.error
    row.explained = before.explained
    if before.explained and not row.running:
        row.why = before.why


class Meter:
    """CPU and memory of the containers that are looked at: one stream for each, none for the others."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.usage: dict[str, Usage] = {}
        #: The engine has no statistics; nothing is asked again.
        self.unsupported = False
        self._wanted: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def watch(self, ids: frozenset[str]) -> None:
        """Measure exactly these from now on."""
        if ids != self._wanted:
            self._wanted = ids
            self._changed.set()

    async def run(self) -> None:
        """Start and end streams as :meth:`watch` asks."""
        async with asyncio.TaskGroup() as group:
            while not self.unsupported:
                await self._changed.wait()
                self._changed.clear()
                for ident in [ident for ident in self._tasks if ident not in self._wanted]:
                    self._tasks.pop(ident).cancel()
                    self.usage.pop(ident, None)
                for ident in self._wanted - self._tasks.keys():
                    self._tasks[ident] = group.create_task(self._follow(ident))

    async def _follow(self, ident: str) -> None:
        try:
            async with aclosing(self.client.stats(ident)) as samples:
                async for sample in samples:
                    measured = usage_of(sample)
                    if measured is not None:
                        self.usage[ident] = Usage(*measured)
        except EngineError as error:
            if error.status in (404, 501) and "no such container" not in str(error).lower():
                self.unsupported = True
                self._changed.set()
        except ConnectionLost:
            pass  # the feed tells; the list asks again when the engine is back
        finally:
            self.usage.pop(ident, None)
            if self._tasks.get(ident) is asyncio.current_task():
                del self._tasks[ident]
                # Watched still (it restarted, the engine came back): the next watch() starts it again.
                self._wanted = self._wanted - {ident}
