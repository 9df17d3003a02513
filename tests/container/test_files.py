"""Folders that are removed without making anybody wait."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from core.container.files import Graveyard


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("other_device", [False, True])
async def test_what_is_buried_is_gone_at_once_and_deleted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_device: bool
) -> None:
    """Also on another file system, where a leaving monitor still removes its own things from the folder."""
    yard = Graveyard(str(tmp_path / "yard"))
    run = tmp_path / "run"
    body = run / "box"
    body.mkdir(parents=True)
    (body / "file").touch()
    monitor = os.open(body, os.O_RDONLY | os.O_DIRECTORY)
    real = os.rename

    def rename(source: str, target: str) -> None:
        if other_device and Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    yard.bury(str(body))
    assert not body.exists()
    os.unlink("file", dir_fd=monitor)
    os.close(monitor)
    await yard.settle()
    assert names(run) == []
    assert names(tmp_path / "yard") == []
    yard.bury(str(body))
    await asyncio.sleep(0)
