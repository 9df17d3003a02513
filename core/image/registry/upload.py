"""One blob to a registry (distribution-spec, "Pushing blobs"): in one piece when its size is known, else as it comes.

A connection that breaks in the middle costs what was under way: the registry says how much it has, and the rest is
sent from there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

from core.errors import DockyardError, Unavailable
from core.image.registry.client import ATTEMPTS, ONCE, Client
from core.image.registry.growing import Spool

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_BINARY = {"Content-Type": "application/octet-stream"}
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})")


class Uploads:
    """Blobs for one repository."""

    def __init__(self, client: Client, repository: str) -> None:
        self._client = client
        self._repository = repository
        self._scope = client.scope(repository, "pull,push")

    async def has(self, digest: str) -> int | None:
        """The size of a blob that the repository has; None when it has it not."""
        where = self._client.path(self._repository, f"blobs/{digest}")
        opened = self._client.open(
            "HEAD", where, name=self._repository, scope=self._scope, ok=(200, 404), headers={"Accept": "*/*"}
        )
        async with opened as response:
            return (response.content_length or 0) if response.status == 200 else None

    async def mount(self, digest: str, source: str) -> str:
        """Take a blob over from another repository: "" when that was done, else where to upload it."""
        scope = f"{self._scope} {self._client.scope(source, 'pull')}"
        query = f"?mount={digest}&from={self._client.endpoint.prefix}{source}"
        where = self._client.path(self._repository, "blobs/uploads/") + query
        opened = self._client.open("POST", where, name=self._repository, scope=scope, ok=(201, 202))
        async with opened as response:
            return "" if response.status == 201 else self._location(response)

    async def begin(self) -> str:
        """Where to upload to."""
        where = self._client.path(self._repository, "blobs/uploads/")
        async with self._open("POST", where, ok=(202,)) as response:
            return self._location(response)

    async def whole(self, data: bytes, digest: str) -> None:
        """A small blob in one request."""
        where = _with_digest(await self.begin(), digest)
        headers = {**_BINARY, "Content-Length": str(len(data))}
        async with self._open("PUT", where, ok=(201, 204), headers=headers, body=lambda: data):
            return

    async def stream(
        self, where: str, spool: Spool, result: Callable[[], Awaitable[str]], sent: Callable[[int], None]
    ) -> None:
        """What a spool gets, as it gets it. ``result`` gives the digest when all was written."""
        where = where or await self.begin()
        done, failed = 0, 0
        while True:
            before = done
            try:
                where, done = await self._send(where, spool, done, sent)
                break
            except Unavailable:
                if spool.error is not None:
                    raise spool.error from None
                failed = 1 if done > before else failed + 1
                if failed >= ATTEMPTS.count:
                    raise
            await asyncio.sleep(ATTEMPTS.pause(failed))
            where, done = await self._how_far(where)
        digest = await result()
        async with self._open("PUT", _with_digest(where, digest), ok=(201, 204), headers={"Content-Length": "0"}):
            return

    async def _send(self, where: str, spool: Spool, offset: int, sent: Callable[[int], None]) -> tuple[str, int]:
        """All from ``offset`` on in one PATCH; the next place, and how much the registry has."""
        headers = dict(_BINARY)
        if offset:
            headers["Content-Range"] = f"{offset}-"

        async def body() -> AsyncIterator[bytes]:
            at = offset
            async for block in spool.read(offset):
                yield block
                at += len(block)
                sent(at)

        if offset:
            # The specification wants both ends of a range, so a continued upload waits for the spool to be whole.
            await spool.written()
            headers |= {"Content-Range": f"{offset}-{spool.length - 1}", "Content-Length": str(spool.length - offset)}
        async with self._open("PATCH", where, ok=(202, 204), headers=headers, body=body, once=True) as response:
            return self._location(response), spool.length

    async def _how_far(self, where: str) -> tuple[str, int]:
        """Ask an upload how many bytes it has; begin a new one when it is gone."""
        try:
            async with self._open("GET", where, ok=(204,)) as response:
                found = _RANGE.fullmatch(response.headers.get("Range", ""))
                end = int(found[1]) + 1 if found else 0
                return self._location(response, where), 0 if end == 1 else end  # "0-0" is also said of nothing
        except DockyardError:
            return await self.begin(), 0

    def _open(
        self,
        method: str,
        where: str,
        *,
        ok: tuple[int, ...],
        headers: dict[str, str] | None = None,
        body: Callable[[], object] | None = None,
        once: bool = False,
    ) -> AbstractAsyncContextManager[ClientResponse]:
        return self._client.open(
            method,
            where,
            name=self._repository,
            scope=self._scope,
            ok=ok,
            headers=headers,
            body=body,
            attempts=ONCE if once else None,
        )

    def _location(self, response: ClientResponse, default: str = "") -> str:
        found = response.headers.get("Location", "")
        if not found and not default:
            raise Unavailable(f"{self._client.endpoint.host} does not say where to upload to")
        return urljoin(str(response.url), found) if found else default


def _with_digest(where: str, digest: str) -> str:
    parts = urlsplit(where)
    query = f"{parts.query}&digest={digest}" if parts.query else f"digest={digest}"
    return urlunsplit(parts._replace(query=query))
