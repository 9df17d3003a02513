"""``registry``: a plain registry in a network namespace of its own, for the tests of this package's parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.namespace import NetNs
from tests.registry.server import Registry


@pytest.fixture(scope="module")
def registry(base_folder: Path) -> Iterator[Registry]:
    with NetNs() as netns, Registry(base_folder, netns) as made:
        yield made
