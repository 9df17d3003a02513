"""A container's writable view of an image: an upper and a work folder over the image's layers.

Nothing is mounted here; :meth:`Snapshotter.mounts` describes what init mounts in the container's own namespace.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid

from core.db import Database
from core.errors import NotFound, from_os_error
from core.image import host, trees
from core.image.model import Image
from core.image.store import ImageStore
from core.linux import trees as linux_trees
from core.linux.mounts import RootfsMount


class Snapshotter:
    """Owns the table ``snapshots`` and ``<root>/snapshots/<key>``. A key is a container's id."""

    def __init__(self, db: Database, root: str, images: ImageStore) -> None:
        self._db = db
        self._images = images
        self._folder = os.path.join(root, "snapshots")
        self._tmp = os.path.join(root, "tmp")
        os.makedirs(self._folder, mode=0o700, exist_ok=True)

    def prepare(self, key: str, image: Image) -> None:
        """Make the view, empty above the image. A few mkdirs and no sync."""
        lower = self._images.layer_folders(image)
        folder = os.path.join(self._folder, key)
        try:
            os.mkdir(folder, 0o700)
            if not image.is_host:
                # The root of an overlay has the mode and owner of its upper folder: the image's must shine through.
                found = os.stat(lower[0])
                os.mkdir(os.path.join(folder, "work"), 0o700)
                upper = os.path.join(folder, "upper")
                os.mkdir(upper, 0o700)
                os.chown(upper, found.st_uid, found.st_gid)
                os.chmod(upper, found.st_mode & 0o7777)
            self._db.execute("INSERT INTO snapshots VALUES (?, ?, ?)", (key, image.id, json.dumps(lower)))
        except OSError as error:
            trees.discard(folder)
            raise from_os_error(error, "prepare a snapshot") from error
        except BaseException:
            trees.discard(folder)
            raise

    def mounts(self, key: str) -> list[RootfsMount]:
        """What to mount, in order: the root first. NotFound when there is no such snapshot."""
        row = self._db.execute("SELECT * FROM snapshots WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise NotFound(f"no snapshot {key[:12]}")
        if row["image_id"] == host.IMAGE_ID:
            return host.mounts(json.loads(row["lower"])[0])
        folder = os.path.join(self._folder, key)
        return [
            {
                "target": "/",
                "lower": json.loads(row["lower"]),
                "upper": os.path.join(folder, "upper"),
                "work": os.path.join(folder, "work"),
            }
        ]

    def upper(self, key: str) -> str:
        """The folder of what was written; "" for a view without folders on disk, or when there is none."""
        path = os.path.join(self._folder, key, "upper")
        return path if os.path.isdir(path) else ""

    def written(self, key: str) -> int:
        """Bytes of the files that were written, hard links once."""
        path = self.upper(key)
        return linux_trees.size(path) if path else 0

    def scratch_size(self, key: str) -> int:
        """Bytes of the tmpfs that a view without folders on disk writes to; 0 when it has folders."""
        row = self._db.execute("SELECT image_id FROM snapshots WHERE key = ?", (key,)).fetchone()
        return host.scratch_size() if row is not None and row["image_id"] == host.IMAGE_ID else 0

    async def remove(self, key: str) -> None:
        """Remove the view: gone at once, its files deleted in a thread. Nothing happens when it is not there."""
        grave = os.path.join(self._tmp, f"gone-{uuid.uuid4().hex}")
        try:
            os.rename(os.path.join(self._folder, key), grave)
        except FileNotFoundError:
            grave = ""
        except OSError as error:
            raise from_os_error(error, "remove a snapshot") from error
        self._db.execute("DELETE FROM snapshots WHERE key = ?", (key,))
        if grave:
            self._images.layers.later(asyncio.to_thread(trees.discard, grave))

    async def sweep(self, live: set[str]) -> None:
        """Remove what belongs to no living container."""
        known = {row["key"] for row in self._db.execute("SELECT key FROM snapshots")}
        for key in (known | set(os.listdir(self._folder))) - live:
            await self.remove(key)
