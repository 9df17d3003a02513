"""Fixtures for tests that make containers without an engine; ``conftest.py`` of the folders that use them import these.

``busybox_lower``   a folder with a busybox root file system, shared by the run: never write into it
``sandbox``         a fresh :class:`tests.linux.sandbox.Sandbox` on it
``make_sandbox``    a factory: ``make_sandbox(lower=folder)``
``own_lower``       a root file system of the test's own, to plant things in
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.linux.sandbox import Sandbox, unpack_busybox


@pytest.fixture(scope="session")
def busybox_lower(base_folder: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bb", dir=base_folder))
    yield unpack_busybox(folder)
    shutil.rmtree(folder)


@pytest.fixture
def own_lower(short_folder: Path, busybox_lower: Path) -> Path:
    """/bin is shared by hard links; the rest is small and the test's own."""
    folder = short_folder / "lower"
    shutil.copytree(busybox_lower, folder, symlinks=True)
    folder.chmod(0o755)
    return folder


@pytest.fixture
def make_sandbox(short_folder: Path, busybox_lower: Path) -> Callable[..., Sandbox]:
    def make(lower: Path | None = None) -> Sandbox:
        return Sandbox(Path(tempfile.mkdtemp(prefix="s", dir=short_folder)), lower or busybox_lower)

    return make


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return make_sandbox()
