"""A registry that fails on demand: which requests, how, and how often."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.registry.proxy import Proxy, Seen, passed_on

FOREVER = 1 << 30


@dataclass(frozen=True)
class Fault:
    """What is wrong with an answer; several things may be. All numbers are bytes of the body unless said otherwise."""

    #: Answer with this and ``body`` instead of asking the registry.
    status: int = 0
    body: bytes = b""
    #: Put into the answer's headers, in place of those of the same name.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: The connection ends after so many, whatever Content-Length says.
    cut: int | None = None
    #: The end of ``cut`` is a reset: what was still on its way is lost.
    reset: bool = False
    #: So many at the end do not come, and Content-Length does not count them.
    shorter: int = 0
    #: More comes at the end, and Content-Length counts it.
    longer: bytes = b""
    #: More comes after what Content-Length says.
    surplus: bytes = b""
    #: Offset → other bytes, of the same length.
    wrong: Mapping[int, bytes] = field(default_factory=dict)
    #: Answer the whole blob to whoever wants a part.
    ignores_range: bool = False
    #: So many at a time, each after so many seconds.
    drip: tuple[int, float] | None = None
    #: Nothing comes after so many until ``release`` is called.
    hold: int | None = None
    #: Never answer (until ``release``).
    is_silent: bool = False
    #: The request's body is read so far, then the connection ends.
    cut_upload: int | None = None


@dataclass(frozen=True)
class Elsewhere(Fault):
    """Redirect to the same path at ``url``, scheme and host."""

    url: str = ""


@dataclass
class _Rule:
    pattern: str
    fault: Fault
    left: int


class FaultProxy(Proxy):
    """The first rule that fits a request and is not used up decides; without one it is passed on."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._rules: list[_Rule] = []
        self._released = asyncio.Event()

    def when(self, pattern: str, fault: Fault, times: int = FOREVER) -> None:
        """Requests whose ``METHOD /path`` fits the whole regular expression fail like this, so many times."""
        self._rules.append(_Rule(pattern, fault, times))

    def heal(self) -> None:
        """Take all rules away, let go of what is held, and forget the record."""
        self._rules.clear()
        self.release()
        self.seen.clear()

    def release(self) -> None:
        """Whatever is held goes on."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._let_go)

    def _let_go(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    def _fault(self, request: web.BaseRequest) -> Fault | None:
        for rule in self._rules:
            if rule.left and re.fullmatch(rule.pattern, f"{request.method} {request.path}"):
                rule.left -= 1
                return rule.fault
        return None

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = self.note(request)
        fault = self._fault(request)
        if fault is None:
            return await self.relay(request, seen)
        if fault.is_silent:
            await self._released.wait()
        if fault.cut_upload is not None:
            return await self._cut_upload(request, seen, fault.cut_upload)
        if isinstance(fault, Elsewhere):
            seen.status = 307
            return web.Response(status=307, headers={"Location": fault.url + request.raw_path})
        if fault.status:
            seen.status, seen.sent = fault.status, len(fault.body)
            headers = {"Content-Type": "application/json", **fault.headers}
            return web.Response(status=fault.status, headers=headers, body=fault.body)
        return await self._spoil(request, seen, fault)

    async def _cut_upload(self, request: web.BaseRequest, seen: Seen, count: int) -> web.StreamResponse:
        while seen.received < count and (part := await request.content.read(count - seen.received)):
            seen.received += len(part)
        return _gone(request)

    async def _spoil(self, request: web.BaseRequest, seen: Seen, fault: Fault) -> web.StreamResponse:
        without = ("range", "if-range") if fault.ignores_range else ()
        async with self.open(request, seen, without=without) as found:
            headers = passed_on(found.headers)
            headers.update(fault.headers)
            length = found.content_length
            if length is not None and request.method != "HEAD":
                headers["Content-Length"] = str(length - fault.shorter + len(fault.longer))
            seen.status = found.status
            # By hand: aiohttp's own response keeps to the Content-Length that it sends.
            lines = [f"HTTP/1.1 {found.status} {found.reason}", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
            out = _Out(request, seen, fault, self._released)
            await out.head("\r\n".join(lines).encode())
            if request.method != "HEAD":
                stop = FOREVER if length is None else length - fault.shorter
                async for part in found.content.iter_any():
                    await out.body(part[: max(0, stop - out.position)])
                    if out.is_cut:
                        return _gone(request, fault.reset)
                await out.body(fault.longer)
                await out.body(fault.surplus)
        return _gone(request, fault.reset)


class _Out:
    """The raw end of one answer."""

    def __init__(self, request: web.BaseRequest, seen: Seen, fault: Fault, released: asyncio.Event) -> None:
        self._request = request
        self._seen = seen
        self._fault = fault
        self._released = released
        self.position = 0
        self.is_cut = fault.cut == 0

    async def head(self, data: bytes) -> None:
        await self._write(data)
        if self._fault.hold == 0:
            await self._released.wait()

    async def body(self, data: bytes) -> None:
        """Send this, spoiled where the fault says."""
        data = self._spoiled(data)
        while data and not self.is_cut:
            size = len(data)
            if self._fault.drip is not None:
                await asyncio.sleep(self._fault.drip[1])
                size = self._fault.drip[0]
            for stop in (self._fault.hold, self._fault.cut):
                if stop is not None and self.position < stop:
                    size = min(size, stop - self.position)
            part, data = data[:size], data[size:]
            self.position += len(part)
            self._seen.sent += len(part)
            await self._write(part)
            self.is_cut = self.position == self._fault.cut
            if self.position == self._fault.hold:
                await self._released.wait()

    def _spoiled(self, data: bytes) -> bytes:
        for offset, other in self._fault.wrong.items():
            first = max(offset, self.position)
            last = min(offset + len(other), self.position + len(data))
            if first < last:
                at = first - self.position
                data = data[:at] + other[first - offset : last - offset] + data[at + last - first :]
        return data

    async def _write(self, data: bytes) -> None:
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        transport.write(data)
        await self._request.protocol._drain_helper()


def _gone(request: web.BaseRequest, reset: bool = False) -> web.StreamResponse:
    """End the connection; what was written before still arrives, unless it is reset."""
    transport = request.transport
    if transport is not None:
        if reset:
            lingering = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
            transport.abort()
        else:
            transport.close()
    return web.Response()
