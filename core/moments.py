"""Points in time as people write them in filters: a duration before now, seconds since the epoch, or a date."""

from __future__ import annotations

import datetime
import re

from core.errors import InvalidArgument

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PIECE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"[+-]?(?:{_PIECE.pattern})+")
_EPOCH = re.compile(r"(\d{1,18})(?:\.(\d{1,9}))?")


def parse_moment(text: str, now: int) -> int:
    """Nanoseconds since the epoch. ``1h30m`` is before ``now``; ``1700000000``, ``2026-01-02T03:04:05Z``.

    A date without a zone is the engine's local time, as Docker has it. Raises InvalidArgument.
    """
    if _DURATION.fullmatch(text):
        sign = -1 if text.startswith("-") else 1
        return now - sign * sum(int(float(number) * _UNITS[unit]) for number, unit in _PIECE.findall(text))
    epoch = _EPOCH.fullmatch(text)
    if epoch:
        return int(epoch[1]) * 1_000_000_000 + int((epoch[2] or "0").ljust(9, "0"))
    try:
        return int(datetime.datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"failed to parse {text[:100]!r} as a point in time", hint="write 24h, 2026-01-02T15:04:05 or seconds"
        ) from None
