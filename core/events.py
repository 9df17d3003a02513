"""What happened, told to everybody who listens: Docker's event stream.

The last :data:`HISTORY` events are kept in memory, so that ``--since`` works for the recent past. A listener that
falls more than :data:`BACKLOG` events behind is cut off (its iterator ends) instead of growing the daemon.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any

HISTORY = 1024
BACKLOG = 4096

Event = dict[str, Any]

_END = object()


class EventBus:
    """Publishes events and serves them to subscribers, each at its own pace."""

    def __init__(self) -> None:
        self._history: deque[Event] = deque(maxlen=HISTORY)
        self._queues: set[asyncio.Queue[Any]] = set()
        self._listeners: list[Callable[[Event], None]] = []

    def publish(
        self, kind: str, action: str, actor: str, attributes: Mapping[str, str] | None = None, *, at: int = 0
    ) -> Event:
        """Tell that ``action`` happened to the object ``actor`` of type ``kind`` (``container``, ``image`` …).

        ``at`` is in nanoseconds since the epoch; by default now. Returns the event in Docker's shape.
        """
        now = at or time.time_ns()
        event: Event = {
            "Type": kind,
            "Action": action,
            "Actor": {"ID": actor, "Attributes": dict(attributes or {})},
            "scope": "local",
            "time": now // 1_000_000_000,
            "timeNano": now,
        }
        if kind in ("container", "image"):
            event |= {"status": action, "id": actor}
            source = event["Actor"]["Attributes"].get("image")
            if source:
                event["from"] = source
        self._history.append(event)
        for queue in list(self._queues):
            if queue.qsize() >= BACKLOG:
                self._queues.discard(queue)
                queue.put_nowait(_END)
            else:
                queue.put_nowait(event)
        for listener in self._listeners:
            listener(event)
        return event

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` at once for every event from now on, on the publisher's stack."""
        self._listeners.append(listener)

    async def subscribe(
        self,
        since: float | None = None,
        until: float | None = None,
        filters: Mapping[str, Iterable[str]] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Events that match, first the remembered ones from ``since`` on, then new ones as they come.

        Times are seconds since the epoch. With ``until`` the iterator ends when that moment has passed.
        ``filters`` as in Docker's API: ``type``, ``event``, ``container``, ``image``, ``label``.
        """
        matches = make_filter(filters or {})
        queue: asyncio.Queue[Any] = asyncio.Queue()
        past = [] if since is None else [event for event in self._history if event["timeNano"] >= since * 1e9]
        self._queues.add(queue)
        try:
            for event in past:
                if until is not None and event["timeNano"] > until * 1e9:
                    return
                if matches(event):
                    yield event
            while (new := await _next(queue, until)) is not None:
                if matches(new):
                    yield new
        finally:
            self._queues.discard(queue)

    def close(self) -> None:
        """End every subscription."""
        for queue in self._queues:
            queue.put_nowait(_END)
        self._queues.clear()


async def _next(queue: asyncio.Queue[Any], until: float | None) -> Event | None:
    """The next event, None when there is no more or the moment ``until`` has come."""
    if until is None:
        item = await queue.get()
    else:
        try:
            async with asyncio.timeout(max(0.0, until - time.time())):
                item = await queue.get()
        except TimeoutError:
            return None
    return None if item is _END else item


def make_filter(filters: Mapping[str, Iterable[str]]) -> Callable[[Event], bool]:
    """A predicate for events from Docker's filters; several values of one key are alternatives."""
    wanted = {key: set(values) for key, values in filters.items() if values}

    def matches(event: Event) -> bool:
        attributes = event["Actor"]["Attributes"]
        for key, values in wanted.items():
            if key == "type":
                good = event["Type"] in values
            elif key == "event":
                good = event["Action"] in values or event["Action"].split(":", 1)[0] in values
            elif key == "label":
                good = all(_label_matches(attributes, value) for value in values)
            elif key == event["Type"] or (key == "image" and event["Type"] == "container"):
                good = _actor_matches(event, key, values)
            else:
                good = False
            if not good:
                return False
        return True

    return matches


def _label_matches(attributes: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in attributes and (not equals or attributes[key] == value)


def _actor_matches(event: Event, key: str, values: set[str]) -> bool:
    attributes = event["Actor"]["Attributes"]
    if key == "image" and event["Type"] == "container":
        return attributes.get("image") in values
    actor = event["Actor"]["ID"]
    return any(actor == v or attributes.get("name") == v or (len(v) >= 12 and actor.startswith(v)) for v in values)
