"""Columns as Go's tabwriter lays them out for Docker: at least 10 wide, 3 spaces between, left aligned."""

from __future__ import annotations

from tui.cli.output import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MINIMUM = 10
_PADDING = 3


def columns(lines: Sequence[Sequence[str]], minimum: int = _MINIMUM) -> str:
    """Lines of cells as text; each column is at least ``minimum`` wide. The last cell of a line is not padded.

    A column reaches over neighbouring lines that have a cell after it, as in tabwriter: a shorter line ends it. What
    would steer the terminal is written out: cells quote images and containers.
    """
    lines = [[plain(cell) for cell in line] for line in lines]
    widths: list[list[int]] = [[] for _ in lines]
    for index, line in enumerate(lines):
        for column in range(len(widths[index]), len(line) - 1):
            end = index
            while end < len(lines) and len(lines[end]) - 1 > column:
                end += 1
            width = max(minimum, *(len(lines[i][column]) + _PADDING for i in range(index, end)))
            for i in range(index, end):
                widths[i].append(width)
    out = []
    for line, sizes in zip(lines, widths, strict=True):
        out.append("".join([cell.ljust(size) for cell, size in zip(line, sizes, strict=False)]) + line[-1] + "\n")
    return "".join(out)
