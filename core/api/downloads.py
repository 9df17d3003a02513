"""An archive as the answer, written by a thread straight onto the client's socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp.web_response import StreamResponse

from core.api.call import Call
from core.api.streams import Connection, Hijacked
from core.archive.sinks import ChunkedSink
from core.errors import DockyardError

log = logging.getLogger("dockyard.api")


async def send_archive(
    call: Call, kind: str, headers: dict[str, str], send: Callable[[ChunkedSink], Awaitable[None]]
) -> StreamResponse:
    """Answer with what ``send`` writes. The connection ends with the answer.

    An archive that breaks off lacks the last chunk, and no client takes it for whole.
    """
    connection = call.request.protocol
    assert isinstance(connection, Connection)
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", "Transfer-Encoding: chunked", "Connection: close"]
    lines += [f"{key}: {value}" for key, value in {**call.headers, **headers}.items()]
    sock, _ = await connection.hijack("\r\n".join([*lines, "", ""]).encode())
    sink = ChunkedSink(sock)
    try:
        await send(sink)
        await asyncio.to_thread(sink.finish)
    except (DockyardError, OSError) as error:
        log.warning("%s broke off: %s", call.path, error)
    finally:
        with suppress(OSError):
            sock.close()
    return Hijacked()
