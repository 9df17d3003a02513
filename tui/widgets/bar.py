"""Lines one cell high: title, rule, keys, banner."""

from __future__ import annotations

from textual.strip import Strip
from textual.widget import Widget

from tui.frame import Line
from tui.widgets.paint import Painter


class Bar(Widget):
    """Shows one line; repaints only when it changed."""

    def __init__(self, painter: Painter, *, id: str) -> None:
        super().__init__(id=id)
        self.painter = painter
        self._line: Line = []

    def show(self, line: Line) -> None:
        """Replace the line."""
        if line != self._line:
            self._line = line
            self.refresh()

    @property
    def text(self) -> str:
        """What it shows, without styles."""
        return "".join(text for text, _ in self._line)

    def render_line(self, y: int) -> Strip:
        """Textual's line API."""
        return self.painter.strip(self._line if y == 0 else [], self.size.width)
