"""Expressions of clients: Go's syntax, in linear time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidArgument
from core.image.reference import fits
from core.patterns import found


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(a*)*b", "([a-z]+)*9", "^(([a-z])+.)+[A-Z]([a-z])+$"])
@pytest.mark.timeout(10)
def test_no_expression_takes_ages(pattern: str) -> None:
    assert not found(pattern, "a" * 100_000)


@given(st.text("ab.*+?", max_size=6), st.text("ab.", max_size=10))
def test_agrees_with_python_where_both_are_quick(pattern: str, text: str) -> None:
    try:
        expected = re.search(pattern, text) is not None
    except re.error:
        return
    try:
        assert found(pattern, text) == expected
    except InvalidArgument:
        assert re.search(r"[*+?]{2}", pattern)  # possessive and double repetition are Python's alone


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("(", "missing \\)"), ("(?=x)", "invalid perl operator"), ("x{100000}", "invalid repetition size"),
     ("." * 5000, "is longer than")],
)  # fmt: skip
def test_what_is_none_is_named(pattern: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        found(pattern, "x")


@pytest.mark.timeout(10)
def test_a_glob_of_many_stars() -> None:
    assert not fits("a" * 400 + ":1", "*a" * 200 + "b")
    assert fits("library/busybox:1", "*ibr*/*sy*x")
    assert not fits("a/b/c:1", "a*c")
