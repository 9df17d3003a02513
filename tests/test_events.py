"""The event bus: shapes, filters, the remembered past, slow listeners."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from core.events import BACKLOG, EventBus, make_filter


async def take(stream: Any, count: int) -> list[dict[str, Any]]:
    found = []
    async for event in stream:
        found.append(event)
        if len(found) == count:
            break
    await stream.aclose()
    return found


def test_the_shape_is_dockers() -> None:
    event = EventBus().publish("container", "start", "id1", {"image": "img", "name": "n"}, at=5_000_000_007)
    assert event == {
        "Type": "container", "Action": "start", "Actor": {"ID": "id1", "Attributes": {"image": "img", "name": "n"}},
        "scope": "local", "time": 5, "timeNano": 5_000_000_007, "status": "start", "id": "id1", "from": "img",
    }  # fmt: skip


async def test_new_events_arrive_in_order() -> None:
    bus = EventBus()
    task = asyncio.ensure_future(take(bus.subscribe(), 2))
    await asyncio.sleep(0)
    bus.publish("container", "start", "a")
    bus.publish("container", "die", "a")
    assert [event["Action"] for event in await task] == ["start", "die"]


async def test_the_past_and_its_end() -> None:
    bus = EventBus()
    for second in (10, 20, 30):
        bus.publish("image", "tag", str(second), at=second * 1_000_000_000)
    found = [event["Actor"]["ID"] async for event in bus.subscribe(since=15, until=25)]
    assert found == ["20"]


async def test_until_ends_a_silent_stream() -> None:
    assert [event async for event in EventBus().subscribe(until=time.time() + 0.02)] == []


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        ({}, True),
        ({"type": ["container"]}, True),
        ({"type": ["image"]}, False),
        ({"event": ["exec_start"]}, True),
        ({"event": ["die"]}, False),
        ({"container": ["web"]}, True),
        ({"container": ["abcdefabcdef"]}, True),
        ({"container": ["abc"]}, False),
        ({"image": ["img"]}, True),
        ({"label": ["tier=1"]}, True),
        ({"label": ["tier=1", "other"]}, False),
        ({"volume": ["x"]}, False),
    ],
)
def test_filters(filters: dict[str, list[str]], matches: bool) -> None:
    event = EventBus().publish(
        "container", "exec_start: sh", "abcdefabcdef" + "0" * 52, {"name": "web", "image": "img", "tier": "1"}
    )
    assert make_filter(filters)(event) is matches


async def test_a_listener_that_falls_behind_is_cut_off() -> None:
    bus = EventBus()
    stream = bus.subscribe()
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    for number in range(BACKLOG + 5):
        bus.publish("container", "x", str(number))
    await first
    rest = [event async for event in stream]
    assert len(rest) == BACKLOG - 1


async def test_closing_ends_every_stream() -> None:
    bus = EventBus()
    task = asyncio.ensure_future(take(bus.subscribe(), 1))
    await asyncio.sleep(0)
    bus.close()
    assert await task == []
