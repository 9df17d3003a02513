"""Checks that run inside the test machine: cgroup version 2 alone, and systemd as pid 1.

To add one, decorate a function in a module ``guest_*.py`` of this folder (a new one is found by its name)::

    from tests.vm.guest import check

    @check()
    def an_engine_runs_a_container() -> None:
        assert ...

    @check("systemd", seconds=120)
    def it_lives_in_its_scope() -> None:
        assert ...

There are three ways to boot: ``plain`` (the default: version 2, pid 1 is a shell), ``systemd`` (version 2) and
``hybrid`` (systemd with the version 1 controllers that the kernel still has, and version 2 beside them); a check may
name several. ``install`` is as ``systemd``, a machine of its own for what takes many minutes.
``tests/vm/test_vm.py`` boots one machine for all checks of a way and shows each as a test of its own:
``pytest tests/vm -k an_engine``. A check runs as root in a process of its own, forked from one that has imported all
modules; what it leaves behind the next one meets. ``seconds`` is its time limit.

The machine's root is the host's with a throw-away disk over it; /tmp and /var/tmp are an empty ext4 (an overlay's upper
layer can lie there, not elsewhere); there is no network but ``lo``. Python is 20 to 40 times slower than outside.
Inside, ``python -m tests.vm.guest NAME...`` runs the checks.
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
    """``name`` is ``boot:module.function``."""

    name: str
    function: Callable[[], None]
    boot: str
    seconds: int


class Outcome(NamedTuple):
    """How a check ended: its exit status as subprocess counts, how long it took, what it wrote."""

    code: int
    seconds: float
    output: str


CHECKS: list[Check] = []


def check(*boots: str, seconds: int = 60) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a function of a ``guest_*`` module here; ``boots`` as the module says."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        add(function, *boots, seconds=seconds)
        return function

    return register


def add(function: Callable[[], None], *boots: str, name: str = "", seconds: int = 60) -> None:
    """The same for a function that is made in a loop, and has no ``name`` of its own."""
    home = function.__module__.rpartition(".")[2].removeprefix("guest_")
    name = name or function.__name__
    CHECKS.extend(Check(f"{boot}:{home}.{name}", function, boot, seconds) for boot in boots or ("plain",))


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


def main(names: list[str]) -> None:
    """Run the checks of these names."""
    for one in load():
        if one.name in names:
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

    guest.main(sys.argv[1:])
