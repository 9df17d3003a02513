"""What images are here and by which names; how they come in and go."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, BinaryIO

from core import oci
from core.db import Database
from core.errors import Conflict, Corrupt, InvalidArgument, NotFound
from core.image import archive, changes, documents, host, intake, reference
from core.image.content import ContentStore
from core.image.schema import MIGRATIONS

log = logging.getLogger("dockyard.images")

Publish = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is here. ``layers`` are DiffIDs, base first; ``created`` in nanoseconds since the epoch."""

    id: str
    config: oci.Image
    layers: tuple[str, ...]
    size: int
    created: int
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()

    @property
    def architecture(self) -> str:
        """For which processor it is."""
        return self.config["architecture"]

    @property
    def is_host(self) -> bool:
        """Whether it is the embedded image of this server."""
        return self.id == host.IMAGE_ID

    @property
    def chain_id(self) -> str:
        """The digest that stands for its layers in their order (image-spec config.md)."""
        chain = ""
        for diff_id in self.layers:
            chain = diff_id if not chain else "sha256:" + hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest()
        return chain


class ImageStore:
    """Owns the tables images, layers, image_layers and tags, and the folders ``blobs`` and ``layers``."""

    def __init__(self, db: Database, root: str, run: str, publish: Publish) -> None:
        self._db = db
        self._root = root
        self._publish = publish
        self._content = ContentStore(root)
        self._layers = os.path.join(root, "layers")
        self._tmp = os.path.join(root, "tmp")
        self._hosts = os.path.join(root, "host")
        self._busy: dict[str, asyncio.Lock] = {}
        self._loading = 0
        self._later: set[asyncio.Task[Any]] = set()
        #: Who uses an image: (container id, whether it runs). Set by the engine.
        self.in_use: Callable[[str], list[tuple[str, bool]]] = lambda image_id: []
        os.makedirs(self._layers, mode=0o700, exist_ok=True)
        db.migrate("image", MIGRATIONS)
        self.host_folder = host.build(self._hosts)
        self._host = _host_image()
        self._images: dict[str, Image] = {}
        self._tags: dict[str, str] = {}
        self._read()

    def _read(self) -> None:
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
        if ref in ("host", host.NAME, host.IMAGE_ID):
            return self._host
        by_id = self._by_id(ref)
        if by_id is not None:
            return by_id
        name = reference.parse(ref)
        image_id = self._tags.get(name.familiar)
        if image_id is None:
            raise NotFound(f"No such image: {name.familiar}")
        return self._images[image_id]

    def _by_id(self, ref: str) -> Image | None:
        bare = ref.removeprefix("sha256:")
        if len(bare) < 4 or len(bare) > 64 or any(c not in "0123456789abcdef" for c in bare):
            return None
        found = [image for key, image in self._images.items() if key.startswith(f"sha256:{bare}")]
        if len(found) > 1 and ref not in self._tags:
            raise InvalidArgument(f"multiple images found with provided prefix: {ref}")
        return found[0] if len(found) == 1 else None

    def layer_folders(self, image: Image) -> list[str]:
        """The folders of its layers, topmost first, as overlayfs wants them."""
        if image.is_host:
            return [self.host_folder]
        rows = self._db.execute(
            "SELECT l.folder FROM image_layers i JOIN layers l USING (diff_id) WHERE i.image_id = ? "
            "ORDER BY i.position DESC",
            (image.id,),
        )
        return [os.path.join(self._layers, row["folder"]) for row in rows]

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
        wanted = self._free_name(name) if name else ""
        config: dict[str, Any] = {}
        changes.apply(config, instructions)
        async with _Loading(self):
            with await intake.spool(source, self._tmp) as file:
                diff_id, folder, size = await asyncio.to_thread(intake.unpack, file, self._tmp, "root file system")
            now = time.time_ns()
            document: Any = {
                "architecture": _architecture(platform),
                "os": "linux",
                "created": _rfc3339(now),
                "config": config,
                "rootfs": {"type": "layers", "diff_ids": [diff_id]},
                "history": [{"created": _rfc3339(now), "comment": message or "imported"}],
            }
            data = json.dumps(document, separators=(",", ":")).encode()
            made = intake.Unpacked({diff_id: (folder, size)})
            try:
                image = self._keep(data, document, made, [wanted] if wanted else [])
            finally:
                intake.discard(made, self._tmp)
        self._publish("image", "import", image.id, {"name": wanted or image.id})
        return image

    async def load(self, source: AsyncIterator[bytes], progress: Callable[[str], None]) -> list[str]:
        """Bring in every image of a docker-archive or OCI-archive: all, or none. Returns Docker's messages."""
        async with _Loading(self):
            with await intake.spool(source, self._tmp) as file:
                plain = await asyncio.to_thread(intake.plain, file, self._tmp)
                with plain:
                    return await self._load_archive(plain, progress)

    async def _load_archive(self, file: BinaryIO, progress: Callable[[str], None]) -> list[str]:
        made = intake.Unpacked()
        try:
            opened = await asyncio.to_thread(archive.Archive(file).__enter__)
            with opened:
                found = await asyncio.to_thread(opened.images)
                for image in found:
                    for name in image.names:
                        self._free_name(name)
                    await self._unpack_layers(opened, image, made, progress)
            return self._keep_all(found, made)
        finally:
            intake.discard(made, self._tmp)

    async def _unpack_layers(
        self, opened: archive.Archive, image: archive.Found, made: intake.Unpacked, progress: Callable[[str], None]
    ) -> None:
        """Unpack the layers that are not here yet, each verified against its DiffID."""
        for diff_id, member in zip(image.config["rootfs"]["diff_ids"], image.layers, strict=True):
            if diff_id in made or self._has_layer(diff_id):
                continue
            progress(f"Extracting {diff_id[7:19]}")
            with opened.open(member) as stream:
                got, folder, size = await asyncio.to_thread(intake.unpack, stream, self._tmp, f"layer {diff_id[:19]}")
            made[got] = (folder, size)
            if got != diff_id:
                raise Corrupt(f"layer {member.name!r} has the DiffID {got}, the config says {diff_id}")

    def _keep_all(self, found: list[archive.Found], made: intake.Unpacked) -> list[str]:
        messages = []
        with self._db.transaction():
            for item in found:
                image = self._keep(item.config_data, item.config, made, item.names)
                messages += [f"Loaded image: {name}" for name in item.names] or [f"Loaded image ID: {image.id}"]
        for item in found:
            image_id = f"sha256:{hashlib.sha256(item.config_data).hexdigest()}"
            self._publish("image", "load", image_id, {"name": item.names[0] if item.names else image_id})
        return messages

    def _has_layer(self, diff_id: str) -> bool:
        return self._db.execute("SELECT 1 FROM layers WHERE diff_id = ?", (diff_id,)).fetchone() is not None

    def _keep(self, data: bytes, config: oci.Image, made: intake.Unpacked, names: list[str]) -> Image:
        """Move the layers into place and write the rows: the image is here now."""
        image_id = self._content.write([data])
        known = self._images.get(image_id)
        if known is None:
            known = self._insert(image_id, config, made)
        for name in names:
            self._tag(name, image_id)
        return self._images[image_id]

    def _insert(self, image_id: str, config: oci.Image, made: intake.Unpacked) -> Image:
        diff_ids = config["rootfs"]["diff_ids"]
        with self._db.transaction():
            for diff_id in diff_ids:
                if diff_id in made and not self._has_layer(diff_id):
                    self._place_layer(diff_id, *made[diff_id])
            size = sum(
                self._db.execute("SELECT size FROM layers WHERE diff_id = ?", (d,)).fetchone()["size"]
                for d in set(diff_ids)
            )
            created = _nanoseconds(config.get("created") or "")
            self._db.execute("INSERT INTO images VALUES (?, ?, ?, ?)", (image_id, json.dumps(config), created, size))
            for position, diff_id in enumerate(diff_ids):
                self._db.execute("INSERT INTO image_layers VALUES (?, ?, ?)", (image_id, position, diff_id))
        image = Image(image_id, config, tuple(diff_ids), size, created)
        self._images[image_id] = image
        return image

    def _place_layer(self, diff_id: str, folder: str, size: int) -> None:
        name = folder.removeprefix(intake.PREFIX)
        os.rename(os.path.join(self._tmp, folder), os.path.join(self._layers, name))
        self._db.execute("INSERT INTO layers VALUES (?, ?, ?)", (diff_id, name, size))

    # --- names -------------------------------------------------------------------------------------

    def _free_name(self, text: str) -> str:
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
        name = self._free_name(target)
        self._tag(name, image.id)
        self._publish("image", "tag", image.id, {"name": name})

    def _tag(self, name: str, image_id: str) -> None:
        self._db.execute(
            "INSERT INTO tags VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET image_id = excluded.image_id",
            (name, image_id),
        )
        before = self._tags.get(name)
        self._tags[name] = image_id
        for changed in {before, image_id} - {None}:
            self._refresh_tags(str(changed))

    def _refresh_tags(self, image_id: str) -> None:
        image = self._images.get(image_id)
        if image is not None:
            tags = tuple(sorted(name for name, owner in self._tags.items() if owner == image_id))
            self._images[image_id] = Image(image.id, image.config, image.layers, image.size, image.created, tags)

    def _untag(self, name: str) -> None:
        image_id = self._tags.pop(name)
        self._db.execute("DELETE FROM tags WHERE name = ?", (name,))
        self._refresh_tags(image_id)
        self._publish("image", "untag", image_id, {"name": name})

    # --- going -------------------------------------------------------------------------------------

    async def remove(self, ref: str, force: bool = False, prune: bool = True) -> list[dict[str, str]]:
        """Untag, and delete an image that has no name left. Conflict, with Docker's words, when it is in use."""
        image = self.get(ref)
        if image.is_host:
            raise InvalidArgument("the image host is part of the engine and cannot be removed")
        by_name = "" if self._by_id(ref) is not None and ref not in self._tags else reference.parse(ref).familiar
        if by_name and len(image.tags) > 1:
            self._untag(by_name)
            return [{"Untagged": by_name}]
        self._check_unused(image, by_name or ref, force, by_id=not by_name)
        report = []
        for name in image.tags:
            self._untag(name)
            report.append({"Untagged": name})
        return report + await self._delete(image)

    def _check_unused(self, image: Image, ref: str, force: bool, *, by_id: bool) -> None:
        for container_id, running in self.in_use(image.id):
            if running:
                raise Conflict(
                    f"conflict: unable to remove repository reference {ref!r} (cannot be forced) - "
                    f"image is being used by running container {container_id[:12]}"
                )
            if not force:
                raise Conflict(
                    f"conflict: unable to remove repository reference {ref!r} (must force) - "
                    f"container {container_id[:12]} is using its referenced image {image.id[7:19]}"
                )
        if by_id and len(image.tags) > 1 and not force:
            raise Conflict(
                f"conflict: unable to delete {image.id[7:19]} (must be forced) - "
                "image is referenced in multiple repositories"
            )

    async def _delete(self, image: Image) -> list[dict[str, str]]:
        with self._db.transaction():
            self._db.execute("DELETE FROM images WHERE id = ?", (image.id,))
            gone = self._db.execute(
                "SELECT diff_id, folder FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM image_layers)"
            ).fetchall()
            used = self._lowers_in_use()
            gone = [row for row in gone if os.path.join(self._layers, row["folder"]) not in used]
            for row in gone:
                self._db.execute("DELETE FROM layers WHERE diff_id = ?", (row["diff_id"],))
        del self._images[image.id]
        self._content.delete(image.id)
        for row in gone:
            self._bury(os.path.join(self._layers, row["folder"]))
        self._publish("image", "delete", image.id, {"name": image.id})
        return [{"Deleted": image.id}, *({"Deleted": row["diff_id"]} for row in gone)]

    def _lowers_in_use(self) -> set[str]:
        rows = self._db.execute("SELECT lower FROM snapshots")
        return {folder for row in rows for folder in json.loads(row["lower"])}

    def _bury(self, path: str) -> None:
        grave = os.path.join(self._tmp, f"gone-{uuid.uuid4().hex}")
        try:
            os.rename(path, grave)
        except FileNotFoundError:
            return
        self.later(asyncio.to_thread(shutil.rmtree, grave, True))

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
        for digest in set(self._content.all()) - set(self._images):
            self._content.delete(digest)
        for name in os.listdir(self._tmp):
            if name.startswith((intake.PREFIX, "blob-")):
                self._bury(os.path.join(self._tmp, name))
        used = self._lowers_in_use() | {self.host_folder}
        self.later(asyncio.to_thread(host.forget_others, self._hosts, used))
        self._forget_unused_layers()

    def _forget_unused_layers(self) -> None:
        """Layers whose image was removed while a container lay on them."""
        used = self._lowers_in_use()
        rows = self._db.execute(
            "SELECT diff_id, folder FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM image_layers)"
        )
        for row in rows.fetchall():
            path = os.path.join(self._layers, row["folder"])
            if path not in used:
                self._db.execute("DELETE FROM layers WHERE diff_id = ?", (row["diff_id"],))
                self._bury(path)


