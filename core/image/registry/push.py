"""Images to a registry. What is there already is not sent: a blob is asked for by HEAD, then mounted from another
repository that had it, and only then compressed, while it goes.

An image leaves with the manifest it came with, byte for byte, as long as the registry has, or gets, those very blobs;
else with a new OCI manifest.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import Corrupt, DockyardError, NotFound
from core.image import documents, intake, model, recipe
from core.image.model import Image
from core.image.provenance import Blob, Manifest
from core.image.reference import Reference
from core.image.registry import compress, manifests
from core.image.registry.client import Client
from core.image.registry.credentials import Credentials
from core.image.registry.growing import Spool
from core.image.registry.hosts import Endpoint
from core.image.registry.progress import Progress
from core.image.registry.pull import Threads, ended, together
from core.image.registry.upload import Uploads
from core.image.store import ImageStore

#: Layers of one push that go at the same time.
_AT_ONCE = 3
_GZIP = f"{manifests.OCI_LAYER}+gzip"


@dataclass
class Job:
    """A layer to send: what is known of it, then ``blob``, as the registry has it."""

    diff_id: str
    folder: str
    recipe: str
    blob: Blob | None = None

    @property
    def id(self) -> str:
        """What progress calls it."""
        return self.diff_id[7:19]


class Push:
    """One push for one client: images of one repository."""

    def __init__(self, store: ImageStore, threads: Threads, credentials: Credentials, progress: Progress) -> None:
        self._store = store
        self._threads = threads
        self._credentials = credentials
        self._progress = progress
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._jobs: dict[str, Job] = {}

    async def run(self, endpoint: Endpoint, images: Sequence[tuple[Reference, Image]]) -> None:
        """Send these. Raises Unauthorized, Forbidden, Unavailable, Corrupt, NotFound, Exhausted."""
        domain, path = images[0][0].domain, images[0][0].path
        for _, image in images:
            for diff_id in image.layers:
                if diff_id not in self._jobs:
                    self._jobs[diff_id] = Job(diff_id, *self._paths(diff_id))
        # First of all, as dockerd says it: to a refusal with a status Docker's client asks for a password.
        self._progress.message(f"The push refers to repository [{domain}/{path}]")
        with self._store.layers.keeping(self._jobs):
            async with Client(endpoint, self._credentials, self._progress.message) as client:
                uploads = Uploads(client, path)
                await self._check_right(uploads)
                for job in self._jobs.values():
                    self._progress.state(job.id, "Preparing")
                await together([self._layer(uploads, domain, path, job) for job in self._jobs.values()])
                for reference, image in images:
                    await self._image(client, uploads, reference, image)

    def _paths(self, diff_id: str) -> tuple[str, str]:
        folder, path = self._store.layers.paths(diff_id)
        try:
            recipe.size(path)
        except FileNotFoundError:
            raise NotFound(
                f"layer {diff_id[:19]} came in with an earlier version, which did not keep how its tar was written",
                hint="load or pull the image again, then it can be pushed",
            ) from None
        return folder, path

    @staticmethod
    async def _check_right(uploads: Uploads) -> None:
        """Learn before anything is prepared whether we may push at all."""
        await uploads.has("sha256:" + "0" * 64)

    # --- layers ------------------------------------------------------------------------------------

    async def _layer(self, uploads: Uploads, domain: str, path: str, job: Job) -> None:
        if self._slots.locked():
            self._progress.state(job.id, "Waiting")
        async with self._slots:
            where = await self._find(uploads, domain, path, job)
            if job.blob is None:
                await self._send(uploads, where, job)
            assert job.blob is not None
            self._store.provenance.add_blob(job.diff_id, job.blob, f"{domain}/{path}")

    async def _find(self, uploads: Uploads, domain: str, path: str, job: Job) -> str:
        """Set the job's blob when the registry has the layer in a form that is known. Else where to upload, or ""."""
        known = self._store.provenance.blobs(job.diff_id)
        for blob in known:
            if await uploads.has(blob.digest) is not None:
                job.blob = blob
                self._progress.state(job.id, "Layer already exists")
                return ""
            self._store.provenance.forget_source(blob.digest, f"{domain}/{path}")
        where = ""
        for blob in known:
            for source in self._store.provenance.sources(blob.digest, domain):
                try:
                    where = await uploads.mount(blob.digest, source)
                except DockyardError:
                    continue  # not allowed to see the other repository: it is sent
                if not where:
                    job.blob = blob
                    self._progress.state(job.id, f"Mounted from {source}")
                    return ""
                self._store.provenance.forget_source(blob.digest, f"{domain}/{source}")
        return where

    async def _send(self, uploads: Uploads, where: str, job: Job) -> None:
        with intake.anonymous(self._store.layers.tmp) as file:
            spool = Spool(file.fileno(), asyncio.get_running_loop())
            work = self._threads.unpack.submit(compress.compress, job.recipe, job.folder, job.diff_id, spool.write)
            compressing = asyncio.wrap_future(work)
            # The thread's last block is announced before its end is.
            compressing.add_done_callback(lambda done: spool.finish(None if done.cancelled() else done.exception()))

            async def digest() -> str:
                return (await asyncio.shield(compressing))[0]

            def sent(count: int) -> None:
                self._progress.bytes(job.id, "Pushing", count, spool.length if compressing.done() else 0)

            self._progress.state(job.id, "Pushing")
            try:
                await uploads.stream(where, spool, digest, sent)
                job.blob = Blob(*compressing.result(), _GZIP)
            finally:
                spool.stop()
                work.cancel()
                await ended([compressing])
        self._progress.state(job.id, "Pushed")

    # --- images ------------------------------------------------------------------------------------

    async def _image(self, client: Client, uploads: Uploads, reference: Reference, image: Image) -> None:
        config = self._store.config_blob(image)
        if await uploads.has(image.id) is None:
            await uploads.whole(config, image.id)
        manifest = self._manifest(image, config)
        digest = await self._put(client, reference, manifest)
        if digest != manifest.digest:
            raise Corrupt(f"{client.endpoint.host} kept the manifest as {digest}, it is {manifest.digest}")
        self._store.keep_pushed(image.id, f"{reference.repository}@{manifest.digest}", manifest)
        size = len(manifest.data)
        self._progress.message(f"{reference.tag}: digest: {manifest.digest} size: {size}")
        self._progress.aux({"Tag": reference.tag, "Digest": manifest.digest, "Size": size})

    def _manifest(self, image: Image, config: bytes) -> Manifest:
        """The one it came with, when its layers are the blobs that the registry has now; else a new one."""
        blobs = [self._blob(diff_id) for diff_id in image.layers]
        for known in self._store.provenance.manifests(image.id):
            document = documents.manifest(known.data)
            if [layer["digest"] for layer in document.get("layers", ())] == [blob.digest for blob in blobs]:
                return known
        descriptor = {"mediaType": manifests.OCI_CONFIG, "digest": image.id, "size": len(config)}
        layers = [{"mediaType": _oci(blob.media_type), "digest": blob.digest, "size": blob.size} for blob in blobs]
        document = {
            "schemaVersion": 2, "mediaType": manifests.OCI_MANIFEST, "config": descriptor, "layers": layers,
        }  # fmt: skip
        data = model.dump(document)
        return Manifest(f"sha256:{hashlib.sha256(data).hexdigest()}", manifests.OCI_MANIFEST, data)

    def _blob(self, diff_id: str) -> Blob:
        blob = self._jobs[diff_id].blob
        assert blob is not None
        return blob

    @staticmethod
    async def _put(client: Client, reference: Reference, manifest: Manifest) -> str:
        opened = client.open(
            "PUT",
            client.path(reference.path, f"manifests/{reference.tag}"),
            name=reference.familiar,
            scope=client.scope(reference.path, "pull,push"),
            headers={"Content-Type": manifest.media_type},
            body=lambda: manifest.data,
            ok=(200, 201, 202),
        )
        async with opened as response:
            return str(response.headers.get("Docker-Content-Digest", manifest.digest))


def _oci(media_type: str) -> str:
    """A layer's media type of Docker's, as OCI has it."""
    if media_type.endswith("zstd"):
        return f"{manifests.OCI_LAYER}+zstd"
    return _GZIP if media_type.endswith("gzip") else manifests.OCI_LAYER
