"""Texts with a grammar of their own: sizes and signals."""

from __future__ import annotations

import re

from core.container.config.values import shown
from core.errors import InvalidArgument

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(name: str, text: str) -> int:
    """Bytes from ``10m``, ``1.5g``, ``512k``, ``4096`` (powers of 1024, as docker/go-units RAMInBytes)."""
    found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?) ?([kmgt]?)i?b?", text.strip().lower())
    if not found or not (size := int(float(found[1]) * _UNITS[found[2]])):
        raise InvalidArgument(f"{name}: invalid size {shown(text)}", hint="write a number and b, k, m or g, as in 10m")
    return size


def parse_signal(text: str) -> int:
    """The number of ``TERM``, ``SIGTERM``, ``15`` or ``RTMIN+1``; InvalidArgument for anything else."""
    from signal import SIGRTMAX, SIGRTMIN, Signals

    name = text.upper().removeprefix("SIG")
    if name.isdecimal() and len(name) <= 3 and 1 <= int(name) <= SIGRTMAX:
        return int(name)
    if "SIG" + name in Signals.__members__:
        return Signals["SIG" + name].value
    found = re.fullmatch(r"RTM(IN|AX)([+-]\d{1,2})", name)
    if found:
        number = (SIGRTMIN if found[1] == "IN" else SIGRTMAX) + int(found[2])
        if SIGRTMIN <= number <= SIGRTMAX:
            return number
    raise InvalidArgument(f"Invalid signal: {text[:100]}", hint="use a name such as SIGTERM, or a number")
