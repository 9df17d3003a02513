"""The machine, the versions and the table, as markdown."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from tests.bench.measure import Plan, Row
from tests.bench.sides import Side


def machine() -> list[str]:
    processor = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    cgroup = "v2" if unified else "v1 hybrid"
    return [
        f"{processor}, {os.cpu_count()} CPUs, {memory:.0f} GiB",
        f"{system}, Linux {platform.release()}, cgroup {cgroup}",
        f"Python {platform.python_version()} ({sys.executable}), Textual {metadata.version('textual')}",
    ]


def number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _line(row: Row, ours: str, theirs: str) -> str:
    mine, other = row.median(ours), row.median(theirs)
    ratio = number(mine / other) if mine is not None and other is not None else "–"
    cells = [row.title, f"{number(other)} {row.unit}", f"{number(mine)} {row.unit}", ratio, row.goal]
    return "| " + " | ".join("–" if cell.startswith("– ") else cell for cell in cells) + " |"


def table(rows: Sequence[Row], sides: Sequence[Side], plan: Plan) -> str:
    ours = "Dockyard"
    theirs = next((side.name for side in sides if side.name != ours), "")
    lines = [
        f"| median of {plan.repeat} | {theirs or 'Docker (not measured)'} | {ours} | ratio | goal |",
        "|---|---|---|---|---|",
        *(_line(row, ours, theirs) for row in rows),
    ]
    notes = [*machine(), *(text for side in sides for text in side.versions())]
    if not theirs and shutil.which("dockerd") is None:
        notes.append("dockerd is not installed (`make peers` does it): no ratios")
    notes.append("lazydocker's first paint, stated and not measured here: 0.10 s")
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)])
