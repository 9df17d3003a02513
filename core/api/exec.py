"""``/containers/{id}/exec`` and ``/exec``."""

from __future__ import annotations

import logging

from aiohttp.web_response import StreamResponse

from core.api.call import Call, empty, reply
from core.api.containers import terminal_size
from core.api.errors import message_of
from core.api.streams import Hijacked, hijack, parse_detach_keys, report, stream_type
from core.container.execs import console_size, parse_exec
from core.errors import Conflict, DockyardError, InvalidArgument, StartFailed

log = logging.getLogger("dockyard.api")


async def create(call: Call) -> StreamResponse:
    """``POST /containers/{id}/exec``"""
    request = parse_exec(await call.json(), parse_detach_keys)
    return reply({"Id": call.engine.execs.create(call.parameters["id"], request)}, 201)


async def start(call: Call) -> StreamResponse:
    """``POST /exec/{id}/start``: the client's socket becomes the new process's."""
    body = await call.json(required=False)
    if body is None:
        body = {}
    if not isinstance(body, dict):
        raise InvalidArgument("the request's body must be a JSON object")
    size = console_size(body["ConsoleSize"]) if body.get("ConsoleSize") else None
    exec_id = call.parameters["id"]
    found = call.engine.execs.get(exec_id)
    if body.get("Detach"):
        await call.engine.execs.start(exec_id, None, size=size)
        return empty(200)
    # What can be refused is refused while it still is HTTP.
    if found.running or found.seen:
        raise Conflict(f"exec {exec_id} has been started already")
    container = call.engine.containers.get(found.container_id)
    if not container.status.is_up:
        raise Conflict(f"container {container.id} is not running")
    tty = bool(body.get("Tty")) or found.request.tty
    sock, preread = await hijack(call, stream_type(call, tty))
    # The other descriptor is the monitor's from here on; with this one a failure can still be told.
    with sock.dup() as spare:
        try:
            await call.engine.execs.start(exec_id, sock, tty=tty, size=size, preread=preread)
        except StartFailed as error:  # the monitor had the stream, and has told the client
            log.debug("exec %s: %s", exec_id, error)
        except DockyardError as error:
            sock.close()
            await report(spare, tty, message_of(error))
    return Hijacked()


async def inspect(call: Call) -> StreamResponse:
    """``GET /exec/{id}/json``"""
    return reply(call.engine.execs.inspect(call.parameters["id"]))


async def resize(call: Call) -> StreamResponse:
    """``POST /exec/{id}/resize``"""
    rows, columns = terminal_size(call)
    await call.engine.execs.resize(call.parameters["id"], rows, columns)
    return empty(200)
