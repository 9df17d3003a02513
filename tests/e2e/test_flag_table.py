"""Verb × flag against the real docker command line: every flag is there, or refused by name with a reason.

The table is made from ``docker VERB --help`` and compared with :mod:`tui.cli.verbs`; nothing of it is written down
twice. Verbs that do not exist here yet must be refused by name, those that come with later work are listed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from typing import NamedTuple

import pytest

from tests.support import Engine
from tui.cli import flags, verbs
from tui.cli.errors import CliError
from tui.cli.refusals import REASONS

pytestmark = pytest.mark.skipif(shutil.which("docker") is None, reason="the docker command line is not installed")

_FLAG = re.compile(r"^ +(?:-(\w), )?--([a-z0-9-]+)(?: ([a-zA-Z0-9]+))?  ", re.MULTILINE)
_COMMAND = re.compile(r"^  ([a-z]+)\*? ", re.MULTILINE)
#: What is in Docker's command line and has its own work ahead, or none.
LATER = {
    **dict.fromkeys(("pull", "push", "login", "logout", "search", "manifest", "trust"), "registries"),
    **dict.fromkeys(("build", "builder", "buildx"), "builds"),
    **dict.fromkeys(("config", "node", "secret", "service", "stack", "swarm"), "one machine only, no swarm"),
    **dict.fromkeys(("checkpoint", "context", "plugin", "compose"), "not part of the engine"),
}
#: Our kind of the flags that have no word for a value in Docker's help.
_NO_VALUE = "bool"


class Line(NamedTuple):
    """One line of Docker's help; ``value`` is the word for its value, "" for a switch."""

    short: str
    name: str
    value: str


@cache
def _help(*words: str) -> str:
    done = subprocess.run(["docker", *words, "--help"], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout if f"Usage:  docker {' '.join(words)}".strip() in done.stdout else ""


def _docker_flags(verb: str) -> list[Line]:
    return [Line(*found) for found in _FLAG.findall(_help(*verb.split())) if found[1] != "help"]


def _ours() -> list[str]:
    """The verbs that exist in both; the rest is Dockyard's own."""
    return [name for name in sorted(verbs.VERBS) if name not in ("demo", "serve")]


def _table(name: str) -> flags.Flags:
    verb = verbs.find(name)
    assert verb is not None, name
    return flags.Flags(verb.table)


def _dockers_name(name: str) -> str:
    """Our verbs of a noun may be written ``volume ls``, ``volume-ls`` or ``volume_ls``."""
    return name if _help(*name.split()) else re.sub(r"[-_]", " ", name)


@pytest.mark.parametrize("verb", _ours())
def test_every_flag_is_there(verb: str) -> None:
    """With Docker's letter, and with a value where Docker's takes one."""
    theirs = _docker_flags(_dockers_name(verb))
    ours = _table(verb).by_name
    assert not {line.name for line in theirs} - ours.keys()
    assert {line.name: line.short for line in theirs if ours[line.name].short != line.short} == {}
    assert [line for line in theirs if (line.value == "") != (ours[line.name].kind == _NO_VALUE)] == []


def test_the_help_was_understood() -> None:
    """An empty table would agree with everything."""
    assert len(_docker_flags("run")) > 90
    assert len(_COMMAND.findall(_help())) > 50


@pytest.mark.parametrize("verb", _ours())
def test_what_is_not_supported_is_refused_by_name_with_a_reason(verb: str) -> None:
    table = _table(verb)
    for flag in table.all:
        if flag.supported:
            continue
        with pytest.raises(CliError, match=f"--{re.escape(flag.name)} yet") as caught:
            flags.Options(table).store(flag, "1")
        if verb in ("run", "create"):
            assert REASONS[flag.name] in caught.value.message, flag.name


@pytest.mark.parametrize("name", sorted(LATER))
def test_work_that_comes_later_is_not_there_unnoticed(name: str) -> None:
    """Once a verb lands this table has to let go of it, unless it is there in part (``pull`` and ``port``)."""
    assert name in verbs.LATER or name in verbs.VERBS or name in verbs.NOUNS


def test_every_verb_of_dockers_is_known(engine: Engine) -> None:
    """It is ours, or the command line says by name that it is not."""
    for name in _COMMAND.findall(_help()):
        if name in verbs.VERBS or name in verbs.NOUNS:
            continue
        assert name in verbs.LATER, name
        done = engine.dockyard(name)
        assert done.returncode != 0
        assert f"does not support '{name}'" in done.stderr


def test_every_command_of_a_noun_is_known() -> None:
    for noun, ours in verbs.NOUNS.items():
        missing = set(_COMMAND.findall(_help(noun).partition("Commands:")[2])) - ours.keys()
        missing = {verb for verb in missing if not {verb, f"{noun} {verb}"} & verbs.LATER}
        assert not missing, f"{noun}: {sorted(missing)}"
