"""A registry that gives out whatever it was handed: a real one would not have taken it. Nothing can be pushed."""

from __future__ import annotations

import re

from aiohttp import web

from tests.network.namespace import NetNs
from tests.registry.build import Built
from tests.registry.loopback import Server

_CODES = {"manifests": "MANIFEST_UNKNOWN", "blobs": "BLOB_UNKNOWN", "tags": "NAME_UNKNOWN"}


class FakeRegistry(Server):
    """Plain HTTP. What it says of digests is what it was told, right or not."""

    def __init__(self, netns: NetNs) -> None:
        super().__init__(netns)
        #: repository → tag or digest → (media type, manifest, digest that the header says)
        self.manifests: dict[str, dict[str, tuple[str, bytes, str]]] = {}
        #: digest → bytes, of all repositories
        self.blobs: dict[str, bytes] = {}

    def put(self, repository: str, reference: str, image: Built, digest: str = "") -> str:
        """Give this out as ``repository:reference``; ``digest`` is what to call its manifest. The digest."""
        for child in image.children:
            self.put(repository, child.digest, child)
        self.blobs.update(image.blobs)
        said = digest or image.digest
        held = self.manifests.setdefault(repository, {})
        held[reference] = held[said] = (image.media_type, image.manifest, said)
        return said

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/v2/":
            return web.json_response({})
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs|tags)/([^/]+)", request.path)
        if request.method not in ("GET", "HEAD") or found is None:
            return web.Response(status=405)
        repository, kind, name = found.groups()
        if kind == "tags" and repository in self.manifests:
            tags = sorted(tag for tag in self.manifests[repository] if ":" not in tag)
            return web.json_response({"name": repository, "tags": tags})
        if kind == "manifests" and name in self.manifests.get(repository, {}):
            media_type, data, said = self.manifests[repository][name]
            headers = {"Content-Type": media_type, "Docker-Content-Digest": said}
            return web.Response(body=data, headers=headers)
        if kind == "blobs" and name in self.blobs:
            return _blob(request, self.blobs[name])
        return web.json_response({"errors": [{"code": _CODES[kind], "message": "unknown"}]}, status=404)


def _blob(request: web.BaseRequest, data: bytes) -> web.Response:
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    if asked is None:
        return web.Response(body=data, headers=headers)
    first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
    if first >= len(data):
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
    return web.Response(status=206, body=data[first : last + 1], headers=headers)
