"""What the workstation looks like, as lines of (text, role) pairs: pure, and known to both of its painters.

``tui.app`` paints the first picture with it before Textual is imported; the widgets paint every later one.
Roles are the palette's (``themes``); ``+`` behind a role means bold.
"""

from __future__ import annotations

from typing import NamedTuple

from tui.actions import footer
from tui.rows import STATES, Row

Span = tuple[str, str]
Line = list[Span]

HEADINGS = {
    "state": "STATE", "name": "NAME", "cpu": "CPU%", "mem": "MEM", "up": "UP", "image": "IMAGE",
    "ports": "PORTS", "why": "WHY", "last": "PORTS / WHY",
}  # fmt: skip
RIGHT = {"cpu", "mem", "up"}
_FIXED = {"state": 12, "cpu": 5, "mem": 5, "up": 6}
#: From this width on ports and reason have a column each.
WIDE = 132


class Usage(NamedTuple):
    """One measurement: CPU in percent of one processor, memory in bytes."""

    cpu: float
    memory: float


def columns(width: int, rows: list[Row]) -> list[tuple[str, int]]:
    """(column, cells) from left to right for a list ``width`` cells wide. :func:`gap` cells are left of each."""
    names = ["state", "name", "cpu", "mem", "up", "image"]
    names += ["ports", "why"] if width >= WIDE else ["last"]
    if width < 70:
        names.remove("image")
    if width < 50:
        names = ["state", "name", "up"]
    free = width - sum(_FIXED.get(name, 0) + gap(name) for name in names)
    longest = max([len(row.name) for row in rows], default=0)
    image = max([len(row.image) for row in rows], default=0)
    ports = max([len(row.ports) for row in rows], default=0)
    sizes = dict(_FIXED)
    sizes["name"] = max(8, min(longest, int(free * 0.42))) if len(names) > 3 else free
    free -= sizes["name"]
    if "image" in names:
        sizes["image"] = max(6, min(image, int(free * 0.40)))
        free -= sizes["image"]
    if "ports" in names:
        sizes["ports"] = max(6, min(ports, int(free * 0.35)))
        free -= sizes["ports"]
    sizes["last"] = sizes["why"] = max(0, free)
    return [(name, sizes[name]) for name in names]


def gap(name: str) -> int:
    """Cells left of a column: two where right-aligned figures end."""
    return 1 if name in ("state", "name") else 2


def fit(text: str, width: int, right: bool = False) -> str:
    """Exactly ``width`` cells of one-cell characters; what is too long ends in ``…``."""
    if len(text) > width:
        return text[: width - 1] + "…" if width > 0 else ""
    return text.rjust(width) if right else text.ljust(width)


def narrow(text: str) -> str:
    """``text`` with only printable one-cell characters, so that a length is a width: names are data of others."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() and _one_cell(char) else "?" for char in text)


def _one_cell(char: str) -> bool:
    if char < "\u0300":
        return True
    from unicodedata import combining, east_asian_width

    return not combining(char) and east_asian_width(char) not in "WF"


def heading(layout: list[tuple[str, int]], sort: str = "", reverse: bool = False) -> Line:
    """The line above the list; the sorted column carries an arrow."""
    out: Line = []
    for name, width in layout:
        text = HEADINGS[name]
        if name == sort or (sort == "age" and name == "up"):
            text += "↓" if reverse else "↑"
        out.append((" " * gap(name) + fit(text, width, name in RIGHT), "head+"))
    return out


def row_line(row: Row, usage: Usage | None, layout: list[tuple[str, int]], now: float) -> Line:
    """One container."""
    glyph, _, role = STATES[row.kind]
    out: Line = []
    for name, width in layout:
        text, style = _cell(name, row, usage, now)
        if name == "state":
            out.append((" " + fit(f"{glyph} {text}", width), role))
        else:
            out.append((" " * gap(name) + fit(narrow(text), width, name in RIGHT), style))
    return out


def _cell(name: str, row: Row, usage: Usage | None, now: float) -> Span:
    if name == "state":
        return row.word, ""
    if name == "name":
        return row.name, "text+" if row.running else "text"
    if name == "cpu":
        return (f"{usage.cpu:.1f}" if usage and row.running else "–"), "text" if row.running else "dim"
    if name == "mem":
        from tui.explain import size

        return (size(usage.memory) if usage and row.running else "–"), "text" if row.running else "dim"
    if name == "up":
        return row.uptime(now), "text" if row.running else "dim"
    if name == "image":
        return row.image, "dim"
    if name == "ports":
        return row.ports, "accent"
    if name == "why":
        return row.why, why_role(row)
    return (row.ports, "accent") if row.running and row.ports else (row.why, why_role(row))


def why_role(row: Row) -> str:
    """The colour of a reason: bad when something went wrong."""
    return STATES[row.kind][2] if row.kind in ("failed", "dead", "restarting", "unhealthy") else "dim"


def title(width: int, engine: str, where: str, rows: list[Row], shown: int) -> Line:
    """The top line: which engine, how many containers."""
    running = sum(row.running for row in rows)
    counts = f"{running} running · {len(rows) - running} not"
    if shown != len(rows):
        counts = f"{shown} of {len(rows)} shown · {counts}"
    left = f" Dockyard  {engine}" if engine else " Dockyard"
    room = width - len(left) - len(counts) - 4
    if where and room >= 12:
        left += "  " + (where if len(where) <= room else "…" + where[-(room - 1) :])
    left = left[: max(0, width - len(counts) - 2)]
    gap = " " * max(1, width - len(left) - len(counts) - 1)
    return [(left[:10], "bar_key@bar+"), (left[10:] + gap + counts + " ", "bar_text@bar")]


def key_line(width: int, scope: str, keymap: dict[str, str], keys: list[Span] | None = None) -> Line:
    """The bottom line. ``keys`` replaces the table's choice, for dialogs."""
    out: Line = []
    left = width
    pairs = footer(scope, keymap) if keys is None else keys
    # What leads out and to everything else keeps its place when the line is too short for all.
    kept = [pair for pair in pairs if pair[1] in ("help", "quit", "back")]
    reserve = sum(len(key) + len(word) + 3 for key, word in kept)
    for key, word in [pair for pair in pairs if pair not in kept] + kept:
        need = len(key) + len(word) + 3
        if need > left - (reserve if (key, word) not in kept else 0):
            continue
        out += [(f" {key} ", "bar_key@bar+"), (f"{word} ", "bar_text@bar")]
        left -= need
    out.append((" " * max(0, left), "bar_text@bar"))
    return out


def split(height: int, count: int, zoomed: bool = False) -> int:
    """Lines of the list with its heading, of a screen ``height`` lines high; title, keys and log take the rest."""
    body = height - 2
    if zoomed:
        return 0
    return max(3, min(max(count + 1, body // 3), (body + 1) // 2))


def rule(width: int, text: str, right: str = "", role: str = "accent") -> Line:
    """The line between list and log: a title in it, and a note at its right end."""
    text = fit(text, min(len(text), max(0, width - 8)))
    note = f" {right} " if right and len(right) + len(text) + 10 <= width else ""
    fill = width - len(text) - len(note) - 6
    return [("── ", "line"), (text, role + "+"), (" " + "─" * max(0, fill), "line"), (note, "dim"), ("──", "line")]
