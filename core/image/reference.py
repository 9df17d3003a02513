"""Names of images (distribution/reference): ``busybox`` is ``docker.io/library/busybox:latest`` in full."""

from __future__ import annotations

import re
from typing import NamedTuple

from core.errors import InvalidArgument

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"

_DOMAIN = re.compile(r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?\.?)+(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Reference(NamedTuple):
    """A name in full. ``tag`` and ``digest`` may be empty, not both after :func:`parse`."""

    domain: str
    path: str
    tag: str
    digest: str

    @property
    def repository(self) -> str:
        """The repository as people write it: without ``docker.io/library/``."""
        if self.domain != DEFAULT_DOMAIN:
            return f"{self.domain}/{self.path}"
        return self.path.removeprefix("library/") if self.path.count("/") == 1 else self.path

    @property
    def familiar(self) -> str:
        """As people write it: ``busybox:latest``, ``ghcr.io/a/b@sha256:…``."""
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Take a name apart; without tag and digest the tag is ``latest``. InvalidArgument names what is wrong."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidArgument(f"invalid reference format: digest of {text!r}", hint="write NAME@sha256:<64 digits>")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        head, tag = rest, ""
    domain, slash, path = head.partition("/")
    if not slash or not ("." in domain or ":" in domain or domain == "localhost"):
        domain, path = DEFAULT_DOMAIN, head
    if domain in ("index.docker.io", "registry-1.docker.io"):
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and path and "/" not in path:
        path = f"library/{path}"
    if (tag and not _TAG.fullmatch(tag)) or (colon and not tag and "/" not in rest.rpartition(":")[2]):
        raise InvalidArgument(f"invalid reference format: tag of {text!r}", hint="at most 128 of [A-Za-z0-9_.-]")
    if not _DOMAIN.fullmatch(domain) or not _PATH.fullmatch(path) or len(path) > 255:
        hint = "repository name must be lowercase" if path != path.lower() else "write [HOST/]NAME[:TAG]"
        raise InvalidArgument(f"invalid reference format: {text!r}", hint=hint)
    return Reference(domain, path, tag or ("" if digest else DEFAULT_TAG), digest)
