"""``python -m tests.fuzz layers|documents``."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS, Target


def run(target: Target, seed: int, more: Callable[[int], bool]) -> tuple[int, bytes | None, str]:
    """Feed the corpus, then mutations of it while ``more`` says so: how many, the input that failed, and how."""
    chance = random.Random(seed)
    corpus = target.corpus()
    count = 0
    while more(count):
        data = corpus[count] if count < len(corpus) else mutated(chance, corpus)
        count += 1
        try:
            target.feed(data)
        except Exception:  # noqa: BLE001 - any is a finding
            return count, data, traceback.format_exc()
    return count, None, ""


def main() -> int:
    """The exit code: 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Feed mutated bytes to a reader.")
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--input", type=Path, help="try this file alone")
    options = parser.parse_args()
    target = TARGETS[options.target]
    if options.input:
        target.feed(options.input.read_bytes())
        return 0
    print(f"seed {options.seed}", flush=True)
    end = time.monotonic() + options.seconds
    count, failed, how = run(target, options.seed, lambda count: time.monotonic() < end)
    if failed is None:
        print(f"{count} inputs, no promise broken")
        return 0
    with tempfile.NamedTemporaryFile(prefix=f"fuzz-{options.target}-", delete=False) as file:
        file.write(failed)
    print(f"{how}\ninput {count}: {file.name}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
