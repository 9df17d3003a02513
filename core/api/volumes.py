"""``/volumes``: list, create, inspect, remove, prune."""

from __future__ import annotations

import time
from typing import Any

from aiohttp.web_response import StreamResponse

from core.api.call import Call, empty, reply
from core.errors import InvalidArgument
from core.volumes.store import DRIVER, Volume


def describe(call: Call, volume: Volume) -> dict[str, Any]:
    """A volume as lists and inspect show it."""
    return {
        "CreatedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(volume.created // 1_000_000_000)),
        "Driver": DRIVER,
        "Labels": volume.labels or None,
        "Mountpoint": call.engine.volumes.store.mountpoint(volume.name),
        "Name": volume.name,
        "Options": volume.options or None,
        "Scope": "local",
    }


async def list_all(call: Call) -> StreamResponse:
    """``GET /volumes``"""
    found = call.engine.volumes.list_volumes(call.filters())
    return reply({"Volumes": [describe(call, volume) for volume in found], "Warnings": None})


async def create(call: Call) -> StreamResponse:
    """``POST /volumes/create``"""
    body = await call.json(required=False) or {}
    if not isinstance(body, dict):
        raise InvalidArgument("the request's body must be a JSON object")
    name, driver = _text(body, "Name"), _text(body, "Driver")
    volume = call.engine.volumes.create(name, driver, _map(body, "DriverOpts"), _map(body, "Labels"))
    return reply(describe(call, volume), 201)


def _text(body: dict[str, Any], member: str) -> str:
    value = body.get(member) or ""
    if not isinstance(value, str) or "\0" in value:
        raise InvalidArgument(f"{member} must be a string")
    return value


def _map(body: dict[str, Any], member: str) -> dict[str, str]:
    value = body.get(member) or {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise InvalidArgument(f"{member} must be an object of strings")
    return value


async def inspect(call: Call) -> StreamResponse:
    """``GET /volumes/{name}``"""
    return reply(describe(call, call.engine.volumes.store.get(call.parameters["name"])))


async def remove(call: Call) -> StreamResponse:
    """``DELETE /volumes/{name}``"""
    call.engine.volumes.remove(call.parameters["name"], force=call.flag("force"))
    return empty()


async def prune(call: Call) -> StreamResponse:
    """``POST /volumes/prune``: anonymous ones; before API 1.42 all."""
    gone, freed = await call.engine.volumes.prune(call.filters(), named=call.version < (1, 42))
    return reply({"VolumesDeleted": gone or None, "SpaceReclaimed": freed})
