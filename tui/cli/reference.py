"""Names of images as the client has to know them: whose registry, and in full (distribution/reference)."""

from __future__ import annotations

HUB = "docker.io"
#: By what Docker Hub is kept in config.json.
HUB_KEY = "https://index.docker.io/v1/"


def split(name: str) -> tuple[str, str]:
    """(registry, the rest with its tag or digest)."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return HUB, name if "/" in name.partition("@")[0] else f"library/{name}"
    if first in ("index.docker.io", "registry-1.docker.io", HUB):
        return HUB, rest if "/" in rest.partition("@")[0] else f"library/{rest}"
    return first, rest


def has_tag(name: str) -> bool:
    """Whether a name says a tag or a digest."""
    return "@" in name or ":" in name.rpartition("/")[2]


def canonical(name: str) -> str:
    """``docker.io/library/busybox:latest``"""
    domain, rest = split(name)
    return f"{domain}/{rest}" if has_tag(name) else f"{domain}/{rest}:latest"


def key_of(server: str) -> str:
    """By what a registry's credentials are kept: its host, for Docker Hub a URL."""
    host = server.partition("://")[2] if "://" in server else server
    host = host.partition("/")[0]
    return HUB_KEY if host in ("", HUB, "index.docker.io", "registry-1.docker.io") else host
