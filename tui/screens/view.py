"""A text that is looked at: scrolled, folded, searched. Inspect and help are made of it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.screen import Screen
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input

from tui.actions import ACTIONS, SCOPES, all_key_text, bindings, footer, keys_of
from tui.frame import Line, key_line, narrow
from tui.widgets.bar import Bar
from tui.widgets.paint import Painter


class Entry(NamedTuple):
    """One line: its depth in the tree, whether lines below belong to it, and what it shows."""

    depth: int
    parent: bool
    line: Line


def json_entries(value: Any, key: str = "", depth: int = 0) -> list[Entry]:
    """A JSON value as a tree of lines."""
    label: Line = [("  " * depth, "text")]
    if key:
        label.append((narrow(key), "accent"))
        label.append((": ", "dim"))
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else ((f"[{index}]", item) for index, item in enumerate(value))
        note = f"{len(value)} " + ("keys" if isinstance(value, dict) else "items")
        out = [Entry(depth, True, [*label, (note, "dim")])]
        for name, item in items:
            out += json_entries(item, str(name), depth + 1)
        return out
    role = "ok" if isinstance(value, str) else "warn" if isinstance(value, int | float) else "dim"
    return [Entry(depth, False, [*label, (narrow(json.dumps(value, ensure_ascii=False)), role)])]


def help_entries(keymap: dict[str, str], width: int) -> list[Entry]:
    """The table of actions for a person, wrapped to ``width``."""
    out = [Entry(0, False, [("Move with the arrow keys or j and k, g and G for the ends.", "text")])]
    room = max(20, width - 37)
    for scope, heading in SCOPES.items():
        out += [Entry(0, False, []), Entry(0, False, [(heading, "accent+")])]
        for action in ACTIONS:
            if action.scope != scope:
                continue
            keys = all_key_text(keys_of(action, keymap))
            head: Line = [(f"  {keys:<11}", "warn"), (f" {action.title:<19}", "text+")]
            for part in _wrapped(action.help, room):
                out.append(Entry(1, False, [*head, (part, "dim")]))
                head = [(" " * 33, "text")]
    return out


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width and lines[-1]:
            lines.append("")
        lines[-1] += word + " "
    return lines


class Lines(ScrollView, can_focus=True):
    """Entries with a cursor; parts fold, matches are marked."""

    BINDINGS = [
        *bindings("view"),
        Binding("down,j", "move(1)", "Down", show=False, priority=True),
        Binding("up,k", "move(-1)", "Up", show=False, priority=True),
        Binding("pagedown,ctrl+d", "page(1)", "Page down", show=False, priority=True),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False, priority=True),
        Binding("home,g", "move(-1000000)", "First", show=False, priority=True),
        Binding("end,G", "move(1000000)", "Last", show=False, priority=True),
    ]

    def __init__(self, painter: Painter, entries: list[Entry], *, id: str) -> None:
        super().__init__(id=id)
        self.painter = painter
        self.cursor = 0
        self.needle = ""
        self.load(entries)

    def load(self, entries: list[Entry]) -> None:
        """Replace what is shown."""
        self.entries = entries
        self._folded: set[int] = set()
        self._arrange()

    def _arrange(self) -> None:
        self.shown: list[int] = []
        hidden_below: int | None = None
        for index, entry in enumerate(self.entries):
            if hidden_below is not None and entry.depth > hidden_below:
                continue
            hidden_below = entry.depth if index in self._folded else None
            self.shown.append(index)
        self.cursor = min(self.cursor, max(0, len(self.shown) - 1))
        self.virtual_size = Size(self.size.width, len(self.shown))

    def on_resize(self) -> None:
        """The width is part of the virtual size."""
        self.virtual_size = Size(self.size.width, len(self.shown))

    def render_line(self, y: int) -> Strip:
        """Textual's line API."""
        place, width = y + self.scroll_offset.y, self.size.width
        if place >= len(self.shown):
            return self.painter.strip([], width)
        index = self.shown[place]
        entry = self.entries[index]
        mark = "▸ " if index in self._folded else "▾ " if entry.parent else "  "
        line: Line = [(f" {mark}", "dim"), *entry.line]
        if self.needle:
            line = marked(line, self.needle)
        return self.painter.strip(line, width, cursor=place == self.cursor)

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self.go(min(max(self.cursor + by, 0), max(0, len(self.shown) - 1)))

    def action_page(self, by: int) -> None:
        """Move by a screenful."""
        self.action_move(by * max(1, self.size.height - 1))

    def go(self, place: int) -> None:
        """Cursor to the shown line ``place``."""
        before, self.cursor = self.cursor, place
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if place < top or place >= top + height:
            self.scroll_to(y=place if place < top else place - height + 1, animate=False, immediate=True, force=True)
            self.refresh()
            return
        for line in (before, place):
            self.refresh(Region(0, line - top, self.size.width, 1))

    def fold(self) -> None:
        """Open or close the part under the cursor."""
        if self.shown and self.entries[self.shown[self.cursor]].parent:
            self._folded ^= {self.shown[self.cursor]}
            self._arrange()
            self.refresh()

    def find(self, step: int, *, here: bool = False) -> bool:
        """Cursor to the next match in direction ``step``, round the end; closed parts are opened."""
        if not self.needle or not self.entries:
            return False
        start = self.shown[self.cursor] if self.shown else 0
        count = len(self.entries)
        for distance in range(0 if here else 1, count + 1):
            index = (start + step * distance) % count
            if self.needle.lower() in plain(self.entries[index].line).lower():
                self._reveal(index)
                self.go(self.shown.index(index))
                self.refresh()
                return True
        self.refresh()
        return False

    def _reveal(self, index: int) -> None:
        depth = self.entries[index].depth
        for above in range(index, -1, -1):
            if self.entries[above].depth < depth:
                depth = self.entries[above].depth
                self._folded.discard(above)
        self._arrange()


