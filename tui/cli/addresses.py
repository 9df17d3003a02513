"""Network addresses as a person writes them. ``import ipaddress`` costs more than a whole ``run -p`` may."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

_FAMILIES = ((4, AF_INET), (6, AF_INET6))
_HEX = frozenset("0123456789abcdefABCDEF")


def version(text: str) -> int:
    """4 or 6 for an IP address (no zone, no leading zeros, no brackets), 0 for anything else."""
    for number, family in _FAMILIES:
        try:
            inet_pton(family, text)
        except (OSError, ValueError):  # ValueError: a null byte, or half of a surrogate pair
            continue
        return number
    return 0


def canonical(text: str) -> str:
    """An address that :func:`version` knows, in the one form that is written for it (RFC 5952)."""
    family = AF_INET if version(text) == 4 else AF_INET6
    return inet_ntop(family, inet_pton(family, text))


def bare(text: str) -> str:
    """``text`` without the brackets around it."""
    return text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text


def is_hardware(text: str) -> bool:
    """Whether it is an EUI-48: ``02:42:ac:11:00:02``, with dashes, or ``0242.ac11.0002``."""
    for separator, count, width in ((":", 6, 2), ("-", 6, 2), (".", 3, 4)):
        parts = text.split(separator)
        if len(parts) == count and all(len(part) == width and _HEX.issuperset(part) for part in parts):
            return True
    return False
