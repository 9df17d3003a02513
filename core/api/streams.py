"""Answers that go on: chunked streams, and connections that stop being HTTP.

Attach and exec hand the client's own socket to the container's monitor, so that a shell survives the death of
the daemon. :meth:`Connection.hijack` ends HTTP on a connection: the answer's head goes out, reading stops,
what was read already is kept, the descriptor is duplicated, and the loop's transport lets go of its own
without shutting the connection down (a shutdown would reach the client, a close does not).
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import select
import socket
from struct import Struct
from typing import Any

from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse

from core.api.call import JSON, Call
from core.container.logs import STDCOPY
from core.errors import InvalidArgument, Unavailable

log = logging.getLogger("dockyard.api")

RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"
#: The multiplexed stream has a content type of its own since this version.
MULTIPLEXED_SINCE = (1, 42)
_STDERR = 2
#: Bytes that a client may send before it has the head: they travel to the monitor in one message.
MAX_PREREAD = 64 * 1024
#: Bytes of a head that is waited for; aiohttp refuses a longer one.
MAX_HEAD = 64 * 1024
_UPGRADE = re.compile(rb"\r\nupgrade:[ \t]*tcp[ \t]*(?=\r\n|$)", re.IGNORECASE)
_UCRED = Struct("iII")  # struct ucred of unix(7): pid, uid, gid


class Connection(RequestHandler):
    """One client's connection. Knows which task answers it, and can stop being HTTP."""

    __slots__ = ("_held", "_hijacking", "_streaming")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._streaming: asyncio.Task[Any] | None = None
        self._hijacking = False
        self._held = b""  # the beginning of a head that has not come whole

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if log.isEnabledFor(logging.DEBUG):
            sock = transport.get_extra_info("socket")
            peer = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
            log.debug("connection from pid %d, uid %d, gid %d", *peer)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What a client wrote that is no HTTP is its own fault, and one line; all else has its traceback."""
        error = kw.get("exc_info")
        if isinstance(error, HttpProcessingError):
            log.info("a client did not speak HTTP: %s", str(error.message).partition("\n")[0][:200])
        else:
            super().log_exception(*args, **kw)

    def stream_until_lost(self) -> None:
        """From now on the current task is cancelled when the client leaves or the server shuts down."""
        self._streaming = asyncio.current_task()

    def end_stream(self) -> None:
        """Cancel the current streaming answer, if there is one."""
        if self._streaming is not None and not self._streaming.done():
            self._streaming.cancel()

    def request_done(self) -> None:
        """The answer is complete: the connection may carry the next request."""
        self._streaming = None

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.end_stream()

    def eof_received(self) -> bool | None:  # type: ignore[override] # aiohttp says None, asyncio takes more
        """A client that says it will send no more still gets its answer, unless it asked for a stream or is gone."""
        if self._streaming is None and self.transport is not None and _still_reads(self.transport):
            self.close()  # no further request; aiohttp closes the connection after the answer
            return True
        super().eof_received()
        return None

    def data_received(self, data: bytes) -> None:
        if self._hijacking:
            self._message_tail += data
            return
        idle = self._current_request is None and not self._messages
        if self._held or (idle and data and data[:5] == b"POST "[: len(data)]):
            data = self._held + data
            if b"\r\n\r\n" not in data and len(data) < MAX_HEAD:
                self._held = data
                return
            self._held = b""
            data = _keep_what_follows(data)
        super().data_received(data)

    async def hijack(self, head: bytes) -> tuple[socket.socket, bytes]:
        """Send ``head`` and leave HTTP. Returns the client's socket, non-blocking, and what it already sent.

        Raises Unavailable when the client is gone, InvalidArgument when it did not wait for its answer.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            raise Unavailable("the client is gone")
        self._hijacking = True
        transport.pause_reading()
        if len(self._message_tail) > MAX_PREREAD:
            raise InvalidArgument("the client sent too much before it had its answer", hint="wait for the head")
        transport.set_write_buffer_limits(0)
        transport.write(head)
        await self._drain_helper()
        preread, self._message_tail = self._message_tail, b""
        peer = transport.get_extra_info("socket")
        sock = socket.socket(fileno=os.dup(peer.fileno()))
        sock.setblocking(False)
        transport.abort()
        return sock, preread


