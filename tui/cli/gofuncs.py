"""The functions and the printing of Go templates: Go's own, and those Docker adds (docker/cli, templates)."""

from __future__ import annotations

from tui.cli.jsonlite import show
from tui.cli.rows import Noun, go_quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class FunctionError(Exception):
    """A function refuses its arguments; the message is Go's."""


class _Missing:
    """Go's invalid value: what a map without the key gives."""

    def __bool__(self) -> bool:
        return False


MISSING = _Missing()


class Record:
    """A row of a list: ``noun`` computes its fields when they are asked for."""

    def __init__(self, noun: Noun, item: dict[str, Any], truncate: bool) -> None:
        self.noun, self.item, self.truncate = noun, item, truncate

    def get(self, name: str, arguments: list[Any]) -> Any:
        """The field, or Docker's method of that name with its argument."""
        return self.noun.fields[name](self.item, self.truncate, *arguments)

    def as_dict(self) -> dict[str, Any]:
        """All fields, sorted, as ``--format json`` prints them."""
        return {name: self.get(name, []) for name in sorted(self.noun.fields) if name not in self.noun.hidden}


def truth(value: Any) -> bool:
    """Go's IsTrue: empty, zero, nil and false are not."""
    return isinstance(value, Record) or bool(value)


def type_name(value: Any) -> str:
    """What Go calls the type of a JSON value."""
    if isinstance(value, bool):
        return "bool"
    return {int: "int", float: "float64", str: "string", list: "[]interface {}", dict: "map[string]interface {}"}.get(
        type(value), "interface {}"
    )


def printed(value: Any) -> str:
    """A value as ``{{…}}`` prints it."""
    return "<no value>" if value is MISSING else _go(value)


def _go(value: Any) -> str:
    """fmt's %v."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, list):
        return "[" + " ".join(map(_go, value)) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_go(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, Record):
        return "{" + " ".join(_go(item) for item in value.as_dict().values()) + "}"
    return "<no value>" if value is MISSING else str(value)


def _float(value: float) -> str:
    """strconv's shortest form with exponent from 21 on."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def _json(value: Any) -> str:
    if isinstance(value, Record):  # rows go through Go's encoder twice: the inner one escapes for HTML
        return show(value.as_dict()).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return show(None if value is MISSING else value)


def _join(values: Any, separator: str) -> str:
    if values is None or values is MISSING:
        return ""
    if not isinstance(values, list):
        raise FunctionError(f"wrong type for value; expected []string; got {type_name(values)}")
    return separator.join(map(_go, values))


def _text(value: Any) -> str:
    if value is MISSING or value is None:
        return ""
    if not isinstance(value, str):
        raise FunctionError(f"wrong type for value; expected string; got {type_name(value)}")
    return value


def _title(value: Any) -> str:
    out, start = [], True
    for c in _text(value):
        out.append(c.upper() if start else c)
        start = not (c.isalnum() or c in "_'")
    return "".join(out)


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + _text(text) + " " * after if text else text


def _truncate(text: Any, length: int) -> str:
    return _text(text)[:length]


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, list | dict):
        return len(value)
    if value is None or value is MISSING:
        raise FunctionError("len of nil pointer")
    raise FunctionError(f"len of type {type_name(value)}")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None or value is MISSING:
            raise FunctionError("index of untyped nil")
        if isinstance(value, dict):
            value = value[key] if key in value else _zero(value)
        elif isinstance(value, list | str):
            value = _at(value, key)
        else:
            raise FunctionError(f"can't index item of type {type_name(value)}")
    return value


def _at(value: Any, key: Any) -> Any:
    if isinstance(key, bool) or not isinstance(key, int):
        raise FunctionError(f"cannot index slice/array with type {type_name(key)}")
    if not 0 <= key < len(value):
        raise FunctionError(f"index out of range: {key}")
    return value.encode()[key] if isinstance(value, str) else value[key]


def _zero(mapping: dict[str, Any]) -> Any:
    """What Go's map of the same type gives for a missing key: maps of strings give an empty one."""
    return "" if not mapping or all(isinstance(item, str) for item in mapping.values()) else MISSING


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, list | str):
        raise FunctionError(f"can't slice item of type {type_name(value)}")
    start, end = (*bounds, *[0, len(value)][len(bounds) :])[:2]
    for bound in (start, end):
        if isinstance(bound, bool) or not isinstance(bound, int) or not 0 <= bound <= len(value):
            raise FunctionError(f"index out of range: {_go(bound)}")
    if start > end:
        raise FunctionError(f"invalid slice index: {start} > {end}")
    return value[start:end]


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise FunctionError("missing argument for comparison")
    for other in others:
        if isinstance(first, dict | list) or isinstance(other, dict | list):
            raise FunctionError("non-comparable type")
        numbers = (int, float)
        alike = (
            isinstance(first, numbers)
            and isinstance(other, numbers)
            and isinstance(first, bool) == isinstance(other, bool)
        )
        if (
            not alike
            and type(first) is not type(other)
            and None not in (first, other)
            and MISSING not in (first, other)
        ):
            raise FunctionError("incompatible types for comparison")
        if first == other:
            return True
    return False


