"""Flags by Docker's rules, and the one table they come from."""

from __future__ import annotations

import importlib
import re

import pytest

from tui.cli import flags, verbs
from tui.cli.errors import CliError, UsageError

TABLE = flags.Flags(
    """\
all,a bool Show all
detach,d bool=false -
env,e list Set
interactive,i bool Keep
last,n int=-1 Show n
memory,m bytes Limit
cpus decimal Number
name string Name
proxy bool=true Proxy
publish,p list! Publish
tty,t bool Terminal
"""
)


def parse(*words: str, interspersed: bool = True) -> flags.Options:
    return flags.parse(TABLE, list(words), interspersed=interspersed)


def test_defaults() -> None:
    options = parse()
    assert (options["all"], options["proxy"], options["last"], options["name"]) == (False, True, -1, "")
    assert (options["env"], options["memory"], options["cpus"]) == ([], None, None)
    assert not options.given("all")


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--name", "x"], "name", "x"),
        (["--name=x=y"], "name", "x=y"),
        (["--name="], "name", ""),
        (["--name", "-d"], "name", "-d"),
        (["-a"], "all", True),
        (["--all=false"], "all", False),
        (["-a=0"], "all", False),
        (["--proxy=F"], "proxy", False),
        (["-n3"], "last", 3),
        (["-n=0x10"], "last", 16),
        (["-n", "-5"], "last", -5),
        (["-eA=1", "--env", "B", "-e=C=2"], "env", ["A=1", "B", "C=2"]),
        (["-itdeX=1"], "env", ["X=1"]),
        (["-m", "1.5g"], "memory", 3 << 29),
        (["--cpus", ".5"], "cpus", 500_000_000),
        (["--name", "a", "--name", "b"], "name", "b"),
    ],
)
def test_values(words: list[str], name: str, value: object) -> None:
    options = parse(*words)
    assert options[name] == value
    assert options.given(name)
    assert options.args == []


def test_clusters_set_every_letter() -> None:
    options = parse("-itd")
    assert options["interactive"]
    assert options["tty"]
    assert options["detach"]


def test_flags_may_follow_positionals_unless_the_verb_says_no() -> None:
    assert parse("x", "-a", "y").args == ["x", "y"]
    options = parse("-a", "image", "ls", "-d", "--", "z", interspersed=False)
    assert options.args == ["image", "ls", "-d", "--", "z"]
    assert not options["detach"]


def test_two_dashes_end_the_flags() -> None:
    assert parse("-a", "--", "-d", "--name").args == ["-d", "--name"]
    assert parse("--", "image", "--", "x", interspersed=False).args == ["image", "--", "x"]
    assert parse("-").args == ["-"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--x"], "unknown flag: --x"),
        (["--x=1"], "unknown flag: --x"),
        (["-Zt"], "unknown shorthand flag: 'Z' in -Zt"),
        (["-aZt"], "unknown shorthand flag: 'Z' in -Zt"),
        (["--name"], "flag needs an argument: --name"),
        (["-e"], "flag needs an argument: 'e' in -e"),
        (["---x"], "bad flag syntax: ---x"),
        (["--=x"], "bad flag syntax: --=x"),
        (
            ["--all=abc"],
            'invalid argument "abc" for "-a, --all" flag: strconv.ParseBool: parsing "abc": invalid syntax',
        ),
        (["--last", "x"], 'invalid argument "x" for "-n, --last" flag: strconv.ParseInt: parsing "x": invalid syntax'),
        (["-m", "lots"], 'invalid argument "lots" for "-m, --memory" flag: invalid size: \'lots\''),
        (["--cpus", "much"], 'invalid argument "much" for "--cpus" flag: failed to parse much as a rational number'),
    ],
)
def test_errors_are_worded_as_dockers(words: list[str], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*words)
    assert caught.value.message == text
    assert caught.value.code == 125


def test_what_is_not_supported_is_refused_by_name() -> None:
    with pytest.raises(CliError, match="dockyard does not support --publish yet") as caught:
        parse("-p", "80:80")
    assert caught.value.code == 125


def test_help_is_known_everywhere() -> None:
    assert parse("--help").given("help")
    assert parse("-h").given("help")


@pytest.mark.parametrize("name", sorted(verbs.VERBS))
def test_the_table_is_sound(name: str) -> None:
    verb = verbs.find(name)
    assert verb is not None
    found = flags.Flags(verb.table)
    assert len(found.by_name) == len(found.all), "a flag stands twice"
    letters = [flag.short for flag in found.all if flag.short]
    assert len(set(letters)) == len(letters)
    for flag in found.all:
        assert flag.kind in ("bool", "int", "string", "list", "bytes", "decimal"), flag.name
        assert flag.help, flag.name
        assert re.fullmatch(r"[a-z0-9-]+", flag.name)
    assert callable(getattr(importlib.import_module(verb.module), verb.function))


def test_nouns_lead_to_verbs() -> None:
    for noun, subs in verbs.NOUNS.items():
        assert noun not in verbs.VERBS
        assert set(subs.values()) <= set(verbs.VERBS)
    assert not verbs.LATER & (set(verbs.VERBS) | set(verbs.NOUNS))


#: The flags the first release must have, by verb.
REQUIRED = {
    "run": "d i t rm name e env-file w v mount tmpfs u h entrypoint read-only m cpus pids-limit cap-add cap-drop "
    "privileged security-opt init label network stop-signal stop-timeout detach-keys sig-proxy cidfile pull log-opt",
    "start": "a i detach-keys",
    "stop": "t s",
    "kill": "s",
    "rm": "f v",
    "ps": "a q n l no-trunc format filter",
    "logs": "f t since until tail n details",
    "exec": "d i t e env-file u w privileged detach-keys",
    "attach": "detach-keys no-stdin sig-proxy",
    "inspect": "f type s",
    "events": "since until filter format",
    "images": "a q no-trunc digests format filter",
    "rmi": "f",
    "import": "c m",
    "load": "i q",
}


@pytest.mark.parametrize("name", REQUIRED)
def test_required_flags_are_supported(name: str) -> None:
    verb = verbs.find(name)
    assert verb is not None
    found = flags.Flags(verb.table)
    for word in REQUIRED[name].split():
        flag = found.by_short.get(word) if len(word) == 1 else found.by_name.get(word)
        assert flag is not None, word
        assert flag.supported, word
