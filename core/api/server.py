"""Serving: from a listening socket to answers, and a quick end.

aiohttp's low-level server reads HTTP; routing, errors and cancellation are done here, in as few steps as a
request needs. Every answer carries ``Api-Version``, ``Ostype`` and ``Server``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from types import TracebackType
from typing import Any

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from aiohttp.web_server import Server

from core.api import versions
from core.api.call import JSON, Call, Engine, empty, failure, line
from core.api.errors import message_of, status_of
from core.api.routes import find
from core.api.streams import MAX_HEAD, Connection
from core.container.logs import LogReader
from core.errors import DockyardError, Forbidden

log = logging.getLogger("dockyard.api")

#: Seconds that running requests get when the server shuts down; streams are cut at once.
GRACE = 10.0


class _Server(Server):
    """A server whose connections are ours."""

    def __init__(self, *args: Any, options: dict[str, Any]) -> None:
        super().__init__(*args)
        self._options = options

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._options)


class ApiServer:
    """Serves ``engine`` on ``sock``, a bound and listening socket that it closes at the end.

    Use as ``async with``. Leaving cuts streams (logs, events, wait), lets other requests end within
    :data:`GRACE` seconds and closes every connection.
    """

    def __init__(self, engine: Engine, sock: socket.socket) -> None:
        self._engine = engine
        self._sock = sock
        self._logs = LogReader()
        product = f"Dockyard/{engine.version()['Version']} (linux)"
        self._headers = {"Api-Version": versions.text(versions.NEWEST), "Ostype": "linux", "Server": product}

    async def __aenter__(self) -> ApiServer:
        options = {
            "access_log": None,
            "keepalive_timeout": 300.0,
            "tcp_keepalive": False,
            "lingering_time": 1.0,
            "logger": log,
            # Filters travel in the query; uploads want large reads; nobody compresses on a Unix socket.
            "max_line_size": MAX_HEAD,
            "max_field_size": MAX_HEAD,
            "read_bufsize": 256 * 1024,
            "auto_decompress": False,
        }
        self._server = _Server(self._answer, options=options)
        loop = asyncio.get_running_loop()
        # Who bound the socket removes its file; from Python 3.13 on the loop would.
        keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._listener = await loop.create_unix_server(self._server, sock=self._sock, backlog=512, **keep)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for connection in self._server.connections:
            if isinstance(connection, Connection):
                connection.end_stream()
        self._server.pre_shutdown()
        await self._server.shutdown(GRACE)
        self._logs.close()

    # --- one request -------------------------------------------------------------------------------

    async def _answer(self, request: BaseRequest) -> StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        call = None
        try:
            _refuse_browsers(request)
            version, target = versions.split_version(request.raw_path)
            call = Call(self._engine, self._logs, request, version, target, self._headers)
            route = find(call)
            if route.streaming:
                connection.stream_until_lost()
            response = await route.handler(call)
        except DockyardError as error:
            response = await _explain(call, error)
        except ConnectionError:  # the client left in the middle of its answer
            raise
        except Exception:
            log.exception("%s %s failed", request.method, request.raw_path[:500])
            message = "the engine failed at this request; its log has the details"
            response = await _tell(call, message, 500)
        finally:
            connection.request_done()
        if not response.prepared:
            response.headers.update(self._headers)
            if request.headers.get("Upgrade"):  # the refused upgrade's bytes must not be taken for a request
                response.force_close()
        return response


async def _explain(call: Call | None, error: DockyardError) -> StreamResponse:
    """The answer for ``error``; inside the stream when its head is out already."""
    status, message = status_of(error), message_of(error)
    if status == 304:
        return empty(304)
    if status == 500:
        log.warning("%s", message)
    return await _tell(call, message, status)


async def _tell(call: Call | None, message: str, status: int) -> StreamResponse:
    begun = None if call is None else call.begun
    if begun is None:
        return failure(message, status)
    if begun.headers.get("Content-Type") == JSON:
        with contextlib.suppress(ConnectionError):
            await begun.write(line({"errorDetail": {"message": message}, "error": message}))
    return begun


def _refuse_browsers(request: BaseRequest) -> None:
    """No page of any site has business here, should the socket ever be reachable through a proxy."""
    if "Origin" in request.headers:
        raise Forbidden("requests from browsers are refused")


def serve(engine: Engine, sock: socket.socket) -> ApiServer:
    """The API of ``engine`` on the listening socket ``sock``, as an asynchronous context manager."""
    return ApiServer(engine, sock)
