"""``/containers``: everything but their streams (:mod:`core.api.container_streams`)."""

from __future__ import annotations

from aiohttp.web_response import StreamResponse

from core.api.call import Call, empty, not_supported, reply
from core.container.config import check_container_name, parse_create
from core.container.inspect import inspect as describe
from core.container.listing import list_containers
from core.container.update import parse_update
from core.errors import InvalidArgument


async def list_all(call: Call) -> StreamResponse:
    """``GET /containers/json``"""
    store = call.engine.containers.store
    found = list_containers(
        store,
        call.engine.networks.store,
        all=call.flag("all"),
        limit=call.integer("limit") or 0,
        filters=call.filters(),
    )
    if call.flag("size"):
        for item in found:
            container = store.find(item["Id"])
            if container is not None:
                item["SizeRw"], item["SizeRootFs"] = await call.engine.sizes.both(container)
    return reply(found)


async def create(call: Call) -> StreamResponse:
    """``POST /containers/create``"""
    name = call.text("name").removeprefix("/")
    if name:
        check_container_name(name)
    request = parse_create(await call.json(), name, call.text("platform"))
    container, warnings = await call.engine.containers.create(request)
    return reply({"Id": container.id, "Warnings": warnings}, 201)


async def inspect(call: Call) -> StreamResponse:
    """``GET /containers/{id}/json``"""
    service = call.engine.containers
    container = service.get(call.parameters["id"])
    execs, networks = call.engine.execs.of(container.id), call.engine.networks.store
    document = describe(container, execs, service.folder(container), networks)
    if call.flag("size"):
        document["SizeRw"], document["SizeRootFs"] = await call.engine.sizes.both(container)
    return reply(document)


async def top(call: Call) -> StreamResponse:
    """``GET /containers/{id}/top``"""
    container = call.engine.containers.get(call.parameters["id"])
    return reply(await call.engine.top(container, call.text("ps_args") or "-ef"))


async def start(call: Call) -> StreamResponse:
    """``POST /containers/{id}/start``"""
    if await call.body(limit=64 * 1024):
        raise InvalidArgument(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
        )
    if call.text("checkpoint"):
        raise not_supported("starting from a checkpoint")
    await call.engine.containers.start(call.parameters["id"])
    return empty()


async def stop(call: Call) -> StreamResponse:
    """``POST /containers/{id}/stop``"""
    await call.engine.containers.stop(call.parameters["id"], call.integer("t"), call.text("signal"))
    return empty()


async def restart(call: Call) -> StreamResponse:
    """``POST /containers/{id}/restart``"""
    await call.engine.containers.restart(call.parameters["id"], call.integer("t"), call.text("signal"))
    return empty()


async def kill(call: Call) -> StreamResponse:
    """``POST /containers/{id}/kill``"""
    await call.engine.containers.kill(call.parameters["id"], call.text("signal") or "KILL")
    return empty()


async def pause(call: Call) -> StreamResponse:
    """``POST /containers/{id}/pause``"""
    await call.engine.containers.pause(call.parameters["id"])
    return empty()


async def unpause(call: Call) -> StreamResponse:
    """``POST /containers/{id}/unpause``"""
    await call.engine.containers.unpause(call.parameters["id"])
    return empty()


async def rename(call: Call) -> StreamResponse:
    """``POST /containers/{id}/rename?name=``"""
    await call.engine.updates.rename(call.parameters["id"], call.text("name"))
    return empty()


async def update(call: Call) -> StreamResponse:
    """``POST /containers/{id}/update``"""
    warnings = await call.engine.updates.update(call.parameters["id"], parse_update(await call.json()))
    return reply({"Warnings": warnings})


async def prune(call: Call) -> StreamResponse:
    """``POST /containers/prune``"""
    gone, freed = await call.engine.container_pruner.prune(call.filters())
    return reply({"ContainersDeleted": gone, "SpaceReclaimed": freed})


async def remove(call: Call) -> StreamResponse:
    """``DELETE /containers/{id}``; with ``v`` its anonymous volumes go too."""
    if call.flag("link"):
        raise not_supported("removing a link")
    await call.engine.containers.remove(call.parameters["id"], force=call.flag("force"), volumes=call.flag("v"))
    return empty()


async def resize(call: Call) -> StreamResponse:
    """``POST /containers/{id}/resize``"""
    rows, columns = terminal_size(call)
    await call.engine.containers.resize(call.parameters["id"], rows, columns)
    return empty(200)


def terminal_size(call: Call) -> tuple[int, int]:
    """``h`` and ``w``, both needed."""
    rows, columns = call.integer("h"), call.integer("w")
    if rows is None or columns is None:
        raise InvalidArgument("the terminal's size is missing", hint="give h and w")
    return rows, columns
