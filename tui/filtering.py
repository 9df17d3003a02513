"""The filter's small language: words that must all match.

``web`` (part of name, image, state or id), ``~^web-\\d`` (regular expression), ``!web`` (must not match, before any of
the others), ``label:KEY``, ``label:KEY=VALUE``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tui.rows import Row

Test = Callable[[Row], bool]


class FilterError(ValueError):
    """The filter is not complete or not valid; the text says why."""


def compile_filter(text: str) -> Test:
    """A test of rows. Raises :class:`FilterError`."""
    tests = [_word(word) for word in text.split()]
    return lambda row: all(test(row) for test in tests)


def _word(word: str) -> Test:
    if word.startswith("!"):
        if word == "!":
            return lambda row: True
        test = _word(word[1:])
        return lambda row: not test(row)
    if word.startswith("~"):
        try:
            pattern = re.compile(word[1:], re.IGNORECASE)
        except re.error as error:
            raise FilterError(f"{word}: {error}") from error
        return lambda row: any(pattern.search(field) for field in _fields(row))
    if word.startswith("label:"):
        key, equals, value = word[6:].partition("=")
        if not equals:
            return lambda row: key in row.labels
        return lambda row: row.labels.get(key) == value
    lowered = word.lower()
    return lambda row: any(lowered in field.lower() for field in _fields(row))


def _fields(row: Row) -> tuple[str, ...]:
    return (row.name, row.image, row.word, row.state, row.id)