def _less(first: Any, second: Any) -> bool:
    if isinstance(first, str) and isinstance(second, str):
        return first < second
    if isinstance(first, str) != isinstance(second, str):
        raise FunctionError("incompatible types for comparison")
    for value in (first, second):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FunctionError("invalid type for comparison")
    return bool(first < second)


def _print(*values: Any) -> str:
    """fmt.Sprint: a space between two operands when neither is a string."""
    out = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out += " "
        out += _go(value)
    return out


def _printf(form: str, *values: Any) -> str:
    """fmt.Sprintf with the verbs %v %s %q %d %x %X %o %b %c %t %f %e %g %T and %%."""
    out, rest, left = [], _text(form), list(values)
    while rest:
        before, percent, rest = rest.partition("%")
        out.append(before)
        if not percent:
            break
        spec = rest[: len(rest) - len(rest.lstrip("+-# 0123456789."))]
        verb = rest[len(spec) : len(spec) + 1]
        rest = rest[len(spec) + 1 :]
        if verb == "%":
            out.append("%")
        elif not verb:
            out.append("%!(NOVERB)")
        elif not left:
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_verb(spec, verb, left.pop(0)))
    if left:
        out.append("%!(EXTRA " + ", ".join(f"{type_name(v)}={_go(v)}" for v in left) + ")")
    return "".join(out)


def _quoted(value: Any) -> str:
    return "[" + " ".join(map(_quoted, value)) + "]" if isinstance(value, list) else go_quote(_go(value))


def _verb(spec: str, verb: str, value: Any) -> str:
    width = spec.lstrip("+# ")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb in "dxXobc" and isinstance(value, int) and number:
        if verb == "c":
            return chr(value)
        if verb == "b":
            return format(value, "b")
        return str(f"%{spec}{verb}" % value)
    if verb in "feEgG" and number:
        return str(f"%{spec}{verb}" % value)
    if verb in "xX" and isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").hex() if verb == "x" else value.encode().hex().upper()
    text = {"v": _go, "s": _go, "q": _quoted, "t": _go, "T": type_name}.get(verb)
    if text is None or (verb == "t" and not isinstance(value, bool)) or (verb == "s" and number):
        return f"%!{verb}({type_name(value)}={_go(value)})"
    shown = text(value)
    minimum, dot, precision = width.lstrip("-").partition(".")
    if dot and verb in "sv":
        shown = shown[: int(precision or 0)]
    fill = int(minimum.lstrip("0") or 0) if minimum else 0
    return shown.ljust(fill) if width.startswith("-") else shown.rjust(fill)


def _html(*values: Any) -> str:
    text = _print(*values).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("'", "&#39;").replace('"', "&#34;")


def _js(*values: Any) -> str:
    text = go_quote(_print(*values))[1:-1].replace("'", "\\'")
    for c in "<>&=":
        text = text.replace(c, f"\\u{ord(c):04X}")
    return text


def _urlquery(*values: Any) -> str:
    from tui.cli.transport import quote

    text = quote(_print(*values)).replace("%20", "+")
    return text.replace("/", "%2F").replace(":", "%3A").replace("@", "%40")


def _not_callable(*values: Any) -> Any:
    raise FunctionError("non-function")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _not_callable,  # these two are evaluated lazily, by the template itself
    "or": _not_callable,
    "not": lambda value: not truth(value),
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": _less,
    "le": lambda first, second: not _less(second, first),
    "gt": lambda first, second: _less(second, first),
    "ge": lambda first, second: not _less(first, second),
    "html": _html,
    "index": _index,
    "js": _js,
    "len": _length,
    "print": _print,
    "printf": _printf,
    "println": lambda *values: " ".join(map(_go, values)) + "\n",
    "slice": _slice,
    "urlquery": _urlquery,
    "call": _not_callable,
    "json": _json,
    "join": _join,
    "lower": lambda value: _text(value).lower(),
    "upper": lambda value: _text(value).upper(),
    "title": _title,
    "pad": _pad,
    "split": lambda text, separator: _text(text).split(separator) if separator else list(_text(text)),
    "truncate": _truncate,
}
#: Over headers these leave the text as it is (docker/cli, HeaderFunctions).
HEADER_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": lambda value: value,
    "title": lambda value: value,
    "lower": lambda value: value,
    "upper": lambda value: value,
    "truncate": lambda value, length: value,
    "split": lambda value, separator: value,
    "join": lambda value, separator: value,
}
