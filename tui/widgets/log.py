"""The log of one container, followed: only what is visible is decoded, memory is bounded."""

from __future__ import annotations

from textwrap import wrap

from rich.segment import Segment
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.actions import bindings
from tui.logbuffer import LogBuffer, spans
from tui.widgets.paint import Painter

#: Seconds between two paints of a log that does not stop talking.
PAINT_EVERY = 0.1
_SHIFT = 16


class LogPane(ScrollView, can_focus=True):
    """Shows a :class:`LogBuffer`. Follows its end until somebody scrolls up."""

    BINDINGS = [
        *bindings("log"),
        Binding("down,j", "by(1)", "Down", show=False, priority=True),
        Binding("up,k", "by(-1)", "Up", show=False, priority=True),
        Binding("pagedown,ctrl+d,space", "page(1)", "Page down", show=False, priority=True),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False, priority=True),
        Binding("home,g", "top", "First line", show=False, priority=True),
        Binding("end,G", "bottom", "Last line", show=False, priority=True),
        Binding("right,greater_than_sign", "shift(1)", "Right", show=False, priority=True),
        Binding("left,less_than_sign", "shift(-1)", "Left", show=False, priority=True),
    ]

    class Changed(Message):
        """What the rule above says may be different now."""

    def __init__(self, painter: Painter, *, id: str) -> None:
        super().__init__(id=id)
        self.painter = painter
        self.buffer = LogBuffer()
        self.following = True
        self.message = ""
        #: Why the container ended, shown below its last line, in whole.
        self.note = ""
        self._shift = 0
        self._dropped = 0
        self._due = False
        self._below: list[tuple[str, str]] = []

    def clear(self, message: str = "") -> None:
        """Begin with another log."""
        self.buffer = LogBuffer()
        self.following = True
        self.message = message
        self.note = ""
        self._shift = self._dropped = 0
        self._repaint()

    def say(self, message: str) -> None:
        """A line shown in place of a log, or below its end."""
        if message != self.message:
            self.message = message
            self._repaint()

    def explain(self, note: str) -> None:
        """The sentence below everything; empty for a container that runs."""
        if note != self.note:
            self.note = note
            self._repaint()

    def _compose_below(self) -> None:
        width = max(10, self.size.width - 2)
        self._below = [(line, "dim") for line in wrap(self.message, width)]
        self._below += [(line, "warn") for line in wrap(self.note, width)]

    def feed(self, pieces: list[tuple[int, bytes]]) -> None:
        """Add output; the paint follows, at most every :data:`PAINT_EVERY` seconds."""
        added = 0
        for stream, data in pieces:
            added += self.buffer.feed(stream, data)
        if added and not self._due:
            self._due = True
            self.set_timer(PAINT_EVERY if len(self.buffer.lines) > added else 0.01, self._repaint)

    def finish(self) -> None:
        """The log has ended."""
        self.buffer.finish()
        self._repaint()

    def _repaint(self) -> None:
        self._due = False
        lost = self.buffer.dropped - self._dropped
        self._dropped = self.buffer.dropped
        self._compose_below()
        self.virtual_size = Size(self.size.width, len(self.buffer.lines) + len(self._below))
        if self.following:
            self._to(self._last_top())
        elif lost:
            self._to(max(0, self.scroll_offset.y - lost))
        self.refresh()
        self.post_message(self.Changed())

    def _last_top(self) -> int:
        return max(0, len(self.buffer.lines) + len(self._below) - self.size.height)

    def _to(self, y: int) -> None:
        self.scroll_to(y=y, animate=False, immediate=True, force=True)

    def on_resize(self) -> None:
        """Keep the end in view."""
        self._repaint()

    def render_line(self, y: int) -> Strip:
        """Textual's line API."""
        width = self.size.width
        index = y + self.scroll_offset.y
        lines = self.buffer.lines
        if 0 <= index - len(lines) < len(self._below):
            below, role = self._below[index - len(lines)]
            return self.painter.strip([(f" {below}", role)], width)
        base = self.painter.style("text")
        if index >= len(lines):
            return Strip([]).adjust_cell_length(width, base)
        stream, raw = lines[index]
        mark = Segment("▏", self.painter.style("bad")) if stream == 2 else Segment(" ", base)
        text = [Segment(piece, base if style is None else base + style) for piece, style in spans(raw)]
        body = Strip(text)
        if self._shift:
            body = body.crop(self._shift, self._shift + width - 1)
        return Strip([mark, *body]).adjust_cell_length(width, base)

    def action_by(self, count: int) -> None:
        """Scroll; upwards ends following, the end begins it again."""
        top = min(max(0, self.scroll_offset.y + count), self._last_top())
        self.following = top >= self._last_top()
        self._to(top)
        self.post_message(self.Changed())

    def action_page(self, by: int) -> None:
        """Scroll by a screenful."""
        self.action_by(by * max(1, self.size.height - 1))

    def action_top(self) -> None:
        """To the oldest line kept."""
        self.action_by(-len(self.buffer.lines) - 1)

    def action_bottom(self) -> None:
        """To the end, and follow."""
        self.action_by(len(self.buffer.lines) + 1)

    def action_shift(self, by: int) -> None:
        """Look at the right part of long lines."""
        self._shift = max(0, self._shift + by * _SHIFT)
        self.refresh()

    def on_mouse_scroll_down(self) -> None:
        """The wheel."""
        self.action_by(3)

    def on_mouse_scroll_up(self) -> None:
        """The wheel."""
        self.action_by(-3)
