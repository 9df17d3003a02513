"""What goes to registries and comes from them: pull, push, ``/auth``, ``/distribution``, search, manifests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp.web_response import StreamResponse

from core.api.call import JSON, Call, empty, line, reply
from core.api.streams import Connection, begin_stream
from core.errors import InvalidArgument
from core.image.registry import credentials
from core.image.registry.credentials import Credentials
from core.image.registry.progress import Progress

_AUTH = "X-Registry-Auth"


def who(call: Call) -> Credentials:
    """What the client says of itself; nonsense counts as nobody, as in Docker."""
    try:
        return credentials.from_header(call.request.headers.get(_AUTH, ""))
    except InvalidArgument:
        return credentials.ANONYMOUS


async def pull(call: Call) -> StreamResponse:
    """``POST /images/create?fromImage=…``"""
    name, tag, platform = call.text("fromImage"), call.text("tag"), call.text("platform")

    async def work(progress: Progress) -> None:
        await call.engine.registries.pull(name, tag, platform, who(call), progress)

    return await streamed(call, work)


async def push(call: Call) -> StreamResponse:
    """``POST /images/{name}/push``"""
    name, tag = call.parameters["name"], call.text("tag")

    async def work(progress: Progress) -> None:
        await call.engine.registries.push(name, tag, who(call), progress)

    return await streamed(call, work)


async def streamed(call: Call, work: Callable[[Progress], Coroutine[Any, Any, None]]) -> StreamResponse:
    """Answer with the messages of ``work``. What fails before the first of them is an answer of its own."""
    connection = call.request.protocol
    assert isinstance(connection, Connection)
    connection.stream_until_lost()
    progress = Progress()
    task = asyncio.create_task(work(progress))
    task.add_done_callback(lambda _: progress.end())
    response: StreamResponse | None = None
    try:
        async for messages in progress.messages():
            if response is None:
                response = await begin_stream(call, JSON)
            await response.write(b"".join(map(line, messages)))
        await asyncio.wait([task])
        error = task.exception()
        if error is not None:
            raise error  # inside the stream, when it has begun
        if response is None:
            response = await begin_stream(call, JSON)
        await response.write_eof()
        return response
    finally:
        task.cancel()
        await asyncio.wait([task])


async def auth(call: Call) -> StreamResponse:
    """``POST /auth``"""
    document = await call.json()
    if not isinstance(document, dict):
        raise InvalidArgument("the body is not a JSON object")
    server = document.get("serveraddress") or ""
    if not isinstance(server, str):
        raise InvalidArgument("serveraddress is not a string")
    await call.engine.registries.login(server, credentials.from_document(document))
    return reply({"Status": "Login Succeeded", "IdentityToken": ""})


async def distribution(call: Call) -> StreamResponse:
    """``GET /distribution/{name}/json``"""
    descriptor, platforms = await call.engine.registries.distribution(call.parameters["name"], who(call))
    return reply({"Descriptor": descriptor, "Platforms": platforms})


async def manifest(call: Call) -> StreamResponse:
    """``GET /dockyard/v1/manifests/{name}``"""
    return reply(await call.engine.registries.manifests(call.parameters["name"], who(call), call.flag("verbose")))


async def search(call: Call) -> StreamResponse:
    """``GET /images/search``"""
    filters = call.filters()
    for key in filters:
        if key not in ("is-official", "is-automated", "stars"):
            raise InvalidArgument(f"invalid filter '{key}'")
    stars = filters.get("stars", ["0"])[0]
    if not (stars.isascii() and stars.isdigit()):
        raise InvalidArgument(f"invalid filter 'stars={stars}'")
    found = await call.engine.registries.search(call.text("term"), call.integer("limit") or 25, who(call))
    official = filters.get("is-official", [""])[0].lower()
    return reply(
        [
            {
                "name": item.name,
                "description": item.description,
                "star_count": item.stars,
                "is_official": item.is_official,
                "is_automated": False,
            }
            for item in found
            if item.stars >= int(stars) and (not official or (official in ("true", "1")) == item.is_official)
        ]
    )


async def protect(call: Call) -> StreamResponse:
    """``PUT /dockyard/v1/images/{name}/protection``"""
    call.engine.images.protect(call.parameters["name"], True)
    return empty(204)


async def unprotect(call: Call) -> StreamResponse:
    """``DELETE /dockyard/v1/images/{name}/protection``"""
    call.engine.images.protect(call.parameters["name"], False)
    return empty(204)
