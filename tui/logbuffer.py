"""A followed log in bounded memory, and its lines made safe to show.

What a container prints is hostile: it must not move the cursor, set titles, write the clipboard or reorder text.
Of all control sequences only colours and attributes (SGR, ECMA-48 8.3.117) are kept.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache

from rich.color import Color
from rich.style import Style

#: Lines kept.
CAPACITY = 5000
#: Bytes kept of one line; a longer one is cut, and says by how much.
LINE_LIMIT = 2000

Spans = list[tuple[str, Style | None]]

_CONTROL = re.compile(
    r"\x1b\[([0-9;:]*)m"  # SGR: kept
    r"|\x1b\[[0-?]*[ -/]*[@-~]?"  # any other CSI
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"  # two- and three-byte escapes
    r"|[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"  # C0, C1, bidirectional
)


class LogBuffer:
    """The last lines of a log: (stream, bytes). ``dropped`` counts what no longer fits."""

    def __init__(self, capacity: int = CAPACITY, line_limit: int = LINE_LIMIT) -> None:
        self.lines: deque[tuple[int, bytes]] = deque(maxlen=capacity)
        self.dropped = 0
        self._line_limit = line_limit
        self._open: dict[int, tuple[bytes, int]] = {}  # stream → (kept start of a line without its end, its length)

    def feed(self, stream: int, data: bytes) -> int:
        """Add output; the number of lines that became complete."""
        held, length = self._open.pop(stream, (b"", 0))
        parts = data.split(b"\n")
        if length:
            parts[0] = held + parts[0]
        rest = parts.pop()
        extra = length - len(held)  # bytes of the first line that were not kept
        limit = self._line_limit
        lines = self.lines
        room = (lines.maxlen or 0) - len(lines)
        self.dropped += max(0, len(parts) - room)
        # Only the last lines can stay: the others are counted, not cut.
        skip = max(0, len(parts) - (lines.maxlen or 0))
        for index in range(skip, len(parts)):
            line = parts[index]
            total = len(line) + (extra if index == 0 else 0)
            lines.append((stream, self._cut(line, total) if total > limit else line))
        if parts:
            extra = 0
        if rest or (not parts and length):
            self._open[stream] = (rest[: limit + 1], len(rest) + extra)
        return len(parts)

    def finish(self) -> int:
        """The stream ended: what has no line end is a line too."""
        count = 0
        for stream in list(self._open):
            if self._open[stream][0]:
                count += self.feed(stream, b"\n")
        return count

    def _cut(self, line: bytes, total: int) -> bytes:
        return line[: self._line_limit] + f" … +{total - self._line_limit} bytes".encode()


def spans(raw: bytes) -> Spans:
    """One line as (text, style) pairs without any control character; tabs become spaces, ``CR`` overwrites."""
    text = raw.decode("utf-8", "replace").rstrip("\r")
    if "\r" in text:
        text = text.rpartition("\r")[2]
    if text.isascii() and text.isprintable():
        return [(text, None)] if text else []
    out: Spans = []
    style: Style | None = None
    state: tuple[int | str | None, ...] = _PLAIN
    at = column = 0
    for match in _CONTROL.finditer(text):
        if match.start() > at:
            piece = _expanded(text[at : match.start()], column)
            column += len(piece)
            out.append((piece, style))
        at = match.end()
        if match.group(1) is not None:
            state = _apply(state, match.group(1))
            style = None if state == _PLAIN else _style(state)
    if at < len(text):
        out.append((_expanded(text[at:], column), style))
    return out


def _expanded(text: str, column: int) -> str:
    if "\t" not in text:
        return text
    return (" " * (column % 8) + text).expandtabs(8)[column % 8 :]


# State of a pen: foreground, background, then seven attributes.
_PLAIN: tuple[int | str | None, ...] = (None, None, 0, 0, 0, 0, 0, 0)
_ON = {1: 2, 2: 3, 3: 4, 4: 5, 7: 6, 9: 7}
_OFF = {22: (2, 3), 23: (4,), 24: (5,), 27: (6,), 29: (7,)}


def _apply(state: tuple[int | str | None, ...], parameters: str) -> tuple[int | str | None, ...]:
    """``state`` after one SGR sequence; what is not known changes nothing."""
    pen = list(state)
    codes = [int(code) if code.isdigit() else 0 for code in parameters.replace(":", ";").split(";")][:64]
    index = 0
    while index < len(codes):
        code = codes[index]
        index += 1
        if code == 0:
            pen = list(_PLAIN)
        elif code in _ON:
            pen[_ON[code]] = 1
        elif code in _OFF:
            for place in _OFF[code]:
                pen[place] = 0
        elif 30 <= code <= 37 or 40 <= code <= 47:
            pen[code >= 40] = code % 10
        elif 90 <= code <= 97 or 100 <= code <= 107:
            pen[code >= 100] = code % 10 + 8
        elif code in (39, 49):
            pen[code == 49] = None
        elif code in (38, 48):
            color, index = _extended(codes, index)
            if color is not None:
                pen[code == 48] = color
    return tuple(pen)


def _extended(codes: list[int], index: int) -> tuple[int | str | None, int]:
    kind = codes[index] if index < len(codes) else 0
    if kind == 5 and index + 1 < len(codes):
        return min(codes[index + 1], 255), index + 2
    if kind == 2 and index + 3 < len(codes):
        red, green, blue = (min(value, 255) for value in codes[index + 1 : index + 4])
        return f"#{red:02x}{green:02x}{blue:02x}", index + 4
    return None, len(codes)


@lru_cache(512)
def _style(state: tuple[int | str | None, ...]) -> Style:
    def color(value: int | str | None) -> Color | None:
        if value is None:
            return None
        return Color.parse(value) if isinstance(value, str) else Color.from_ansi(value)

    bold, dim, italic, underline, reverse, strike = (bool(value) or None for value in state[2:8])
    return Style.from_color(color(state[0]), color(state[1])) + Style(
        bold=bold, dim=dim, italic=italic, underline=underline, reverse=reverse, strike=strike
    )
