"""``--help``, laid out as Docker's."""

from __future__ import annotations

import textwrap

from tui.cli import flags, output, verbs
from tui.cli.errors import CliError
from tui.cli.flag_tables import GLOBAL_FLAGS

_COMMON = ("run", "exec", "ps", "logs", "images")
_TYPES = {"bytes": "bytes", "decimal": "decimal", "int": "int", "list": "list", "string": "string"}
_WIDTH = 100


def show(words: list[str]) -> int:
    """The help of a verb, of a noun, or of everything."""
    if not words:
        output.out(_overview())
        return 0
    noun = verbs.NOUNS.get(words[0])
    if noun is not None and len(words) == 1:
        output.out(_noun(words[0], noun))
        return 0
    if noun is not None:
        words = [noun.get(words[1], words[1])]
    verb = verbs.find(words[0])
    if verb is None:
        raise CliError(f"dockyard: unknown command: dockyard {words[0]}\nRun 'dockyard --help' for the list")
    output.out(_verb(verb))
    return 0


def _overview() -> str:
    lines = [
        "Usage:  dockyard [OPTIONS] COMMAND",
        "",
        "A container engine with Docker's API. Without a command the workstation opens.",
        "",
        "Common Commands:",
    ]
    lines += [f"  {name:<11} {verbs.VERBS[name][4]}" for name in _COMMON]
    lines += ["", "Management Commands:", *(f"  {noun:<11} {_manages(noun)}" for noun in sorted(verbs.NOUNS))]
    lines += ["", "Commands:"]
    lines += [
        f"  {name:<11} {verbs.VERBS[name][4]}"
        for name in sorted(verbs.VERBS)
        if name not in _COMMON and " " not in name
    ]
    lines += ["", "Global Options:", *_options(GLOBAL_FLAGS), ""]
    lines += ["Run 'dockyard COMMAND --help' for more information on a command."]
    return "\n".join(lines) + "\n"


def _manages(noun: str) -> str:
    return "Manage Dockyard" if noun == "system" else f"Manage {noun}s"


def _noun(noun: str, found: dict[str, str]) -> str:
    width = max(map(len, found)) + 2
    lines = [f"Usage:  dockyard {noun} COMMAND", "", _manages(noun), "", "Commands:"]
    lines += [f"  {word:<{width}}{verbs.VERBS[found[word]][4]}" for word in sorted(found)]
    lines += ["", f"Run 'dockyard {noun} COMMAND --help' for more information on a command."]
    return "\n".join(lines) + "\n"


def _verb(verb: verbs.Verb) -> str:
    lines = [f"Usage:  dockyard {verb.name} {verb.usage}", "", verb.summary]
    names = [f"dockyard {noun} {sub}" for noun, subs in verbs.NOUNS.items() for sub in subs if subs[sub] == verb.name]
    own = f"dockyard {verb.name}"
    if set(names) - {own}:
        lines += ["", "Aliases:", "  " + ", ".join([*(name for name in names if name != own), own])]
    options = _options(verb.table)
    if options:
        lines += ["", "Options:", *options]
    return "\n".join(lines) + "\n"


def _options(table: str) -> list[str]:
    shown = [f for f in sorted(flags.Flags(table).all, key=lambda f: f.name) if f.supported and f.help != "-"]
    heads = []
    for flag in shown:
        letter = f"-{flag.short}, " if flag.short else "    "
        kind = _TYPES.get(flag.kind, "")
        heads.append(f"  {letter}--{flag.name}{' ' + kind if kind else ''}")
    width = max(map(len, heads), default=0) + 3
    lines = []
    for head, flag in zip(heads, shown, strict=True):
        text = flag.help + (f" (default {_default(flag)})" if flag.default not in (None, "", False, [], -1) else "")
        first, *rest = textwrap.wrap(text, max(40, _WIDTH - width)) or [""]
        lines += [f"{head:<{width}}{first}", *[" " * width + line for line in rest]]
    return lines


def _default(flag: flags.Flag) -> str:
    if flag.kind == "bool":
        return "true" if flag.default else "false"
    return f'"{flag.default}"' if flag.kind == "string" else str(flag.default)
