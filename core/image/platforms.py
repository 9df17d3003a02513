"""Platforms of images, as ``linux/arm64/v8`` (image-spec ``image-index.md``), and the choice among several."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from core.errors import InvalidArgument

_PART = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: What people and kernels call an architecture → (its name in images, its variant).
_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
}
#: A variant that means the same as none.
_USUAL = {"arm64": "v8", "arm": "v7", "amd64": "v1"}


class Platform(NamedTuple):
    """``variant`` is empty when it is the architecture's usual one."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


def parse(text: str) -> Platform:
    """``OS/ARCH[/VARIANT]``, ``OS`` or ``ARCH``; "" is this machine. InvalidArgument for anything else."""
    if not text:
        return here()
    parts = text.split("/")
    if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidArgument(f"invalid platform {text!r:.100}", hint="write OS/ARCH[/VARIANT], as linux/arm64")
    if len(parts) == 1:
        word = parts[0].lower()
        if word in ("linux", "windows", "darwin", "freebsd"):
            return _normal(word, here().architecture, "")
        return _normal("linux", word, "")
    return _normal(*(part.lower() for part in parts))


def _normal(system: str, architecture: str, variant: str = "") -> Platform:
    name, implied = _ALIASES.get(architecture, (architecture, ""))
    variant = variant or implied
    return Platform(system, name, "" if variant == _USUAL.get(name) else variant)


def here() -> Platform:
    """This machine's."""
    return _normal("linux", os.uname().machine)


def of(document: dict[str, Any]) -> Platform:
    """The ``platform`` of a descriptor, or an image's config: both have the members os, architecture and variant."""
    parts = (document.get("os"), document.get("architecture"), document.get("variant"))
    return _normal(*(part.lower() if isinstance(part, str) else "" for part in parts))


def choose(offered: list[Platform], wanted: Platform) -> int | None:
    """The place of the best one: exact, else one of the same architecture that runs there; None without any."""
    if wanted in offered:
        return offered.index(wanted)
    runnable = [
        (place, platform)
        for place, platform in enumerate(offered)
        if platform[:2] == wanted[:2] and _runs(platform.variant, wanted)
    ]
    if not runnable:
        return None
    return max(runnable, key=lambda item: item[1].variant)[0]


def _runs(variant: str, wanted: Platform) -> bool:
    """Whether a program for ``variant`` runs where the wanted one does: lower variants of ARM do."""
    usual = _USUAL.get(wanted.architecture, "")
    have = wanted.variant or usual
    return wanted.architecture == "arm" and bool(variant) and variant <= have
