"""What is asked above the list: whether to destroy something, and which ports to publish."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui.publishing import PortChange, port_change
from tui.rows import Row


class ConfirmScreen(ModalScreen[bool]):
    """Asks; only ``y`` agrees, so that a habit of pressing enter destroys nothing."""

    BINDINGS = [
        Binding("y", "answer(True)", "Yes", show=False, priority=True),
        Binding("n,escape,q,enter", "answer(False)", "No", show=False, priority=True),
    ]

    def __init__(self, question: str, details: str, verb: str) -> None:
        super().__init__()
        self._question, self._details, self._verb = question, details, verb

    def compose(self) -> ComposeResult:
        """Question, what it means, the two answers."""
        with Vertical():
            yield Static(Content(self._question), id="question")
            yield Static(Content(self._details), id="details")
            yield Static(Content(f"y  {self._verb}      n, esc  leave it as it is"), id="answers")

    def action_answer(self, agreed: bool) -> None:
        """Close with the answer."""
        self.dismiss(agreed)


class PortsScreen(ModalScreen[PortChange | None]):
    """Asks for ports; what cannot be meant is said while the words can still be changed."""

    BINDINGS = [Binding("escape", "leave", "Leave", show=False, priority=True)]

    def __init__(self, row: Row) -> None:
        super().__init__()
        self._row = row
        self._input = Input(id="ports", placeholder="8080:80")
        self._input.cursor_blink = False
        self._hint = Static(id="hint")

    def compose(self) -> ComposeResult:
        """What is published, a line to type in, what can be typed."""
        with Vertical():
            yield Static(Content(f"Ports of {self._row.name}"), id="question")
            yield Static(Content(self._row.ports or "It has none."), id="details")
            yield self._input
            yield self._hint
            yield Static(Content("⏎  do it      esc  leave it as it is"), id="answers")

    def on_mount(self) -> None:
        """Type at once."""
        self.set_focus(self._input)
        self._explain()

    def _explain(self, problem: str = "") -> None:
        note = "" if self._row.running else "It does not run: its ports are published when it starts.\n"
        self._hint.set_class(bool(problem), "problem")
        self._hint.update(Content(problem or f"{note}[IP:][HOST:]PORT[/udp] publishes, with - before it takes away"))

    def on_input_changed(self) -> None:
        """A complaint is about what was typed before."""
        self._explain()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Close with the change; stay when it cannot be meant."""
        try:
            change = port_change(event.value)
        except ValueError as error:
            self._explain(str(error))
            return
        self.dismiss(change if change.add or change.remove else None)

    def action_leave(self) -> None:
        """Close without a change."""
        self.dismiss(None)
