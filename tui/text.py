"""The workstation's overview as plain text: ``dockyard`` without a verb and without a terminal."""

from __future__ import annotations

import os

from tui.frame import narrow
from tui.rows import STATES, Row, in_order
from tui.wire import ConnectionLost, EngineError, fetch

_TIMEOUT = 10.0
_HEADINGS = ("STATE", "NAME", "IMAGE", "UP", "PORTS", "WHY")


def overview(socket_path: str) -> str:
    """Every container with state, image, uptime, ports and reason, then one line of what to do next.

    Never raises for an engine that does not answer: the text says so (the caller prints it and exits 0).
    """
    try:
        _, items = fetch(socket_path, "/containers/json?all=1", timeout=_TIMEOUT)
    except (ConnectionLost, EngineError) as error:
        return f"{error}\nStart one with `dockyard serve`, or choose another with -H unix://PATH.\n"
    rows = in_order([Row(item) for item in items])
    if not rows:
        return "No containers yet.\nTry `dockyard run -it --rm host bash`: a throw-away sandbox of this machine.\n"
    table = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    running = sum(row.running for row in rows)
    lines.append("")
    lines.append(f"{running} running, {len(rows) - running} not. In a terminal, `dockyard` opens the workstation;")
    lines.append(
        "`dockyard logs NAME` shows a log, `dockyard exec -it NAME sh` is a shell, `dockyard --help` the rest."
    )
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    glyph = STATES[row.kind][0 if locale_is_utf8() else 1]
    data = (narrow(cell) for cell in (row.name, row.image, row.uptime(), row.ports or "-", row.why or "-"))
    cells = (f"{glyph} {row.word}", *data)
    return cells if locale_is_utf8() else tuple(to_ascii(cell) for cell in cells)


def locale_is_utf8() -> bool:
    """What the locale's variables promise about the terminal (their order is POSIX's)."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        value = os.environ.get(name, "")
        if value:
            return "utf" in value.lower()
    return False


_ASCII = str.maketrans(
    {
        "→": ">", "·": "-", "–": "-", "—": "-", "…": "~", "“": '"', "”": '"', "’": "'", "×": "x",
        "─": "-", "━": "-", "│": "|", "┃": "|", "╭": "+", "╮": "+", "╰": "+", "╯": "+", "┌": "+", "┐": "+",
        "└": "+", "┘": "+", "├": "+", "┤": "+", "▏": "|", "▕": "|", "▎": "|", "▌": "|", "▐": "|", "█": "#",
        "▔": "-", "▁": "_", "▀": "-", "▄": "_", "▅": "#", "▆": "#", "▇": "#", "▂": "_", "▃": "_", "▊": "#",
        "▍": "|", "▋": "|", "▉": "#", "●": "*", "○": "o", "◌": ".", "✖": "x", "▲": "!", "▼": "v", "▶": ">",
        "‖": "=", "↻": "@", "↑": "^", "↓": "v", "▸": ">", "▾": "v", "⏎": "<", "\u00a0": " ",
    }
)  # fmt: skip


def to_ascii(text: str) -> str:
    """The same number of characters, all of them ASCII."""
    if text.isascii():
        return text
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
