"""The rows of the table. Every function takes all sides and interleaves their samples.

A sample of a command is the wall time from before its start to after its end, seen from outside.
"""

from __future__ import annotations

import fcntl
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import NamedTuple

from tests.bench.sides import IMAGE, Side, pss
from tests.terminal import Pty

Samples = dict[str, list[float]]

LINES_MB = 200
#: The same on both sides: large enough that nothing is rotated away.
LOG_OPTIONS = ["--log-opt", "max-size=300m", "--log-opt", "max-file=3"]
IDLE = 25
ON_SCREEN = 50
_SERIAL = count()


class Row(NamedTuple):
    """A measured line: samples by side. ``goal`` is a ratio to Docker."""

    title: str
    unit: str
    samples: Samples
    goal: str

    def median(self, side: str) -> float | None:
        values = self.samples.get(side)
        return statistics.median(values) if values else None


class Plan(NamedTuple):
    """How often: ``repeat`` measured rounds after ``warmup`` unmeasured ones."""

    repeat: int
    warmup: int
    folder: Path


def interleave(sides: Sequence[Side], plan: Plan, sample: Callable[[Side], float]) -> Samples:
    """Take turns, and change who goes first in each round."""
    samples: Samples = {side.name: [] for side in sides}
    for number in range(-plan.warmup, plan.repeat):
        for side in sides if number % 2 else reversed(sides):
            value = sample(side)
            if number >= 0:
                samples[side.name].append(value)
    return samples


def timed(side: Side, *args: str) -> float:
    """Milliseconds of one command."""
    argv, env = [*side.command, *args], side.environment()
    before = time.perf_counter()
    # Without close_fds the child is made by posix_spawn: the same small cost for both.
    process = subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        close_fds=False,
    )
    _, error = process.communicate()
    after = time.perf_counter()
    if process.returncode:
        raise AssertionError(f"{' '.join(argv)}: exit {process.returncode}\n{error.decode(errors='replace')}")
    return (after - before) * 1000


def run_row(sides: Sequence[Side], plan: Plan) -> Row:
    samples = interleave(sides, plan, lambda s: timed(s, "run", "--rm", "--network", "none", IMAGE, "true"))
    return Row("`run --rm IMG true`, network none", "ms", samples, "≤ 0.15")


def _keep_one(side: Side) -> None:
    side.call("run", "-d", "--network", "none", "--name", "kept", IMAGE, "sleep", "1000000")


def exec_and_ps_rows(sides: Sequence[Side], plan: Plan) -> list[Row]:
    for side in sides:
        _keep_one(side)
    rows = [
        Row(
            "`exec C true`",
            "ms",
            interleave(sides, plan, lambda s: timed(s, "exec", "kept", "true")),
            "≤ 0.35",
        ),
        Row("`ps`", "ms", interleave(sides, plan, lambda s: timed(s, "ps")), "≤ 1.3"),
    ]
    for side in sides:
        side.remove_all()
    return rows


def start_many(
    side: Side,
    number: int,
    *,
    parallel: int,
    command: Sequence[str] = ("sleep", "1000000"),
    flags: Sequence[str] = ("--network", "none"),
) -> list[str]:
    """``number`` calls of ``run -d``, so many at the same time; the names. ``{name}`` in a flag is each one's own."""
    names = [f"many{next(_SERIAL)}" for _ in range(number)]

    def start(name: str) -> None:
        timed(side, "run", "-d", "--name", name, *(flag.format(name=name) for flag in flags), IMAGE, *command)

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(start, names))
    return names


def _start_many(side: Side, number: int, *, parallel: int) -> float:
    """Milliseconds until ``number`` calls of ``run -d`` have all returned."""
    before = time.perf_counter()
    start_many(side, number, parallel=parallel)
    return (time.perf_counter() - before) * 1000


