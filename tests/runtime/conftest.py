"""``bench``: a runtime for one test, with its zygote started; everything it made has ended afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.runtime.harness import Bench, Stock, prepare_placement


@pytest.fixture(scope="session")
def stock() -> Iterator[Stock]:
    folder = Path(tempfile.mkdtemp(prefix="rts", dir="/var/tmp"))
    yield Stock(folder)
    shutil.rmtree(folder)


@pytest_asyncio.fixture
async def bench(stock: Stock) -> AsyncIterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="rt", dir="/var/tmp"))
    bench = Bench(folder, prepare_placement(), stock)
    await bench.runtime.start()
    yield bench
    await bench.close()
    crashes = [path.read_text() for path in folder.glob("run/c/*/monitor.err")]
    left = [path for box in bench.boxes for path in box.cgroups()]
    shutil.rmtree(folder)
    for parent in bench.placement.parents.values():
        for path in (f"{parent}/monitors", parent):
            if os.path.isdir(path) and not any(os.path.isdir(f"{path}/{name}") for name in os.listdir(path)):
                os.rmdir(path)
    assert not crashes, crashes
    assert not left
