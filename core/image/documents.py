"""Manifests, indexes and configs: hostile text until it has passed here.

Size, depth and the number of layers are bounded (CVE-2021-21285, CVE-2023-25153); a document that is manifest and index
at once is refused (CVE-2021-41190), and so is one that two readers could understand differently: a name twice in one
object, or spelt so that only Go's reader takes it. A missing member is an error that names it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from typing import Any, NoReturn

from core import oci
from core.errors import Corrupt, InvalidArgument, Unsupported
from core.image import platforms
from core.image.content import check_digest

MAX_DOCUMENT = 4 << 20
MAX_DEPTH = 32
#: overlayfs takes 500 lower folders; Docker stops at 127 layers.
MAX_LAYERS = 127
_MAX_SIZE = 2**63 - 1


def parse(data: bytes, what: str) -> Any:
    """JSON with bounds; Corrupt names ``what``."""
    if len(data) > MAX_DOCUMENT:
        raise Corrupt(f"{what} is larger than {MAX_DOCUMENT} bytes")
    try:
        # Decoded here: json would take halves of surrogate pairs, which nothing can be named by or written with.
        document = json.loads(
            data.decode(), object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_constant
        )
        if b"\\u" in data:
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{what} is not JSON: {error}") from error
    _check_depth(document, what)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _finite(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"{text:.40} is too large a number")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _check_spelling(document: Any, names: Iterable[str], what: str) -> None:
    """Go's encoding/json takes ``Layers`` for ``layers``: what it reads there would not be what is read here."""
    known = {name.lower(): name for name in names}
    for name in document if isinstance(document, dict) else ():
        if known.get(name.lower(), name) != name:
            raise Corrupt(f"{what} spells {known[name.lower()]} as {name!r:.40}")


