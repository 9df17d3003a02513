"""Find the verb, parse its flags, run it, and turn every failure into words and an exit code."""

from __future__ import annotations

import posix
import sys

from tui.cli import flags, output, verbs
from tui.cli.errors import CliError, Exit, UsageError
from tui.cli.flag_tables import GLOBAL_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_SIGINT = 2


def main(arguments: list[str]) -> NoReturn:
    """Run the command line and end the process (without the interpreter's slow farewell)."""
    _fill_standard_descriptors()
    try:
        code = run(arguments)
    except Exit as end:
        code = end.code
    except CliError as error:
        output.err(error.message + "\n")
        code = error.code
    except KeyboardInterrupt:
        code = 128 + _SIGINT
    except OSError as error:
        output.err(f"dockyard: {_words(error)}\n")
        code = 1
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if b"DOCKYARD_TRACEBACK" in posix.environ:
            raise
        output.err(
            f"dockyard: internal error: {type(error).__name__}: {error}\n"
            "DOCKYARD_TRACEBACK=1 shows where; please report it\n"
        )
        code = 1
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        pass
    posix._exit(code)


def _fill_standard_descriptors() -> None:
    """Where the caller closed one of 0, 1 and 2, the engine's socket would become it and get our output."""
    for fd in (0, 1, 2):
        try:
            posix.fstat(fd)
        except OSError:
            posix.open("/dev/null", posix.O_RDWR)


def _words(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def run(arguments: list[str]) -> int:
    """The command line's exit code. Raises CliError."""
    options = _global_flags(arguments)
    host = options["host"]
    if len(host) > 1:
        raise CliError("Specify only one -H")
    args = options.args
    if options["version"]:
        from tui.cli.system import print_version

        return print_version()
    if len(args) == 2 and args[0] in verbs.NOUNS and args[1] in ("--help", "-h"):
        args = ["help", args[0]]
    if options.given("help") or args[:1] == ["help"]:
        from tui.cli.help import show

        return show(args[1:] if args[:1] == ["help"] else args)
    from tui.cli.engine import choose

    choose(host[0] if host else None)
    if not args:
        from tui.cli.system import workstation

        return workstation()
    return run_verb(*_resolve(args))


def _global_flags(arguments: list[str]) -> flags.Options:
    if arguments and arguments[0][:1] != "-":
        options = flags.Options(_GLOBAL)
        options.args = arguments
        return options
    try:
        return flags.parse(_GLOBAL, arguments, interspersed=False)
    except UsageError as error:
        raise CliError(f"{error.message}\nRun 'dockyard --help' for more information", 125) from None


def _resolve(args: list[str]) -> tuple[verbs.Verb, list[str]]:
    """The verb and its arguments; ``container ls -a`` is ``ps -a``. Raises CliError for words nobody knows."""
    word, rest = args[0], args[1:]
    noun = verbs.NOUNS.get(word)
    if noun is not None:
        if not rest:
            from tui.cli.help import show

            raise Exit(show([word]))
        if {rest[0], f"{word} {rest[0]}"} & verbs.LATER and rest[0] not in noun:
            raise CliError(f"dockyard does not support '{word} {rest[0]}' yet\nRun 'dockyard --help' for the list")
        if rest[0] not in noun:
            raise CliError(f"dockyard: unknown command: dockyard {word} {rest[0]}\nRun 'dockyard --help' for the list")
        kind = ["--type", word] if noun[rest[0]] == "inspect" else []
        word, rest = noun[rest[0]], kind + rest[1:]
    verb = verbs.find(word)
    if verb is not None:
        return verb, rest
    if word in verbs.LATER:
        raise CliError(f"dockyard does not support '{word}' yet\nRun 'dockyard --help' for the list of commands")
    raise CliError(f"dockyard: unknown command: dockyard {word}\n\nRun 'dockyard --help' for more information")


def run_verb(verb: verbs.Verb, arguments: list[str]) -> int:
    """Parse, check the number of arguments, run."""
    try:
        options = flags.parse(flags.Flags(verb.table), arguments, interspersed=verb.interspersed)
        if options.given("help"):
            from tui.cli.help import show

            return show([verb.name])
        _check_count(verb, len(options.args))
        # __import__ returns the top package; importlib would be one more module to load.
        __import__(verb.module)
        code: int = getattr(sys.modules[verb.module], verb.function)(options)
        return code
    except UsageError as error:
        raise CliError(
            f"{error.message}\n\nUsage:  dockyard {verb.name} {verb.usage}\n\nSee 'dockyard {verb.name} --help'.",
            error.code,
        ) from None


def _check_count(verb: verbs.Verb, count: int) -> None:
    def plural(number: int) -> str:
        return f"{number} argument{'' if number == 1 else 's'}"

    if verb.least <= count and (count <= verb.most or verb.most < 0):
        return
    if verb.most == 0:
        text = "accepts no arguments"
    elif verb.least == verb.most:
        text = f"requires {plural(verb.least)}"
    elif count < verb.least:
        text = f"requires at least {plural(verb.least)}"
    else:
        text = f"requires at most {plural(verb.most)}"
    raise UsageError(f"dockyard: 'dockyard {verb.name}' {text}", 125 if verb.name == "run" else 1)


_GLOBAL = flags.Flags(GLOBAL_FLAGS)
