"""``python -m tests.bench``: measure, print the table. Needs root and an installed `dockyard` in .venv."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench import measure, networks, registries, verbs
from tests.bench.measure import Plan, Row
from tests.bench.report import table
from tests.bench.sides import Docker, Dockyard, Side


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--repeat", type=int, default=21, help="measured rounds of each row")
    parser.add_argument("--warmup", type=int, default=2, help="unmeasured rounds before them")
    parser.add_argument("--only", choices=["docker", "dockyard"], help="measure one side alone")
    parser.add_argument(
        "--rows",
        default="run,exec,parallel,logs,idle,container,paint,list,remove,stop,copy,image,stats,"
        "bridge,publish,streams,names,range,registries",
        help="which, by name",
    )
    parser.add_argument("--output", type=Path, help="write the table to this file too")
    return parser.parse_args()


def open_sides(stack: ExitStack, base: Path, only: str | None) -> list[Side]:
    sides: list[Side] = []
    makers: list[Callable[[Path], Side]] = []
    if only != "docker":
        makers.append(Dockyard)
    if only != "dockyard" and shutil.which("dockerd"):
        makers.append(Docker)
    for make in makers:
        side = make(base)
        stack.callback(side.close)
        sides.append(side)
    return sides


def measure_rows(sides: Sequence[Side], plan: Plan, wanted: set[str]) -> list[Row]:
    steps: dict[str, Callable[[], list[Row]]] = {
        "run": lambda: [measure.run_row(sides, plan)],
        "exec": lambda: measure.exec_and_ps_rows(sides, plan),
        "parallel": lambda: [measure.parallel_row(sides, plan)],
        "logs": lambda: measure.log_rows(sides, plan),
        "idle": lambda: [measure.idle_row(sides, plan)],
        "container": lambda: [measure.container_row(sides, plan)],
        "list": lambda: [verbs.list_row(sides, plan)],
        "remove": lambda: [verbs.remove_row(sides, plan)],
        "stop": lambda: [verbs.stop_row(sides, plan)],
        "copy": lambda: verbs.copy_rows(sides, plan),
        "image": lambda: verbs.image_rows(sides, plan),
        "registries": lambda: registries.rows(sides, plan),
        "stats": lambda: [verbs.stats_row(sides, plan)],
        "bridge": lambda: networks.run_rows(sides, plan),
        "publish": lambda: networks.publish_rows([s for s in sides if isinstance(s, Dockyard)], plan),
        "streams": lambda: networks.stream_rows(sides, plan),
        "names": lambda: [networks.names_row(sides, plan)],
        "range": lambda: [networks.range_row(sides, plan)],
        "paint": lambda: [measure.paint_row(s, plan) for s in sides if isinstance(s, Dockyard)],
    }
    rows = []
    for name, step in steps.items():
        if name in wanted:
            print(f"measuring: {name}", file=sys.stderr)
            rows += step()
    return rows


def main() -> int:
    options = arguments()
    if os.geteuid() != 0:
        print("containers need root here: repeat as root", file=sys.stderr)
        return 1
    base = Path(tempfile.mkdtemp(prefix="dk", dir=os.environ.get("DOCKYARD_TEST_TMP", "/tmp")))
    try:
        with ExitStack() as stack:
            sides = open_sides(stack, base, options.only)
            plan = Plan(options.repeat, options.warmup, base)
            rows = measure_rows(sides, plan, set(options.rows.split(",")))
            text = table(rows, sides, plan)
    finally:
        shutil.rmtree(base)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
