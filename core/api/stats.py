"""``/containers/{id}/stats``: what a container uses, once or once a second.

The service's ``stats(ref)`` gives the counters of this moment in Docker's members (``cpu_stats``, ``memory_stats``,
``pids_stats``, ``blkio_stats``, ``networks``). Clients compute rates from two moments, so the one before travels
along as ``precpu_stats``.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Any

from aiohttp.web_response import StreamResponse

from core.api.call import JSON, Call, line, not_supported, reply
from core.api.streams import begin_stream
from core.container.inspect import rfc3339
from core.container.stats import Ticker
from core.errors import NotFound

#: Seconds between two documents of a stream, as Docker's.
INTERVAL = 1.0

_NOTHING: dict[str, Any] = {
    "cpu_stats": {"cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}},
    "memory_stats": {},
    "pids_stats": {},
    "blkio_stats": {"io_service_bytes_recursive": None},
}


_ticker = Ticker(INTERVAL)


async def stats(call: Call) -> StreamResponse:
    """``GET /containers/{id}/stats``; a stream ends with the container."""
    container_id = call.engine.containers.get(call.parameters["id"]).id
    sampler = _Sampler(call, container_id)
    document = await sampler.next()
    if not call.flag("stream", default=True):
        if not call.flag("one-shot") and sampler.running:
            await _ticker.beat()
            document = await sampler.next()
        return reply(document)
    response = await begin_stream(call, JSON)
    try:
        await response.write(line(document))
        while sampler.running:
            await _ticker.beat()
            await response.write(line(await sampler.next()))
    except NotFound:  # removed meanwhile
        return response
    return response


async def all_stats(call: Call) -> StreamResponse:
    """``GET /dockyard/v1/stats``: every second one line, a list of Docker's documents.

    ``id`` (repeated) names the containers, else it is all that run, with ``all`` also those that do not; ``stream=0``
    gives one line.
    """
    ids = [call.engine.containers.get(ref).id for ref in call.texts("id")]
    samplers: dict[str, _Sampler] = {}
    await _sample_all(call, ids, samplers)
    if not call.flag("stream", default=True):
        await _ticker.beat()
        return reply(await _sample_all(call, ids, samplers))
    response = await begin_stream(call, JSON)
    while True:
        await _ticker.beat()
        await response.write(line(await _sample_all(call, ids, samplers)))


async def _sample_all(call: Call, ids: list[str], samplers: dict[str, _Sampler]) -> list[dict[str, Any]]:
    store = call.engine.containers.store
    wanted = [c for c in store.all() if (c.id in ids if ids else call.flag("all") or c.status.is_up)]
    for gone in samplers.keys() - {container.id for container in wanted}:
        del samplers[gone]
    return [await samplers.setdefault(c.id, _Sampler(call, c.id)).next() for c in wanted]


class _Sampler:
    """The documents of one container, each with the counters of the one before."""

    def __init__(self, call: Call, container_id: str) -> None:
        self._service = call.engine.containers
        self._id = container_id
        self._before: dict[str, Any] = _NOTHING["cpu_stats"]
        self._read = 0
        #: Whether the container ran at the last look.
        self.running = False

    async def next(self) -> dict[str, Any]:
        """The document of this moment; of a container that does not run all counters are missing or 0."""
        container = self._service.get(self._id)
        self.running = container.status.is_up
        sample = await self._sample() if self.running else _NOTHING
        now = time.time_ns() if self.running else 0
        document = {
            "name": "/" + container.name,
            "id": container.id,
            "read": rfc3339(now),
            "preread": rfc3339(self._read),
            **sample,
            "precpu_stats": self._before,
        }
        self._before, self._read = document["cpu_stats"], now
        return document

    async def _sample(self) -> dict[str, Any]:
        read = getattr(self._service, "stats", None)
        if read is None:
            raise not_supported("reading a container's statistics")
        found = read(self._id)
        return dict(await found if isinstance(found, Awaitable) else found)
