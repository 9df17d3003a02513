"""Images → one archive: docker-archive and OCI layout in the same tar, as Docker 25 and later write it.

Layers are uncompressed, each named by its DiffID, and written from their recipes (:mod:`core.image.recipe`): nothing
of them is kept for this. Times and owners of the entries are zero, so that the same images make the same archive.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.errors import InvalidArgument, NotFound
from core.image import recipe, reference
from core.image.model import Image
from core.image.store import ImageStore

_BLOBS = "blobs/sha256/"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


class Writer(Protocol):
    """Where the archive goes."""

    def write(self, data: bytes) -> None:
        """Take ``data``."""


@dataclass
class Plan:
    """What is saved. ``layers`` maps each DiffID to (its folder, its recipe); ``config`` to an image's config."""

    images: list[tuple[Image, list[str]]] = field(default_factory=list)
    layers: dict[str, tuple[str, str]] = field(default_factory=dict)
    configs: dict[str, bytes] = field(default_factory=dict)

    def add(self, image: Image, names: list[str]) -> None:
        """One more image, or more names of one that is there already."""
        for known, listed in self.images:
            if known.id == image.id:
                listed += [name for name in names if name not in listed]
                return
        self.images.append((image, list(names)))


def plan_of(store: ImageStore, refs: list[str]) -> Plan:
    """What ``docker save`` of these means: a repository without a tag is all of its tags, an id has no name.

    Raises NotFound, InvalidArgument.
    """
    plan = Plan()
    for ref in refs:
        for image, names in _wanted(store, ref):
            if image.is_host:
                raise InvalidArgument("the image host is part of the engine and cannot be saved")
            plan.add(image, names)
    for image, _ in plan.images:
        plan.configs[image.id] = store.config_blob(image)
        for diff_id in image.layers:
            plan.layers[diff_id] = store.layers.paths(diff_id)
    check(plan)
    return plan


def _wanted(store: ImageStore, ref: str) -> list[tuple[Image, list[str]]]:
    bare = "@" not in ref and ":" not in ref.rpartition("/")[2]
    if bare:
        try:
            repository = reference.parse(ref).repository
        except InvalidArgument:
            repository = ""
        found = [
            (image, [name]) for image in store.all() for name in image.tags if name.rpartition(":")[0] == repository
        ]
        if found:
            return found
    image = store.get(ref)
    name = (
        ""
        if image.id.removeprefix("sha256:").startswith(ref.removeprefix("sha256:"))
        else reference.parse(ref).familiar
    )
    return [(image, [name] if name in image.tags else [])]


def save(plan: Plan, writer: Writer) -> None:
    """Write the archive. Corrupt when a layer was damaged; then the archive has no end."""
    manifests = {image.id: _manifest(image, plan) for image, _ in plan.images}
    _folder(writer, "blobs/")
    _folder(writer, _BLOBS)
    for image, _ in plan.images:
        _file(writer, _BLOBS + image.id[7:], plan.configs[image.id])
        _file(writer, _BLOBS + _digest(manifests[image.id])[7:], manifests[image.id])
    for diff_id, (folder, path) in plan.layers.items():
        _layer(writer, diff_id, folder, path)
    _file(writer, "index.json", _index(plan, manifests))
    _file(writer, "manifest.json", _docker_manifest(plan))
    _file(writer, "oci-layout", _dump({"imageLayoutVersion": "1.0.0"}))
    _file(writer, "repositories", _repositories(plan))
    writer.write(bytes(2 * tarfile.BLOCKSIZE))


def check(plan: Plan) -> None:
    """NotFound, before anything is written, when a layer's recipe is not there."""
    for diff_id, (_, path) in plan.layers.items():
        if not os.path.exists(path):
            raise NotFound(
                f"layer {diff_id[:19]} came in with an earlier version, which did not keep how its tar was written",
                hint="load the image again, then it can be saved",
            )


def _layer(writer: Writer, diff_id: str, folder: str, path: str) -> None:
    size = recipe.size(path)
    _header(writer, _BLOBS + diff_id[7:], size)
    for data in recipe.replay(path, folder, diff_id):
        writer.write(data)
    writer.write(bytes(-size % tarfile.BLOCKSIZE))


def _manifest(image: Image, plan: Plan) -> bytes:
    layers = [{"mediaType": _LAYER, "digest": d, "size": recipe.size(plan.layers[d][1])} for d in image.layers]
    config = {"mediaType": _CONFIG, "digest": image.id, "size": len(plan.configs[image.id])}
    return _dump({"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers})


def _index(plan: Plan, manifests: dict[str, bytes]) -> bytes:
    descriptors = [
        descriptor for image, names in plan.images for descriptor in _descriptors(image, manifests[image.id], names)
    ]
    return _dump({"schemaVersion": 2, "mediaType": _INDEX, "manifests": descriptors})


def _descriptors(image: Image, manifest: bytes, names: list[str]) -> Iterator[dict[str, Any]]:
    descriptor = {
        "mediaType": _MANIFEST,
        "digest": _digest(manifest),
        "size": len(manifest),
        "platform": {"architecture": image.architecture, "os": image.config.get("os") or "linux"},
    }
    if not names:
        yield descriptor
    for name in names:
        parsed = reference.parse(name)
        annotations = {
            "io.containerd.image.name": parsed.canonical,
            "org.opencontainers.image.ref.name": name.rpartition(":")[2],
        }
        yield {**descriptor, "annotations": annotations}


def _docker_manifest(plan: Plan) -> bytes:
    return _dump(
        [
            {
                "Config": _BLOBS + image.id[7:],
                "RepoTags": names or None,
                "Layers": [_BLOBS + diff_id[7:] for diff_id in image.layers],
            }
            for image, names in plan.images
        ]
    )


def _repositories(plan: Plan) -> bytes:
    """The file of Docker before 1.10: repository → tag → the topmost layer."""
    found: dict[str, dict[str, str]] = {}
    for image, names in plan.images:
        for name in names:
            repository, _, tag = name.rpartition(":")
            found.setdefault(repository, {})[tag] = image.layers[-1][7:] if image.layers else ""
    return _dump(found)


def _file(writer: Writer, name: str, data: bytes) -> None:
    _header(writer, name, len(data))
    writer.write(data + bytes(-len(data) % tarfile.BLOCKSIZE))


def _folder(writer: Writer, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    writer.write(entry.tobuf(tarfile.PAX_FORMAT))


def _header(writer: Writer, name: str, size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    writer.write(entry.tobuf(tarfile.PAX_FORMAT))


def _dump(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
