"""The screen as cells: what is wanted, what the terminal shows, and the shortest bytes from one to the other.

Textual sends every region it thinks dirty; over a slow link that is thousands of bytes for one changed cell.
Here updates are written into ``wanted``; :meth:`Canvas.emit` compares with ``shown`` and sends only what differs.
A frame that was not sent (the link is backed up) is not lost: the next one contains it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.cells import split_graphemes
from rich.segment import Segment
from rich.style import Style

from tui.text import to_ascii

#: (text of one cell, SGR parameters); the second cell of a wide character has the text "".
Cell = tuple[str, str]
#: Unchanged cells between two changed ones that cost less than moving the cursor.
_JOIN = 5
_BLANK: Cell = (" ", "")
_CACHE_LIMIT = 8192


class Canvas:
    """``width`` × ``height`` cells. ``sgr`` turns a style into the parameters of ``ESC [ … m``."""

    def __init__(
        self, width: int, height: int, sgr: Callable[[Style | None], str], *, ascii_only: bool = False
    ) -> None:
        self.width, self.height = width, height
        self._sgr = sgr
        self._ascii = ascii_only
        self._wanted: list[list[Cell]] = [[_BLANK] * width for _ in range(height)]
        self._shown: list[list[Cell] | None] = [None] * height
        self._dirty: set[int] = set(range(height))

    def forget(self) -> None:
        """The terminal's content is unknown (resized, handed over, garbled): the next frame sends every cell."""
        self._shown = [None] * self.height
        self._dirty = set(range(self.height))

    def adopt(self, rows: list[list[Cell]]) -> None:
        """``rows`` are on the terminal already, if they are of this size."""
        if len(rows) == self.height and all(len(row) == self.width for row in rows):
            self._shown = [list(row) for row in rows]

    @property
    def dirty(self) -> bool:
        return bool(self._dirty)

    def put(self, y: int, x: int, segments: Iterable[Segment], limit: int) -> None:
        """Write ``segments`` from cell ``x`` on, at most up to column ``limit``."""
        if not 0 <= y < self.height:
            return
        row = self._wanted[y]
        limit = min(limit, self.width)
        if x < limit and row[x][0] == "":
            row[x - 1] = (" ", row[x - 1][1])  # the left half of a wide character cannot stand alone
        for text, style, control in segments:
            if control:
                continue
            if x >= limit:
                break
            sgr = self._sgr(style)
            if text.isascii() and text.isprintable():
                piece = text[: limit - x]
                row[x : x + len(piece)] = [(char, sgr) for char in piece]
                x += len(piece)
            else:
                x = self._put_wide(row, x, limit, text, sgr)
        if x < self.width and row[x][0] == "":
            row[x] = (" ", row[x][1])
        self._dirty.add(y)

    def _put_wide(self, row: list[Cell], x: int, limit: int, text: str, sgr: str) -> int:
        for start, end, width in split_graphemes(text)[0]:
            # Control characters have no width: dropping them keeps hostile text from steering the terminal.
            if width == 0 or x >= limit:
                continue
            grapheme = text[start:end]
            if not grapheme.isprintable():
                grapheme = "".join(char for char in grapheme if char.isprintable() or char in "\u200d\ufe0f") or "?"
            if width == 2 and x + 1 >= limit:
                row[x] = (" ", sgr)
                return x + 1
            if self._ascii:
                grapheme = to_ascii(grapheme[0]) + " " * (width - 1)
                row[x : x + width] = [(char, sgr) for char in grapheme]
            else:
                row[x] = (grapheme, sgr)
                if width == 2:
                    row[x + 1] = ("", sgr)
            x += width
        return x

    def emit(self) -> str:
        """The bytes that make the terminal show what is wanted; afterwards it is taken to show it."""
        out: list[str] = []
        pen = ""
        for y in sorted(self._dirty):
            wanted, shown = self._wanted[y], self._shown[y]
            if wanted == shown:
                continue
            pen = self._emit_row(out, y, wanted, shown, pen)
            self._shown[y] = wanted.copy()
        self._dirty.clear()
        if pen:
            out.append("\x1b[m")
        return "".join(out)

    def _emit_row(self, out: list[str], y: int, wanted: list[Cell], shown: list[Cell] | None, pen: str) -> str:
        x, width = 0, self.width
        while x < width:
            if shown is not None and wanted[x] == shown[x]:
                x += 1
                continue
            while x and wanted[x][0] == "":
                x -= 1  # half of a wide character changed: send it whole
            end = self._run_end(wanted, shown, x)
            out.append(f"\x1b[{y + 1};{x + 1}H")
            while x < end:
                char, sgr = wanted[x]
                if sgr != pen:
                    out.append(f"\x1b[0;{sgr}m" if sgr else "\x1b[m")
                    pen = sgr
                out.append(char)
                x += 1
                if len(char) > 1 or (x < width and wanted[x][0] == ""):
                    # Terminals disagree about the width of some characters: say where the next one goes.
                    while x < width and wanted[x][0] == "":
                        x += 1
                    if x < end:
                        out.append(f"\x1b[{y + 1};{x + 1}H")
        return pen

    def _run_end(self, wanted: list[Cell], shown: list[Cell] | None, start: int) -> int:
        if shown is None:
            return self.width
        last, x = start, start + 1
        while x < self.width and x - last <= _JOIN:
            if wanted[x] != shown[x]:
                last = x
            x += 1
        return last + 1


def sgr_of(color_system: str | None) -> Callable[[Style | None], str]:
    """A cached function from styles to SGR parameters for ``truecolor``, ``256``, ``standard`` or no colour."""
    from rich.color import ColorSystem

    system = {"standard": ColorSystem.STANDARD, "256": ColorSystem.EIGHT_BIT, "truecolor": ColorSystem.TRUECOLOR}.get(
        color_system or ""
    )
    cache: dict[Style, str] = {}

    def sgr(style: Style | None) -> str:
        if style is None:
            return ""
        found = cache.get(style)
        if found is None:
            if len(cache) > _CACHE_LIMIT:
                cache.clear()
            plain = style.update_link(None) if style.link else style
            before = plain.render("X", color_system=system).partition("X")[0]
            found = before.removeprefix("\x1b[").removesuffix("m")
            cache[style] = found
        return found

    return sgr


__all__ = ["Canvas", "Cell", "sgr_of"]
