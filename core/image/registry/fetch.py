"""One blob from a registry into its file. Where the connection broke off it goes on by a range (RFC 9110, 14.2)."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import TYPE_CHECKING

from core.errors import Corrupt, Exhausted, NotFound, Unavailable, from_os_error
from core.image.layers import DISK_RESERVE
from core.image.registry.client import ATTEMPTS, Attempts, Client, connection_errors
from core.image.registry.ingest import Ingest

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_BLOCK = 1 << 20
#: Less than a block is written, too, when it has waited so long: seconds.
_LONGEST_KEPT = 0.5
_CHECK_EVERY = 16 << 20


class Broken(Unavailable):
    """A body ended before its end."""


class Full(Exhausted):
    """The disk is; no other server helps."""


class Fetch:
    """The download of one blob. ``grown`` is told how many bytes are in the file; ``tell`` of pauses."""

    def __init__(
        self,
        clients: Sequence[Client],
        repository: str,
        ingest: Ingest,
        executor: Executor,
        grown: Callable[[int], None],
        tell: Callable[[str], None] = lambda text: None,
        attempts: Attempts | None = None,
    ) -> None:
        self._clients = clients
        self._repository = repository
        self._ingest = ingest
        self._executor = executor
        self._grown = grown
        self._tell = tell
        self._attempts = attempts or ATTEMPTS
        self._hash = hashlib.sha256()
        self._unchecked = _CHECK_EVERY

    async def run(self) -> None:
        """Raises Corrupt for a blob that is not what its digest and size promise: its file is empty then."""
        ingest = self._ingest
        if ingest.length:
            await self._in_thread(self._hash_beginning)
            self._grown(ingest.length)
        while ingest.length < ingest.size:
            await self._until_it_breaks()
        found = f"sha256:{self._hash.hexdigest()}"
        if found != ingest.digest:
            ingest.restart()
            raise Corrupt(f"blob {ingest.digest} came with the digest {found}", hint="pull again")

    async def _until_it_breaks(self) -> None:
        """Go on; a break is passed over as long as bytes come between breaks, a refusal as long as servers are left."""
        client, *others = self._clients
        failed = 0
        while True:
            before = self._ingest.length
            try:
                await self._download(client)
                return
            except (NotFound, Unavailable, Exhausted) as error:
                failed = 1 if self._ingest.length > before else failed + 1
                is_final = not isinstance(error, Broken) or failed >= self._attempts.count
                if is_final and (not others or isinstance(error, Full)):
                    raise
                if is_final:
                    client, *others = others
                    failed = 0
                    continue
            pause = self._attempts.pause(failed)
            self._tell(f"Retrying in {max(1, round(pause))} second{'s' if round(pause) > 1 else ''}")
            await asyncio.sleep(pause)

    async def _download(self, client: Client) -> None:
        ingest = self._ingest
        headers = {"Range": f"bytes={ingest.length}-"} if ingest.length else {}
        opened = client.open(
            "GET",
            client.path(self._repository, f"blobs/{ingest.digest}"),
            name=f"{self._repository}@{ingest.digest}",
            scope=client.scope(self._repository, "pull"),
            headers=headers,
            ok=(200, 206, 416),
            attempts=replace(self._attempts, is_patient=ingest.length > 0),
        )
        async with opened as response:
            skip = self._first_byte(response)
            try:
                await self._take(response, skip)
            except connection_errors() as error:
                raise Broken(client.explain(error).message, hint="pull again: it goes on from there") from error
        if ingest.length < ingest.size:
            raise Broken(f"blob {ingest.digest} ends after {ingest.length} of {ingest.size} bytes")

    def _first_byte(self, response: ClientResponse) -> int:
        """How many bytes of the body are here already. Corrupt when the body's length cannot be right."""
        ingest = self._ingest
        if response.status == 416:
            raise Corrupt(f"blob {ingest.digest} has {ingest.length} bytes at most, its manifest says {ingest.size}")
        skip = ingest.length
        if response.status == 206:
            said = response.headers.get("Content-Range", "")
            if not said.startswith(f"bytes {ingest.length}-"):
                raise Unavailable(
                    f"asked from byte {ingest.length} of {ingest.digest}, the registry sends {said!r:.80}"
                )
            skip = 0
        length = response.content_length
        if length is not None and length > ingest.size - ingest.length + skip:
            whole = length + ingest.length - skip
            raise Corrupt(f"blob {ingest.digest} has {whole} bytes, its manifest says {ingest.size}")
        return skip

    async def _take(self, response: ClientResponse, skip: int) -> None:
        """The body into the file: one block is written while the next comes."""
        parts: list[bytes] = []
        gathered = 0
        writing: asyncio.Future[None] | None = None
        now = asyncio.get_running_loop().time
        written = now()
        try:
            async for part in response.content.iter_any():
                if skip:
                    skip, part = max(0, skip - len(part)), part[skip:]
                parts.append(part)
                gathered += len(part)
                if gathered >= _BLOCK or now() - written > _LONGEST_KEPT:
                    if writing is not None:
                        await writing
                    writing = self._begin_writing(parts)
                    parts, gathered, written = [], 0, now()
        finally:
            # Also what came before a break is kept.
            if writing is not None:
                await writing
            if gathered:
                await self._begin_writing(parts)

    def _begin_writing(self, parts: list[bytes]) -> asyncio.Future[None]:
        return asyncio.ensure_future(self._write_all(parts))

    async def _write_all(self, parts: list[bytes]) -> None:
        ingest = self._ingest
        count = sum(map(len, parts))
        if ingest.length + count > ingest.size:
            raise Corrupt(f"blob {ingest.digest} is longer than the {ingest.size} bytes its manifest says")
        await self._in_thread(self._write, parts, ingest.length)
        ingest.length += count
        self._grown(ingest.length)

    def _write(self, parts: list[bytes], offset: int) -> None:
        try:
            for part in parts:
                self._hash.update(part)
                self._unchecked += len(part)
                view = memoryview(part)
                while view:
                    written = os.pwrite(self._ingest.fd, view, offset)
                    offset += written
                    view = view[written:]
            if self._unchecked >= _CHECK_EVERY:
                self._unchecked = 0
                self._check_reserve()
        except OSError as error:
            found = from_os_error(error, "write a blob")
            raise (Full(found.message, hint=found.hint) if isinstance(found, Exhausted) else found) from error

    def _check_reserve(self) -> None:
        found = os.fstatvfs(self._ingest.fd)
        if found.f_bavail * found.f_frsize < DISK_RESERVE:
            raise Full(
                "no space left on device for the blob",
                hint=f"free some disk space ({DISK_RESERVE >> 20} MiB stay free) and pull again: it goes on from here",
            )

    def _hash_beginning(self) -> None:
        offset = 0
        while offset < self._ingest.length:
            data = os.pread(self._ingest.fd, min(_BLOCK, self._ingest.length - offset), offset)
            if not data:
                break
            self._hash.update(data)
            offset += len(data)
        self._ingest.length = offset

    async def _in_thread(self, work: Callable[..., None], *args: object) -> None:
        """In the executor; who is cancelled waits for it, since it uses the file."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, work, *args)
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise


async def fetch_small(client: Client, repository: str, digest: str, size: int, limit: int) -> bytes:
    """A small blob, whole and verified."""
    if size > limit:
        raise Corrupt(f"blob {digest} is said to have {size} bytes, more than {limit}")
    opened = client.open(
        "GET",
        client.path(repository, f"blobs/{digest}"),
        name=f"{repository}@{digest}",
        scope=client.scope(repository, "pull"),
    )
    async with opened as response:
        try:
            data = await _whole(response, size)
        except connection_errors() as error:
            raise client.explain(error) from error
    if len(data) != size or f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise Corrupt(f"blob {digest} is not what its digest and size of {size} bytes promise")
    return data


async def _whole(response: ClientResponse, size: int) -> bytes:
    parts, length = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        length += len(part)
        if length > size:
            break
    return b"".join(parts)
