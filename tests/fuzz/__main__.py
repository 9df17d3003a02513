"""``python -m tests.fuzz layers|documents``: fuzz, print the path of what fails.

``--input PATH`` runs that one again."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time
from pathlib import Path

from tests.fuzz import run
from tests.fuzz.targets import TARGETS

_FOLDER = Path(__file__).resolve().parents[2] / "build" / "fuzz"
_MEMORY = 2 << 30
_SECONDS = 20


class TooLong(Exception):
    """One input took too long."""


def _too_long(*_: object) -> None:
    raise TooLong(f"more than {_SECONDS} s for one input")


def main() -> int:
    """Returns the exit status: 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the time, unless given")
    parser.add_argument("--input", type=Path, help="run this input alone")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.signal(signal.SIGALRM, _too_long)
    target = TARGETS[given.target]()
    if given.input:
        signal.alarm(_SECONDS)
        found = run.attempt(target, given.input.read_bytes())
    else:
        print(f"seed {given.seed}")
        found = run.fuzz(target, given.seed, given.seconds, lambda: signal.alarm(_SECONDS), print)
    signal.alarm(0)
    if found is None:
        return 0
    print(found.text)
    print(given.input or run.write(found, _FOLDER, given.target))
    return 1


if __name__ == "__main__":
    sys.exit(main())
