"""A followed log: bounded, and harmless whatever a container prints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.logbuffer import LogBuffer, spans


def text(raw: bytes) -> str:
    return "".join(piece for piece, _ in spans(raw))


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain", "plain"),
        (b"\x1b[2Jcleared", "cleared"),
        (b"\x1b]0;title\x07after", "after"),
        (b"\x1b]52;c;Y3VybCBldmls\x1b\\after", "after"),
        (b"\x1bP1;2qsixel\x1b\\after", "after"),
        (b"\x1b[?1049h\x1b[10;10Hx", "x"),
        (b"a\x9b2Jb", "a\ufffd2Jb"),
        ("a\u009b2Jb".encode(), "a2Jb"),
        ("a\u202eb".encode(), "ab"),
        (b"bell\x07\x00\x7f", "bell"),
        (b"\x1b", ""),
        (b"\x1b[", ""),
        (b"\x1b]0;no end", ""),
        (b"10%\r50%\r100%", "100%"),
        (b"line\r", "line"),
        (b"a\tb", "a       b"),
        (b"\x1b[31mab\x1b[0m\tc", "ab      c"),
    ],
)
def test_hostile_bytes_leave_nothing_but_text(raw: bytes, shown: str) -> None:
    assert text(raw) == shown


@given(st.binary(max_size=300))
def test_no_bytes_at_all_leave_a_control_character(raw: bytes) -> None:
    assert all(char.isprintable() or char in "\ufffd\u3000\u00a0\u00ad" or ord(char) > 160 for char in text(raw))
    assert not any(char in text(raw) for char in "\x1b\x9b\x07\r\n\u202e")


def test_colours_and_attributes_are_kept() -> None:
    (one, red), (two, none), (three, true) = spans(b"\x1b[1;31mred\x1b[0m plain \x1b[38;2;1;2;3;48;5;9mtrue")
    assert (one, two, three) == ("red", " plain ", "true")
    assert red is not None
    assert true is not None
    assert red.bold
    assert red.color is not None
    assert red.color.number == 1
    assert none is None
    assert true.color is not None
    assert true.color.get_truecolor() == (1, 2, 3)
    assert true.bgcolor is not None
    assert true.bgcolor.number == 9


@pytest.mark.parametrize(
    "raw", [b"\x1b[38;5mx", b"\x1b[38;2;1mx", b"\x1b[999999999999mx", b"\x1b[;;;;mx", b"\x1b[38:5:1mx"]
)
def test_broken_colours_are_no_error(raw: bytes) -> None:
    assert text(raw) == "x"


def test_memory_is_bounded_and_what_is_lost_is_counted() -> None:
    buffer = LogBuffer(capacity=10)
    assert buffer.feed(1, b"".join(b"%d\n" % number for number in range(25))) == 25
    assert (len(buffer.lines), buffer.dropped) == (10, 15)
    assert [line for _, line in buffer.lines][-1] == b"24"
    buffer.feed(1, b"25\n26\n")
    assert (len(buffer.lines), buffer.dropped) == (10, 17)


def test_long_lines_are_cut_and_say_by_how_much() -> None:
    buffer = LogBuffer(line_limit=100)
    for _ in range(10):
        buffer.feed(1, b"x" * 1000)
    buffer.feed(1, b"\nshort\n")
    assert [line for _, line in buffer.lines] == [b"x" * 100 + " … +9900 bytes".encode(), b"short"]


def test_streams_do_not_mix_their_unfinished_lines() -> None:
    buffer = LogBuffer()
    buffer.feed(1, b"out ")
    buffer.feed(2, b"err ")
    buffer.feed(1, b"one\n")
    buffer.feed(2, b"two\n")
    assert list(buffer.lines) == [(1, b"out one"), (2, b"err two")]


def test_the_end_of_a_log_needs_no_line_end() -> None:
    buffer = LogBuffer()
    buffer.feed(1, b"done\nlast words")
    assert len(buffer.lines) == 1
    assert buffer.finish() == 1
    assert list(buffer.lines)[-1] == (1, b"last words")


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_the_pieces_in_which_output_comes_do_not_matter(pieces: list[bytes]) -> None:
    whole, parts = LogBuffer(line_limit=16), LogBuffer(line_limit=16)
    whole.feed(1, b"".join(pieces))
    for piece in pieces:
        parts.feed(1, piece)
    whole.finish()
    parts.finish()
    assert list(whole.lines) == list(parts.lines)
