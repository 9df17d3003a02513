"""One container as the screens show it, made from an item of ``GET /containers/json``.

Light on purpose (no dataclasses, no datetime): the first picture imports it.
"""

from __future__ import annotations

import time
from typing import Any

from tui.explain import explain

#: state → (glyph, ASCII glyph, role). The word stands beside it: colour is never the only sign.
STATES = {
    "running": ("●", "*", "ok"),
    "healthy": ("●", "*", "ok"),
    "unhealthy": ("▲", "!", "bad"),
    "starting": ("●", "*", "warn"),
    "paused": ("‖", "=", "warn"),
    "restarting": ("↻", "@", "warn"),
    "removing": ("…", "-", "dim"),
    "created": ("◌", ".", "dim"),
    "exited": ("○", "o", "dim"),
    "failed": ("✖", "x", "bad"),
    "dead": ("✖", "x", "bad"),
}

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31536000}


class Row:
    """What is known of one container; ``started`` and ``ended`` are seconds since 1970 or 0.0 when unknown."""

    __slots__ = (
        "created", "ended", "error", "exit_code", "explained", "health", "id", "image", "labels",
        "name", "oom", "ports", "started", "state", "status", "why",
    )  # fmt: skip

    def __init__(self, item: dict[str, Any]) -> None:
        names = item.get("Names") or []
        self.id = str(item.get("Id", ""))
        self.name = str(names[0]).lstrip("/") if names else self.id[:12]
        self.image = short_image(str(item.get("Image", "")))
        self.status = str(item.get("Status", ""))
        self.state = str(item.get("State", "")).lower() or "created"
        self.health = health_of(self.status)
        self.created = number(item.get("Created"))
        self.started = number(item.get("StartedAt"))
        self.ended = 0.0
        self.exit_code = exit_code_of(self.status) if self.state in ("exited", "dead", "restarting") else None
        self.ports = ports_text(item.get("Ports") or [])
        self.labels: dict[str, str] = item.get("Labels") or {}
        self.oom = False
        self.error = ""
        #: True when ``why`` is the best there is, so that nothing needs to be inspected for it.
        self.explained = "DockyardExplain" in item
        self.why = str(item.get("DockyardExplain") or "") or self._derive()

    def _derive(self) -> str:
        if self.exit_code is not None:
            return self._again() + explain(self.exit_code)
        return "created, never started" if self.state == "created" else ""

    def learn(self, inspected: dict[str, Any]) -> None:
        """Add what only ``GET /containers/{id}/json`` tells: times, OOM, the start error."""
        state = inspected.get("State") or {}
        self.started = timestamp(str(state.get("StartedAt") or ""))
        self.ended = timestamp(str(state.get("FinishedAt") or ""))
        self.oom = bool(state.get("OOMKilled"))
        self.error = str(state.get("Error") or "")
        if self.running:
            self.why = ""
        elif inspected.get("DockyardExplain"):
            self.why = str(inspected["DockyardExplain"])
        elif self.error or self.exit_code is not None:
            limit = int(number((inspected.get("HostConfig") or {}).get("Memory")))
            code = int(number(state.get("ExitCode")))
            self.why = self._again() + explain(code, oom_killed=self.oom, error=self.error, memory_limit=limit)
        self.explained = True

    def _again(self) -> str:
        return "restarts after: " if self.state == "restarting" else ""

    @property
    def running(self) -> bool:
        """A process exists: it can be stopped, entered and measured."""
        return self.state in ("running", "paused")

    @property
    def kind(self) -> str:
        """The key into :data:`STATES`."""
        if self.state == "running" and self.health:
            return self.health
        if (self.state == "exited" and self.exit_code) or (self.state == "created" and self.error):
            return "failed"
        return self.state if self.state in STATES else "created"

    @property
    def word(self) -> str:
        """At most ten characters: ``running``, ``exited 137``."""
        if self.state == "exited" and self.exit_code is not None:
            return f"exited {self.exit_code}"
        return self.kind if self.kind != "failed" else "failed"

    def uptime(self, now: float | None = None) -> str:
        """Time since the start as a person says it; ``–`` for what does not run."""
        if not self.running:
            return "–"
        if self.started:
            return age((time.time() if now is None else now) - self.started)
        return age_of_status(self.status)


def number(value: Any) -> float:
    """``value`` when it is a number, else 0.0 (podman sends times as text in some fields)."""
    return float(value) if isinstance(value, int | float) else 0.0


