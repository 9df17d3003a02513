"""Names of images (distribution/reference): ``busybox`` is ``docker.io/library/busybox:latest`` in full."""

from __future__ import annotations

import re
from typing import NamedTuple

from core.errors import InvalidArgument
from core.patterns import searcher

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"

#: A name is refused by its length before any expression sees it: it may come from a hostile archive.
_MAX_TEXT = 512
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{64}")


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
    def canonical(self) -> str:
        """In full: ``docker.io/library/busybox:latest``."""
        return (
            f"{self.domain}/{self.path}"
            + (f":{self.tag}" if self.tag else "")
            + (f"@{self.digest}" if self.digest else "")
        )

    @property
    def familiar(self) -> str:
        """As people write it: ``busybox:latest``, ``ghcr.io/a/b@sha256:…``."""
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def local(self) -> str:
        """By what it is looked for here: a digest says all, whatever tag stands beside it."""
        return f"{self.repository}@{self.digest}" if self.digest else self.familiar


def parse(text: str) -> Reference:
    """Take a name apart; without tag and digest the tag is ``latest``. InvalidArgument names what is wrong."""
    if len(text) > _MAX_TEXT:
        raise InvalidArgument(f"invalid reference format: {text[:40]!r}… is longer than {_MAX_TEXT} characters")
    if _ID.fullmatch(text):
        raise InvalidArgument(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings", hint="that is an id"
        )
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidArgument(f"invalid reference format: digest of {text!r}", hint="write NAME@sha256:<64 digits>")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        head, tag = rest, ""
    domain, slash, path = head.partition("/")
    if not slash or not is_host(domain):
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


def fits(name: str, pattern: str) -> bool:
    """Whether a familiar name, with or without its tag, fits a pattern of Go's ``path.Match``: ``*`` stops at ``/``."""
    expression = _from_glob(pattern)
    found = searcher(f"^(?:{expression})$")
    return found(name) or found(name.rpartition(":")[0])


def _from_glob(pattern: str) -> str:
    found = []
    rest = iter(re.findall(r"\\.|\[[^\]]*\]|.", pattern, re.DOTALL))
    for piece in rest:
        if piece == "*":
            found.append("[^/]*")
        elif piece == "?":
            found.append("[^/]")
        elif piece.startswith("[") and len(piece) > 2:
            inside = piece[1:-1]
            negated = inside.startswith("^")
            escaped = re.escape(inside.removeprefix("^")).replace(r"\-", "-")
            found.append(f"[{'^' if negated else ''}{escaped}]")
        else:
            found.append(re.escape(piece.removeprefix("\\") if len(piece) > 1 else piece))
    return "".join(found)


def is_host(first: str) -> bool:
    """Whether a name's first part is a registry: as ``splitDockerDomain`` of distribution/reference decides."""
    return "." in first or ":" in first or first == "localhost" or first != first.lower()
