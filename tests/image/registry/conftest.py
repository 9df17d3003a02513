"""A registry, an image store and the service between them; attempts follow each other at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.image.registry import client, fetch, upload
from core.image.registry.client import Attempts
from tests.image.registry.fake import FakeRegistry
from tests.image.registry.ground import Ground


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry().running() as one:
        yield one


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client, fetch, upload):
        monkeypatch.setattr(module, "ATTEMPTS", Attempts(3, 0.001, 0.002))


@pytest.fixture
async def ground(tmp_path: Path, registry: FakeRegistry) -> AsyncIterator[Ground]:
    async with Ground(tmp_path / "root", registry) as one:
        yield one
