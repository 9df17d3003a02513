"""Kinds of values: each takes a member's name and what the request has for it, and returns it checked.

A missing member (None) becomes the kind's empty value, so that what is stored is complete. All raise InvalidArgument
with the member's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.errors import InvalidArgument

MAX_STRINGS = 10_000

Kind = Callable[[str, Any], Any]


def string(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} must be a string, not {shown(value)}")
    if "\0" in value:
        raise InvalidArgument(f"{name} must not hold a NUL byte")
    return value


def boolean(name: str, value: Any) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InvalidArgument(f"{name} must be true or false, not {shown(value)}")
    return value


def integer(name: str, value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgument(f"{name} must be a whole number, not {shown(value)}")
    if not -(2**63) <= value < 2**63:
        raise InvalidArgument(f"{name} is out of range: {value}")
    return value


def optional_integer(name: str, value: Any) -> int | None:
    return None if value is None else integer(name, value)


def strings(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_STRINGS:
        raise InvalidArgument(f"{name} must be a list of strings, not {shown(value)}")
    return [string(f"{name}[{i}]", item) for i, item in enumerate(value)]


def command(name: str, value: Any) -> list[str] | None:
    if value is None:
        return None
    return [value] if isinstance(value, str) else strings(name, value)


def string_map(name: str, value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"{name} must be an object of strings, not {shown(value)}")
    return {key: string(f"{name}.{key}", item) for key, item in value.items()}


def object_(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"{name} must be an object, not {shown(value)}")
    return value


def paths(name: str, value: Any) -> list[str] | None:
    if value is None:
        return None
    found = strings(name, value)
    if not all(path.startswith("/") for path in found):
        raise InvalidArgument(f"{name} must be a list of absolute paths, not {shown(found)}")
    return found


def ulimits(name: str, value: Any) -> list[dict[str, Any]] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(i, dict) and isinstance(i.get("Name"), str) for i in value):
        raise InvalidArgument(f"{name} must be a list of {{Name, Soft, Hard}}, not {shown(value)}")
    return [
        {"Name": item["Name"], **{key: integer(f"{name}.{key}", item.get(key)) for key in ("Soft", "Hard")}}
        for item in value
    ]


def anything(name: str, value: Any) -> Any:
    return value


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
