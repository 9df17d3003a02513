"""JSON through the interpreter's own C scanner and encoder.

``import json`` costs 5 ms (it loads ``re``); the two C parts that it stands on cost nothing.
"""

from __future__ import annotations

from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Context:
    """What ``_json.make_scanner`` asks its decoder for (Lib/json/scanner.py)."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}


# typeshed writes the scanner's own type where C takes any object with these attributes.
_context: Any = _Context()
_scan = make_scanner(_context)
_SPACE = " \t\r\n"


def decode(data: bytes | str) -> Any:
    """The value of one JSON document. Raises ValueError when it is none."""
    text = data if isinstance(data, str) else str(data, "utf-8", "replace")
    start = 0
    while text[start : start + 1] in _SPACE and start < len(text):
        start += 1
    try:
        value, end = _scan(text, start)
    except StopIteration as stop:
        raise ValueError(f"not JSON at character {stop.value}: {text[:60]!r}") from None
    except SystemError:
        # The scanner looks for json.decoder's own error, and without that module raises nothing (Modules/_json.c).
        raise ValueError(f"not JSON: {text[:60]!r}") from None
    if text[end:].strip(_SPACE):
        raise ValueError(f"more than one JSON value: {text[end : end + 60]!r}")
    return value


def _refuse(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _encode(value: Any, encoder: Any, sort_keys: bool) -> str:
    return "".join(make_encoder(None, _refuse, encoder, None, ":", ",", sort_keys, False, False)(value, 0))


def encode(value: Any) -> bytes:
    """Compact ASCII JSON, for requests."""
    return _encode(value, encode_basestring_ascii, False).encode("ascii")


def show(value: Any, *, sort_keys: bool = False) -> str:
    """Compact JSON for people: as Go's encoder without HTML escapes, letters stay letters.

    Characters that would steer a terminal are escaped: JSON's own way to write them.
    """
    return harmless(_encode(value, encode_basestring, sort_keys))


def harmless(text: str) -> str:
    """JSON with delete, C1 controls, line separators and changes of direction escaped; they occur in strings only."""
    if text.isascii() and "\x7f" not in text:
        return text
    codes = (*range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
    return text.translate({code: f"\\u{code:04x}" for code in codes})


def show_indented(value: Any, indent: str = "    ", level: int = 0) -> str:
    """JSON over several lines, as Go's ``json.Indent`` lays it out; empty containers stay on one line."""
    inner = "\n" + indent * (level + 1)
    if isinstance(value, dict) and value:
        items = [f"{harmless(encode_basestring(k))}: {show_indented(v, indent, level + 1)}" for k, v in value.items()]
        return "{" + inner + ("," + inner).join(items) + "\n" + indent * level + "}"
    if isinstance(value, list) and value:
        items = [show_indented(item, indent, level + 1) for item in value]
        return "[" + inner + ("," + inner).join(items) + "\n" + indent * level + "]"
    return show(value)
