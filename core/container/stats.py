"""What a running container uses, in the members of Docker's ``stats`` answer. Cheap: a handful of small reads."""

from __future__ import annotations

import os
from typing import Any

from core.linux.cgroups import Cgroup, Usage

_TICK = os.sysconf("SC_CLK_TCK")


def stats(group: Cgroup) -> dict[str, Any]:
    """The counters of this moment; times in nanoseconds, memory in bytes."""
    usage = group.usage()
    return {
        "cpu_stats": {
            "cpu_usage": {
                "total_usage": usage.cpu_ns,
                "usage_in_kernelmode": usage.cpu_system_ns,
                "usage_in_usermode": usage.cpu_user_ns,
            },
            "system_cpu_usage": system_cpu_ns(),
            "online_cpus": os.cpu_count() or 1,
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        },
        "memory_stats": _memory(usage, group.version),
        "pids_stats": {"current": usage.pids, **({"limit": usage.pids_limit} if usage.pids_limit else {})},
        "blkio_stats": {"io_service_bytes_recursive": None},
        "num_procs": 0,
        "storage_stats": {},
    }


def _memory(usage: Usage, version: int) -> dict[str, Any]:
    # Clients subtract the page cache that can be dropped, under the name of the cgroup version.
    name = "total_inactive_file" if version == 1 else "inactive_file"
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "usage": usage.memory,
        "limit": min(usage.memory_limit or total, total),
        "stats": {name: usage.memory_inactive_file},
    }


def system_cpu_ns() -> int:
    """Processor time of the whole machine since boot, idle time included (proc(5), first line of /proc/stat)."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = file.readline().split()[1:9]
    return sum(int(field) for field in fields) * (1_000_000_000 // _TICK)
