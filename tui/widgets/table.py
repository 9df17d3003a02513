"""The list of containers: a heading and one line each, only visible ones are made, only changed ones repainted."""

from __future__ import annotations

import time

from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.actions import bindings
from tui.frame import Line, Usage, columns, heading, row_line
from tui.rows import Row
from tui.widgets.paint import Painter

#: Shown in place of rows.
EMPTY = "No containers yet. Try `dockyard run -it --rm host bash` in another terminal."


class ContainerTable(ScrollView, can_focus=True):
    """Rows in the order given. The selection is an id, so that it stays on its container when the order changes."""

    BINDINGS = [
        *bindings("containers"),
        Binding("down,j", "move(1)", "Down", show=False, priority=True),
        Binding("up,k", "move(-1)", "Up", show=False, priority=True),
        Binding("pagedown,ctrl+d", "page(1)", "Page down", show=False, priority=True),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False, priority=True),
        Binding("home,g", "move(-1000000)", "First", show=False, priority=True),
        Binding("end,G", "move(1000000)", "Last", show=False, priority=True),
    ]

    class Selected(Message):
        """The selection is on another container, or on none (``row`` is None)."""

        def __init__(self, row: Row | None) -> None:
            super().__init__()
            self.row = row

    def __init__(self, painter: Painter, rows: list[Row], usage: dict[str, Usage], *, id: str) -> None:
        super().__init__(id=id)
        self.painter = painter
        self.rows: list[Row] = rows
        self.usage = usage
        self.selected_id = rows[0].id if rows else ""
        self.sort, self.reverse = "state", False
        self.empty = EMPTY
        self._lines: dict[int, Line] = {}
        self._layout: list[tuple[str, int]] = []

    @property
    def selected(self) -> Row | None:
        """The row under the cursor."""
        index = self.index
        return self.rows[index] if index >= 0 else None

    @property
    def index(self) -> int:
        """Its place, -1 without rows."""
        for index, row in enumerate(self.rows):
            if row.id == self.selected_id:
                return index
        return -1

    def show(self, rows: list[Row]) -> None:
        """Replace the rows; the selection stays on its id, or else at its place."""
        place = self.index
        self.rows = rows
        if self.index < 0:
            self.selected_id = rows[min(max(place, 0), len(rows) - 1)].id if rows else ""
            self.post_message(self.Selected(self.selected))
        self._measure()
        self._lines.clear()
        self.refresh()

    def tick(self) -> None:
        """Repaint the visible lines whose text is not what it was (uptime, CPU, memory)."""
        now = time.time()
        for y, before in list(self._lines.items()):
            index = y - 1 + self.scroll_offset.y
            if 0 <= index < len(self.rows) and self._line(index, now) != before:
                self.refresh(Region(0, y, self.size.width, 1))

    def visible_rows(self) -> list[Row]:
        """The rows on screen."""
        top = self.scroll_offset.y
        return self.rows[top : top + max(0, self.size.height - 1)]

    def _measure(self) -> None:
        self._layout = columns(self.size.width, self.rows)
        self.virtual_size = Size(self.size.width, len(self.rows) + 1)

    def _line(self, index: int, now: float) -> Line:
        row = self.rows[index]
        return row_line(row, self.usage.get(row.id), self._layout, now)

    def render_line(self, y: int) -> Strip:
        """Textual's line API: line 0 is the heading and does not scroll."""
        width = self.size.width
        if y == 0:
            return self.painter.strip(heading(self._layout, self.sort, self.reverse), width)
        index = y - 1 + self.scroll_offset.y
        if index >= len(self.rows):
            self._lines.pop(y, None)
            text = f" {self.empty}" if y == 1 and not self.rows else ""
            return self.painter.strip([(text, "dim")], width)
        line = self._line(index, time.time())
        self._lines[y] = line
        chosen = self.rows[index].id == self.selected_id
        return self.painter.strip(line, width, cursor=chosen)

    def on_resize(self) -> None:
        """Lines are made for a width."""
        self._lines.clear()
        self._measure()
        self.follow_cursor()

    def follow_cursor(self) -> None:
        """Scroll so that the selection is visible."""
        index, height = self.index, max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if index < top:
            self.scroll_to(y=max(0, index), animate=False, immediate=True, force=True)
        elif index >= top + height:
            self.scroll_to(y=index - height + 1, animate=False, immediate=True, force=True)

    def action_move(self, by: int) -> None:
        """Move the selection."""
        if not self.rows:
            return
        before = self.index
        after = min(max(before + by, 0), len(self.rows) - 1)
        if after == before:
            return
        self.selected_id = self.rows[after].id
        top = self.scroll_offset.y
        self.follow_cursor()
        if self.scroll_offset.y == top:
            for index in (before, after):
                self.refresh(Region(0, index + 1 - top, self.size.width, 1))
        else:
            self.refresh()
        self.post_message(self.Selected(self.selected))

    def action_page(self, by: int) -> None:
        """Move by a screenful."""
        self.action_move(by * max(1, self.size.height - 2))

    def on_mouse_scroll_down(self) -> None:
        """The wheel moves the selection."""
        self.action_move(3)

    def on_mouse_scroll_up(self) -> None:
        """The wheel moves the selection."""
        self.action_move(-3)

    def on_click(self, event: object) -> None:
        """Select the line under the pointer."""
        y = getattr(event, "y", 0)
        index = y - 1 + self.scroll_offset.y
        if y > 0 and index < len(self.rows):
            self.action_move(index - self.index)