def _still_reads(transport: asyncio.BaseTransport) -> bool:
    """Whether the other side closed only its own direction: POLLHUP tells that both are closed (unix_poll)."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), 0)
    return not poll.poll(0)


def _keep_what_follows(data: bytes) -> bytes:
    """``data``, which begins with a head, made so that what follows an upgrade request is kept.

    aiohttp's parser knows one protocol to upgrade to, websocket: what comes after such a request is left
    alone, what comes after any other (Docker's ``tcp``) is dropped or taken for a request.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nUpgrade: websocket", head, count=1) + end + rest


class Hijacked(StreamResponse):
    """The answer of a handler whose connection is no longer HTTP: nothing is left to send."""

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Nothing: the head went out with the hand-over."""
        self.force_close()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: the connection is somebody else's."""


def stream_type(call: Call, tty: bool) -> str:
    """The content type of a container's output for this client."""
    return MULTIPLEXED_STREAM if not tty and call.version >= MULTIPLEXED_SINCE else RAW_STREAM


async def begin_stream(call: Call, content_type: str) -> StreamResponse:
    """Begin a chunked answer. Its head is sent at once: clients block until they have it."""
    response = StreamResponse(headers={"Content-Type": content_type, **call.headers})
    response.enable_chunked_encoding()
    await response.prepare(call.request)
    call.begun = response
    return response


def whole_stream(lines: bytes) -> Response:
    """Lines of JSON that are complete, chunked all the same: clients take anything else for one document."""
    response = Response(body=lines, content_type=JSON)
    response.enable_chunked_encoding()
    return response


async def hijack(call: Call, content_type: str) -> tuple[socket.socket, bytes]:
    """End HTTP on the call's connection, in the way the client asked for; its socket and what it sent."""
    connection = call.request.protocol
    assert isinstance(connection, Connection)
    upgrade = ["HTTP/1.1 101 UPGRADED", "Connection: Upgrade", "Upgrade: tcp"]
    lines = upgrade if call.request.headers.get("Upgrade") else ["HTTP/1.1 200 OK"]
    lines += [f"Content-Type: {content_type}", *(f"{key}: {value}" for key, value in call.headers.items())]
    return await connection.hijack("\r\n".join([*lines, "", ""]).encode())


async def report(sock: socket.socket, tty: bool, message: str) -> None:
    """Tell the client of a hijacked stream that something failed, then close it."""
    text = (message + "\r\n").encode("utf-8", "replace")
    data = text if tty else STDCOPY.pack(_STDERR, len(text)) + text
    try:
        await asyncio.get_running_loop().sock_sendall(sock, data)
    except OSError:
        return  # the client left: there is nobody to tell
    finally:
        sock.close()


_CONTROL = {f"ctrl-{chr(letter)}": letter - 96 for letter in range(ord("a"), ord("z") + 1)}
_CONTROL |= {"ctrl-@": 0, "ctrl-[": 27, "ctrl-\\": 28, "ctrl-]": 29, "ctrl-^": 30, "ctrl-_": 31}


def parse_detach_keys(text: str) -> bytes:
    """The bytes of ``ctrl-p,ctrl-q`` or ``a,b,c``. Raises InvalidArgument."""
    keys = bytearray()
    for key in text.split(","):
        if key in _CONTROL:
            keys.append(_CONTROL[key])
        elif len(key) == 1 and key.isascii():
            keys += key.encode()
        else:
            raise InvalidArgument(
                f"invalid detach keys ({text[:100]}): unknown key {key[:20]!r}",
                hint="write single characters or ctrl-LETTER, separated by commas",
            )
    return bytes(keys)
