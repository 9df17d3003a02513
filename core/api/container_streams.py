"""``/containers``: logs, attach, wait. Their heads go out at once, clients block until they have them."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing

from aiohttp.web_response import StreamResponse

from core.api.call import JSON, Call, line
from core.api.streams import Hijacked, begin_stream, hijack, parse_detach_keys, report, stream_type
from core.container.logfiles import LogRequest
from core.container.logs import LogSource
from core.container.status import Container
from core.errors import DockyardError, InvalidArgument, Unsupported

_NO_STREAM = "Bad parameters: you must choose at least one stream"
#: What ctrl-p ctrl-q, Docker's default, is as bytes.
_DETACH_KEYS = b"\x10\x11"


async def logs(call: Call) -> StreamResponse:
    """``GET /containers/{id}/logs``"""
    container = call.engine.containers.get(call.parameters["id"])
    request = _log_request(call)
    source = _log_source(call, container, follow=request.follow)
    response = await begin_stream(call, stream_type(call, container.tty))
    try:
        async with aclosing(call.logs.stream(source, request)) as chunks:
            async for chunk in chunks:
                await response.write(chunk)
    finally:
        if source.ended is not None:
            source.ended.cancel()
    return response


def _log_request(call: Call) -> LogRequest:
    stdout, stderr = call.flag("stdout"), call.flag("stderr")
    if not (stdout or stderr):
        raise InvalidArgument(_NO_STREAM)
    tail = call.text("tail", "all")
    return LogRequest(
        stdout=stdout,
        stderr=stderr,
        since=call.time_ns("since"),
        until=call.time_ns("until"),
        tail=int(tail) if tail.isdecimal() and len(tail) < 19 else None,
        follow=call.flag("follow"),
        timestamps=call.flag("timestamps"),
        details=call.flag("details"),
    )


def _log_source(call: Call, container: Container, *, follow: bool) -> LogSource:
    if container.host_config["LogConfig"]["Type"] == "none":
        raise Unsupported("configured logging driver does not support reading")
    service = call.engine.containers
    ended = None
    if follow and container.status.is_alive:
        ended = asyncio.ensure_future(service.wait_handle(container.id).result())
    return LogSource(service.log_folder(container), container.tty, ended)


async def wait(call: Call) -> StreamResponse:
    """``POST /containers/{id}/wait``"""
    handle = call.engine.containers.wait_handle(call.parameters["id"], call.text("condition"))
    response = await begin_stream(call, JSON)
    status = await handle.result()
    answer: dict[str, object] = {"StatusCode": status.code}
    if status.error:
        answer["Error"] = {"Message": status.error}
    await response.write(line(answer))
    return response


async def attach(call: Call) -> StreamResponse:
    """``POST /containers/{id}/attach``: the client's socket becomes the container's."""
    service = call.engine.containers
    container = service.get(call.parameters["id"])
    keys = call.text("detachKeys")
    detach_keys = parse_detach_keys(keys) if keys else _DETACH_KEYS
    stdin, stdout, stderr = call.flag("stdin"), call.flag("stdout"), call.flag("stderr")
    replay, stream = call.flag("logs"), call.flag("stream")
    await call.body(limit=64 * 1024)
    source = _log_source(call, container, follow=False) if replay else None
    sock, preread = await hijack(call, stream_type(call, container.tty))
    with sock.dup() as spare:  # to tell of a failure after the hand-over
        try:
            if source is not None:
                await _replay(call, sock, source, LogRequest(stdout=stdout, stderr=stderr))
            if stream:
                await service.attach(
                    container.id,
                    sock,
                    stdin=stdin and bool(container.config.get("OpenStdin")),
                    stdout=stdout,
                    stderr=stderr,
                    detach_keys=detach_keys,
                    preread=preread,
                )
            else:
                sock.close()
        except DockyardError as error:
            sock.close()
            await report(spare, container.tty, str(error))
        except OSError:  # the client left
            sock.close()
    return Hijacked()


async def _replay(call: Call, sock: socket.socket, source: LogSource, request: LogRequest) -> None:
    loop = asyncio.get_running_loop()
    async with aclosing(call.logs.stream(source, request)) as chunks:
        async for chunk in chunks:
            await loop.sock_sendall(sock, chunk)
