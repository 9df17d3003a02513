"""From roles to styles, and from lines of (text, role) to Textual's strips."""

from __future__ import annotations

from functools import lru_cache

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.theme import BUILTIN_THEMES, Theme

from themes import Palette
from tui.frame import Line


def color(text: str) -> Color:
    """A palette's colour for Rich."""
    if text == "ansi_default":
        return Color.default()
    return Color.parse(text.removeprefix("ansi_"))


class Painter:
    """The styles of one palette. A role is ``FOREGROUND[@BACKGROUND][+]``; ``+`` means bold."""

    def __init__(self, palette: Palette) -> None:
        self.use(palette)

    def use(self, palette: Palette) -> None:
        """Change to another palette; what is on screen must be refreshed."""
        self.palette = palette
        self.style = lru_cache(256)(self._style)

    def _style(self, role: str, cursor: bool = False) -> Style:
        bold = role.endswith("+")
        front, _, back = role.rstrip("+").partition("@")
        palette = self.palette
        if cursor and back != "match":
            keep = front in ("ok", "warn", "bad", "accent") and not palette.ansi and palette.dark
            front = front if keep and palette["cursor_text"] != "#000000" else "cursor_text"
            back = "cursor"
        return Style(color=color(palette[front or "text"]), bgcolor=color(palette[back or "background"]), bold=bold)

    def strip(self, line: Line, width: int, *, cursor: bool = False, fill: str = "text") -> Strip:
        """``line`` cut or filled to ``width`` cells."""
        segments = [Segment(text, self.style(role, cursor)) for text, role in line if text]
        return Strip(segments).adjust_cell_length(width, self.style(fill, cursor))


def textual_theme(palette: Palette) -> Theme:
    """The palette as Textual's own widgets want it."""
    ansi = BUILTIN_THEMES["ansi-dark" if palette.dark else "ansi-light"].variables if palette.ansi else {}
    return Theme(
        name=palette.name,
        primary=palette["accent"],
        secondary=palette["accent"],
        warning=palette["warn"],
        error=palette["bad"],
        success=palette["ok"],
        accent=palette["accent"],
        foreground=palette["text"],
        background=palette["background"],
        surface=palette["panel"],
        panel=palette["panel"],
        boost=palette["panel"],
        dark=palette.dark,
        ansi=palette.ansi,
        variables=dict(ansi),
    )
