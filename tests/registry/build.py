"""Images as a registry holds them: manifests, configs and layers, also such as no tool would make."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests import images
from tests.images import Entry, compress, digest, image_config

__all__ = ["digest"]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_TYPES = {
    "oci": (OCI_MANIFEST, "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar{}", "+"),
    "docker": (
        DOCKER_MANIFEST,
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar{}",
        ".",
    ),
}


class Built(NamedTuple):
    """A manifest or index, the blobs it names (digest, which may lie → bytes), and an index's own manifests.

    ``layers`` are the digests of its layers in order.
    """

    manifest: bytes
    media_type: str
    blobs: Mapping[str, bytes] = {}
    children: Sequence[Built] = ()
    layers: Sequence[str] = ()

    @property
    def digest(self) -> str:
        return digest(self.manifest)

    def descriptor(self, platform: str = "", **members: Any) -> dict[str, Any]:
        """As an index has it; ``platform`` is ``os/architecture[/variant]``."""
        found: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest)}
        if platform:
            found["platform"] = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
        return {**found, **members}


class Layer(NamedTuple):
    """A layer whose blob is not what comes of compressing a tar, or that lies.

    Empty members are what is true of ``blob``; ``diff_id`` must be said where ``blob`` is no plain tar.
    """

    blob: bytes
    diff_id: str
    digest: str = ""
    size: int = -1
    media_type: str = ""


def dump(document: Any) -> bytes:
    """JSON, the same for the same document."""
    return json.dumps(document, separators=(",", ":")).encode()


def image(
    layers: Sequence[bytes | Layer],
    *,
    kind: str = "oci",
    compression: str = "gzip",
    members: Mapping[str, Any] | None = None,
    top: Mapping[str, Any] | None = None,
    **config: Any,
) -> Built:
    """An image of ``layers``, tars that are compressed here ("", gzip, zstd), or :class:`Layer` as they are.

    ``kind`` is oci or docker; ``config`` as for ``tests.images.image_config``; ``top`` are further members of the
    config document, ``members`` of the manifest: both replace what would be there.
    """
    manifest_type, config_type, layer_type, plus = _TYPES[kind]
    layer_type = layer_type.format(f"{plus}{compression}" if compression else "")
    made = [one if isinstance(one, Layer) else Layer(compress(one, compression), digest(one)) for one in layers]
    document = {**image_config([], **config), **(top or {})}
    document["rootfs"] = {"type": "layers", "diff_ids": [one.diff_id for one in made]}
    document["history"] = [{"created": images.CREATED, "created_by": f"layer {n}"} for n in range(len(made))]
    data = dump(document)
    blobs = {one.digest or digest(one.blob): one.blob for one in made}
    manifest = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": {"mediaType": config_type, "digest": digest(data), "size": len(data)},
        "layers": [
            {
                "mediaType": one.media_type or layer_type,
                "digest": one.digest or digest(one.blob),
                "size": len(one.blob) if one.size < 0 else one.size,
            }
            for one in made
        ],
        **(members or {}),
    }
    order = [one.digest or digest(one.blob) for one in made]
    return Built(dump(manifest), manifest_type, {**blobs, digest(data): data}, (), order)


def index(children: Mapping[str, Built], *, kind: str = "oci", **members: Any) -> Built:
    """``children`` by their platforms, ``os/architecture[/variant]``."""
    media_type = OCI_INDEX if kind == "oci" else DOCKER_INDEX
    listed = [child.descriptor(platform) for platform, child in children.items()]
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": listed, **members}
    return Built(dump(document), media_type, {}, tuple(children.values()))


def noise(seed: int, size: int) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def noise_layer(seed: int, size: int, name: str = "") -> bytes:
    """A layer (tar) with one file of noise, ``noise/SEED`` unless named: its blob is hardly smaller than ``size``."""
    return images.layer([images.folder("noise"), Entry(name or f"noise/{seed}", noise(seed, size))])


def busybox(*more: bytes | Layer, **options: Any) -> Built:
    """An image that runs: busybox with further layers; its command is ``sh``. Options as for :func:`image`."""
    return image([images.busybox_rootfs(), *more], **{"Cmd": ["sh"], **options})
