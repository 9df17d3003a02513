"""Limits: memory, CPU, ulimits, the size of /dev/shm. The texts are Docker's (moby, daemon/daemon_unix.go)."""

from __future__ import annotations

import re
from typing import Any

from core.container.config.values import shown
from core.errors import InvalidArgument
from core.linux.privileges import RLIMITS

_CPUSET = re.compile(r"[0-9, -]*")

#: Docker's smallest memory limit (daemon/daemon_unix.go, linuxMinMemory): 6 MiB.
MIN_MEMORY = 6 * 1024 * 1024


_NO_KILLER = (
    "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out "
    "of resources."
)


def check_resources(host: dict[str, Any]) -> list[str]:
    """Raise InvalidArgument for a limit out of range, or two that exclude each other. Returns warnings."""
    _check_limits(host)
    for option in host["Ulimits"] or ():
        _check_ulimit(option["Name"], option["Soft"], option["Hard"])
    return [_NO_KILLER] if host["OomKillDisable"] and not host["Memory"] else []


def _check_ulimit(name: str, soft: int, hard: int) -> None:
    if f"RLIMIT_{name.upper()}" not in RLIMITS:
        raise InvalidArgument(f"invalid ulimit type: {name}")
    if min(soft, hard) < -1:
        raise InvalidArgument(f"ulimit {name}: a limit must be -1 (none) or more, not {min(soft, hard)}")
    if soft > hard >= 0:
        raise InvalidArgument(f"ulimit {name}: the soft limit must not exceed the hard limit")


def _check_limits(host: dict[str, Any]) -> None:
    memory, swap, reservation = host["Memory"], host["MemorySwap"], host["MemoryReservation"]
    if memory and memory < MIN_MEMORY:
        raise InvalidArgument(f"Memory {memory}: Minimum memory limit allowed is 6MB")
    if swap > 0 and not memory:
        raise InvalidArgument("MemorySwap: you should always set the Memory limit when using Memoryswap limit")
    if 0 < swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit")
    if 0 < memory < reservation:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit")
    if host["MemorySwappiness"] == -1:
        host["MemorySwappiness"] = None
    if host["MemorySwappiness"] is not None and not 0 <= host["MemorySwappiness"] <= 100:
        raise InvalidArgument(f"Invalid value: {host['MemorySwappiness']}, valid memory swappiness range is 0-100")
    if host["NanoCpus"] < 0:
        raise InvalidArgument(f"NanoCpus must be 0 (no limit) or more, not {host['NanoCpus']}")
    if 0 < host["NanoCpus"] < 10_000_000:
        raise InvalidArgument("range of CPUs is from 0.01 up", hint="give --cpus at least 0.01")
    if host["NanoCpus"] and (host["CpuPeriod"] or host["CpuQuota"]):
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set")
    if host["CpuPeriod"] and not 1000 <= host["CpuPeriod"] <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < host["CpuQuota"] < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host["BlkioWeight"] and not 10 <= host["BlkioWeight"] <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    if not -1000 <= host["OomScoreAdj"] <= 1000:
        raise InvalidArgument(f"Invalid value {host['OomScoreAdj']}, range for oom score adj is [-1000, 1000]")
    for member in ("CpusetCpus", "CpusetMems"):
        if not _CPUSET.fullmatch(host[member]):
            raise InvalidArgument(f"Invalid value {shown(host[member])} for {member}", hint="write 0-2,4")
    if host["ShmSize"] < 0:
        raise InvalidArgument("SHM size can not be less than 0")
