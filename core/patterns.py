"""Regular expressions that clients send: in linear time, whatever is in them.

Python's own engine goes back and forth for ages over ``(a+)+b``, on the event loop. Docker's filters are Go's
expressions, whose engine is RE2; so is this one, with the same syntax. It is loaded for expressions that need it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from core.errors import InvalidArgument

_SPECIAL = frozenset("\\.+*?()|[]{}^$")
_LONGEST = 4096
#: Bytes that a compiled expression may take.
_MEMORY = 1 << 20


@lru_cache(128)
def searcher(pattern: str) -> Callable[[str], bool]:
    """Whether the expression is found anywhere in a text. InvalidArgument says what is wrong with it."""
    if not _SPECIAL.intersection(pattern):
        return lambda text: pattern in text
    if len(pattern) > _LONGEST:
        raise InvalidArgument(f"the expression is longer than {_LONGEST} characters")
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0] if error.args else b""
        text = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
        raise InvalidArgument(f"{pattern!r} is no regular expression: {text}") from error
    return lambda text: compiled.search(text) is not None


def found(pattern: str, text: str) -> bool:
    """:func:`searcher` of one text."""
    return searcher(pattern)(text)
