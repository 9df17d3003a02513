"""``top``: the host's ps, asked about the processes of one container."""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import Any

from core.container.status import Container
from core.errors import Conflict, InvalidArgument, Unsupported
from core.runtime.client import Runtime

_DEADLINE = 10.0
#: A column that is called PID and is not: Docker refuses the same (moby daemon/top_unix.go).
_FAKE_PID = re.compile(r"\s+(?:-?o\s*|--format[ =])?[^\s]*\b(\w+)=\s*PID\b", re.IGNORECASE)


async def top(runtime: Runtime, container: Container, arguments: str) -> dict[str, Any]:
    """``Titles`` and ``Processes`` of ps with these arguments. Conflict when it does not run.

    Raises InvalidArgument in ps's own words, Unsupported without ps.
    """
    if container.restarting:
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    if not container.status.is_up:
        raise Conflict(f"container {container.id} is not running")
    program = shutil.which("ps")
    if program is None:
        raise Unsupported("there is no ps on this machine", hint="install procps")
    if _FAKE_PID.search(" " + arguments):
        raise InvalidArgument(f'specifying "{arguments[:100]}" is not allowed: PID is the column that is looked for')
    output = await _run(program, arguments.split())
    titles, rows = parse(output)
    inside = set(runtime.cgroup(container.id).pids())
    at = titles.index("PID") if "PID" in titles else -1
    if at < 0:
        raise InvalidArgument("Couldn't find PID field in ps output")
    found = [row for row in rows if row[at].isdecimal() and int(row[at]) in inside]
    return {"Titles": titles, "Processes": found}


async def _run(program: str, arguments: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_DEADLINE):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise InvalidArgument(f"ps {' '.join(arguments)} does not end") from None
    if process.returncode:
        reason = err.decode("utf-8", "replace").strip().splitlines()
        raise InvalidArgument(f"error running ps: {reason[0] if reason else f'exit code {process.returncode}'}")
    return out.decode("utf-8", "replace")


def parse(output: str) -> tuple[list[str], list[list[str]]]:
    """ps's table: titles, and for each process as many fields, the last with what is left of the line."""
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    rows = [line.split(None, len(titles) - 1) for line in lines[1:] if titles]
    return titles, [row + [""] * (len(titles) - len(row)) for row in rows if row]
