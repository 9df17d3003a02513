"""What a running container uses, in the members of Docker's ``stats`` answer. Cheap: a handful of small reads."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

from core.linux.cgroup_figures import block_io, throttling
from core.linux.cgroup_files import read_file
from core.linux.cgroups import Cgroup, Usage

_TICK = os.sysconf("SC_CLK_TCK")
_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
_CPUS = os.cpu_count() or 1
_NETWORK = "rx_bytes rx_packets rx_errors rx_dropped".split(), "tx_bytes tx_packets tx_errors tx_dropped".split()
#: Many are asked at the same moment: the machine's own time is read once for all of them. Nanoseconds.
_SAME_MOMENT = 50_000_000

_system = (0, 0)


def stats(group: Cgroup, pid: int) -> dict[str, Any]:
    """The counters of this moment; times in nanoseconds, memory in bytes. ``pid`` is its first process."""
    usage = group.usage()
    limits = throttling(group)
    networks = network_counters(pid)
    return {
        "cpu_stats": {
            "cpu_usage": {
                "total_usage": usage.cpu_ns,
                "usage_in_kernelmode": usage.cpu_system_ns,
                "usage_in_usermode": usage.cpu_user_ns,
            },
            "system_cpu_usage": system_cpu_ns(),
            "online_cpus": _CPUS,
            "throttling_data": {
                "periods": limits.periods,
                "throttled_periods": limits.throttled,
                "throttled_time": limits.waited,
            },
        },
        "memory_stats": _memory(usage, group.version),
        "pids_stats": {"current": usage.pids, **({"limit": usage.pids_limit} if usage.pids_limit else {})},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": each.major, "minor": each.minor, "op": each.operation, "value": each.bytes}
                for each in block_io(group)
            ]
            or None
        },
        **({"networks": networks} if networks else {}),
        "num_procs": 0,
        "storage_stats": {},
    }


def _memory(usage: Usage, version: int) -> dict[str, Any]:
    # Clients subtract the page cache that can be dropped, under the name of the cgroup version.
    name = "total_inactive_file" if version == 1 else "inactive_file"
    return {
        "usage": usage.memory,
        "limit": min(usage.memory_limit or _MEMORY, _MEMORY),
        "stats": {name: usage.memory_inactive_file},
    }


def network_counters(pid: int) -> dict[str, dict[str, int]]:
    """Bytes and packets of each interface but ``lo`` in the network namespace of a process (proc(5), net/dev)."""
    lines = read_file(f"/proc/{pid}/net/dev").splitlines()[2:]
    found = {}
    for line in lines:
        name, _, rest = line.partition(":")
        fields = rest.split()
        if name.strip() != "lo" and len(fields) >= 12:
            numbers = [int(field) for field in (*fields[:4], *fields[8:12])]
            found[name.strip()] = dict(zip(_NETWORK[0] + _NETWORK[1], numbers, strict=True))
    return found


def system_cpu_ns() -> int:
    """Processor time of the whole machine since boot, idle time included (proc(5), first line of /proc/stat)."""
    global _system
    now = time.monotonic_ns()
    if now - _system[0] > _SAME_MOMENT:
        with open("/proc/stat", encoding="ascii") as file:
            fields = file.readline().split()[1:9]
        _system = (now, sum(int(field) for field in fields) * (1_000_000_000 // _TICK))
    return _system[1]


class Ticker:
    """One beat for everybody who measures: a timer, and one wake-up of the loop, however many wait."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._waiting: list[Callable[[], None]] = []

    async def beat(self) -> None:
        """Wait for the next beat; nothing ticks while nobody waits."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        if not self._waiting:
            loop.call_at((loop.time() // self._interval + 1) * self._interval, self._tick)
        self._waiting.append(wake)
        await future

    def _tick(self) -> None:
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()
