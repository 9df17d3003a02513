"""Waits are answered once, by the right end."""

from __future__ import annotations

import asyncio

import pytest

from core.container.status import Container, Status
from core.container.waiting import ExitStatus, Waiters, WaitHandle
from core.errors import InvalidArgument
from tests.container.records import make_container


def ended(code: int = 3) -> Container:
    return make_container(status=Status.EXITED, exit_code=code, finished_at=1)


async def pending(handle: WaitHandle) -> bool:
    task = asyncio.ensure_future(handle.result())
    await asyncio.sleep(0)
    done = task.done()
    task.cancel()
    return not done


async def test_not_running_is_answered_at_once() -> None:
    assert await Waiters().add(ended(), "").result() == ExitStatus(3)


async def test_next_exit_waits_for_an_exit() -> None:
    waiters = Waiters()
    handle = waiters.add(ended(), "next-exit")
    assert await pending(handle)
    waiters.ended(ended(7))
    assert await handle.result() == ExitStatus(7)


async def test_removed_waits_beyond_the_exit() -> None:
    waiters = Waiters()
    handle = waiters.add(make_container(status=Status.RUNNING), "removed")
    waiters.ended(ended(7))
    assert await pending(handle)
    waiters.removed(ended(7))
    assert await handle.result() == ExitStatus(7)


async def test_removal_answers_everybody() -> None:
    waiters = Waiters()
    handle = waiters.add(ended(), "next-exit")
    waiters.removed(ended())
    assert await handle.result() == ExitStatus(3)


async def test_a_cancelled_waiter_does_not_take_the_others_with_it() -> None:
    waiters = Waiters()
    handle = waiters.add(make_container(status=Status.RUNNING), "")
    first = asyncio.ensure_future(handle.result())
    await asyncio.sleep(0)
    first.cancel()
    waiters.ended(ended(1))
    assert await handle.result() == ExitStatus(1)


async def test_a_bad_condition() -> None:
    with pytest.raises(InvalidArgument, match="sometime"):
        Waiters().add(ended(), "sometime")
