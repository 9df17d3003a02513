"""A name → the manifest and the config of one platform. Documents are bounded and verified before they are believed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from core import oci
from core.errors import Corrupt, DockyardError, InvalidArgument, NotFound, Unauthorized, Unavailable, Unsupported
from core.image import documents
from core.image.provenance import Manifest
from core.image.reference import Reference
from core.image.registry import failures
from core.image.registry.client import Client, connection_errors
from core.image.registry.fetch import fetch_small

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_REFUSED = (400, 401, 403, 404, 405)
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
_KNOWN = (OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST)
_ACCEPT = {"Accept": ", ".join([*_KNOWN, "*/*;q=0.1"])}
#: The media types of layers, without what their compression adds: an image's own, and those of Windows' base images.
_LAYERS = (
    OCI_LAYER,
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
)
_COMPRESSIONS = ("", ".gzip", "+gzip", "+zstd", ".zstd")


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or an index, as it came and as it was read."""

    manifest: Manifest
    content: dict[str, Any]

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests instead of layers."""
        return "manifests" in self.content

    @property
    def descriptor(self) -> dict[str, Any]:
        """mediaType, digest and size of itself."""
        found = self.manifest
        return {"mediaType": found.media_type, "digest": found.digest, "size": len(found.data)}


@dataclass(frozen=True, slots=True)
class Remote:
    """An image that a registry has. ``digest`` is of what the name stands for: an index's, where there is one."""

    digest: str
    manifest: Manifest
    config_data: bytes
    config: oci.Image
    layers: list[dict[str, Any]]


async def digest_of(client: Client, reference: Reference) -> str:
    """What the name stands for now, by HEAD: it costs no pull. "" when the registry does not say.

    A refusal has no body to say why: it is left to the GET that follows.
    """
    name = reference.digest or reference.tag
    async with _open(client, "HEAD", reference.path, name, reference, ok=(200, *_REFUSED)) as response:
        return str(response.headers.get("Docker-Content-Digest", "")) if response.status == 200 else ""


async def get(client: Client, reference: Reference, digest: str = "") -> Document:
    """The manifest or index of a name, or the one with ``digest`` in its repository."""
    wanted = digest or reference.digest
    async with _open(client, "GET", reference.path, wanted or reference.tag, reference) as response:
        try:
            data = await failures.read_bounded(response, documents.MAX_DOCUMENT + 1)
        except connection_errors() as error:
            raise client.explain(error) from error
        media_type = response.content_type
        said = response.headers.get("Docker-Content-Digest", "")
    what = f"manifest of {reference.familiar}"
    if len(data) > documents.MAX_DOCUMENT:
        raise Corrupt(f"{what} is larger than {documents.MAX_DOCUMENT} bytes")
    found = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if found != (wanted or said or found):
        raise Corrupt(f"{what} has the digest {found}, {wanted or said} was promised")
    return _read(Manifest(found, media_type, data), what)


def _open(
    client: Client, method: str, repository: str, name: str, reference: Reference, ok: tuple[int, ...] = (200,)
) -> Any:
    return client.open(
        method,
        client.path(repository, f"manifests/{name}"),
        name=reference.familiar,
        scope=client.scope(repository, "pull"),
        headers=_ACCEPT,
        ok=ok,
    )


def _read(manifest: Manifest, what: str) -> Document:
    if manifest.media_type.startswith(_SCHEMA_1):
        raise Unsupported(f"{what} is of the format of 2014 (schema 1)", hint="push the image again with a newer tool")
    content = documents.manifest(manifest.data, what)
    said = content.get("mediaType") or ""
    # CVE-2021-41190: what it is must not depend on whom one asks.
    if said and manifest.media_type in _KNOWN and said != manifest.media_type:
        raise Corrupt(f"{what} says it is {said!r:.80}, the registry {manifest.media_type!r:.80}")
    kind = said or manifest.media_type
    usual = OCI_INDEX if "manifests" in content else OCI_MANIFEST
    if kind not in _KNOWN:
        kind = usual
    if (kind in (OCI_INDEX, DOCKER_INDEX)) != ("manifests" in content):
        raise Corrupt(f"{what} is not the {kind} it says it is")
    return Document(manifest._replace(media_type=kind), content)


async def get_image(client: Client, reference: Reference, platform: str) -> Remote:
    """The image of a name for ``platform``: this machine's when that is empty."""
    top = await get(client, reference)
    document = top
    for _ in range(4):
        if not document.is_index:
            break
        chosen = documents.choose(document.content, reference.familiar, platform)
        document = await get(client, reference, chosen["digest"])
        if len(document.manifest.data) != chosen["size"]:
            raise Corrupt(f"manifest {chosen['digest']} has not the {chosen['size']} bytes its index says")
    else:
        raise Corrupt(f"the indexes of {reference.familiar} are nested too deep")
    return await _image(client, reference, top.manifest.digest, document)


async def _image(client: Client, reference: Reference, digest: str, document: Document) -> Remote:
    layers = document.content["layers"]
    config = document.content["config"]
    kind = config.get("mediaType") or ""
    if kind not in (OCI_CONFIG, DOCKER_CONFIG, ""):
        raise Unsupported(f"{reference.familiar} is no container image", hint=f"it holds {kind:.100}")
    for layer in layers:
        _check_layer(layer, reference.familiar)
    data = await fetch_small(client, reference.path, config["digest"], config["size"], documents.MAX_DOCUMENT)
    image = documents.image(data, f"config of {reference.familiar}")
    if len(image["rootfs"]["diff_ids"]) != len(layers):
        raise Corrupt(
            f"{reference.familiar}: its config names {len(image['rootfs']['diff_ids'])} layers, "
            f"its manifest {len(layers)}"
        )
    return Remote(digest, document.manifest, data, image, layers)


def _check_layer(layer: dict[str, Any], name: str) -> None:
    kind = layer.get("mediaType") or OCI_LAYER
    if not any(kind == base + compression for base in _LAYERS for compression in _COMPRESSIONS):
        raise Unsupported(f"{name} has a layer of the kind {kind:.100}, which is not known here")
    if layer["size"] < 0:
        raise Corrupt(f"{name}: layer {layer['digest']} has the size {layer['size']}")


def is_next_worth_it(error: DockyardError) -> bool:
    """Whether another server may have what this one has not, or cannot give."""
    return isinstance(error, NotFound | Unavailable | Unauthorized | Corrupt | InvalidArgument)
