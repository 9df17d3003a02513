"""What images are here and by which names; how they come in and go.

Points of ``load`` (``core.faults``): 1 unpacked, 2 a recipe placed, 3 its layer placed, 4 rows written.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from core import faults, oci
from core.db import Database
from core.errors import Conflict, Corrupt, InvalidArgument, NotFound
from core.image import archive, content, documents, host, intake, layers, model, reference
from core.image.content import ContentStore
from core.image.deletable import cannot_delete, check_deletable, is_of_one_repository
from core.image.layerstore import LayerStore, Pins
from core.image.model import Image
from core.image.provenance import Manifest, Provenance
from core.image.schema import MIGRATIONS

Publish = Callable[..., Any]


class ImageStore:
    """Owns the tables images, image_layers, tags and digests, and the folder ``blobs``."""

    def __init__(self, db: Database, root: str, run: str, publish: Publish) -> None:
        self._db = db
        self._root = root
        self._publish = publish
        self._content = ContentStore(root)
        self.layers = LayerStore(db, root)
        self.provenance = Provenance(db)
        self._tmp = os.path.join(root, "tmp")
        self._hosts = os.path.join(root, "host")
        self._load_lock = asyncio.Lock()
        #: Who uses an image: (container id, whether it runs). Set by the engine.
        self.in_use: Callable[[str], list[tuple[str, bool]]] = lambda image_id: []
        db.migrate("image", MIGRATIONS)
        self.host_folder = host.build(self._hosts)
        self._host = model.host_image()
        self._images: dict[str, Image] = {}
        self._tags: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._protected: set[str] = set()
        self._read()

    def _read(self) -> None:
        """What the tables say; also after a change that failed half-way."""
        self._images.clear()
        tags = self._db.execute("SELECT name, image_id, protected FROM tags").fetchall()
        self._tags = {row["name"]: row["image_id"] for row in tags}
        self._protected = {row["name"] for row in tags if row["protected"]}
        self._digests = {row["name"]: row["image_id"] for row in self._db.execute("SELECT name, image_id FROM digests")}
        for row in self._db.execute("SELECT * FROM images"):
            config: oci.Image = json.loads(row["config"])
            self._images[row["id"]] = Image(
                row["id"],
                config,
                tuple(config["rootfs"]["diff_ids"]),
                row["size"],
                row["created"],
                parent=row["parent"],
                tagged=row["tagged"],
            )
        self._refresh_names(set(self._images))

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

    def find(self, name: str) -> Image | None:
        """By a name as people write it, with its tag or digest; None when nothing here has it."""
        image_id = self._tags.get(name) or self._digests.get(name)
        return self._images[image_id] if image_id else None

    def _named(self, ref: str) -> tuple[Image, str]:
        """The image, and the name by which ``ref`` meant it: "" when it was an id. As Docker, a name goes first."""
        bare = ref.removeprefix("sha256:")
        is_hex = 0 < len(bare) <= 64 and all(c in "0123456789abcdef" for c in bare)
        name = "" if is_hex and len(bare) == 64 else reference.parse(ref).local
        if name == host.NAME:
            return self._host, name
        image_id = self._tags.get(name) or self._digests.get(name)
        if image_id:
            return self._images[image_id], name
        found = [image for image in self.all() if image.id.startswith(f"sha256:{bare}")] if is_hex else []
        if len(found) > 1:
            raise InvalidArgument(f"multiple images found with provided prefix: {ref}", hint="write more of the id")
        if not found:
            raise NotFound(f"No such image: {name or ref}")
        return found[0], ""

    def children(self, image_id: str) -> list[Image]:
        """The images that were made from this one."""
        return [image for image in self._images.values() if image.parent == image_id]

    def config_blob(self, image: Image) -> bytes:
        """The config as it came, the bytes that the image's id is the digest of."""
        return self._content.read(image.id, documents.MAX_DOCUMENT)

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
            folder = os.path.join(self.layers.folder, row["folder"])
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
        async with self._loading_one() as pins:
            pins.add(document["rootfs"]["diff_ids"])
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
        async with self._loading_one() as pins:
            with await intake.spool(source, self._tmp) as file:
                plain = await intake.in_thread(intake.plain, file, self._tmp)
                with plain:
                    return await self._load_archive(plain, pins, progress)

    async def _load_archive(self, file: BinaryIO, pins: Pins, progress: Callable[[str], None]) -> list[str]:
        made = intake.Unpacked()
        try:
            opened = await intake.in_thread(archive.Archive(file).__enter__)
            with opened:
                found = await intake.in_thread(opened.images)
                for image in found:
                    for name in image.names:
                        self.free_name(name)
                    pins.add(image.config["rootfs"]["diff_ids"])
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
            if diff_id in made or self.layers.has(diff_id):
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

    def keep_pulled(self, data: bytes, config: oci.Image, tag: str, digest: str, manifest: Manifest) -> Image:
        """An image whose layers are all here and pinned: give it its names, ``tag`` and ``digest``; each may be empty.

        ``data`` is the config as it came, ``manifest`` the image's own (not an index).
        """
        with self._changing():
            image_id = self._keep(data, config, intake.Unpacked(), [tag] if tag else []).id
            if digest:
                self.add_digest(digest, image_id)
            self.provenance.add_manifest(image_id, manifest)
            self.layers.end_leases(config["rootfs"]["diff_ids"])
        return self._images[image_id]

    def keep_pushed(self, image_id: str, digest: str, manifest: Manifest) -> None:
        """A registry has the image now, by ``digest`` and with this manifest. Nothing to keep when it is gone here."""
        if image_id in self._images:
            with self._changing():
                self.add_digest(digest, image_id)
                self.provenance.add_manifest(image_id, manifest)

    @contextlib.asynccontextmanager
    async def _loading_one(self) -> AsyncIterator[Pins]:
        """One load at a time: two of the same image would unpack its layers twice. Its layers stay meanwhile."""
        async with self._load_lock:
            with self.layers.pins() as pins:
                yield pins

    @contextlib.contextmanager
    def _changing(self, made: intake.Unpacked | None = None) -> Iterator[None]:
        """A transaction over tables, folders and what is remembered: after a failure all three are as before."""
        try:
            with self._db.transaction():
                yield
        except BaseException:
            self._read()
            self.layers.bury_unplaced(made or intake.Unpacked())
            self._forget_unnamed_blobs()
            raise

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
                if diff_id in made and not self.layers.has(diff_id):
                    self.layers.place(diff_id, *made[diff_id])
            size = sum(self.layers.size(diff_id) for diff_id in set(diff_ids))
            created = model.nanoseconds(config.get("created") or "")
            self._db.execute(
                "INSERT INTO images (id, config, created, size, parent) VALUES (?, ?, ?, ?, ?)",
                (image_id, json.dumps(config), created, size, parent),
            )
            for position, diff_id in enumerate(diff_ids):
                self._db.execute("INSERT INTO image_layers VALUES (?, ?, ?)", (image_id, position, diff_id))
        self._images[image_id] = Image(image_id, config, tuple(diff_ids), size, created, parent=parent)

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
            "INSERT INTO tags (name, image_id) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET image_id = excluded.image_id",
            (name, image_id),
        )
        now = time.time_ns()
        self._db.execute("UPDATE images SET tagged = ? WHERE id = ?", (now, image_id))
        self._images[image_id] = replace(self._images[image_id], tagged=now)
        before = self._tags.get(name, image_id)
        self._tags[name] = image_id
        self._refresh_names({before, image_id})

    def add_digest(self, name: str, image_id: str) -> None:
        """A registry has the image by this name, ``repository@sha256:…``."""
        self._db.execute("INSERT OR REPLACE INTO digests VALUES (?, ?)", (name, image_id))
        before = self._digests.get(name, image_id)
        self._digests[name] = image_id
        self._refresh_names({before, image_id})

    def protect(self, ref: str, protected: bool) -> None:
        """Let prune leave, or take again, what has this name. InvalidArgument for an id."""
        image, name = self._named(ref)
        if name not in self._tags:
            known = f", as {image.tags[0]}" if image.tags else ": give it one with `dockyard tag`"
            raise InvalidArgument(f"{ref} is not the name of an image", hint=f"a name is protected{known}")
        self._db.execute("UPDATE tags SET protected = ? WHERE name = ?", (int(protected), name))
        (self._protected.add if protected else self._protected.discard)(name)
        self._refresh_names({image.id})

    def _refresh_names(self, image_ids: set[str]) -> None:
        """Tell these images their names."""
        tags: dict[str, list[str]] = {image_id: [] for image_id in image_ids}
        digests: dict[str, list[str]] = {image_id: [] for image_id in image_ids}
        for names, known in ((tags, self._tags), (digests, self._digests)):
            for name, owner in known.items():
                if owner in names:
                    names[owner].append(name)
        for image_id in image_ids & set(self._images):
            self._images[image_id] = replace(
                self._images[image_id],
                tags=tuple(sorted(tags[image_id])),
                digests=tuple(sorted(digests[image_id])),
                protected=not self._protected.isdisjoint(tags[image_id]),
            )

    def _untag(self, name: str) -> None:
        if name in self._tags:
            image_id = self._tags.pop(name)
            self._protected.discard(name)
            self._db.execute("DELETE FROM tags WHERE name = ?", (name,))
        else:
            image_id = self._digests.pop(name)
            self._db.execute("DELETE FROM digests WHERE name = ?", (name,))
        self._refresh_names({image_id})
        self._publish("image", "untag", image_id, {"name": name})

    # --- going -------------------------------------------------------------------------------------

    async def remove(self, ref: str, force: bool = False, prune: bool = True) -> list[dict[str, str]]:
        """Untag, and delete an image that has no name left. Conflict, with Docker's words, when it is in use."""
        image, name = self._named(ref)
        if image.is_host:
            raise InvalidArgument("the image host is part of the engine and cannot be removed")
        with self._changing():
            report = self._untag_for_removal(image, name, ref, force)
        left = self._images[image.id]
        if report and (left.tags or left.digests or self._is_running(image) or self.children(image.id)):
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
            if users and not force and is_of_one_repository([*image.tags, *image.digests]):
                raise Conflict(
                    f"conflict: unable to remove repository reference {ref!r} (must force) - "
                    f"container {users[0][0][:12]} is using its referenced image {image.id[7:19]}"
                )
            names = [name, *self._orphaned_digests(image, name)]
        else:
            check_deletable(image, force, bool(self.children(image.id)), self.in_use(image.id))
            names = [*image.tags, *image.digests]
            if not is_of_one_repository(names) and not force:
                raise cannot_delete(image, "must be forced", "image is referenced in multiple repositories")
        for one in names:
            self._untag(one)
        return [{"Untagged": one} for one in names]

    @staticmethod
    def _orphaned_digests(image: Image, name: str) -> list[str]:
        """The digests of a repository go with the last of its tags."""
        repository = name.rpartition(":")[0]
        if "@" in name or any(tag != name and tag.rpartition(":")[0] == repository for tag in image.tags):
            return []
        return [digest for digest in image.digests if digest.partition("@")[0] == repository]

    def _is_running(self, image: Image) -> bool:
        return any(running for _, running in self.in_use(image.id))

    def _delete(self, image: Image) -> list[dict[str, str]]:
        with self._changing():
            self._db.execute("DELETE FROM images WHERE id = ?", (image.id,))
            gone = self.layers.take_unused()
            self._digests = {name: owner for name, owner in self._digests.items() if owner != image.id}
        del self._images[image.id]
        self._content.delete(image.id)
        for path in gone.values():
            self.layers.bury(path)
        self._publish("image", "delete", image.id, {"name": image.id})
        chains = [chain for diff_id, chain in zip(image.layers, image.chain_ids, strict=True) if diff_id in gone]
        return [{"Deleted": image.id}, *({"Deleted": chain} for chain in reversed(chains))]

    async def sweep(self) -> None:
        """At the engine's start: delete what no row names. Nothing is coming in yet."""
        self.layers.sweep()
        self._forget_unnamed_blobs()
        for name in os.listdir(self._tmp):
            if name.startswith(content.PREFIX):
                os.unlink(os.path.join(self._tmp, name))
        used = self.layers.lowers_in_use() | {self.host_folder}
        self.layers.later(asyncio.to_thread(host.forget_others, self._hosts, used))
