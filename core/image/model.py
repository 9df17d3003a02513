"""What an image is, and the documents that this engine itself writes for one."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core import oci
from core.errors import Corrupt, InvalidArgument
from core.image import changes, documents, host

#: What a 64-bit number of nanoseconds reaches (year 2262).
_LATEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is here. ``layers`` are DiffIDs, base first; ``created`` in nanoseconds since the epoch.

    ``parent`` is the id of the image it was made from, "" when that is not known; ``tagged`` is when it last got a
    name; ``digests`` are ``repository@sha256:…``, as registries have it; prune leaves what is ``protected``.
    """

    id: str
    config: oci.Image
    layers: tuple[str, ...]
    size: int
    created: int
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    parent: str = ""
    tagged: int = 0
    protected: bool = False

    @property
    def architecture(self) -> str:
        """For which processor it is."""
        return self.config["architecture"]

    @property
    def is_host(self) -> bool:
        """Whether it is the embedded image of this server."""
        return self.id == host.IMAGE_ID

    @property
    def chain_id(self) -> str:
        """The digest that stands for its layers in their order (image-spec config.md)."""
        return self.chain_ids[-1] if self.layers else ""

    @property
    def chain_ids(self) -> tuple[str, ...]:
        """For each layer the digest that stands for it and all below it."""
        chains: list[str] = []
        for diff_id in self.layers:
            above = f"{chains[-1]} {diff_id}" if chains else ""
            chains.append("sha256:" + hashlib.sha256(above.encode()).hexdigest() if above else diff_id)
        return tuple(chains)


def imported(instructions: list[str], message: str, platform: str) -> Any:
    """The config of an image that is imported; its layer comes later. InvalidArgument for bad changes."""
    config: dict[str, Any] = {}
    changes.apply(config, instructions)
    now = rfc3339(time.time_ns())
    document: Any = {
        "architecture": architecture(platform),
        "os": "linux",
        "created": now,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]},
        "history": [{"created": now, "comment": message or "imported"}],
    }
    try:
        documents.image(dump(document), "the changes")
    except Corrupt as error:
        raise InvalidArgument(error.message) from error
    return document


def dump(document: Any) -> bytes:
    """A document as it is stored, and hashed."""
    return json.dumps(document, separators=(",", ":")).encode()


def host_image() -> Image:
    """The embedded image of this server."""
    config: oci.Image = {
        "architecture": documents.architecture(),
        "os": "linux",
        "config": {"Cmd": [host.shell()], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{"comment": "a throw-away sandbox of this server"}],
    }
    return Image(host.IMAGE_ID, config, (), 0, 0, (host.NAME,))


def architecture(platform: str) -> str:
    """The architecture of ``linux/amd64`` or ``amd64``; this machine's when nothing was said."""
    if not platform:
        return documents.architecture()
    system, slash, rest = platform.partition("/")
    if slash and system != "linux":
        raise InvalidArgument(f"platform {platform!r}: only linux images can be imported")
    return rest.partition("/")[0] if slash else system


def rfc3339(nanoseconds: int) -> str:
    """A time as image configs have it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def nanoseconds(text: str) -> int:
    """An RFC 3339 time of an image's config; 0 for one that cannot be read or lies before 1970."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)", text, re.ASCII)
    if found is None:
        return 0
    try:
        whole = datetime.fromisoformat(found[1] + ("+00:00" if found[3] in "Zz" else found[3]))
        seconds = int(whole.timestamp())
    except (ValueError, OverflowError):
        return 0
    return min(max(0, seconds) * 1_000_000_000 + int((found[2] or "0").ljust(9, "0")), _LATEST)
