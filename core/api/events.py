"""``/events``: one JSON object a line."""

from __future__ import annotations

from contextlib import aclosing

from aiohttp.web_response import StreamResponse

from core.api.call import JSON, Call, line
from core.api.streams import begin_stream


async def events(call: Call) -> StreamResponse:
    """``GET /events``: the past from ``since`` on, then what comes, until ``until``."""
    since, until = call.time_ns("since"), call.time_ns("until")
    filters = call.filters()
    response = await begin_stream(call, JSON)
    subscription = call.engine.events.subscribe(since / 1e9 if since else None, until / 1e9 if until else None, filters)
    async with aclosing(subscription) as happened:
        async for event in happened:
            await response.write(line(event))
    return response
