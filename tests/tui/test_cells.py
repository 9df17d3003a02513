"""The difference between two frames, applied to a terminal, gives the second one. Always."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.segment import Segment
from rich.style import Style

from tests.tui.model import Model
from tui.cells import Canvas, sgr_of

WIDTH, HEIGHT = 24, 4
STYLES = [None, Style(color="red"), Style(bold=True, bgcolor="#102030"), Style(color="red", bold=True)]

texts = st.text(st.sampled_from("abc  ─●漢字é\u0301\x1b\x07\n"), max_size=14)
updates = st.lists(
    st.tuples(
        st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1), texts, st.sampled_from(range(len(STYLES))), st.booleans()
    ),
    max_size=30,
)


def wanted(canvas: Canvas) -> list[list[tuple[str, str]]]:
    return [list(row) for row in canvas._wanted]


@settings(max_examples=300)
@given(updates)
def test_every_difference_leads_to_the_wanted_frame(steps: list[tuple[int, int, str, int, bool]]) -> None:
    canvas, model = Canvas(WIDTH, HEIGHT, sgr_of("truecolor")), Model(WIDTH, HEIGHT)
    for y, x, text, style, send in steps:
        canvas.put(y, x, [Segment(text, STYLES[style])], WIDTH)
        if send:
            model.apply(canvas.emit())
    model.apply(canvas.emit())
    assert model.cells == wanted(canvas)


def test_what_did_not_change_is_not_sent() -> None:
    canvas = Canvas(WIDTH, HEIGHT, sgr_of("truecolor"))
    canvas.emit()
    canvas.put(1, 0, [Segment("hello", None)], WIDTH)
    assert canvas.emit() == "\x1b[2;1Hhello"
    canvas.put(1, 0, [Segment("hello", None)], WIDTH)
    assert canvas.emit() == ""
    canvas.put(1, 0, [Segment("hellO", None)], WIDTH)
    assert canvas.emit() == "\x1b[2;5HO"


def test_after_forgetting_everything_is_sent_again() -> None:
    canvas, model = Canvas(WIDTH, HEIGHT, sgr_of(None)), Model(WIDTH, HEIGHT)
    canvas.put(0, 0, [Segment("x", None)], WIDTH)
    canvas.emit()
    canvas.forget()
    model.apply(canvas.emit())
    assert model.text == ["x" + " " * (WIDTH - 1), *[" " * WIDTH] * 3]


def test_a_terminal_without_utf8_gets_ascii_of_the_same_width() -> None:
    canvas = Canvas(WIDTH, 1, sgr_of(None), ascii_only=True)
    canvas.put(0, 0, [Segment("●─漢é█x", None)], WIDTH)
    data = canvas.emit()
    assert data.isascii()
    assert "*-? ?#x" in data


def test_colours_follow_the_terminals_depth() -> None:
    # A style for each: Rich keeps the codes of the first depth it was asked for.
    assert sgr_of("truecolor")(Style(color="#ff0000")) == "38;2;255;0;0"
    assert sgr_of("256")(Style(color="#ff0001")).startswith("38;5;")
    assert sgr_of("standard")(Style(color="#ff0002")) in ("31", "91")
    assert sgr_of(None)(Style(color="#ff0003")) == ""
