"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.fake import FakeEngine, Handler


@pytest.fixture
def fake(short_folder: Path) -> Iterator[Callable[[dict[str, Handler]], FakeEngine]]:
    """``fake({"GET /x": handler})`` → a running engine of canned answers."""
    with ExitStack() as stack:

        def make(routes: dict[str, Handler]) -> FakeEngine:
            path = short_folder / f"s{len(list(short_folder.iterdir()))}"
            return stack.enter_context(FakeEngine(path, routes))

        yield make
