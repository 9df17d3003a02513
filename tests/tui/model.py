"""A terminal small enough to be surely right, to apply what the driver sends: cursor, SGR, text, nothing else."""

from __future__ import annotations

import re

from rich.cells import get_character_cell_size

_TOKEN = re.compile(r"\x1b\[(\d+);(\d+)H|\x1b\[([\d;]*)m|(\x1b.)|([^\x1b])", re.DOTALL)


class Model:
    """``cells[y][x]`` is (character, SGR parameters); a wide character's second cell is ("", …)."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.cells = [[("?", "")] * width for _ in range(height)]

    def apply(self, data: str) -> None:
        """Show ``data``. Fails on any sequence a frame must not contain, and on text outside the screen."""
        x = y = 0
        sgr = ""
        for row, column, parameters, strange, char in _TOKEN.findall(data):
            assert not strange, f"a frame holds {strange!r}"
            if row:
                y, x = int(row) - 1, int(column) - 1
            elif char:
                assert char.isprintable(), f"a frame holds {char!r}"
                width = get_character_cell_size(char)
                if width == 0:
                    base = x - 1 - (self.cells[y][x - 1][0] == "")
                    self.cells[y][base] = (self.cells[y][base][0] + char, sgr)
                    continue
                assert x + width <= self.width, f"text runs over the edge in line {y}"
                self._break_wide(y, x)
                self._break_wide(y, x + width - 1)
                self.cells[y][x] = (char, sgr)
                if width == 2:
                    self.cells[y][x + 1] = ("", sgr)
                x += width
            else:
                sgr = parameters.removeprefix("0;")

    def _break_wide(self, y: int, x: int) -> None:
        """A terminal blanks the other half of a wide character when one half is overwritten."""
        line = self.cells[y]
        if line[x][0] == "" and x:
            line[x - 1] = (" ", line[x - 1][1])
        if x + 1 < self.width and line[x + 1][0] == "":
            line[x + 1] = (" ", line[x + 1][1])

    @property
    def text(self) -> list[str]:
        """The lines."""
        return ["".join(char for char, _ in line) for line in self.cells]
