"""An image store of a test's own, and running something in a mount namespace of its own."""

from __future__ import annotations

import os
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from core.db import Database
from core.image.model import Image
from core.image.snapshots import Snapshotter
from core.image.store import ImageStore
from core.linux import mounts, syscalls


async def stream(data: bytes, size: int = 1 << 16) -> AsyncIterator[bytes]:
    """``data`` as a body arrives."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


class Store:
    """``images`` and ``snapshots`` below ``root``; ``events`` are the actions that were published."""

    def __init__(self, root: Path) -> None:
        root.mkdir(exist_ok=True)
        self.root = root
        self.events: list[str] = []
        self.db = Database(root / "dockyard.db")
        self.images = ImageStore(self.db, str(root), str(root / "run"), self._publish)
        self.snapshots = Snapshotter(self.db, str(root), self.images)

    def _publish(self, kind: str, action: str, id: str, attributes: dict[str, Any]) -> None:
        assert kind == "image"
        self.events.append(action)

    async def load(self, data: bytes) -> list[str]:
        return await self.images.load(stream(data), lambda text: None)

    async def import_(self, data: bytes, name: str | None = None, changes: tuple[str, ...] = ()) -> Image:
        return await self.images.import_rootfs(stream(data), name, list(changes))

    def files(self) -> dict[str, list[str]]:
        """What lies in the folders of the store, but for the skeleton of ``host``."""
        return {name: sorted(os.listdir(self.root / name)) for name in ("blobs/sha256", "layers", "tmp", "snapshots")}

    def rows(self) -> dict[str, int]:
        tables = ("images", "layers", "image_layers", "tags", "snapshots")
        return {name: self.db.execute(f"SELECT count(*) AS n FROM {name}").fetchone()["n"] for name in tables}

    async def check(self) -> None:
        """Tables, folders and memory tell the same story, and nothing lies about."""
        await self.images.layers.settle()
        files = self.files()
        assert files["tmp"] == []
        assert files["layers"] == sorted(row["folder"] for row in self.db.execute("SELECT folder FROM layers"))
        known = sorted(image.id for image in self.images.all() if not image.is_host)
        assert files["blobs/sha256"] == [key[7:] for key in known]
        assert known == sorted(row["id"] for row in self.db.execute("SELECT id FROM images"))
        tags = {tag: image.id for image in self.images.all() if not image.is_host for tag in image.tags}
        assert tags == {row["name"]: row["image_id"] for row in self.db.execute("SELECT * FROM tags")}


def in_child(work: Callable[[], Any]) -> None:
    """Run ``work`` in a forked child with a mount namespace of its own; AssertionError with its traceback."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - the parent must be told whatever it is
            os.write(write, traceback.format_exc().encode()[-60_000:])
        os._exit(code)
    os.close(write)
    said = b""
    while chunk := os.read(read, 1 << 16):
        said += chunk
    os.close(read)
    _, status = os.waitpid(pid, 0)
    assert status == 0, said.decode(errors="replace") or f"status {status}"


def mount_view(store: Store, image: Image, key: str, at: Path) -> None:
    """A container's view of ``image`` at ``at``, in this (the child's) mount namespace."""
    store.snapshots.prepare(key, image)
    at.mkdir(exist_ok=True)
    mounts.mount_overlay(store.snapshots.mounts(key)[0], str(at))
