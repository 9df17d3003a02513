"""A person's settings: ``$XDG_CONFIG_HOME/dockyard/config.toml``, by default below ``~/.config``.

A wrong value never stops the workstation: it becomes a sentence in ``problems`` (file, key, what is allowed) and
the default is used. The file::

    theme = "dockyard-light"     # a name in themes/ or in ~/.config/dockyard/themes/
    read_only = true             # nothing that changes a container
    mouse = "auto"               # true, false, or auto: off over SSH
    ascii = "auto"               # true, false, or auto: by the locale

    [keys]                       # an action's name = "key,key" in Textual's names
    kill = "ctrl+k"
"""

from __future__ import annotations

import os
from typing import Any

from tui.actions import ACTIONS

_AUTO = ("auto", True, False)


class Config:
    """The settings in force, and what was wrong in the file."""

    __slots__ = ("ascii", "keys", "mouse", "path", "problems", "read_only", "theme")

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.theme = ""
        self.read_only = False
        self.mouse: str | bool = "auto"
        self.ascii: str | bool = "auto"
        self.keys: dict[str, str] = {}
        self.problems: list[str] = []

    @property
    def theme_folders(self) -> tuple[str, ...]:
        return (os.path.join(os.path.dirname(self.path), "themes"),) if self.path else ()

    @property
    def use_mouse(self) -> bool:
        """Off over SSH unless asked for: reporting every motion is sent upstream."""
        return self.mouse if isinstance(self.mouse, bool) else not os.environ.get("SSH_CONNECTION")

    @property
    def use_ascii(self) -> bool:
        """Whether the terminal may get nothing but ASCII."""
        from tui.text import locale_is_utf8

        return self.ascii if isinstance(self.ascii, bool) else not locale_is_utf8()

    def take(self, data: dict[str, Any]) -> None:
        """Apply a parsed file, key by key."""
        for key, value in data.items():
            if key == "keys" and isinstance(value, dict):
                self._take_keys(value)
            elif key == "theme" and isinstance(value, str):
                self.theme = value
            elif key == "read_only" and isinstance(value, bool):
                self.read_only = value
            elif key in ("mouse", "ascii") and value in _AUTO:
                setattr(self, key, value)
            else:
                self._complain(key, value)

    def _complain(self, key: str, value: object) -> None:
        allowed = {
            "theme": "the name of a theme in quotes",
            "read_only": "true or false",
            "mouse": 'true, false or "auto"',
            "ascii": 'true, false or "auto"',
            "keys": "a table: [keys]",
        }
        if key in allowed:
            self.problems.append(f"{self.path}: {key} = {value!r}: allowed: {allowed[key]}")
        else:
            self.problems.append(f"{self.path}: {key}: no such setting; allowed: {', '.join(allowed)}")

    def _take_keys(self, table: dict[str, Any]) -> None:
        known = {action.name for action in ACTIONS}
        for name, keys in table.items():
            if name not in known:
                self.problems.append(f"{self.path}: keys.{name}: no such action; allowed: {', '.join(sorted(known))}")
            elif not isinstance(keys, str) or not keys.strip():
                self.problems.append(
                    f'{self.path}: keys.{name} = {keys!r}: allowed: keys in quotes, as "x" or "ctrl+x,f5"'
                )
            else:
                self.keys[name] = ",".join(key.strip() for key in keys.split(","))
        self._find_clashes()

    def _find_clashes(self) -> None:
        taken: dict[tuple[str, str], str] = {}
        for action in sorted(ACTIONS, key=lambda action: (action.scope != "app", action.name in self.keys)):
            for key in self.keys.get(action.name, action.keys).split(","):
                other = taken.get(("app", key)) or taken.setdefault((action.scope, key), action.name)
                if other != action.name and {other, action.name} & self.keys.keys():
                    self.problems.append(
                        f"{self.path}: keys: {key} is given to {other} and to {action.name}: {other} has it"
                    )


def default_path() -> str:
    """Where the file is looked for."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(base, "dockyard", "config.toml")


def load(path: str = "") -> Config:
    """The settings of ``path``; defaults when there is no file. Never raises for what a person wrote."""
    config = Config(path or default_path())
    try:
        with open(config.path, "rb") as file:
            import tomllib

            try:
                config.take(tomllib.load(file))
            except tomllib.TOMLDecodeError as error:
                config.problems.append(f"{config.path}: not valid TOML, so nothing of it is used: {error}")
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        config.problems.append(f"{config.path}: cannot be read: {error}")
    return config
