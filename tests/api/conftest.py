from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.fakes import Served, served


@pytest.fixture
async def api(short_folder: Path) -> AsyncIterator[Served]:
    """The API server in this process, with a fake engine behind it."""
    async with served(short_folder) as running:
        yield running