def _check_depth(value: Any, what: str, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise Corrupt(f"{what} is nested deeper than {MAX_DEPTH} levels")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _check_depth(item, what, depth + 1)


def member(document: Any, name: str, kind: type, what: str) -> Any:
    """``document[name]`` when it is there and of that type."""
    if not isinstance(document, dict) or not isinstance(document.get(name), kind):
        raise Corrupt(f"{what} has no {name}, or it is not a {kind.__name__}")
    return document[name]


def _optional(document: dict[str, Any], name: str, kind: type, what: str) -> None:
    if document.get(name) is not None and not isinstance(document[name], kind):
        raise Corrupt(f"{what}: {name} is not a {kind.__name__}")


def image(data: bytes, what: str = "image config") -> oci.Image:
    """An image's config. Its layers' DiffIDs are digests and not too many."""
    document = parse(data, what)
    _check_spelling(document, ("rootfs", "config", "history", "architecture", "os", "variant"), what)
    rootfs = member(document, "rootfs", dict, what)
    diff_ids = member(rootfs, "diff_ids", list, what)
    if len(diff_ids) > MAX_LAYERS:
        raise Unsupported(f"{what} has {len(diff_ids)} layers", hint=f"at most {MAX_LAYERS} are possible")
    if not diff_ids:
        raise Unsupported(f"{what} has no layers", hint="there would be nothing to run in a container")
    for diff_id in diff_ids:
        _check_digest(diff_id, what)
    for name, kind in (("created", str), ("author", str), ("variant", str), ("history", list), ("config", dict)):
        _optional(document, name, kind, what)
    for step in document.get("history") or []:
        if not isinstance(step, dict):
            raise Corrupt(f"{what}: history is not a list of objects")
        for name in ("created", "created_by", "author", "comment"):
            _optional(step, name, str, f"{what}: history")
    for name in ("architecture", "os"):
        member(document, name, str, what)
    if document["os"] != "linux":
        raise Unsupported(f"the image is for {document['os']}, this engine runs linux images")
    if not isinstance(document.get("created") or "", str):
        raise Corrupt(f"{what}: created is not a string")
    _check_config(document.get("config") or {}, what)
    checked: oci.Image = document
    return checked


def _check_digest(digest: Any, what: str) -> None:
    if not isinstance(digest, str):
        raise Corrupt(f"{what}: {digest!r:.80} is not a digest")
    try:
        check_digest(digest)
    except InvalidArgument as error:
        raise Corrupt(f"{what}: {error.message}") from error


def _check_config(config: dict[str, Any], what: str) -> None:
    for name in ("Env", "Cmd", "Entrypoint", "Shell", "OnBuild"):
        value = config.get(name)
        if value is not None and not (
            isinstance(value, list) and all(isinstance(v, str) and "\0" not in v for v in value)
        ):
            raise Corrupt(f"{what}: config.{name} is not a list of strings")
    for name in ("User", "WorkingDir", "StopSignal"):
        value = config.get(name) or ""
        if not isinstance(value, str) or "\0" in value:
            raise Corrupt(f"{what}: config.{name} is not a string, or holds a NUL byte")
    for name in ("Labels", "Volumes", "ExposedPorts", "Healthcheck"):
        value = config.get(name)
        if value is not None and not isinstance(value, dict):
            raise Corrupt(f"{what}: config.{name} is not an object")
    for volume in config.get("Volumes") or {}:
        if not volume.startswith("/") or ".." in volume.split("/") or "\0" in volume or not volume.strip("/."):
            raise Corrupt(f"{what}: volume {volume!r} is not an absolute path inside the container")  # CVE-2022-23648
    for key, value in (config.get("Labels") or {}).items():
        if not isinstance(value, str):
            raise Corrupt(f"{what}: label {key!r} is not a string")


def manifest(data: bytes, what: str = "manifest") -> dict[str, Any]:
    """A manifest or an index; exactly one of both."""
    document = parse(data, what)
    _check_spelling(document, ("schemaVersion", "mediaType", "config", "layers", "manifests"), what)
    if not isinstance(document, dict) or ("manifests" in document) == ("layers" in document):
        raise Corrupt(f"{what} is neither a manifest nor an index (or both)")
    listed = member(document, "manifests" if "manifests" in document else "layers", list, what)
    if len(listed) > (1000 if "manifests" in document else MAX_LAYERS):
        raise Corrupt(f"{what} lists {len(listed)} items")
    for item in listed if "manifests" in document else [*listed, document.get("config")]:
        _check_digest(member(item, "digest", str, what), what)
        size = member(item, "size", int, what)
        if isinstance(size, bool) or not 0 <= size <= _MAX_SIZE:
            raise Corrupt(f"{what}: {item['digest']} has the size {size!r:.40}")
        for name, kind in (("mediaType", str), ("platform", dict), ("annotations", dict)):
            _optional(item, name, kind, what)
    return document


def is_attestation(descriptor: dict[str, Any]) -> bool:
    """A statement about another image of the index, in an image's clothes (BuildKit's attestation storage)."""
    return "vnd.docker.reference.type" in (descriptor.get("annotations") or {})


def architecture() -> str:
    """This machine's architecture as images name it."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def choose(index: dict[str, Any], what: str = "index", platform: str = "") -> dict[str, Any]:
    """The manifest of an index that is for ``platform`` ("": this machine). Unsupported lists what there is.

    One without a platform is taken when there is no other: it is what a single image's index looks like.
    """
    wanted = platforms.parse(platform)
    listed = [item for item in index["manifests"] if not is_attestation(item)]
    named = [item for item in listed if item.get("platform")]
    offered = [platforms.of(item["platform"]) for item in named]
    place = platforms.choose(offered, wanted)
    if place is not None:
        return dict(named[place])
    unnamed = [item for item in listed if not item.get("platform")]
    if unnamed:
        return dict(unnamed[0])
    names = list(dict.fromkeys(map(str, offered)))
    raise Unsupported(f"{what} has no image for {wanted}", hint=f"it has {', '.join(names) or 'nothing'}")
