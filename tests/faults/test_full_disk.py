"""The disk is full: what runs can still be stopped and removed, and that makes room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import Engine


@pytest.fixture
def small_disk(make_engine: Callable[..., Engine]) -> Iterator[Engine]:
    """An engine whose root folder is a file system of 100 MiB."""
    engine = make_engine(start=False)
    engine.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "small", engine.root], check=True)
    try:
        yield engine.start()
    finally:
        engine.remove_containers()
        engine.stop()
        subprocess.run(["umount", engine.root], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    path = folder / "fill"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    left = os.statvfs(folder)
    assert left.f_bavail == 0
    return path


def test_on_a_full_disk_containers_end_and_go(small_disk: Engine) -> None:
    small_disk.busybox()
    for name in ("ends", "stays"):
        small_disk.dockyard(
            "run", "-d", "--network", "none", "--name", name, "busybox:test", "sleep", "1000", check=True
        )
    full = fill(small_disk.root)
    small_disk.dockyard("stop", "-t", "0", "ends", check=True)
    assert small_disk.inspect("ends")["State"]["ExitCode"] == 137
    small_disk.dockyard("rm", "ends", check=True)
    small_disk.dockyard("rm", "-f", "stays", check=True)
    assert small_disk.containers() == []
    full.unlink()
    small_disk.restart()
    assert small_disk.containers() == []
