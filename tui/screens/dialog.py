"""The question before something is destroyed."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static


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
