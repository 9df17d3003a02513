"""``/system/df``: what lies on the disk."""

from __future__ import annotations

import time
from typing import Any

from aiohttp.web_response import StreamResponse

from core.api.call import Call, reply
from core.api.images import summary as image_summary
from core.api.volumes import describe as describe_volume
from core.container.inspect import summary
from core.errors import InvalidArgument

_TYPES = ("container", "image", "volume", "build-cache")


async def disk_usage(call: Call) -> StreamResponse:
    """``GET /system/df``; ``type`` (repeated) names the kinds that are counted, else all."""
    types = call.texts("type") or _TYPES
    for kind in types:
        if kind not in _TYPES:
            raise InvalidArgument(f"unknown object type: {kind}", hint=", ".join(_TYPES))
    found: dict[str, Any] = {}
    usage = call.engine.usage
    if "image" in types:
        images, found["LayersSize"] = usage.images()
        found["Images"] = [
            {**image_summary(use.image), "SharedSize": use.shared, "Containers": use.containers} for use in images
        ]
    if "container" in types:
        now = time.time_ns()
        found["Containers"] = [
            {**summary(use.container, now, call.engine.networks.store), "SizeRw": use.written, "SizeRootFs": use.whole}
            for use in await usage.containers()
        ]
    if "volume" in types:
        found["Volumes"] = [
            {**describe_volume(call, use.volume), "UsageData": {"RefCount": use.users, "Size": use.bytes}}
            for use in await usage.volumes()
        ]
    if not call.texts("type"):  # beyond Docker's kinds
        found["Logs"] = [
            {"Container": use.container.id, "Name": use.container.name, "Size": use.bytes} for use in await usage.logs()
        ]
        found["Interrupted"] = dict(zip(("Count", "Size"), usage.interrupted(), strict=True))
    if "build-cache" in types:
        found["BuildCache"], found["BuilderSize"] = [], 0
    return reply(found)