def plain(line: Line) -> str:
    """The text of a line."""
    return "".join(text for text, _ in line)


def marked(line: Line, needle: str) -> Line:
    """``line`` with every occurrence of ``needle`` in the colours of a match."""
    out: Line = []
    for text, role in line:
        rest, lowered = text, text.lower()
        while (at := lowered.find(needle.lower())) >= 0:
            out += [(rest[:at], role), (rest[at : at + len(needle)], "match_text@match")]
            rest, lowered = rest[at + len(needle) :], lowered[at + len(needle) :]
        out.append((rest, role))
    return [span for span in out if span[0]]


class ViewScreen(Screen[None]):
    """A full screen of lines with a title, a search line and the keys that work here."""

    def __init__(self, painter: Painter, title: str, entries: list[Entry], keymap: dict[str, str]) -> None:
        super().__init__()
        self._heading, self._keymap = title, keymap
        self.lines = Lines(painter, entries, id="view")
        self._title_bar, self._key_bar = Bar(painter, id="title"), Bar(painter, id="keys")
        self.find = Input(id="find", placeholder="find")
        self.find.cursor_blink = False
        self.find.display = False

    def compose(self) -> ComposeResult:
        """Title, lines, search, keys."""
        yield self._title_bar
        yield self.lines
        yield self.find
        yield self._key_bar

    def on_mount(self) -> None:
        """Keys go to the lines."""
        self.set_focus(self.lines)
        self._label()

    def on_resize(self) -> None:
        """Bars are as wide as the screen."""
        self._label()

    def _label(self, note: str = "") -> None:
        width = self.app.size.width
        text = f" {self._heading}" + (f"  {note}" if note else "")
        self._title_bar.show([(text[:width].ljust(width), "bar_text@bar+")])
        keys = [pair for pair in footer("view", self._keymap) if pair[1] != "quit"]
        self._key_bar.show(key_line(width, "view", self._keymap, [*keys, ("esc", "back")]))

    def fold(self) -> None:
        """Open or close the part under the cursor."""
        self.lines.fold()

    def search(self) -> None:
        """Open the search line."""
        find = self.find
        find.display = True
        find.value = ""
        self.set_focus(find)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Find while it is typed."""
        self.lines.needle = event.value
        self._label("" if not event.value or self.lines.find(1, here=True) else "no match")

    def on_input_submitted(self) -> None:
        """Back to the lines; n and N go on from here."""
        self.find.display = False
        self.set_focus(self.lines)

    def search_step(self, step: int) -> None:
        """The next match, or the one before."""
        if self.lines.needle:
            self._label("" if self.lines.find(step) else "no match")

    def back(self) -> None:
        """Close the search line, forget the matches, or leave: one step at a time."""
        find = self.find
        if find.display or self.lines.needle:
            find.display = False
            self.lines.needle = ""
            self.set_focus(self.lines)
            self.lines.refresh()
            self._label()
        else:
            self.dismiss(None)