class _Loading:
    """One load at a time: two of the same image would unpack its layers twice."""

    def __init__(self, store: ImageStore) -> None:
        self._lock = store._busy.setdefault("load", asyncio.Lock())

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


def _host_image() -> Image:
    config: oci.Image = {
        "architecture": documents.architecture(),
        "os": "linux",
        "config": {"Cmd": [host.shell()], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{"comment": "a throw-away sandbox of this server"}],
    }
    return Image(host.IMAGE_ID, config, (), 0, 0, (host.NAME,))


def _architecture(platform: str) -> str:
    if not platform:
        return documents.architecture()
    system, slash, rest = platform.partition("/")
    if slash and system != "linux":
        raise InvalidArgument(f"platform {platform!r}: only linux images can be imported")
    return rest.partition("/")[0] if slash else system


def _rfc3339(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def _nanoseconds(text: str) -> int:
    """An RFC 3339 time of an image's config; 0 for one that cannot be read."""
    from datetime import datetime

    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00")[:19] + "+00:00")
    except ValueError:
        return 0
    fraction = text[20:].rstrip("Z").partition("+")[0] if text[19:20] == "." else ""
    return max(0, int(found.timestamp())) * 1_000_000_000 + (
        int(fraction.ljust(9, "0")[:9]) if fraction.isdecimal() else 0
    )
