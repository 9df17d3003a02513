"""A reverse proxy in front of a registry which keeps a record of all that is asked."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from tests.registry.loopback import ADDRESS, Named, Server

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "te", "trailer", "upgrade"}


@dataclass
class Seen:
    """A request. ``sent`` and ``received`` are bytes of bodies, so far; ``status`` is 0 until there is an answer.

    ``range`` is the header as it came; ``authorization`` its scheme in small letters (``basic``, ``bearer``), "" for
    none.
    """

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    range: str = ""
    authorization: str = ""
    status: int = 0
    sent: int = 0
    received: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.query or ''} {self.range} → {self.status} ({self.sent} bytes)"


class Proxy(Server):
    """Passes everything on to ``upstream``. Requests keep their ``Host``: a registry's ``Location`` leads back here."""

    def __init__(
        self,
        upstream: Named,
        tls: ssl.SSLContext | None = None,
        ca: str | None = None,
        address: str = ADDRESS,
    ) -> None:
        super().__init__(upstream.netns, tls, address)
        self.ca = ca
        self.upstream = upstream
        #: All requests in their order.
        self.seen: list[Seen] = []

    def asked(self, pattern: str) -> list[Seen]:
        """The requests so far whose ``METHOD /path`` fits the whole regular expression."""
        return [one for one in list(self.seen) if re.fullmatch(pattern, f"{one.method} {one.path}")]

    @property
    def log(self) -> str:
        """The record, a line for each request."""
        return "\n".join(map(str, list(self.seen)))

    async def opened(self, stack: AsyncExitStack) -> None:
        context = ssl.create_default_context(cafile=self.upstream.ca) if self.upstream.ca else True
        self._session = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=0),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
            )
        )

    def note(self, request: web.BaseRequest) -> Seen:
        """Put a request into the record."""
        scheme = request.headers.get("Authorization", "").partition(" ")[0].lower()
        seen = Seen(request.method, request.path, dict(request.query), request.headers.get("Range", ""), scheme)
        self.seen.append(seen)
        return seen

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self.relay(request, self.note(request))

    def open(
        self, request: web.BaseRequest, seen: Seen, *, without: tuple[str, ...] = ()
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The upstream's answer to a request; headers ``without`` (small letters) are not passed on."""
        left_out = {*_HOP_BY_HOP, *without}
        # Go's clients send an Accept header for each type.
        headers = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in left_out)
        body = self._body(request, seen) if request.body_exists else None
        skipped = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
        return self._session.request(
            request.method,
            self.upstream.url + request.raw_path,
            headers=headers,
            data=body,
            allow_redirects=False,
            skip_auto_headers=[name for name in skipped if name not in request.headers],
        )

    async def _body(self, request: web.BaseRequest, seen: Seen) -> AsyncIterator[bytes]:
        async for part in request.content.iter_any():
            seen.received += len(part)
            yield part

    async def relay(self, request: web.BaseRequest, seen: Seen) -> web.StreamResponse:
        """Pass on, unchanged."""
        async with self.open(request, seen) as found:
            response = web.StreamResponse(status=found.status, headers=passed_on(found.headers))
            seen.status = found.status
            await response.prepare(request)
            async for part in found.content.iter_any():
                seen.sent += len(part)
                await response.write(part)
            await response.write_eof()
            return response


def passed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The headers that a proxy leaves alone."""
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)
