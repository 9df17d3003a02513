"""What a client is told while an image comes or goes: Docker's JSON messages (moby ``pkg/jsonmessage``)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

_BAR = 50
#: Seconds between two reports of the same layer's bytes.
_EVERY = 0.1
_UNITS = ("B", "kB", "MB", "GB", "TB")


class Progress:
    """Messages on their way to one client. What a slow client has not taken yet of a layer's bytes is replaced."""

    def __init__(self) -> None:
        self._waiting: dict[Any, dict[str, Any]] = {}
        self._count = 0
        self._told: dict[tuple[str, str], float] = {}
        self._ready = asyncio.Event()
        self._ended = False

    def message(self, status: str, id: str = "") -> None:
        """A line of text; of one layer when ``id`` says which."""
        self._put(self._next(), {"status": status, **({"id": id} if id else {})})

    def state(self, id: str, status: str) -> None:
        """A layer's new state."""
        self._put(self._next(), {"status": status, "progressDetail": {}, "id": id})

    def bytes(self, id: str, status: str, current: int, total: int) -> None:
        """So many bytes of a layer have gone by; ``total`` 0 when that is not known."""
        now = time.monotonic()
        if now - self._told.get((id, status), 0.0) < _EVERY and (current < total or not total):
            return
        self._told[(id, status)] = now
        detail = {"current": current, **({"total": total} if total else {})}
        text = {"status": status, "progressDetail": detail, "progress": bar(current, total), "id": id}
        self._put((id, status), text)

    def aux(self, value: dict[str, Any]) -> None:
        """A result for programs."""
        self._put(self._next(), {"progressDetail": {}, "aux": value})

    def error(self, text: str) -> None:
        """The end, when it went wrong."""
        self._put(self._next(), {"errorDetail": {"message": text}, "error": text})

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._ready.set()

    async def messages(self) -> AsyncIterator[list[dict[str, Any]]]:
        """All that has come since, each time there is something; ends after :meth:`end`."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            found, self._waiting = list(self._waiting.values()), {}
            if found:
                yield found
            if self._ended and not self._waiting:
                return

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _put(self, key: Any, text: dict[str, Any]) -> None:
        self._waiting[key] = text
        self._ready.set()


def bar(current: int, total: int) -> str:
    """``[=====>      ]  1.2MB/5MB``, as clients print it that do not draw their own."""
    if not total:
        return size(current)
    done = min(_BAR, _BAR * current // total)
    drawn = ("=" * done + ">" if done < _BAR else "=" * (_BAR - 1) + ">").ljust(_BAR)
    return f"[{drawn}] {size(current):>8}/{size(total)}"


def size(count: int) -> str:
    """Bytes with four digits at most, in steps of a thousand (go-units ``HumanSize``)."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.4g}{_UNITS[unit]}"
