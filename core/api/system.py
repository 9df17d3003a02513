"""``/_ping``, ``/version``, ``/info``."""

from __future__ import annotations

from aiohttp.web_response import Response, StreamResponse

from core.api.call import Call, reply


async def ping(call: Call) -> StreamResponse:
    """``GET`` and ``HEAD /_ping``: how clients find the newest version they may speak."""
    body = b"" if call.request.method == "HEAD" else b"OK"
    return Response(
        body=body,
        content_type="text/plain",
        charset="utf-8",
        headers={
            "Builder-Version": "1",
            "Docker-Experimental": "false",
            "Swarm": "inactive",
            "Cache-Control": "no-cache, no-store, must-revalidate",
            "Pragma": "no-cache",
        },
    )


async def version(call: Call) -> StreamResponse:
    """``GET /version``"""
    return reply(call.engine.version())


async def info(call: Call) -> StreamResponse:
    """``GET /info``"""
    return reply(call.engine.info())


async def plugins(call: Call) -> StreamResponse:
    """``GET /plugins``: there are none."""
    call.filters()
    return reply([])


async def build_prune(call: Call) -> StreamResponse:
    """``POST /build/prune``: nothing is built here yet, so nothing is cached."""
    call.filters()
    return reply({"CachesDeleted": None, "SpaceReclaimed": 0})
