"""An image from a registry: its layers come side by side, and each is unpacked while it comes.

The way of one layer: its blob goes to ``ingest`` (:mod:`fetch`), a thread unpacks the growing file aside
(:mod:`core.image.intake`), and when the blob's digest and the layer's DiffID are right it is placed under a lease. So
whatever ends the pull, finished layers stay, and the blob that was coming goes on from where it was. The image appears
with its last layer, in one transaction.

Points of ``pull`` (``core.faults``): 1 the manifest is known, 2 a blob is whole, 3 a layer is placed, 4 the image is
here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, suppress
from typing import IO, Any, NamedTuple, cast

from core import faults
from core.errors import Corrupt, DockyardError
from core.image import intake, platforms
from core.image.model import Image
from core.image.provenance import Blob
from core.image.reference import Reference
from core.image.registry import manifests
from core.image.registry.client import Client
from core.image.registry.credentials import Credentials
from core.image.registry.fetch import Fetch
from core.image.registry.growing import Abandoned, Growing
from core.image.registry.hosts import Endpoint
from core.image.registry.ingest import Ingest, Ingests
from core.image.registry.manifests import OCI_LAYER, Remote
from core.image.registry.progress import Progress
from core.image.store import ImageStore

#: Layers of one pull that come at the same time.
_AT_ONCE = 3
#: Seconds between two looks at how far a layer is unpacked.
_LOOK = 0.2
#: Bytes that are still fetched of a blob that does not unpack.
_LITTLE = 64 << 20


class Layer(NamedTuple):
    """One layer to get."""

    diff_id: str
    digest: str
    size: int
    media_type: str

    @property
    def id(self) -> str:
        """What progress calls it."""
        return self.digest[7:19]


class Threads(NamedTuple):
    """Where work goes that would hold up the loop: ``unpack`` waits for bytes, ``write`` does not."""

    unpack: Executor
    write: Executor


class Pull:
    """One pull for one client."""

    def __init__(
        self, store: ImageStore, ingests: Ingests, threads: Threads, credentials: Credentials, progress: Progress
    ) -> None:
        self._store = store
        self._ingests = ingests
        self._threads = threads
        self._credentials = credentials
        self._progress = progress
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def run(self, endpoints: Sequence[Endpoint], reference: Reference, platform: str = "") -> tuple[Image, bool]:
        """Bring ``reference`` in from the first endpoint that has it; the image, and whether anything is new.

        Raises NotFound, Unauthorized, Unavailable, Corrupt, Unsupported, Exhausted.
        """
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Client(e, self._credentials, self._tell)) for e in endpoints]
            found = await self._first(clients, reference, platform)
            self._progress.message(f"Pulling from {reference.path}", reference.tag or reference.digest)
            if clients[0].rate_limit:
                self._progress.message(f"Rate limit: {clients[0].rate_limit}")
            return await self._keep(clients, reference, found)

    async def _first(self, clients: list[Client], reference: Reference, platform: str) -> Remote | tuple[str, Image]:
        """From the first server that has it; those before are struck from the list."""
        while True:
            try:
                return await self._resolve(clients[0], reference, platform)
            except DockyardError as error:
                if len(clients) == 1 or not manifests.is_next_worth_it(error):
                    raise
                del clients[0]

    def _tell(self, text: str) -> None:
        self._progress.message(text)

    async def _resolve(self, client: Client, reference: Reference, platform: str) -> Remote | tuple[str, Image]:
        """What the name stands for: from the registry, or (its digest, the image) when that is here already."""
        digest = await manifests.digest_of(client, reference)
        known = self._store.find(f"{reference.repository}@{digest}") if digest else None
        if known is not None and platforms.parse(platform) == platforms.of(dict(known.config)):
            return digest, known
        return await manifests.get_image(client, reference, platform)

    async def _keep(
        self, clients: list[Client], reference: Reference, found: Remote | tuple[str, Image]
    ) -> tuple[Image, bool]:
        tag = f"{reference.repository}:{reference.tag}" if reference.tag and not reference.digest else ""
        name = tag or f"{reference.repository}@{reference.digest}"
        before = self._store.find(name)
        if isinstance(found, Remote):
            digest, image = found.digest, await self._bring(clients, reference, found, tag)
        else:
            digest, image = found
            if tag and before != image:
                self._store.tag(image.id, tag)
        self._progress.message(f"Digest: {digest}")
        is_new = before is None or before.id != image.id
        what = "Downloaded newer image" if is_new else "Image is up to date"
        self._progress.message(f"Status: {what} for {name}")
        return image, is_new

    async def _bring(self, clients: list[Client], reference: Reference, remote: Remote, tag: str) -> Image:
        faults.point("pull", 1)
        diff_ids = remote.config["rootfs"]["diff_ids"]
        layers: dict[str, Layer] = {}
        for diff_id, item in zip(diff_ids, remote.layers, strict=True):
            kind = item.get("mediaType") or OCI_LAYER
            layers.setdefault(diff_id, Layer(diff_id, item["digest"], item["size"], kind))
        with self._store.layers.pins() as pins:
            pins.add(diff_ids)
            for layer in layers.values():
                here = self._store.layers.has(layer.diff_id)
                self._progress.state(layer.id, "Already exists" if here else "Pulling fs layer")
                if here:
                    self._note_source(reference, layer)
            missing = [layer for layer in layers.values() if not self._store.layers.has(layer.diff_id)]
            await together([self._layer(clients, reference, layer) for layer in missing])
            image = self._store.keep_pulled(
                remote.config_data,
                remote.config,
                tag,
                f"{reference.repository}@{remote.digest}",
                remote.manifest,
            )
            faults.point("pull", 4)
        return image

    def _note_source(self, reference: Reference, layer: Layer) -> None:
        """A blob that was verified before is in this repository, too. Of another the config only says what it is."""
        if layer.digest in {blob.digest for blob in self._store.provenance.blobs(layer.diff_id)}:
            self._add_blob(reference, layer)

    def _add_blob(self, reference: Reference, layer: Layer) -> None:
        blob = Blob(layer.digest, layer.size, layer.media_type)
        self._store.provenance.add_blob(layer.diff_id, blob, f"{reference.domain}/{reference.path}")

    async def _layer(self, clients: list[Client], reference: Reference, layer: Layer) -> None:
        if self._slots.locked():
            self._progress.state(layer.id, "Waiting")
        async with self._slots:
            while True:
                async with self._ingests.open(layer.digest, layer.size) as ingest:
                    if self._store.layers.has(layer.diff_id):
                        ingest.restart()  # somebody else was faster
                        self._progress.state(layer.id, "Already exists")
                        return
                    has_old_bytes = ingest.length > 0
                    try:
                        await self._fetch_and_unpack(clients, reference, layer, ingest)
                        return
                    except Corrupt:
                        ingest.restart()
                        if not has_old_bytes:  # else they may be to blame
                            raise

    async def _fetch_and_unpack(
        self, clients: list[Client], reference: Reference, layer: Layer, ingest: Ingest
    ) -> None:
        growing, made = Growing(ingest.fd), intake.Unpacked()
        source = cast(IO[bytes], growing)
        # Not run_in_executor: the future here must not be done before the thread is.
        job = self._threads.unpack.submit(intake.unpack, source, self._store.layers.tmp, f"layer {layer.id}", made)
        unpacking = asyncio.wrap_future(job)
        fetching = asyncio.create_task(self._fetch(clients, reference, layer, ingest, growing))
        both: list[asyncio.Future[Any]] = [unpacking, fetching]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if unpacking.done() and layer.size - ingest.length < _LITTLE:
                await asyncio.wait([fetching])  # a wrong digest says more than the nonsense it unpacks to
            if fetching.done():
                fetching.result()
            while not unpacking.done():
                self._progress.bytes(layer.id, "Extracting", min(growing.position, layer.size - 1), layer.size)
                await asyncio.wait([unpacking], timeout=_LOOK)
            self._progress.bytes(layer.id, "Extracting", layer.size, layer.size)
            diff_id = unpacking.result()
            await fetching
            faults.point("pull", 2)
            if diff_id != layer.diff_id:
                raise Corrupt(f"layer {layer.digest} has the DiffID {diff_id}, the config says {layer.diff_id}")
            self._place(reference, layer, made)
            ingest.is_done = True
        finally:
            growing.fail(Abandoned("given up"))
            fetching.cancel()
            job.cancel()
            await ended(both)
            await intake.in_thread(intake.discard, made, self._store.layers.tmp)
        self._progress.state(layer.id, "Pull complete")

    async def _fetch(
        self, clients: list[Client], reference: Reference, layer: Layer, ingest: Ingest, growing: Growing
    ) -> None:
        """The blob into its file."""

        def grown(length: int) -> None:
            growing.grow(length)
            self._progress.bytes(layer.id, "Downloading", length, layer.size)

        def tell(text: str) -> None:
            self._progress.state(layer.id, text)

        await Fetch(clients, reference.path, ingest, self._threads.write, grown, tell).run()
        growing.complete()
        self._progress.state(layer.id, "Verifying Checksum")
        self._progress.state(layer.id, "Download complete")

    def _place(self, reference: Reference, layer: Layer, made: intake.Unpacked) -> None:
        self._store.layers.place_leased(layer.diff_id, made)
        self._add_blob(reference, layer)
        faults.point("pull", 3)


async def together(work: Sequence[Coroutine[Any, Any, Any]]) -> None:
    """All side by side; the first failure ends the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as found:
        errors = found
        while isinstance(errors.exceptions[0], BaseExceptionGroup):
            errors = errors.exceptions[0]
        raise errors.exceptions[0] from None


async def ended(work: Sequence[asyncio.Future[Any]]) -> None:
    """Wait for what was given up, also when we are cancelled: a thread uses our files until it notices."""
    while pending := [one for one in work if not one.done()]:
        with suppress(asyncio.CancelledError):
            await asyncio.wait(pending)
    for one in work:
        if not one.cancelled():
            one.exception()
