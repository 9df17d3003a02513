"""``/dockyard/v1``: what Docker's API has no word for. Described in ``openapi.yaml``."""

from __future__ import annotations

import os

from aiohttp.web_response import StreamResponse

from core.api.call import Call, reply


async def engine(call: Call) -> StreamResponse:
    """``GET /dockyard/v1/engine``: that this is a Dockyard, and where it keeps its things."""
    configuration = call.engine.configuration
    return reply(
        {
            "Name": configuration.name,
            "Version": call.engine.version()["Version"],
            "Pid": os.getpid(),
            "Root": configuration.root,
            "Run": configuration.run,
            "Socket": configuration.socket_path,
            "Warnings": list(call.engine.warnings),
        }
    )
