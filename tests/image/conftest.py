"""``make_store`` and ``store``: an :class:`ImageStore` without an engine, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.image.stores import Store


@pytest.fixture
def make_store() -> Iterator[Callable[[Path], Store]]:
    with ExitStack() as stack:

        def make(root: Path) -> Store:
            made = Store(root)
            stack.callback(made.db.close)
            return made

        yield make


@pytest.fixture
def store(make_store: Callable[[Path], Store], short_folder: Path) -> Store:
    return make_store(short_folder / "root")
