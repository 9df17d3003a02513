"""``/images``: list, inspect, history, tag, remove, prune, import, load, save."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from aiohttp.web_response import StreamResponse

from core.api import registries
from core.api.call import Call, empty, line, not_supported, reply
from core.api.downloads import send_archive
from core.api.streams import whole_stream
from core.container.inspect import rfc3339
from core.errors import InvalidArgument
from core.image.model import nanoseconds
from core.image.reference import fits
from core.image.saving import plan_of
from core.image.saving import save as write_archive
from core.moments import parse_moment

if TYPE_CHECKING:
    from core.image.model import Image

_TAR = "application/x-tar"
_FILTERS = ("before", "dangling", "label", "protected", "reference", "since", "until")


async def list_all(call: Call) -> StreamResponse:
    """``GET /images/json``"""
    filters = call.filters()
    for key in filters:
        if key not in _FILTERS:
            raise InvalidArgument(f"invalid filter '{key}'")
    if call.text("filter"):  # before API 1.28
        filters["reference"] = [call.text("filter")]
    store = call.engine.images
    images = [image for image in store.all() if _matches(image, filters) and _is_between(call, image, filters)]
    if not (call.flag("all") or "dangling" in filters):
        images = [image for image in images if image.tags or not store.children(image.id)]
    images.sort(key=lambda image: image.created, reverse=True)
    return reply([_listed(image, filters.get("reference")) for image in images])


def _listed(image: Image, references: list[str] | None) -> dict[str, Any]:
    """An image of a list; asked for by name, it shows the names that fit."""
    item = summary(image)
    if references:
        item["RepoTags"] = [tag for tag in image.tags if _is_reference(tag, references)]
    return item


def _is_reference(tag: str, patterns: list[str]) -> bool:
    return any(fits(tag, _familiar(pattern)) for pattern in patterns)


def _is_between(call: Call, image: Image, filters: dict[str, list[str]]) -> bool:
    """``before`` and ``since`` name an image, ``until`` is a point in time."""
    get = call.engine.images.get
    now = time.time_ns()
    return (
        all(image.created < get(ref).created for ref in filters.get("before", ()))
        and all(image.created > get(ref).created for ref in filters.get("since", ()))
        and all(image.created < parse_moment(text, now) for text in filters.get("until", ()))
    )


def _matches(image: Image, filters: dict[str, list[str]]) -> bool:
    labels = _config(image).get("Labels") or {}
    for value in filters.get("label", ()):
        key, equals, wanted = value.partition("=")
        if key not in labels or (equals and labels[key] != wanted):
            return False
    if not (_is_as(filters, "dangling", not image.tags) and _is_as(filters, "protected", image.protected)):
        return False
    references = filters.get("reference")
    return not references or any(_is_reference(tag, references) for tag in image.tags)


def _is_as(filters: dict[str, list[str]], name: str, value: bool) -> bool:
    """Whether a filter of true and false lets this value through."""
    wanted = filters.get(name)
    if not wanted:
        return True
    if wanted[0].lower() not in ("true", "false", "1", "0"):
        raise InvalidArgument(f"invalid filter '{name}=[{wanted[0]}]'")
    return (wanted[0].lower() in ("true", "1")) == value


def _familiar(pattern: str) -> str:
    return pattern.removeprefix("docker.io/library/").removeprefix("docker.io/")


def _config(image: Image) -> dict[str, Any]:
    return dict(image.config.get("config") or {})


def summary(image: Image) -> dict[str, Any]:
    """An image as lists show it."""
    return {
        "Id": image.id,
        "ParentId": image.parent,
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.digests),
        "Created": image.created // 1_000_000_000,
        "Size": image.size,
        "SharedSize": -1,
        "Labels": _config(image).get("Labels") or {},
        "Containers": -1,
        **({"Protected": True} if image.protected else {}),
    }


async def inspect(call: Call) -> StreamResponse:
    """``GET /images/{name}/json``"""
    image = call.engine.images.get(call.parameters["name"])
    document: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.digests),
        "Parent": image.parent,
        "Comment": (steps(image) or [{}])[-1].get("comment") or "",
        "Created": rfc3339(image.created),
        "DockerVersion": "",
        "Author": image.config.get("author") or "",
        "Config": _config(image),
        "Architecture": image.architecture,
        "Os": image.config.get("os") or "linux",
        "Size": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": {}},
        "RootFS": {"Type": "layers", "Layers": list(image.layers)},
        "Metadata": {"LastTagTime": rfc3339(image.tagged)},
        **({"Protected": True} if image.protected else {}),
    }
    if call.version < (1, 44):
        document["VirtualSize"] = image.size
    return reply(document)


async def history(call: Call) -> StreamResponse:
    """``GET /images/{name}/history``, newest step first."""
    store = call.engine.images
    image = store.get(call.parameters["name"])
    sizes = store.layers.sizes()
    layers = iter(image.layers)
    items = [
        step(told, image, 0 if told.get("empty_layer") else sizes.get(next(layers, ""), 0)) for told in steps(image)
    ]
    items.reverse()
    known: Image | None = image
    for item in items:
        if known is None:
            break
        item |= {"Id": known.id, "Tags": list(known.tags) or None}
        known = next((parent for parent in store.all() if parent.id == known.parent), None) if known.parent else None
    return reply(items)


def steps(image: Image) -> list[Any]:
    """The history that its config tells."""
    return list(image.config.get("history") or [])


def step(told: Any, image: Image, size: int) -> dict[str, Any]:
    """One entry of a history in Docker's words."""
    created = nanoseconds(told.get("created") or "") or image.created
    return {
        "Id": "<missing>",
        "Created": created // 1_000_000_000,
        "CreatedBy": told.get("created_by") or "",
        "Tags": None,
        "Size": size,
        "Comment": told.get("comment") or "",
    }


