"""A short run of each target, the same each time."""

from __future__ import annotations

import pytest

from tests.fuzz.__main__ import run
from tests.fuzz.targets import TARGETS, Target


@pytest.mark.root
@pytest.mark.parametrize(("name", "inputs"), [("layers", 400), ("documents", 3000)])
def test_no_promise_is_broken(name: str, inputs: int) -> None:
    _, failed, how = run(TARGETS[name], 1, lambda count: count < inputs)
    assert failed is None, how


def test_a_broken_promise_is_found() -> None:
    def feed(data: bytes) -> None:
        assert b"\xff" not in data

    _, failed, how = run(Target(feed, lambda: [bytes(600)]), 1, lambda count: count < 1000)
    assert failed is not None
    assert b"\xff" in failed
    assert "AssertionError" in how
