"""``completion bash|zsh|fish``: a script made from the table of verbs; names are asked of a running engine alone."""

from __future__ import annotations

from tui.cli import flags, output, verbs
from tui.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tui.cli.flags import Options

#: The word of a usage line → the command that lists what it may be.
_LISTED = {
    "CONTAINER": "dockyard ps -a --format '{{.Names}}' 2>/dev/null",
    "IMAGE": "dockyard images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null",
    "NETWORK": "dockyard network ls --format '{{.Name}}' 2>/dev/null",
    "VOLUME": "dockyard volume ls -q 2>/dev/null",
}
#: The same for the values of flags.
_FLAG_LISTED = {
    "--network": "NETWORK", "--net": "NETWORK", "--link": "CONTAINER", "--volumes-from": "CONTAINER",
}  # fmt: skip
#: A completion never starts an engine.
_RUNNING = "[ -S /run/dockyard/dockyard.sock ]"
_FISH_RUNNING = "test -S /run/dockyard/dockyard.sock"


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


def _top() -> list[str]:
    """The verbs of one word; those of nouns are completed behind their noun."""
    return [name for name in verbs.VERBS if " " not in name]


def _spoken() -> dict[str, list[str]]:
    """Verb → what it is called: ``ps`` is also ``container ls``."""
    called = {name: [name] if " " not in name else [] for name in verbs.VERBS}
    for noun, found in verbs.NOUNS.items():
        for word, name in found.items():
            called[name].append(f"{noun} {word}")
    return called


def _names(name: str) -> str:
    """The command that lists what the verb's arguments may be; of two kinds both."""
    usage = verbs.VERBS[name][1]
    if name.endswith(" create"):  # a name that nothing has yet
        return ""
    return "; ".join([command for word, command in _LISTED.items() if word in usage])


def _bash() -> str:
    cases = []
    for name, called in _spoken().items():
        words = " ".join(f"--{flag.name}" for flag in _flags(verbs.VERBS[name][5]))
        listed = _names(name)
        pattern = "|".join(f"'{each}'" for each in called)
        cases.append(f"    {pattern}) words='{words}'; {f'{_RUNNING} && names=$({listed})' if listed else ':'} ;;")
    subs = [f"    {noun}) names='{' '.join(sorted(found))}' ;;" for noun, found in verbs.NOUNS.items()]
    everything = " ".join([*sorted(_top()), *verbs.NOUNS])
    nouns = "|".join(verbs.NOUNS)
    values = [f"    {flag}) {_RUNNING} && names=$({_LISTED[kind]}) ;;" for flag, kind in _FLAG_LISTED.items()]
    lines = [
        "_dockyard() {",
        "  local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} words= names=",
        "  if [ $COMP_CWORD -eq 1 ]; then",
        f"    COMPREPLY=($(compgen -W '{everything}' -- \"$cur\")); return",
        "  fi",
        f'  case $verb in {nouns}) [ $COMP_CWORD -gt 2 ] && verb="$verb ${{COMP_WORDS[2]}}" ;; esac',
        "  case $verb in",
        *cases,
        *subs,
        "  esac",
        "  case ${COMP_WORDS[COMP_CWORD-1]} in",
        *values,
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
    nouns = " ".join(verbs.NOUNS)
    lines = [
        f"complete -c dockyard -n __fish_use_subcommand -f -a {name} -d {_quote(verbs.VERBS[name][4])}"
        for name in _top()
    ]
    for noun, found in verbs.NOUNS.items():
        words = " ".join(sorted(found))
        seen = f"__fish_seen_subcommand_from {noun}; and not __fish_seen_subcommand_from {words}"
        lines.append(f"complete -c dockyard -n __fish_use_subcommand -f -a {noun}")
        lines.append(f"complete -c dockyard -n {_quote(seen)} -f -a '{words}'")
    for name, called in _spoken().items():
        for each in called:
            noun, _, word = each.rpartition(" ")
            first = f"__fish_seen_subcommand_from {noun}" if noun else f"not __fish_seen_subcommand_from {nouns}"
            lines += _fish_verb(name, _quote(f"{first}; and __fish_seen_subcommand_from {word}"))
    return "\n".join(lines) + "\n"


def _fish_verb(name: str, seen: str) -> list[str]:
    lines = []
    for flag in _flags(verbs.VERBS[name][5]):
        short = f" -s {flag.short}" if flag.short else ""
        kind = _FLAG_LISTED.get(f"--{flag.name}")
        value = f" -x -a {_quote(f'({_FISH_RUNNING}; and {_LISTED[kind]})')}" if kind else ""
        lines.append(f"complete -c dockyard -n {seen} -l {flag.name}{short}{value} -d {_quote(flag.help)}")
    lines += [
        f"complete -c dockyard -n {seen} -a {_quote(f'({_FISH_RUNNING}; and {command})')}"
        for command in _names(name).split("; ")
        if command
    ]
    return lines


def _quote(text: str) -> str:
    """A word for fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
