"""``/images``: list, inspect, history, tag, remove, import, load."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from aiohttp.web_response import StreamResponse

from core.api.call import Call, empty, line, not_supported, reply
from core.api.streams import whole_stream
from core.container.inspect import rfc3339
from core.errors import InvalidArgument, Unsupported

if TYPE_CHECKING:
    from core.image.model import Image

_FILTERS = ("before", "dangling", "label", "reference", "since", "until")


async def list_all(call: Call) -> StreamResponse:
    """``GET /images/json``"""
    filters = call.filters()
    for key in filters:
        if key not in _FILTERS:
            raise InvalidArgument(f"invalid filter '{key}'")
        if key in ("before", "since", "until"):
            raise not_supported(f"filter '{key}'")
    if call.text("filter"):  # before API 1.28
        filters["reference"] = [call.text("filter")]
    images = sorted(call.engine.images.all(), key=lambda image: image.created, reverse=True)
    return reply([_summary(image) for image in images if _matches(image, filters)])


def _matches(image: Image, filters: dict[str, list[str]]) -> bool:
    labels = _config(image).get("Labels") or {}
    for value in filters.get("label", ()):
        key, equals, wanted = value.partition("=")
        if key not in labels or (equals and labels[key] != wanted):
            return False
    dangling = filters.get("dangling")
    if dangling and (dangling[0] in ("true", "1")) == bool(image.tags):
        return False
    references = filters.get("reference")
    return not references or any(_is_reference(tag, wanted) for tag in image.tags for wanted in references)


def _is_reference(tag: str, pattern: str) -> bool:
    """Whether ``tag`` is what ``pattern`` means: a name, with or without tag, with ``*`` as in Docker."""
    name = tag.rpartition(":")[0]
    return fnmatchcase(tag, pattern) or fnmatchcase(name, pattern)


def _config(image: Image) -> dict[str, Any]:
    return dict(image.config.get("config") or {})


def _summary(image: Image) -> dict[str, Any]:
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.digests),
        "Created": image.created // 1_000_000_000,
        "Size": image.size,
        "SharedSize": -1,
        "Labels": _config(image).get("Labels") or {},
        "Containers": -1,
    }


async def inspect(call: Call) -> StreamResponse:
    """``GET /images/{name}/json``"""
    image = call.engine.images.get(call.parameters["name"])
    document: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.digests),
        "Parent": "",
        "Comment": "",
        "Created": rfc3339(image.created),
        "DockerVersion": "",
        "Author": image.config.get("author") or "",
        "Config": _config(image),
        "Architecture": image.architecture,
        "Os": image.config.get("os") or "linux",
        "Size": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": {}},
        "RootFS": {"Type": "layers", "Layers": list(image.layers)},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    }
    if call.version < (1, 44):
        document["VirtualSize"] = image.size
    return reply(document)


async def history(call: Call) -> StreamResponse:
    """``GET /images/{name}/history``, newest step first. The engine knows no size of a single layer."""
    image = call.engine.images.get(call.parameters["name"])
    steps = image.config.get("history") or [{}]
    items: list[dict[str, Any]] = [
        {
            "Id": "<missing>",
            "Created": image.created // 1_000_000_000,
            "CreatedBy": step.get("created_by") or "",
            "Tags": None,
            "Size": 0,
            "Comment": step.get("comment") or "",
        }
        for step in steps
    ]
    items[-1] |= {"Id": image.id, "Tags": list(image.tags) or None, "Size": image.size}
    return reply(items[::-1])


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
    """``POST /images/create``: an import; a pull is refused, there are no registries yet."""
    source = call.text("fromSrc")
    if not source:
        name = _named(call.text("fromImage"), call.text("tag"))
        raise Unsupported(
            f"image {name} is not on this machine, and this version of Dockyard does not pull from registries",
            hint="bring it in with `dockyard load` or `dockyard import`, or use the image `host`",
        )
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
