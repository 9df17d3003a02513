"""The first screen: containers above, the selected one's log below."""

from __future__ import annotations

from collections.abc import Callable

from textual import on
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Input

from tui.filtering import FilterError, Test, compile_filter
from tui.frame import key_line, narrow, rule, split, title, why_role
from tui.rows import Row, age, in_order
from tui.widgets.bar import Bar
from tui.widgets.log import LogPane
from tui.widgets.paint import Painter
from tui.widgets.table import EMPTY, ContainerTable

NO_MATCH = "No container matches the filter; escape shows all."
SORTS = ("state", "name", "image", "cpu", "mem", "age")


class ContainersScreen(Screen[None]):
    """Arranges and labels; what keys do is the workstation's."""

    AUTO_FOCUS = "#table"

    def __init__(
        self, painter: Painter, table: ContainerTable, keymap: dict[str, str], on_selected: Callable[[], None]
    ) -> None:
        super().__init__()
        self._on_selected = on_selected
        self.painter, self.table, self.keymap = painter, table, keymap
        self.log_pane = LogPane(painter, id="log")
        # Held, not queried: news of the engine may come while the screen is being taken down.
        self._bars = {name: Bar(painter, id=name) for name in ("title", "banner", "rule", "keys")}
        self.filter_input = Input(id="filter", placeholder="filter: text, ~regex, !not, label:key=value")
        self.filter_input.cursor_blink = False
        self.filter_input.display = False
        self.engine = self.where = self.lost = ""
        self.zoomed = False
        self.read_only = False
        self._stands = False
        self._all: list[Row] = list(table.rows)
        self._test: Test = compile_filter("")
        self._filter_error = ""

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield self.bar("title")
        yield self.bar("banner")
        yield self.table
        yield self.filter_input
        yield self.bar("rule")
        yield self.log_pane
        yield self.bar("keys")

    def bar(self, name: str) -> Bar:
        """One of the one-line bars."""
        return self._bars[name]

    def on_mount(self) -> None:
        """The table has the keys."""
        self.set_focus(self.table)
        self._stands = True
        self.lay_out()

    def on_resize(self) -> None:
        """Divide the height again."""
        self.lay_out()

    def lay_out(self) -> None:
        """Heights and every bar."""
        if not self._stands:
            return
        height = split(self.app.size.height, len(self.table.rows), self.zoomed)
        self.table.display = height > 0
        if self.table.styles.height is None or self.table.styles.height.value != height:
            self.table.styles.height = height
        self.label()

    def label(self) -> None:
        """Every bar; those that did not change are not painted."""
        if not self._stands:
            return
        width = self.app.size.width
        where = self.where + ("  read-only" if self.read_only else "")
        self.bar("title").show(title(width, self.engine, where, self._all, len(self.table.rows)))
        self._label_rule(width)
        scope = "log" if self.log_pane.has_focus else "containers"
        keys = [("⏎", "keep"), ("esc", "show all")] if self.filter_input.has_focus else None
        if scope == "log":
            self.bar("keys").show(key_line(width, "log", self.keymap, [*_log_keys(self.keymap)]))
        else:
            self.bar("keys").show(key_line(width, "containers", self.keymap, keys))
        banner = self.bar("banner")
        banner.display = bool(self.lost)
        text = f" No connection: {self.lost}. Trying again; what you see is what was known."
        banner.show([(text[:width].ljust(width), "match_text@match+")])

    def _label_rule(self, width: int) -> None:
        row, log = self.table.selected, self.log_pane
        story = f"{narrow(row.name)}: {_story(row)}" if row is not None and row.why else ""
        # In whole below the log where the rule has no room for it.
        log.explain(story if len(story) > width - 8 else "")
        note = "held" if not log.following else "following" if row is not None and row.running else "end"
        if log.buffer.dropped:
            note = f"{log.buffer.dropped:,} earlier lines not kept · {note}"
        if self._filter_error:
            self.bar("rule").show(rule(width, self._filter_error, "", "bad"))
        elif row is None:
            self.bar("rule").show(rule(width, "log", ""))
        elif row.why:
            self.bar("rule").show(rule(width, story, note, why_role(row)))
        else:
            self.bar("rule").show(rule(width, f"{narrow(row.name)} log", note))

    def show_rows(self, rows: list[Row]) -> None:
        """New rows from the engine: filter, sort, keep the selection."""
        self._all = rows
        table = self.table
        chosen = [row for row in rows if self._test(row)]
        if table.sort in ("cpu", "mem"):
            field = 0 if table.sort == "cpu" else 1
            usage = table.usage
            chosen.sort(key=lambda row: (-(usage[row.id][field] if row.id in usage else -1.0), row.name))
            if table.reverse:
                chosen.reverse()
        else:
            chosen = in_order(chosen, table.sort, table.reverse)
        table.show(chosen)
        self.lay_out()

    def sort_next(self) -> None:
        """By the next column."""
        self.table.sort = SORTS[(SORTS.index(self.table.sort) + 1) % len(SORTS)]
        self.show_rows(self._all)

    def sort_reverse(self) -> None:
        """The other way round."""
        self.table.reverse = not self.table.reverse
        self.show_rows(self._all)

    def open_filter(self) -> None:
        """Type a filter; it works while it is typed."""
        self.filter_input.display = True
        self.set_focus(self.filter_input)

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        try:
            self._test = compile_filter(event.value)
            self._filter_error = ""
        except FilterError as error:
            # What was valid last stays in force while the rest is being typed.
            self._filter_error = f"filter {error}"
        self.table.empty = NO_MATCH if event.value else EMPTY
        self.show_rows(self._all)

    @on(Input.Submitted, "#filter")
    def _filter_submitted(self) -> None:
        if not self.filter_input.value:
            self.filter_input.display = False
        self.set_focus(self.table)

    @on(ContainerTable.Selected)
    def _selected(self) -> None:
        # Not left to bubble: Textual stops a message at the parent that caused it.
        self.label()
        self._on_selected()

    @on(LogPane.Changed)
    def _log_changed(self) -> None:
        self.label()

    def on_descendant_focus(self) -> None:
        """Other keys work now."""
        self.label()

    def back(self) -> None:
        """From the log to the list, from a filter to everything."""
        if self.log_pane.has_focus or self.zoomed:
            self.zoomed = False
            self.lay_out()
            self.set_focus(self.table)
        elif self.filter_input.display:
            self.filter_input.value = ""
            self.filter_input.display = False
            self.set_focus(self.table)


def _log_keys(keymap: dict[str, str]) -> list[tuple[str, str]]:
    from tui.actions import footer

    keys = footer("log", keymap)
    return [("esc", "back to the list"), ("g G", "ends"), ("< >", "sideways"), *keys]


def _story(row: Row) -> str:
    import time

    when = f", {age(time.time() - row.ended)} ago" if row.ended else ""
    return f"{row.why}{when}"
