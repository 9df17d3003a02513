"""The rows of the remaining verbs: many containers, files, images. Large samples are taken fewer times."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.measure import Plan, Row, interleave, start_many, timed
from tests.bench.sides import IMAGE, Side

LISTED = 500
REMOVED = 20
STOPPED = 50
WATCHED = 200
#: Seconds of one measurement of the streams of statistics.
_WATCH_SECONDS = 5.0
_COPIED_MB = 1000
_CHANGED_MB = 500


def few(plan: Plan) -> Plan:
    """At most five rounds."""
    return plan._replace(repeat=min(plan.repeat, 5), warmup=min(plan.warmup, 1))


def list_row(sides: Sequence[Side], plan: Plan) -> Row:
    """``ps -a`` with many containers."""
    for side in sides:
        for number in range(LISTED):
            side.call("create", "--network", "none", "--name", f"listed{number}", IMAGE, "true")
    samples = interleave(sides, plan, lambda side: timed(side, "ps", "-a"))
    for side in sides:
        side.remove_all()
    return Row(f"`ps -a`, {LISTED} containers", "ms", samples, "≤ 1.5")


def remove_row(sides: Sequence[Side], plan: Plan) -> Row:
    """``rm -f`` of running containers in one command."""

    def sample(side: Side) -> float:
        names = start_many(side, REMOVED, parallel=4)
        return timed(side, "rm", "-f", *names)

    return Row(f"`rm -f` of {REMOVED} running containers", "ms", interleave(sides, few(plan), sample), "≤ 0.3")


def stop_row(sides: Sequence[Side], plan: Plan) -> Row:
    """``stop`` of containers that end as soon as they are asked."""

    def sample(side: Side) -> float:
        names = start_many(
            side, STOPPED, parallel=4, command=("sleep", "1000000"), flags=("--init", "--network", "none")
        )
        took = timed(side, "stop", *names)
        side.remove_all()
        return took

    samples = interleave(sides, few(plan), sample)
    return Row(f"`stop` of {STOPPED} containers that end at once", "ms", samples, "≤ 1000 ms")


def copy_rows(sides: Sequence[Side], plan: Plan) -> list[Row]:
    """A large file out of a container, and into it."""
    source = _file(plan.folder / "copied", _COPIED_MB)
    for side in sides:
        side.call("run", "-d", "--network", "none", "--name", "copied", IMAGE, "sleep", "1000000")

    def into(side: Side) -> float:
        return timed(side, "cp", str(source), "copied:/big")

    def out(side: Side) -> float:
        target = plan.folder / "back"
        took = timed(side, "cp", "copied:/big", str(target))
        assert target.stat().st_size == source.stat().st_size
        target.unlink()
        return took

    rows = [
        Row(f"`cp` of {_COPIED_MB} MB into a container", "ms", interleave(sides, few(plan), into), "≤ 1.0"),
        Row(f"`cp` of {_COPIED_MB} MB out of it", "ms", interleave(sides, few(plan), out), "≤ 1.0"),
    ]
    for side in sides:
        side.remove_all()
    source.unlink()
    return rows


def image_rows(sides: Sequence[Side], plan: Plan) -> list[Row]:
    """``commit`` of a large change, ``save`` and ``load`` of the image that it makes."""
    source = _file(plan.folder / "changed", _CHANGED_MB)
    archive = plan.folder / "saved.tar"
    for side in sides:
        side.call("create", "--network", "none", "--name", "changed", IMAGE, "true")
        side.call("cp", str(source), "changed:/big", timeout=300)

    def commit(side: Side) -> float:
        took = timed(side, "commit", "changed", "bench/changed:1")
        side.call("rmi", "bench/changed:1")
        return took

    rows = [Row(f"`commit` of {_CHANGED_MB} MB", "ms", interleave(sides, few(plan), commit), "≤ 0.6")]
    for side in sides:
        side.call("commit", "changed", "bench/changed:1", timeout=300)

    def save(side: Side) -> float:
        took = timed(side, "save", "-o", str(archive), "bench/changed:1")
        archive.unlink()
        return took

    def load(side: Side) -> float:
        side.call("save", "-o", str(archive), "bench/changed:1", timeout=300)
        side.call("rmi", "bench/changed:1")
        took = timed(side, "load", "-q", "-i", str(archive))
        archive.unlink()
        return took

    for title, sample in (("save", save), ("load", load)):
        samples = interleave(sides, few(plan), sample)
        rows.append(Row(f"`{title}` of an image of {_CHANGED_MB} MB", "ms", samples, "≤ 0.5"))
    for side in sides:
        side.remove_all()
        side.call("rmi", "bench/changed:1")
    source.unlink()
    return rows


def stats_row(sides: Sequence[Side], plan: Plan) -> Row:
    """Processor time of the engine while ``stats`` streams figures of many containers once a second."""
    for side in sides:
        start_many(side, WATCHED, parallel=4)

    def sample(side: Side) -> float:
        with subprocess.Popen(
            [*side.command, "stats"], env=side.environment(), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        ) as client:
            assert client.stdout is not None
            os.read(client.stdout.fileno(), 1)
            pids = side.engine_pids()
            before, began = _ticks(pids), time.monotonic()
            while time.monotonic() - began < _WATCH_SECONDS:
                os.read(client.stdout.fileno(), 1 << 16)
            spent, took = _ticks(pids) - before, time.monotonic() - began
            client.terminate()
        return spent / os.sysconf("SC_CLK_TCK") / took * 100

    samples = interleave(sides, few(plan), sample)
    for side in sides:
        side.remove_all()
    return Row(f"`stats` of {WATCHED} containers, the engine's share of one processor", "%", samples, "≤ 3 %")


def _ticks(pids: list[int]) -> int:
    """Clock ticks of processor time that the processes have used (proc(5), fields 14 and 15 of stat)."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total


def _file(path: Path, megabytes: int) -> Path:
    """Bytes that do not compress."""
    block = os.urandom(1_000_000)
    with path.open("wb") as file:
        for number in range(megabytes):
            file.write(number.to_bytes(8, "big") + block[8:])
    return path
