"""A registry on loopback that keeps what it is given, and misbehaves when told to."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

Misdeed = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


def digest_of(data: bytes) -> str:
    """``sha256:…``"""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    query: str
    range: str
    authorization: str


@dataclass
class FakeRegistry:
    """Blobs for all repositories, manifests by ``name:tag`` and ``name@digest``. ``misdeed`` may answer instead."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    owners: dict[str, set[str]] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    misdeed: Misdeed | None = None
    host: str = ""

    # --- putting things there ------------------------------------------------------------------

    def add_blob(self, name: str, data: bytes) -> str:
        """A blob of the repository; its digest."""
        digest = digest_of(data)
        self.blobs[digest] = data
        self.owners.setdefault(name, set()).add(digest)
        return digest

    def add_manifest(self, name: str, tag: str, document: Any, media_type: str = OCI_MANIFEST) -> str:
        """A manifest or index, JSON or bytes; its digest."""
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        digest = digest_of(data)
        for key in (f"{name}:{tag}", f"{name}@{digest}"):
            self.manifests[key] = (media_type, data)
        return digest

    def add_image(self, name: str, tag: str, config: bytes, layers: list[bytes], kind: str = OCI_LAYER) -> str:
        """An image of these layers' blobs; its manifest's digest."""
        described = [{"mediaType": kind, "digest": self.add_blob(name, blob), "size": len(blob)} for blob in layers]
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": self.add_blob(name, config), "size": len(config)},
            "layers": described,
        }
        return self.add_manifest(name, tag, document)

    def requests(self, method: str, part: str = "") -> list[Seen]:
        """Those of a method whose path holds ``part``."""
        return [one for one in self.seen if one.method == method and part in one.path]

    # --- answering -----------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[FakeRegistry]:
        """Serve on a free port of 127.0.0.1."""
        server = web.Server(self._answer)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.host = f"127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = request.headers
        self.seen.append(
            Seen(
                request.method,
                request.path,
                request.rel_url.raw_query_string,
                headers.get("Range", ""),
                headers.get("Authorization", ""),
            )
        )
        if self.misdeed is not None:
            answer = await self.misdeed(request)  # type: ignore[arg-type]
            if answer is not None:
                return answer
        if request.path in ("/v2", "/v2/"):
            return web.json_response({})
        name, _, rest = request.path.removeprefix("/v2/").partition("/manifests/")
        if rest:
            return await self._manifest(request, name, rest)
        name, _, rest = request.path.removeprefix("/v2/").partition("/blobs/uploads/")
        if "/blobs/uploads/" in request.path:
            return await self._upload(request, name, rest)
        name, _, rest = request.path.removeprefix("/v2/").partition("/blobs/")
        if rest:
            return self._blob(request, name, rest)
        if request.path.endswith("/tags/list"):
            name = request.path.removeprefix("/v2/").removesuffix("/tags/list")
            tags = [key.rpartition(":")[2] for key in self.manifests if key.startswith(f"{name}:") and "@" not in key]
            return web.json_response({"name": name, "tags": tags})
        if request.path == "/v2/_catalog":
            return web.json_response({"repositories": sorted(self.owners)})
        return error(404, "UNSUPPORTED", "no such page")

    async def _manifest(self, request: web.BaseRequest, name: str, rest: str) -> web.StreamResponse:
        separator = "@" if rest.startswith("sha256:") else ":"
        if request.method == "PUT":
            data = await request.read()
            digest = self.add_manifest(name, rest, data, request.headers["Content-Type"])
            return web.Response(status=201, headers={"Docker-Content-Digest": digest})
        found = self.manifests.get(f"{name}{separator}{rest}")
        if found is None:
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return web.Response(
            body=found[1], headers={"Content-Type": found[0], "Docker-Content-Digest": digest_of(found[1])}
        )

    def _blob(self, request: web.BaseRequest, name: str, digest: str) -> web.StreamResponse:
        if digest not in self.owners.get(name, ()):
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        data = self.blobs[digest]
        start = request.headers.get("Range", "")
        if start:
            first = int(start.removeprefix("bytes=").rstrip("-"))
            said = f"bytes {first}-{len(data) - 1}/{len(data)}"
            return web.Response(status=206, body=data[first:], headers={"Content-Range": said})
        return web.Response(body=data)

    async def _upload(self, request: web.BaseRequest, name: str, upload: str) -> web.StreamResponse:
        if request.method == "POST":
            mount, source = request.query.get("mount", ""), request.query.get("from", "")
            if mount and mount in self.owners.get(source, ()):
                self.owners.setdefault(name, set()).add(mount)
                return web.Response(status=201, headers={"Location": f"/v2/{name}/blobs/{mount}"})
            upload = uuid.uuid4().hex
            self.uploads[upload] = bytearray()
            return self._accepted(name, upload, 202)
        data = self.uploads[upload]
        if request.method == "PATCH":
            with contextlib.suppress(ConnectionError):
                async for chunk in request.content.iter_any():
                    data += chunk
            return self._accepted(name, upload, 202)
        if request.method == "PUT":
            data += await request.read()
            digest = request.query["digest"]
            if digest_of(bytes(data)) != digest:
                return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            self.add_blob(name, bytes(data))
            return web.Response(status=201)
        return self._accepted(name, upload, 204)

    def _accepted(self, name: str, upload: str, status: int) -> web.Response:
        location = f"http://{self.host}/v2/{name}/blobs/uploads/{upload}?_state=x%2Fy"
        return web.Response(
            status=status, headers={"Location": location, "Range": f"0-{max(0, len(self.uploads[upload]) - 1)}"}
        )


def error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """A refusal as registries write it."""
    body = {"errors": [{"code": code, "message": message}]}
    return web.json_response(body, status=status, headers=headers)


async def cut(request: web.Request, data: bytes, length: int, said: int) -> web.StreamResponse:
    """``length`` bytes of ``data``, then the connection breaks; ``said`` is the length in the head."""
    response = web.StreamResponse(headers={"Content-Length": str(said)})
    await response.prepare(request)
    await response.write(data[:length])
    await asyncio.sleep(0)
    assert request.transport is not None
    request.transport.abort() if length < said else request.transport.close()
    return response
