"""``/containers/{id}/archive``, ``changes``, ``export`` and ``/commit``: the files of containers."""

from __future__ import annotations

import base64
import json
import stat as modes
from typing import Any

from aiohttp.web_response import Response, StreamResponse

from core.api.call import Call, empty, reply
from core.api.downloads import send_archive
from core.archive.lookup import Found
from core.container.inspect import rfc3339
from core.errors import InvalidArgument

_TAR = "application/x-tar"
#: Mode bits of Go's io/fs.FileMode, which the path stat carries.
_GO_BITS = (
    (modes.S_ISDIR, 1 << 31),
    (modes.S_ISLNK, 1 << 27),
    (modes.S_ISBLK, 1 << 26),
    (modes.S_ISCHR, 1 << 26 | 1 << 21),
    (modes.S_ISFIFO, 1 << 25),
    (modes.S_ISSOCK, 1 << 24),
)
_GO_SPECIAL = ((modes.S_ISUID, 1 << 23), (modes.S_ISGID, 1 << 22), (modes.S_ISVTX, 1 << 20))


def go_mode(mode: int) -> int:
    """``st_mode`` as Go's FileMode (package io/fs)."""
    found = mode & 0o777
    found |= sum(bits for test, bits in _GO_BITS if test(mode))
    return found | sum(bit for special, bit in _GO_SPECIAL if mode & special)


def path_stat(found: Found) -> str:
    """The value of ``X-Docker-Container-Path-Stat``."""
    document = {
        "name": found.name,
        "size": found.status.st_size,
        "mode": go_mode(found.status.st_mode),
        "mtime": rfc3339(found.status.st_mtime_ns),
        "linkTarget": found.link_target,
    }
    text = json.dumps(document).encode("utf-8", "surrogateescape")
    return base64.b64encode(text).decode("ascii")


def _path(call: Call) -> str:
    path = call.text("path")
    if not path:
        raise InvalidArgument("the path is missing", hint="give path")
    return path


async def stat(call: Call) -> StreamResponse:
    """``HEAD /containers/{id}/archive``"""
    found = await call.engine.archives.stat(call.parameters["id"], _path(call))
    return Response(headers={"X-Docker-Container-Path-Stat": path_stat(found)}, content_type="application/json")


async def get(call: Call) -> StreamResponse:
    """``GET /containers/{id}/archive``"""
    async with call.engine.archives.read(call.parameters["id"], _path(call)) as reading:
        headers = {"X-Docker-Container-Path-Stat": path_stat(reading.found)}
        return await send_archive(call, _TAR, headers, reading.send)


async def export(call: Call) -> StreamResponse:
    """``GET /containers/{id}/export``"""
    async with call.engine.archives.export(call.parameters["id"]) as reading:
        return await send_archive(call, "application/octet-stream", {}, reading.send)


async def put(call: Call) -> StreamResponse:
    """``PUT /containers/{id}/archive``: all of the tar, or an error that names the entry it came to."""
    await call.engine.archives.write(
        call.parameters["id"],
        _path(call),
        call.chunks(),
        keep_kinds=call.flag("noOverwriteDirNonDir"),
        own=call.flag("copyUIDGID"),
    )
    return empty(200)


async def changes(call: Call) -> StreamResponse:
    """``GET /containers/{id}/changes``"""
    found = await call.engine.archives.diff(call.parameters["id"])
    return reply([{"Path": change.path, "Kind": int(change.kind)} for change in found] or None)


async def commit(call: Call) -> StreamResponse:
    """``POST /commit``"""
    container = call.text("container")
    if not container:
        raise InvalidArgument("the container is missing", hint="give container")
    body: Any = await call.json(required=False)
    if body is not None and not isinstance(body, dict):
        raise InvalidArgument("the request's body must be a JSON object")
    repository, tag = call.text("repo"), call.text("tag")
    image = await call.engine.commits.commit(
        container,
        f"{repository}:{tag}" if repository and tag else repository,
        author=call.text("author"),
        message=call.text("comment"),
        instructions=[line for text in call.texts("changes") for line in text.split("\n") if line.strip()],
        config=body,
        pause=call.flag("pause", default=True),
    )
    return reply({"Id": image.id}, 201)
