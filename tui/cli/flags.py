"""Flags as Docker's command line parses them (the pflag library's rules), from a verb's text table.

A table has one flag a line: ``name[,short] kind[=default] help``. Kinds: ``bool int string list bytes decimal``;
a ``!`` after the kind marks a flag of Docker's that is refused by name. A ``-`` as the help hides a flag. What stands
as a list's default is another list: the flag is a second name for that one.
Long flags take ``--name value`` or ``--name=value``; booleans only the latter. Short ones cluster (``-itd``), the
last may carry its value (``-eA=1``, ``-e A=1``, ``-n=3``). ``--`` ends the flags; so does the first positional
where the verb says so (``run`` and ``exec``: what follows belongs to the container's command).
"""

from __future__ import annotations

from tui.cli.errors import CliError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


class Flag:
    """One flag. ``default`` is the value when it is not given."""

    __slots__ = ("default", "help", "kind", "name", "short", "stored", "supported")

    def __init__(self, line: str) -> None:
        names, kind, *rest = line.split(None, 2)
        self.name, _, self.short = names.partition(",")
        kind, _, default = kind.partition("=")
        self.supported = not kind.endswith("!")
        self.kind = kind.rstrip("!")
        self.help = rest[0] if rest else ""
        self.default: Any = default
        self.stored = self.name
        if self.kind == "bool":
            self.default = default == "true"
        elif self.kind in ("int", "bytes", "decimal"):
            self.default = int(default) if default else None
        elif self.kind == "list":
            self.default = []
            self.stored = default or self.name

    def shown(self) -> str:
        """As error messages name it: ``-d, --detach``."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"

    def convert(self, text: str) -> Any:
        """``text`` as a value. Raises UsageError as Docker words it."""
        try:
            if self.kind == "bool":
                return _boolean(text)
            if self.kind == "int":
                return _integer(text)
            if self.kind == "bytes":
                from tui.cli.units import parse_bytes

                return parse_bytes(text)
            if self.kind == "decimal":
                from tui.cli.units import parse_cpus

                return parse_cpus(text)
        except ValueError as error:
            raise UsageError(f'invalid argument "{text}" for "{self.shown()}" flag: {error}') from None
        return text


def _boolean(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def _integer(text: str) -> int:
    try:
        if "_" in text or text != text.strip():
            raise ValueError
        value = int(text, 0) if text.lstrip("+-")[:2].lower() in ("0x", "0b", "0o") else int(text)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if not -(2**63) <= value < 2**63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


class Flags:
    """A verb's table, ready to be looked into. Cheap to make: a run pays for it."""

    def __init__(self, table: str) -> None:
        self.all = [Flag(line) for line in table.splitlines() if line]
        self.by_name = {flag.name: flag for flag in self.all}
        self.by_short = {flag.short: flag for flag in self.all if flag.short}


class Options:
    """What was given: ``options["name"]`` is the value or the default; ``args`` are the positionals."""

    def __init__(self, flags: Flags) -> None:
        self._flags = flags.by_name
        self._values: dict[str, Any] = {}
        self.args: list[str] = []

    def __getitem__(self, name: str) -> Any:
        return self._values[name] if name in self._values else self._flags[name].default

    def given(self, name: str) -> bool:
        """Whether the flag was on the command line."""
        return name in self._values

    def store(self, flag: Flag, text: str) -> None:
        """Take a flag's value; refuses flags that are Docker's and not (yet) ours."""
        if flag.name == "help":
            self._values["help"] = True
            return
        if not flag.supported:
            from tui.cli.refusals import reason

            raise CliError(f"dockyard does not support --{flag.name} yet{reason(flag.name)}", 125)
        value = flag.convert(text)
        if flag.kind == "list":
            self._values.setdefault(flag.stored, []).append(value)
        else:
            self._values[flag.name] = value


def parse(flags: Flags, arguments: list[str], *, interspersed: bool = True) -> Options:
    """Sort ``arguments`` into flags and positionals. Raises UsageError."""
    options = Options(flags)
    rest = arguments[::-1]
    while rest:
        word = rest.pop()
        if word == "--":
            options.args += rest[::-1]
            break
        if word[:2] == "--":
            _long(flags, options, word, rest)
        elif word[:1] == "-" and word != "-":
            _cluster(flags, options, word, rest)
        elif interspersed:
            options.args.append(word)
        else:
            options.args += [word, *rest[::-1]]
            break
    return options


def _long(flags: Flags, options: Options, word: str, rest: list[str]) -> None:
    name, equals, value = word[2:].partition("=")
    if name == "" or name[0] in "-=":
        raise UsageError(f"bad flag syntax: {word}")
    flag = _HELP if name == "help" else flags.by_name.get(name)
    if flag is None:
        raise UsageError(f"unknown flag: --{name}")
    if equals:
        options.store(flag, value)
    elif flag.kind == "bool":
        options.store(flag, "true")
    elif rest:
        options.store(flag, rest.pop())
    else:
        raise UsageError(f"flag needs an argument: --{name}")


def _cluster(flags: Flags, options: Options, word: str, rest: list[str]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = flags.by_short.get(letter)
        if flag is None:
            if letter == "h":
                options.store(_HELP, "true")
                return
            raise UsageError(f"unknown shorthand flag: '{letter}' in -{letter}{letters}")
        if letters[:1] == "=":
            options.store(flag, letters[1:])
            return
        if flag.kind == "bool":
            options.store(flag, "true")
        elif letters:
            options.store(flag, letters)
            return
        elif rest:
            options.store(flag, rest.pop())
        else:
            raise UsageError(f"flag needs an argument: '{letter}' in -{letter}")


_HELP = Flag("help bool Print usage")
