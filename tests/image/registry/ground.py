"""An image store with registries, and what a client of a pull is told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import TracebackType
from typing import Any

from core.image.model import Image
from core.image.registry.credentials import ANONYMOUS, Credentials
from core.image.registry.hosts import Hosts
from core.image.registry.progress import Progress
from core.image.registry.service import RegistryService
from tests.image.registry.fake import OCI_LAYER, FakeRegistry, digest_of
from tests.image.stores import Store
from tests.images import Entry, architecture, layer


def make_image(*trees: dict[str, bytes], kind: str = "gzip", **config: Any) -> tuple[bytes, list[bytes]]:
    """A config and the blobs of its layers, one for each tree of files."""
    tars = [layer([Entry(name, data) for name, data in tree.items()]) for tree in trees]
    document = {
        "architecture": architecture(),
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
        **config,
    }
    return json.dumps(document).encode(), [compressed(tar, kind) for tar in tars]


def compressed(tar: bytes, kind: str) -> bytes:
    """A tar as a layer's blob."""
    if kind == "gzip":
        return gzip.compress(tar, 1, mtime=0)
    if kind == "zstd":
        import zstandard

        return zstandard.ZstdCompressor(level=1).compress(tar)
    return tar


class Ground:
    """``service`` over the store ``store``; the registry is ``registry``."""

    nobody = ANONYMOUS

    def __init__(self, root: Path, registry: FakeRegistry) -> None:
        self.root = root
        self.registry = registry
        self.store = Store(root)
        self.file = root / "engine.toml"
        self.silent = Progress()
        self.service = RegistryService(self.store.images, str(root), Hosts(str(self.file)), self.store._publish)

    async def __aenter__(self) -> Ground:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.service.close()
        await self.store.images.layers.settle()
        self.store.db.close()

    def name(self, path: str) -> str:
        """A repository of the registry."""
        return f"{self.registry.host}/{path}"

    async def pull(
        self, path: str, tag: str = "1", platform: str = "", who: Credentials = ANONYMOUS, host: str = ""
    ) -> tuple[Image, list[str]]:
        """Pull from the registry; the image and the statuses that were told."""
        progress = Progress()
        name = f"{host or self.registry.host}/{path}"
        try:
            images = await self.service.pull(name, tag, platform, who, progress)
        finally:
            progress.end()
            self.told = [text async for batch in progress.messages() for text in batch]
        return images[0], [text["status"] for text in self.told if "status" in text]

    async def push(self, path: str, tag: str = "1", who: Credentials = ANONYMOUS) -> list[str]:
        """Push to the registry; the statuses that were told."""
        progress = Progress()
        try:
            await self.service.push(self.name(path), tag, who, progress)
        finally:
            progress.end()
            self.told = [text async for batch in progress.messages() for text in batch]
        return [text["status"] for text in self.told if "status" in text]

    def add(self, path: str, *trees: dict[str, bytes], tag: str = "1", **options: Any) -> list[bytes]:
        """Put an image into the registry; its layers' blobs."""
        config, layers = make_image(*trees, **options)
        self.registry.add_image(path, tag, config, layers, OCI_LAYER)
        return layers

    def partial(self) -> dict[str, int]:
        """Blobs that broke off: digest → bytes that are there."""
        return {f"sha256:{path.name}": path.stat().st_size for path in (self.root / "ingest").iterdir()}
