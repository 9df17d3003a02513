"""``completion bash|zsh|fish``: a script made from the table of verbs; names are asked of a running engine alone."""

from __future__ import annotations

from tui.cli import flags, output, verbs
from tui.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

_CONTAINERS = "dockyard ps -a --format '{{.Names}}' 2>/dev/null"
_IMAGES = "dockyard images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null"
#: A completion never starts an engine.
_RUNNING = "[ -S /run/dockyard/dockyard.sock ]"


def run(options: Options) -> int:
    """Print the script for one shell."""
    makers = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    shell = options.args[0]
    if shell not in makers:
        raise CliError(f"dockyard: no completion for {shell}: give bash, zsh or fish")
    output.out(makers[shell]())
    return 0


def _flags(table: str) -> list[flags.Flag]:
    return [flag for flag in flags.Flags(table).all if flag.supported and flag.help != "-"]


def _top() -> dict[str, Any]:
    """The verbs of one word; those of nouns are completed behind their noun."""
    return {name: row for name, row in verbs.VERBS.items() if " " not in name}


def _names(usage: str) -> str:
    """The command that lists what the verb's arguments may be."""
    return _CONTAINERS if "CONTAINER" in usage else _IMAGES if "IMAGE" in usage else ""


def _bash() -> str:
    cases = []
    for name, row in _top().items():
        words = " ".join(f"--{flag.name}" for flag in _flags(row[5]))
        listed = _names(row[1])
        cases.append(f"    {name}) words='{words}'; {f'{_RUNNING} && names=$({listed})' if listed else ':'} ;;")
    subs = [f"    {noun}) names='{' '.join(sorted(found))}' ;;" for noun, found in verbs.NOUNS.items()]
    everything = " ".join([*sorted(_top()), *verbs.NOUNS])
    lines = [
        "_dockyard() {",
        "  local cur=${COMP_WORDS[COMP_CWORD]} words= names=",
        "  if [ $COMP_CWORD -eq 1 ]; then",
        f"    COMPREPLY=($(compgen -W '{everything}' -- \"$cur\")); return",
        "  fi",
        "  case ${COMP_WORDS[1]} in",
        *cases,
        *subs,
        "  esac",
        "  case $cur in -*) names=$words ;; esac",
        '  COMPREPLY=($(compgen -W "$names" -- "$cur"))',
        # image names have colons, which readline takes for the ends of words
        '  declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cur"',
        "}",
        "complete -o default -F _dockyard dockyard",
    ]
    return "\n".join(lines) + "\n"


def _zsh() -> str:
    return "#compdef dockyard\nautoload -U +X bashcompinit && bashcompinit\n" + _bash()


def _fish() -> str:
    lines = []
    for name, row in _top().items():
        seen = f"-n '__fish_seen_subcommand_from {name}'"
        lines.append(f"complete -c dockyard -n __fish_use_subcommand -f -a {name} -d {_quote(row[4])}")
        for flag in _flags(row[5]):
            short = f" -s {flag.short}" if flag.short else ""
            lines.append(f"complete -c dockyard {seen} -l {flag.name}{short} -d {_quote(flag.help)}")
        listed = _names(row[1])
        if listed:
            lines.append(
                f"complete -c dockyard {seen} -a {_quote(f'(test -S /run/dockyard/dockyard.sock; and {listed})')}"
            )
    for noun, found in verbs.NOUNS.items():
        lines.append(f"complete -c dockyard -n __fish_use_subcommand -f -a {noun}")
        lines.append(f"complete -c dockyard -n '__fish_seen_subcommand_from {noun}' -f -a '{' '.join(sorted(found))}'")
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    """A word for fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