def short_image(image: str) -> str:
    """The reference without a digest algorithm's length: ``sha256:…`` becomes twelve characters."""
    if image.startswith("sha256:"):
        return image[7:19]
    return image.split("@", 1)[0] or image


def health_of(status: str) -> str:
    """``healthy``, ``unhealthy``, ``starting`` or nothing, from Docker's ``Up 3 hours (healthy)``."""
    if status.endswith("(healthy)"):
        return "healthy"
    if status.endswith("(unhealthy)"):
        return "unhealthy"
    return "starting" if status.endswith("(health: starting)") else ""


def exit_code_of(status: str) -> int | None:
    """The code in ``Exited (137) 3 minutes ago``; None when there is none."""
    begin, end = status.find("("), status.find(")")
    digits = status[begin + 1 : end] if 0 <= begin < end else ""
    return int(digits) if digits.lstrip("-").isdigit() else None


def ports_text(ports: list[dict[str, Any]]) -> str:
    """``8080→80``; an address only where it is not every address; the protocol only where it is not TCP.

    Neighbours are joined: ``8000-8009→80-89``.
    """
    runs: dict[tuple[str, str, int | None], list[tuple[int, int]]] = {}
    for port in ports:
        inner, outer, ip = int(number(port.get("PrivatePort"))), port.get("PublicPort"), str(port.get("IP") or "")
        where = "" if ip in ("", "0.0.0.0", "::") else f"[{ip}]:" if ":" in ip else f"{ip}:"
        key = (where, str(port.get("Type", "tcp")), outer - inner if outer else None)
        found = runs.setdefault(key, [])
        if found and inner == found[-1][1] + 1:
            found[-1] = (found[-1][0], inner)
        elif not any(first <= inner <= last for first, last in found):
            found.append((inner, inner))
    return " ".join(_run(*key, first, last) for key, found in runs.items() for first, last in found)


def _run(where: str, kind: str, distance: int | None, first: int, last: int) -> str:
    inner = f"{first}" if first == last else f"{first}-{last}"
    outer = "" if distance is None else f"{where}{first + distance}"
    if outer and first != last:
        outer += f"-{last + (distance or 0)}"
    return (f"{outer}→{inner}" if outer else inner) + ("" if kind == "tcp" else f"/{kind}")


def age(seconds: float) -> str:
    """At most six characters; minutes are the grain from the second minute on."""
    left = max(0, int(seconds))
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m"
    if left < 86400:
        return f"{left // 3600}h{left % 3600 // 60:02}m"
    days = left // 86400
    return f"{days}d{left % 86400 // 3600:02}h" if days < 100 else f"{days}d"


def age_of_status(status: str) -> str:
    """Docker's ``Up About an hour (healthy)`` in the same short form: known before anything is inspected."""
    words = status.lower().removeprefix("up ").split()
    for index, word in enumerate(words):
        unit = _UNITS.get(word.rstrip("s"))
        if unit is not None and index:
            count = words[index - 1]
            amount = int(count) if count.isdigit() else 0 if unit == 1 else 1
            seconds = amount * unit
            if seconds >= 86400:
                return f"{seconds // 86400}d"
            return f"{seconds // 3600}h" if seconds >= 3600 else age(seconds)
    return "?"


def timestamp(text: str) -> float:
    """RFC 3339 → seconds since 1970; 0.0 for Docker's year 1 and for what is not a time."""
    if not text or text.startswith("0001-"):
        return 0.0
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key under which ``web-9`` comes before ``web-10``."""
    out: list[tuple[int, str]] = []
    digits = text = ""
    for char in name + "\0":
        if "0" <= char <= "9":
            digits += char
            continue
        if digits:
            out += [(-1, text), (int(digits), "")]
            digits = text = ""
        text += char
    return [*out, (-1, text)]


def in_order(rows: list[Row], key: str = "state", reverse: bool = False) -> list[Row]:
    """Sorted for the screen: what runs first, then by name, unless another column is asked for."""

    def by_state(row: Row) -> tuple[bool, list[tuple[int, str]]]:
        return (not row.running, natural(row.name))

    keys: dict[str, Any] = {
        "state": by_state,
        "name": lambda row: natural(row.name),
        "image": lambda row: (row.image, natural(row.name)),
        "age": lambda row: (-row.created, row.name),
    }
    return sorted(rows, key=keys.get(key, by_state), reverse=reverse)
