"""The monitor's loop: descriptors, and what is to happen by time."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from core.runtime.poller import GONE, READ, WRITE, Poller

#: Milliseconds and seconds that no test waits for.
LONG_MS, LONG = 60_000, 60.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:
            pass


def test_descriptors(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    poller = Poller()
    seen: list[tuple[str, int]] = []
    poller.watch(reader, READ, lambda events: seen.append(("reader", events)))
    assert not poller.run_once(0)
    os.write(writer, b"x")
    assert poller.run_once(LONG_MS)
    assert seen == [("reader", READ)]
    os.read(reader, 1)
    poller.watch(writer, WRITE, lambda events: seen.append(("writer", events)))
    assert poller.run_once(LONG_MS)
    assert seen[1:] == [("writer", WRITE)]
    # Watched for nothing, it still says when it is gone.
    poller.watch(writer, 0, lambda events: seen.append(("gone", events & GONE)))
    poller.forget(reader)
    os.close(reader)
    assert poller.run_once(LONG_MS)
    assert seen[2][0] == "gone"
    assert seen[2][1]
    poller.forget(writer)
    poller.forget(writer)
    assert not poller.run_once(0)


def test_who_is_forgotten_by_one_before_it_is_not_called(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.write(writer, b"x")
    other = os.dup(reader)
    poller = Poller()
    seen: list[int] = []

    def first(fd: int, rest: int) -> None:
        seen.append(fd)
        poller.forget(rest)

    poller.watch(reader, READ, lambda events: first(reader, other))
    poller.watch(other, READ, lambda events: first(other, reader))
    assert poller.run_once(LONG_MS)
    assert len(seen) == 1
    os.close(other)


def test_timers_in_their_order() -> None:
    poller = Poller()
    seen: list[str] = []
    poller.call_later(LONG, lambda: seen.append("never"))
    for name, seconds in (("c", 0.003), ("a", 0.001), ("b", 0.002), ("d", 0.004)):
        poller.call_later(seconds, lambda name=name: seen.append(name))  # type: ignore[misc]
    while len(seen) < 4:
        assert poller.run_once()  # without an end of its own: a timer ends the wait
    assert seen == ["a", "b", "c", "d"]
    assert not poller.run_once(0)


def test_a_timer_is_called_once() -> None:
    poller = Poller()
    seen: list[int] = []
    timer = poller.call_later(0, lambda: seen.append(1))
    assert poller.run_once(LONG_MS)
    assert not poller.run_once(0)
    timer.cancel()
    assert seen == [1]


def test_the_time_is_over_before_the_timer() -> None:
    poller = Poller()
    seen: list[int] = []
    poller.call_later(LONG, lambda: seen.append(1))
    assert not poller.run_once(1)
    assert seen == []


def test_cancelled_timers() -> None:
    poller = Poller()
    seen: list[str] = []
    early = poller.call_later(0, lambda: seen.append("early"))
    early.cancel()
    early.cancel()
    assert not poller.run_once(0)
    # By one that is due with it.
    second = poller.call_later(0, lambda: seen.append("second"))
    poller.call_later(-1, second.cancel)
    assert poller.run_once(LONG_MS)
    assert not poller.run_once(0)
    assert seen == []


def test_a_timer_that_sets_the_next() -> None:
    poller = Poller()
    seen: list[int] = []

    def again() -> None:
        seen.append(len(seen))
        if len(seen) < 3:
            poller.call_later(0, again)

    poller.call_later(0, again)
    # One of them in each turn: who sets timers for now does not keep the others waiting.
    for turn in range(1, 4):
        assert poller.run_once(LONG_MS)
        assert len(seen) == turn
    assert not poller.run_once(0)


def test_timers_and_descriptors_in_one_turn(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.write(writer, b"x")
    poller = Poller()
    seen: list[str] = []
    poller.watch(reader, READ, lambda events: seen.append("reader"))
    poller.call_later(-1, lambda: seen.append("timer"))
    assert poller.run_once(LONG_MS)
    assert sorted(seen) == ["reader", "timer"]
