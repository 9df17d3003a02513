"""Themes as data: ``NAME.json`` is a palette, ``*.tcss`` the layout. This file only loads them.

A palette: ``{"dark": true, "ansi": false, "colors": {ROLE: "#rrggbb" | "ansi_red" | …}}`` with the roles of
:data:`ROLES`. Roles that are not given are taken from ``dockyard-dark`` (``ansi-dark`` for an ANSI palette).
"""

from __future__ import annotations

import json
import os
from typing import Any

FOLDER = os.path.dirname(os.path.abspath(__file__))
DEFAULT = "dockyard-dark"
STYLESHEET = os.path.join(FOLDER, "workstation.tcss")

ROLES = (
    "background", "text", "dim", "ok", "warn", "bad", "accent", "head",
    "bar", "bar_text", "bar_key", "cursor", "cursor_text", "panel", "line", "match", "match_text",
)  # fmt: skip
_ANSI = {
    "default", "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white", "bright_black", "bright_red",
    "bright_green", "bright_yellow", "bright_blue", "bright_magenta", "bright_cyan", "bright_white",
}  # fmt: skip


class ThemeError(ValueError):
    """A palette cannot be used; the text names the file, the key and what is allowed."""


class Palette:
    """Colours by role, each ``#rrggbb`` or ``ansi_NAME``."""

    __slots__ = ("ansi", "colors", "dark", "name")

    def __init__(self, name: str, data: dict[str, Any], base: dict[str, str], where: str) -> None:
        self.name = name
        self.dark = bool(data.get("dark", True))
        self.ansi = bool(data.get("ansi", False))
        given = data.get("colors", {})
        if not isinstance(given, dict):
            raise ThemeError(f"{where}: colors: a table of roles is expected")
        for role, color in given.items():
            if role not in ROLES:
                raise ThemeError(f"{where}: colors.{role}: no such role; allowed: {', '.join(ROLES)}")
            if not is_color(color):
                raise ThemeError(f"{where}: colors.{role}: {color!r} is neither #rrggbb nor ansi_red, ansi_default, …")
        self.colors: dict[str, str] = {**base, **given}

    def __getitem__(self, role: str) -> str:
        return self.colors[role]


def is_color(text: object) -> bool:
    """Whether a palette may hold ``text``."""
    if not isinstance(text, str):
        return False
    if text.startswith("ansi_"):
        return text[5:] in _ANSI
    return len(text) == 7 and text[0] == "#" and all(digit in "0123456789abcdefABCDEF" for digit in text[1:])


def names(folders: tuple[str, ...] = ()) -> list[str]:
    """Every palette to be found, the person's folders included."""
    found: set[str] = set()
    for folder in (FOLDER, *folders):
        if os.path.isdir(folder):
            found.update(name[:-5] for name in os.listdir(folder) if name.endswith(".json"))
    return sorted(found)


def load(name: str, folders: tuple[str, ...] = ()) -> Palette:
    """The palette ``name``, searched in ``folders`` first. Raises :class:`ThemeError`."""
    for folder in (*folders, FOLDER):
        path = os.path.join(folder, f"{name}.json")
        if os.path.sep not in name and os.path.isfile(path):
            break
    else:
        raise ThemeError(f"theme: no theme {name!r}; allowed: {', '.join(names(folders))}")
    data = _read(path)
    fallback = "ansi-dark" if data.get("ansi") else DEFAULT
    base = {} if name == fallback else _read(os.path.join(FOLDER, f"{fallback}.json"))["colors"]
    return Palette(name, data, base, path)


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, ValueError) as error:
        raise ThemeError(f"{path}: not a readable JSON file: {error}") from error
    if not isinstance(data, dict):
        raise ThemeError(f"{path}: a JSON object is expected")
    return data
