"""What images are here and by which names; how they come in and go.

Points of ``load`` (``core.faults``): 1 unpacked, 2 a recipe placed, 3 its layer placed, 4 rows written.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from core import faults, oci
from core.db import Database
from core.errors import Conflict, Corrupt, InvalidArgument, NotFound, from_os_error
from core.image import archive, content, documents, host, intake, layers, model, recipe, reference, trees
from core.image.content import ContentStore
from core.image.deletable import cannot_delete, check_deletable
from core.image.model import Image
from core.image.schema import MIGRATIONS

Publish = Callable[..., Any]


class ImageStore:
    """Owns the tables images, layers, image_layers and tags, and the folders ``blobs`` and ``layers``."""

    def __init__(self, db: Database, root: str, run: str, publish: Publish) -> None:
        self._db = db
        self._root = root
        self._publish = publish
        self._content = ContentStore(root)
        self._layers = os.path.join(root, "layers")
        self._recipes = os.path.join(root, "recipes")
        self._tmp = os.path.join(root, "tmp")
        self._hosts = os.path.join(root, "host")
        self._load_lock = asyncio.Lock()
        #: DiffIDs that the load under way needs, and those that are being saved.
        self._pinned: set[str] = set()
        self._saved: Counter[str] = Counter()
        self._later: set[asyncio.Task[Any]] = set()
        #: Who uses an image: (container id, whether it runs). Set by the engine.
        self.in_use: Callable[[str], list[tuple[str, bool]]] = lambda image_id: []
        for folder in (self._layers, self._recipes):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        db.migrate("image", MIGRATIONS)
        self.host_folder = host.build(self._hosts)
        self._host = model.host_image()
        self._images: dict[str, Image] = {}
        self._tags: dict[str, str] = {}
        self._read()

    def _read(self) -> None:
        """What the tables say; also after a change that failed half-way."""
        self._images.clear()
        tags: dict[str, list[str]] = {}
        for row in self._db.execute("SELECT name, image_id FROM tags ORDER BY name"):
            tags.setdefault(row["image_id"], []).append(row["name"])
        self._tags = {name: image_id for image_id, names in tags.items() for name in names}
        for row in self._db.execute("SELECT * FROM images"):
            config: oci.Image = json.loads(row["config"])
            self._images[row["id"]] = Image(
                row["id"],
                config,
                tuple(config["rootfs"]["diff_ids"]),
                row["size"],
                row["created"],
                tuple(tags.get(row["id"], ())),
                parent=row["parent"],
                tagged=row["tagged"],
            )

    # --- reading -----------------------------------------------------------------------------------

    def all(self) -> list[Image]:
        """Every image, ``host`` among them."""
        return [*self._images.values(), self._host]

    def count(self) -> int:
        """How many images there are."""
        return len(self._images) + 1

    def get(self, ref: str) -> Image:
        """By name, id, or unambiguous beginning of an id. NotFound, with Docker's words; InvalidArgument."""
        return self._named(ref)[0]

    def _named(self, ref: str) -> tuple[Image, str]:
        """The image, and the name by which ``ref`` meant it: "" when it was an id. As Docker, a name goes first."""
        bare = ref.removeprefix("sha256:")
        is_hex = 0 < len(bare) <= 64 and all(c in "0123456789abcdef" for c in bare)
        name = "" if is_hex and len(bare) == 64 else reference.parse(ref).familiar
        if name == host.NAME:
            return self._host, name
        if name in self._tags:
            return self._images[self._tags[name]], name
        found = [image for image in self.all() if image.id.startswith(f"sha256:{bare}")] if is_hex else []
        if len(found) > 1:
            raise InvalidArgument(f"multiple images found with provided prefix: {ref}", hint="write more of the id")
        if not found:
            raise NotFound(f"No such image: {name or ref}")
        return found[0], ""

    def children(self, image_id: str) -> list[Image]:
        """The images that were made from this one."""
        return [image for image in self._images.values() if image.parent == image_id]

    def layer_sizes(self) -> dict[str, int]:
        """DiffID → bytes of its files, of every layer."""
        return {row["diff_id"]: row["size"] for row in self._db.execute("SELECT diff_id, size FROM layers")}

    def layer_paths(self, diff_id: str) -> tuple[str, str]:
        """A layer's folder and its recipe. NotFound when there is no such layer."""
        row = self._db.execute("SELECT folder FROM layers WHERE diff_id = ?", (diff_id,)).fetchone()
        if row is None:
            raise NotFound(f"no such layer: {diff_id}")
        return os.path.join(self._layers, row["folder"]), os.path.join(self._recipes, row["folder"])

    def config_blob(self, image: Image) -> bytes:
        """The config as it came, the bytes that the image's id is the digest of."""
        return self._content.read(image.id, documents.MAX_DOCUMENT)

    @contextlib.contextmanager
    def keeping(self, layers: Iterable[str]) -> Iterator[None]:
        """These layers stay meanwhile, whatever is removed."""
        needed = Counter(list(layers))
        self._saved += needed
        try:
            yield
        finally:
            self._saved -= needed
            self._forget_unused_layers()

    @contextlib.asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """No image comes in meanwhile."""
        async with self._load_lock:
            yield

    def layer_folders(self, image: Image) -> list[str]:
        """The folders of its layers, topmost first, as overlayfs wants them.

        A layer may occur twice in an image: overlayfs refuses that (ELOOP), and the upper one says all that the lower
        does. What lies below a layer whose root is opaque is hidden; overlayfs asks only folders inside the root.
        """
        if image.is_host:
            return [self.host_folder]
        rows = self._db.execute(
            "SELECT l.folder FROM image_layers i JOIN layers l USING (diff_id) WHERE i.image_id = ? "
            "ORDER BY i.position DESC",
            (image.id,),
        )
        found: dict[str, None] = {}
        for row in rows.fetchall():
            folder = os.path.join(self._layers, row["folder"])
            found[folder] = None
            if layers.is_opaque(folder):
                break
        return list(found)

    # --- coming in ---------------------------------------------------------------------------------

    async def import_rootfs(
        self,
        source: AsyncIterator[bytes],
        name: str | None,
        instructions: list[str],
        message: str = "",
        platform: str = "",
    ) -> Image:
        """Make an image of one layer from a root file system's tar."""
        wanted = self.free_name(name) if name else ""
        document = model.imported(instructions, message, platform)
        made = intake.Unpacked()
        async with self._loading_one():
            try:
                with await intake.spool(source, self._tmp) as file:
                    diff_id = await intake.in_thread(intake.unpack, file, self._tmp, "root file system", made, True)
                document["rootfs"]["diff_ids"] = [diff_id]
                with self._changing(made):
                    image = self._keep(model.dump(document), document, made, [wanted] if wanted else [])
            finally:
                await intake.in_thread(intake.discard, made, self._tmp)
        self._publish("image", "import", image.id, {"name": wanted or image.id})
        return image

    async def commit(self, file: BinaryIO, document: Any, parent: str, name: str) -> Image:
        """Make an image of ``parent``'s layers and one more, whose uncompressed tar is in ``file``.

        ``document`` is its config, with the DiffIDs of the parent's layers. Raises Corrupt and Exhausted.
        """
        made = intake.Unpacked()
        async with self._loading_one():
            self._pinned.update(document["rootfs"]["diff_ids"])
            try:
                diff_id = await intake.in_thread(intake.unpack, file, self._tmp, "the container's changes", made, True)
                faults.point("commit", 2)
                document["rootfs"]["diff_ids"] = [*document["rootfs"]["diff_ids"], diff_id]
                with self._changing(made):
                    return self._keep(model.dump(document), document, made, [name] if name else [], parent)
            finally:
                await intake.in_thread(intake.discard, made, self._tmp)

    async def load(self, source: AsyncIterator[bytes], progress: Callable[[str], None]) -> list[str]:
        """Bring in every image of a docker-archive or OCI-archive: all, or none. Returns Docker's messages."""
        async with self._loading_one():
            with await intake.spool(source, self._tmp) as file:
                plain = await intake.in_thread(intake.plain, file, self._tmp)
                with plain:
                    return await self._load_archive(plain, progress)

    async def _load_archive(self, file: BinaryIO, progress: Callable[[str], None]) -> list[str]:
        made = intake.Unpacked()
        try:
            opened = await intake.in_thread(archive.Archive(file).__enter__)
            with opened:
                found = await intake.in_thread(opened.images)
                for image in found:
                    for name in image.names:
                        self.free_name(name)
                    await self._unpack_layers(opened, image, made, progress)
            faults.point("load", 1)
            messages = self._keep_all(found, made)
            faults.point("load", 4)
            return messages
        finally:
            await intake.in_thread(intake.discard, made, self._tmp)

    async def _unpack_layers(
        self, opened: archive.Archive, image: archive.Found, made: intake.Unpacked, progress: Callable[[str], None]
    ) -> None:
        """Unpack the layers that are not here yet, each verified against its DiffID."""
        for diff_id, member in zip(image.config["rootfs"]["diff_ids"], image.layers, strict=True):
            self._pinned.add(diff_id)
            if diff_id in made or self._has_layer(diff_id):
                continue
            progress(f"Extracting {diff_id[7:19]}")
            if not opened.is_named(member, diff_id):  # else unpacking tells all the same
                await intake.in_thread(opened.verify, member)
            with opened.open(member) as stream:
                got = await intake.in_thread(intake.unpack, stream, self._tmp, f"layer {diff_id[:19]}", made)
            if got != diff_id:
                raise Corrupt(f"layer {member.name!r} has the DiffID {got}, the config says {diff_id}")

    def _keep_all(self, found: list[archive.Found], made: intake.Unpacked) -> list[str]:
        messages = []
        images = []
        with self._changing(made):
            for item in found:
                images.append(self._keep(item.config_data, item.config, made, item.names))
                messages += [f"Loaded image: {name}" for name in item.names] or [f"Loaded image ID: {images[-1].id}"]
        for item, image in zip(found, images, strict=True):
            self._publish("image", "load", image.id, {"name": item.names[0] if item.names else image.id})
        return messages

    @contextlib.asynccontextmanager
    async def _loading_one(self) -> AsyncIterator[None]:
        """One load at a time: two of the same image would unpack its layers twice. Its layers stay meanwhile."""
        async with self._load_lock:
            try:
                yield
            finally:
                self._pinned.clear()
                self._forget_unused_layers()

    @contextlib.contextmanager
    def _changing(self, made: intake.Unpacked | None = None) -> Iterator[None]:
        """A transaction over tables, folders and what is remembered: after a failure all three are as before."""
        try:
            with self._db.transaction():
                yield
        except BaseException:
            self._read()
            for diff_id, (name, _) in (made or {}).items():
                if not self._has_layer(diff_id):
                    self._bury(os.path.join(self._layers, name.removeprefix(intake.PREFIX)))
            self._forget_unnamed_blobs()
            raise

    def _has_layer(self, diff_id: str) -> bool:
        return self._db.execute("SELECT 1 FROM layers WHERE diff_id = ?", (diff_id,)).fetchone() is not None

    def _forget_unnamed_blobs(self) -> None:
        for digest in set(self._content.all()) - set(self._images):
            self._content.delete(digest)

    def _keep(self, data: bytes, config: oci.Image, made: intake.Unpacked, names: list[str], parent: str = "") -> Image:
        """Move the layers into place and write the rows: the image is here now."""
        image_id = self._content.write([data])
        if image_id not in self._images:
            self._insert(image_id, config, made, parent)
        for name in names:
            self._tag(name, image_id)
        return self._images[image_id]

    def _insert(self, image_id: str, config: oci.Image, made: intake.Unpacked, parent: str) -> None:
        diff_ids = config["rootfs"]["diff_ids"]
        with self._db.transaction():
            for diff_id in diff_ids:
                if diff_id in made and not self._has_layer(diff_id):
                    self._place_layer(diff_id, *made[diff_id])
            size = sum(
                self._db.execute("SELECT size FROM layers WHERE diff_id = ?", (d,)).fetchone()["size"]
                for d in set(diff_ids)
            )
            created = model.nanoseconds(config.get("created") or "")
            self._db.execute(
                "INSERT INTO images (id, config, created, size, parent) VALUES (?, ?, ?, ?, ?)",
                (image_id, json.dumps(config), created, size, parent),
            )
            for position, diff_id in enumerate(diff_ids):
                self._db.execute("INSERT INTO image_layers VALUES (?, ?, ?)", (image_id, position, diff_id))
        self._images[image_id] = Image(image_id, config, tuple(diff_ids), size, created, parent=parent)

    def _place_layer(self, diff_id: str, folder: str, size: int) -> None:
        name = folder.removeprefix(intake.PREFIX)
        try:
            # The recipe first: a layer never lies there without it.
            os.rename(intake.recipe_path(self._tmp, folder), os.path.join(self._recipes, name))
            faults.point("load", 2)
            os.rename(os.path.join(self._tmp, folder), os.path.join(self._layers, name))
            faults.point("load", 3)
        except OSError as error:
            raise from_os_error(error, "keep a layer in") from error
        self._db.execute("INSERT INTO layers VALUES (?, ?, ?)", (diff_id, name, size))

    # --- names -------------------------------------------------------------------------------------

    def free_name(self, text: str) -> str:
        """The name in its familiar form; ``host`` is taken for ever."""
        name = reference.parse(text)
        if name.repository == "host":
            raise InvalidArgument(
                "the name host is reserved for the sandbox of this server", hint="choose another name"
            )
        if name.digest:
            raise InvalidArgument(f"{text}: a new name cannot have a digest")
        return name.familiar

    def tag(self, ref: str, target: str) -> None:
        """Give an image one more name, taking it from whoever has it."""
        image = self.get(ref)
        if image.is_host:
            raise InvalidArgument("the image host is part of the engine and cannot be tagged")
        name = self.free_name(target)
        with self._changing():
            self._tag(name, image.id)
        self._publish("image", "tag", image.id, {"name": name})

    def _tag(self, name: str, image_id: str) -> None:
        self._db.execute(
            "INSERT INTO tags VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET image_id = excluded.image_id",
            (name, image_id),
        )
        now = time.time_ns()
        self._db.execute("UPDATE images SET tagged = ? WHERE id = ?", (now, image_id))
        self._images[image_id] = replace(self._images[image_id], tagged=now)
        before = self._tags.get(name)
        self._tags[name] = image_id
        for changed in {before, image_id} - {None}:
            self._refresh_tags(str(changed))

    def _refresh_tags(self, image_id: str) -> None:
        image = self._images.get(image_id)
        if image is not None:
            tags = tuple(sorted(name for name, owner in self._tags.items() if owner == image_id))
            self._images[image_id] = replace(image, tags=tags)

    def _untag(self, name: str) -> None:
        image_id = self._tags.pop(name)
        self._db.execute("DELETE FROM tags WHERE name = ?", (name,))
        self._refresh_tags(image_id)
        self._publish("image", "untag", image_id, {"name": name})

    # --- going -------------------------------------------------------------------------------------

    async def remove(self, ref: str, force: bool = False, prune: bool = True) -> list[dict[str, str]]:
        """Untag, and delete an image that has no name left. Conflict, with Docker's words, when it is in use."""
        image, name = self._named(ref)
        if image.is_host:
            raise InvalidArgument("the image host is part of the engine and cannot be removed")
        with self._changing():
            report = self._untag_for_removal(image, name, ref, force)
        if report and (self._images[image.id].tags or self._is_running(image) or self.children(image.id)):
            return report
        check_deletable(image, force, bool(self.children(image.id)), self.in_use(image.id))
        report += self._delete(self._images[image.id])
        return report + self._delete_parents(image) if prune else report

    def _delete_parents(self, image: Image) -> list[dict[str, str]]:
        """The images it was made from, up to the first that has a name, another child or a container."""
        report: list[dict[str, str]] = []
        parent = self._images.get(image.parent)
        while parent is not None and not (parent.tags or self.children(parent.id) or self.in_use(parent.id)):
            report += self._delete(parent)
            parent = self._images.get(parent.parent)
        return report

    def _untag_for_removal(self, image: Image, name: str, ref: str, force: bool) -> list[dict[str, str]]:
        """The names that go first: the one that was said, or with an id the only one (moby: ``ImageDelete``)."""
        if name:
            users = self.in_use(image.id)
            if users and not force and len(image.tags) == 1:
                raise Conflict(
                    f"conflict: unable to remove repository reference {ref!r} (must force) - "
                    f"container {users[0][0][:12]} is using its referenced image {image.id[7:19]}"
                )
            names = [name]
        else:
            check_deletable(image, force, bool(self.children(image.id)), self.in_use(image.id))
            if len(image.tags) > 1 and not force:
                raise cannot_delete(image, "must be forced", "image is referenced in multiple repositories")
            names = list(image.tags)
        for one in names:
            self._untag(one)
        return [{"Untagged": one} for one in names]

    def _is_running(self, image: Image) -> bool:
        return any(running for _, running in self.in_use(image.id))

    def _delete(self, image: Image) -> list[dict[str, str]]:
        with self._changing():
            self._db.execute("DELETE FROM images WHERE id = ?", (image.id,))
            gone = self._take_unused_layers()
        del self._images[image.id]
        self._content.delete(image.id)
        for path in gone.values():
            self._bury(path)
        self._publish("image", "delete", image.id, {"name": image.id})
        chains = [chain for diff_id, chain in zip(image.layers, image.chain_ids, strict=True) if diff_id in gone]
        return [{"Deleted": image.id}, *({"Deleted": chain} for chain in reversed(chains))]

    def _take_unused_layers(self) -> dict[str, str]:
        """Delete the rows of layers that no image, no snapshot and no load needs: DiffID → folder, still there."""
        used = self._lowers_in_use()
        rows = self._db.execute(
            "SELECT diff_id, folder FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM image_layers)"
        )
        gone = {row["diff_id"]: os.path.join(self._layers, row["folder"]) for row in rows.fetchall()}
        gone = {
            key: path for key, path in gone.items() if path not in used and key not in self._pinned | self._saved.keys()
        }
        for diff_id in gone:
            self._db.execute("DELETE FROM layers WHERE diff_id = ?", (diff_id,))
        return gone

    def _lowers_in_use(self) -> set[str]:
        rows = self._db.execute("SELECT lower FROM snapshots")
        return {folder for row in rows for folder in json.loads(row["lower"])}

    def _bury(self, path: str) -> None:
        """Remove a layer's folder, and its recipe."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._recipes, os.path.basename(path)))
        grave = os.path.join(self._tmp, f"gone-{uuid.uuid4().hex}")
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

    async def sweep(self) -> None:
        """At the engine's start: delete what no row names. Nothing is loading yet."""
        known = {row["folder"] for row in self._db.execute("SELECT folder FROM layers")}
        for name in set(os.listdir(self._layers)) - known:
            self._bury(os.path.join(self._layers, name))
        for name in set(os.listdir(self._recipes)) - known:
            os.unlink(os.path.join(self._recipes, name))
        self._forget_unnamed_blobs()
        for name in os.listdir(self._tmp):
            if name.startswith((content.PREFIX, recipe.PREFIX)):
                os.unlink(os.path.join(self._tmp, name))
            elif name.startswith(intake.PREFIX):
                self._bury(os.path.join(self._tmp, name))
        used = self._lowers_in_use() | {self.host_folder}
        self.later(asyncio.to_thread(host.forget_others, self._hosts, used))
        self._forget_unused_layers()

    def _forget_unused_layers(self) -> None:
        """Layers whose image was removed while a container lay on them, or while they were loaded."""
        with self._db.transaction():
            gone = self._take_unused_layers()
        for path in gone.values():
            self._bury(path)