def parallel_row(sides: Sequence[Side], plan: Plan) -> Row:
    def sample(side: Side) -> float:
        value = _start_many(side, 20, parallel=20)
        side.remove_all()
        return value

    return Row("20 parallel `run -d`, wall", "ms", interleave(sides, plan, sample), "≤ 0.15")


def _lines_file(folder: Path) -> Path:
    path = folder / "lines"
    if not path.exists():
        line = b"".join(b"%08d " % n for n in range(9))[:79] + b"\n"
        assert len(line) == 80
        with path.open("wb") as file:
            for _ in range(LINES_MB):
                file.write(line * 12500)
    return path


def log_rows(sides: Sequence[Side], plan: Plan) -> list[Row]:
    """Writing: `start` and `wait` of a container that copies a file of lines out. Reading: `logs`."""
    source = _lines_file(plan.folder)
    writer = ["--network", "none", "-v", f"{source}:/lines:ro", *LOG_OPTIONS, IMAGE, "cat", "/lines"]

    def write(side: Side) -> float:
        side.call("create", "--name", "writer", *writer)
        took = timed(side, "start", "writer") + timed(side, "wait", "writer")
        side.call("rm", "writer")
        return LINES_MB * 1000 / took

    written = interleave(sides, plan, write)
    for side in sides:
        side.call("run", "-d", "--name", "reader", *writer)
        side.call("wait", "reader")
    read = interleave(sides, plan, _read_log)
    for side in sides:
        side.remove_all()
    return [
        Row(f"a container writes {LINES_MB} MB of 80-byte lines", "MB/s", written, "≥ 10 ×"),
        Row("`logs` of it to a pipe", "MB/s", read, "≥ 10 ×"),
    ]


def _read_log(side: Side) -> float:
    before = time.perf_counter()
    process = subprocess.Popen([*side.command, "logs", "reader"], env=side.environment(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 1 << 20)
    size = 0
    while data := os.read(descriptor, 1 << 20):
        size += len(data)
    process.stdout.close()
    assert process.wait() == 0
    took = time.perf_counter() - before
    assert size == LINES_MB * 1_000_000, f"{side.name} gave {size} bytes of {LINES_MB} MB"
    return size / took / 1e6


def idle_row(sides: Sequence[Side], plan: Plan) -> Row:
    """The engine's own processes without any container, after work."""
    for side in sides:
        assert len(side.engine_pids()) >= 2, f"{side.name}: an engine is two processes at least"
    samples = interleave(sides, plan, lambda s: pss(s.engine_pids()) / 1000)
    return Row("engine idle, PSS", "MB", samples, "≤ 0.4")


def container_row(sides: Sequence[Side], plan: Plan) -> Row:
    for side in sides:
        _start_many(side, IDLE, parallel=4)
        assert len(side.container_pids()) == IDLE, f"{side.name}: not one process a container"

    def sample(side: Side) -> float:
        return pss(side.container_pids()) / 1000 / IDLE

    samples = interleave(sides, plan, sample)
    for side in sides:
        side.remove_all()
    return Row(f"per idle container, PSS of the engine's processes (mean of {IDLE})", "MB", samples, "≤ 0.6")


def paint_row(side: Side, plan: Plan) -> Row:
    """From exec of the workstation until the names of containers are on its screen."""
    _start_many(side, ON_SCREEN, parallel=4)
    names = side.call("ps", "--format", "{{.Names}}").split()
    assert len(names) == ON_SCREEN
    shown = 10

    def sample(side: Side) -> float:
        before = time.perf_counter()
        with Pty(side.command, env=side.environment(), rows=50, cols=160) as terminal:
            terminal.read_until(lambda text: sum(name in text for name in names) >= shown, 30)
            return (time.perf_counter() - before) * 1000

    samples = interleave([side], plan, sample)
    side.remove_all()
    return Row(f"workstation with {ON_SCREEN} containers: first paint", "ms", samples, "≤ 1000 ms")