async def prune(call: Call) -> StreamResponse:
    """``POST /images/prune``"""
    gone, freed = await call.engine.image_pruner.prune(call.filters())
    return reply({"ImagesDeleted": gone or None, "SpaceReclaimed": freed})


async def save(call: Call) -> StreamResponse:
    """``GET /images/get?names=…`` and ``GET /images/{name}/get``"""
    names = [call.parameters["name"]] if "name" in call.parameters else call.texts("names")
    if not names:
        raise InvalidArgument("no image is named", hint="give names")
    store = call.engine.images
    plan = plan_of(store, names)
    with store.layers.keeping(plan.layers):
        answer = await send_archive(call, _TAR, {}, lambda sink: asyncio.to_thread(write_archive, plan, sink))
    for image, _ in plan.images:
        call.engine.events.publish("image", "save", image.id, {"name": image.id})
    return answer


async def tag(call: Call) -> StreamResponse:
    """``POST /images/{name}/tag``"""
    repository = call.text("repo")
    if not repository:
        raise InvalidArgument("the new name is missing", hint="give repo and tag")
    call.engine.images.tag(call.parameters["name"], _named(repository, call.text("tag")))
    return empty(201)


def _named(repository: str, tag_name: str) -> str:
    return f"{repository}:{tag_name}" if tag_name else repository


async def remove(call: Call) -> StreamResponse:
    """``DELETE /images/{name}``"""
    return reply(
        await call.engine.images.remove(
            call.parameters["name"], force=call.flag("force"), prune=not call.flag("noprune")
        )
    )


async def create(call: Call) -> StreamResponse:
    """``POST /images/create``: a pull or an import."""
    source = call.text("fromSrc")
    if not source:
        if not call.text("fromImage"):
            raise InvalidArgument("no image is named", hint="give fromImage, or fromSrc=- and a tar")
        return await registries.pull(call)
    if source != "-":
        raise not_supported("importing from a URL")
    reference = _named(call.text("repo"), call.text("tag"))
    image = await call.engine.images.import_rootfs(
        call.chunks(), reference or None, call.texts("changes"), call.text("message"), call.text("platform")
    )
    return whole_stream(line({"status": image.id}))


async def load(call: Call) -> StreamResponse:
    """``POST /images/load``: all of the archive's images, or none and an error."""
    messages = await call.engine.images.load(call.chunks(), _ignore)
    return whole_stream(b"".join(line({"stream": text + "\n"}) for text in messages))


def _ignore(progress: str) -> None:
    """Progress is not shown: the answer begins when the archive has been read to its end."""
