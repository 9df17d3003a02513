"""Checks that run inside the test machine: cgroup version 2 alone, with systemd as pid 1 or without.

To add one, decorate a function in a module ``guest_*.py`` of this folder (a new one is found by its name)::

    from tests.vm.guest import check

    @check()
    def an_engine_runs_a_container() -> None:
        assert ...

    @check(systemd=True, seconds=120)
    def it_lives_in_its_scope() -> None:
        assert ...

``tests/vm/test_vm.py`` boots one machine for all checks without systemd and one for those with it, and shows each check
as a test of its own: ``pytest tests/vm -k an_engine``. A check runs as root in a process of its own, forked from one
that has imported all modules; what it leaves behind the next one meets. ``seconds`` is its time limit.

The machine's root is the host's with a throw-away disk over it; /tmp and /var/tmp are an empty ext4 (an overlay's upper
layer can lie there, not elsewhere); there is no network but ``lo``. Python is 20 to 40 times slower than outside.
Only a selection is run with ``-k`` or by name: ``python -m tests.vm.guest plain|systemd [NAME...]`` inside.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_MARK = "::check"


class Check(NamedTuple):
    """``name`` is ``module.function``."""

    name: str
    function: Callable[[], None]
    systemd: bool
    seconds: int


class Outcome(NamedTuple):
    """How a check ended: its exit status as subprocess counts, how long it took, what it wrote."""

    code: int
    seconds: float
    output: str


CHECKS: list[Check] = []


def check(*, systemd: bool = False, seconds: int = 60) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a function of this folder's ``guest_*`` modules."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        add(function, systemd=systemd, seconds=seconds)
        return function

    return register


def add(function: Callable[[], None], *, name: str = "", systemd: bool = False, seconds: int = 60) -> None:
    """The same for a function that is made in a loop."""
    home = function.__module__.rpartition(".")[2].removeprefix("guest_")
    CHECKS.append(Check(name or f"{home}.{function.__name__}", function, systemd, seconds))


def load() -> list[Check]:
    """All checks of all ``guest_*.py`` here, in the order of their text."""
    if not CHECKS:
        for path in sorted(Path(__file__).parent.glob("guest_*.py")):
            importlib.import_module(f"tests.vm.{path.stem}")
    return CHECKS


def parse(output: str) -> dict[str, Outcome]:
    """What :func:`main` wrote, by the checks' names; a check that was cut off is missing."""
    found: dict[str, Outcome] = {}
    name, lines = "", list[str]()
    for line in output.splitlines():
        words = line.split()
        if words[:2] == [_MARK, "begin"]:
            name, lines = words[2], []
        elif words[:2] == [_MARK, "end"]:
            found[words[2]] = Outcome(int(words[3]), float(words[4]), "\n".join(lines))
            name = ""
        elif name:
            lines.append(line)
    return found


def main(suite: str, names: list[str]) -> None:
    """Run the checks of ``plain`` or ``systemd``, or the named ones of them."""
    for one in load():
        if one.systemd == (suite == "systemd") and (not names or one.name in names):
            _say(f"begin {one.name}")
            started = time.monotonic()
            code = _run(one)
            _say(f"end {one.name} {code} {time.monotonic() - started:.2f}")


def _run(one: Check) -> int:
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        signal.alarm(one.seconds)
        one.function()
        code = 0
    except BaseException:  # noqa: BLE001 - told in whole, and the child ends here
        traceback.print_exc(file=sys.stdout)
    finally:
        sys.stdout.flush()
        os._exit(code)


def _say(text: str) -> None:
    print(f"{_MARK} {text}", flush=True)


if __name__ == "__main__":
    # The checks' modules register with the module's own name, not with __main__.
    from tests.vm import guest

    guest.main(sys.argv[1], sys.argv[2:])
