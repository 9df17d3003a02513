"""The unpacked layers on this machine: which there are, where they lie, who still needs them.

Points of ``load`` (``core.faults``): 2 a recipe placed, 3 its layer placed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any

from core import faults
from core.db import Database
from core.errors import NotFound, from_os_error
from core.image import intake, recipe, trees
from core.linux import inodeflags

#: So long a layer stays that a pull finished and no image names yet: seconds.
LEASE = 24 * 3600


class Pins:
    """Layers that stay as long as this is held, whatever is removed."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._own: Counter[str] = Counter()

    def add(self, diff_ids: Iterable[str]) -> None:
        """These too."""
        for diff_id in diff_ids:
            self._own[diff_id] += 1
            self._counts[diff_id] += 1

    def release(self) -> None:
        """Let go of all."""
        self._counts -= self._own
        self._own = Counter()


class LayerStore:
    """Owns the tables layers and leases, and the folders ``layers`` and ``recipes``.

    A layer is here as long as an image, a snapshot, a pin or a lease needs it.
    """

    def __init__(self, db: Database, root: str) -> None:
        self._db = db
        self.folder = os.path.join(root, "layers")
        self._recipes = os.path.join(root, "recipes")
        self.tmp = os.path.join(root, "tmp")
        self._pinned: Counter[str] = Counter()
        self._later: set[asyncio.Task[Any]] = set()
        for folder in (self.folder, self._recipes, self.tmp):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        # Layers are unpacked there, and stay where the file system put them.
        inodeflags.spread(self.tmp)

    # --- reading -----------------------------------------------------------------------------------

    def has(self, diff_id: str) -> bool:
        """Whether the layer is here."""
        return self._db.execute("SELECT 1 FROM layers WHERE diff_id = ?", (diff_id,)).fetchone() is not None

    def sizes(self) -> dict[str, int]:
        """DiffID → bytes of its files, of every layer."""
        return {row["diff_id"]: row["size"] for row in self._db.execute("SELECT diff_id, size FROM layers")}

    def size(self, diff_id: str) -> int:
        """Bytes of the files of a layer that is here."""
        found: int = self._db.execute("SELECT size FROM layers WHERE diff_id = ?", (diff_id,)).fetchone()["size"]
        return found

    def paths(self, diff_id: str) -> tuple[str, str]:
        """A layer's folder and its recipe. NotFound when there is no such layer."""
        row = self._db.execute("SELECT folder FROM layers WHERE diff_id = ?", (diff_id,)).fetchone()
        if row is None:
            raise NotFound(f"no such layer: {diff_id}")
        return os.path.join(self.folder, row["folder"]), os.path.join(self._recipes, row["folder"])

    # --- coming in ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def pins(self) -> Iterator[Pins]:
        """Layers to hold on to meanwhile; what nobody needs any more goes at the end."""
        pins = Pins(self._pinned)
        try:
            yield pins
        finally:
            pins.release()
            self.forget_unused()

    @contextlib.contextmanager
    def keeping(self, diff_ids: Iterable[str]) -> Iterator[None]:
        """These layers stay meanwhile."""
        with self.pins() as pins:
            pins.add(diff_ids)
            yield

    def place(self, diff_id: str, folder: str, size: int) -> None:
        """Move a layer that was unpacked to ``folder`` below ``tmp`` into its place, and write its row."""
        name = folder.removeprefix(intake.PREFIX)
        try:
            # The recipe first: a layer never lies there without it.
            os.rename(intake.recipe_path(self.tmp, folder), os.path.join(self._recipes, name))
            faults.point("load", 2)
            os.rename(os.path.join(self.tmp, folder), os.path.join(self.folder, name))
            faults.point("load", 3)
        except OSError as error:
            raise from_os_error(error, "keep a layer in") from error
        self._db.execute("INSERT INTO layers VALUES (?, ?, ?)", (diff_id, name, size))

    def place_leased(self, diff_id: str, made: intake.Unpacked) -> None:
        """Keep a layer whose image is not here yet: for a day, or until it is pruned."""
        try:
            with self._db.transaction():
                if not self.has(diff_id):
                    self.place(diff_id, *made[diff_id])
                self._db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?)", (diff_id, time.time_ns()))
        except BaseException:
            self.bury_unplaced(made)
            raise

    def bury_unplaced(self, made: intake.Unpacked) -> None:
        """After a transaction that failed: remove the folders it had moved."""
        for diff_id, (name, _) in made.items():
            if not self.has(diff_id):
                self.bury(os.path.join(self.folder, name.removeprefix(intake.PREFIX)))

    # --- going -------------------------------------------------------------------------------------

    def end_leases(self, diff_ids: Iterable[str]) -> None:
        """An image names these layers now."""
        self._db.execute_many("DELETE FROM leases WHERE diff_id = ?", [(diff_id,) for diff_id in diff_ids])

    def end_old_leases(self, seconds: float = LEASE) -> None:
        """Forget the leases that are older; their layers go with the next :meth:`forget_unused`."""
        self._db.execute("DELETE FROM leases WHERE taken <= ?", (time.time_ns() - int(seconds * 1e9),))

    def leased_bytes(self) -> int:
        """Bytes of the layers that only a lease keeps."""
        row = self._db.execute("SELECT coalesce(sum(size), 0) AS size FROM layers JOIN leases USING (diff_id)")
        found: int = row.fetchone()["size"]
        return found

    def take_unused(self) -> dict[str, str]:
        """Delete the rows of layers that nobody needs: DiffID → folder, which is still there."""
        used = self.lowers_in_use()
        rows = self._db.execute(
            "SELECT diff_id, folder FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM image_layers) "
            "AND diff_id NOT IN (SELECT diff_id FROM leases)"
        )
        gone = {row["diff_id"]: os.path.join(self.folder, row["folder"]) for row in rows.fetchall()}
        gone = {key: path for key, path in gone.items() if path not in used and not self._pinned[key]}
        for diff_id in gone:
            self._db.execute("DELETE FROM layers WHERE diff_id = ?", (diff_id,))
        return gone

    def lowers_in_use(self) -> set[str]:
        """The folders that snapshots lie on."""
        rows = self._db.execute("SELECT lower FROM snapshots")
        return {folder for row in rows for folder in json.loads(row["lower"])}

    def forget_unused(self) -> None:
        """Remove the layers whose image was removed while a container lay on them, or while they were loaded."""
        with self._db.transaction():
            gone = self.take_unused()
        for path in gone.values():
            self.bury(path)

    def bury(self, path: str) -> None:
        """Remove a layer's folder, and its recipe."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._recipes, os.path.basename(path)))
        grave = os.path.join(self.tmp, f"gone-{uuid.uuid4().hex}")
        try:
            os.rename(path, grave)
        except FileNotFoundError:
            return
        self.later(asyncio.to_thread(trees.discard, grave))

    def later(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let ``work`` run behind; :meth:`settle` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def settle(self) -> None:
        """Wait for the deletions under way."""
        while self._later:
            await asyncio.wait(set(self._later))

    def sweep(self) -> None:
        """At the engine's start: delete what no row names. Nothing is coming in yet."""
        self.end_old_leases()
        known = {row["folder"] for row in self._db.execute("SELECT folder FROM layers")}
        for name in set(os.listdir(self.folder)) - known:
            self.bury(os.path.join(self.folder, name))
        for name in set(os.listdir(self._recipes)) - known:
            os.unlink(os.path.join(self._recipes, name))
        for name in os.listdir(self.tmp):
            if name.startswith(recipe.PREFIX):
                os.unlink(os.path.join(self.tmp, name))
            elif name.startswith(intake.PREFIX):
                self.bury(os.path.join(self.tmp, name))
        self.forget_unused()
