"""OCI resources → writes to version 2 files. Pure: nothing here touches a file.

Sources: runtime-spec config-linux.md; Documentation/admin-guide/cgroup-v2.rst; the conversions between the units of the
two versions are those of runc 1.3.2 and later and of crun (``cpu.shares`` ↔ ``cpu.weight``, swap, block I/O weight), so
that a container weighs the same whatever runs it.
"""

from __future__ import annotations

from math import ceil, log2
from typing import NamedTuple

from core import oci
from core.errors import InvalidArgument

_MIN_SHARES, _MAX_SHARES = 2, 262_144
_MAX_WEIGHT = 10_000
_PERIOD = 100_000


class Write(NamedTuple):
    """``value`` goes into ``file``. ``flag`` is what a person calls it; ``optional``: a refusal is only a warning.

    ``given`` is the number as it was given, where version 2 has another unit and the way back would lose digits.
    """

    file: str
    value: str
    flag: str
    optional: bool = False
    given: str = ""


def weight_from_shares(shares: int) -> int:
    """cpu.shares 2…262144 → cpu.weight 1…10000, such that the defaults meet: 1024 → 100.

    (The older linear formula gave 39: a container with the default asked for less than one without.)
    """
    if shares <= _MIN_SHARES:
        return 1
    if shares >= _MAX_SHARES:
        return _MAX_WEIGHT
    power = log2(shares)
    return ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def io_weight(weight: int) -> int:
    """blkio.weight 10…1000 → io.weight 1…10000."""
    return 1 + (min(max(weight, 10), 1000) - 10) * 9999 // 990


def swap_alone(memory: int, both: int) -> int:
    """Version 2's memory.swap.max for OCI's ``limit`` and ``swap``, which counts both; -1 no limit, 0 leave it alone.

    Raises InvalidArgument for a sum that cannot be.
    """
    if memory == -1 and not both:
        # Version 1 cannot lift the one without the other; the same call means the same on version 2.
        return -1
    if both in (-1, 0):
        return both
    if memory <= 0:
        raise InvalidArgument(f"--memory-swap {both} needs --memory", hint="it counts memory and swap together")
    if both < memory:
        raise InvalidArgument(
            f"--memory-swap {both} is below --memory {memory}", hint="it counts memory and swap together"
        )
    return both - memory


def plan(resources: oci.Resources) -> list[Write]:
    """OCI resources as writes to version 2 files; devices are not among them (they are a program).

    Raises InvalidArgument for values that contradict each other.
    """
    writes = _memory(resources.get("memory", {})) + _cpu(resources.get("cpu", {}))
    pids = resources.get("pids", {"limit": 0})["limit"]
    if pids:
        writes.append(Write("pids.max", str(pids) if pids > 0 else "max", "--pids-limit"))
    writes += _block_io(resources.get("blockIO", {}))
    for file, value in resources.get("unified", {}).items():
        if "/" in file or "." not in file.strip("."):
            raise InvalidArgument(f"linux.resources.unified: {file!r} is no file of a cgroup")
        writes.append(Write(file, value, file))
    return writes


def _memory(memory: oci.Memory) -> list[Write]:
    writes = []
    limit, reservation = memory.get("limit", 0), memory.get("reservation", 0)
    if limit:
        writes.append(Write("memory.max", str(limit) if limit > 0 else "max", "--memory"))
    swap = swap_alone(limit, memory.get("swap", 0))
    if swap or 0 < limit == memory.get("swap", 0):
        value = "max" if swap < 0 else str(swap)
        writes.append(Write("memory.swap.max", value, "--memory-swap", optional=True))
    if reservation:
        writes.append(Write("memory.low", str(reservation) if reservation > 0 else "0", "--memory-reservation"))
    # Version 2 has no such files: there these are told as having no effect.
    if "swappiness" in memory:
        writes.append(Write("memory.swappiness", str(memory["swappiness"]), "--memory-swappiness", optional=True))
    if memory.get("disableOOMKiller"):
        writes.append(Write("memory.oom_control", "1", "--oom-kill-disable", optional=True))
    return writes


def _block_io(block_io: oci.BlockIO) -> list[Write]:
    writes = []
    weight = block_io.get("weight", 0)
    if weight:
        writes.append(Write("io.weight", str(io_weight(weight)), "--blkio-weight", optional=True, given=str(weight)))
    limits = (
        ("rbps", "--device-read-bps", block_io.get("throttleReadBpsDevice", [])),
        ("wbps", "--device-write-bps", block_io.get("throttleWriteBpsDevice", [])),
        ("riops", "--device-read-iops", block_io.get("throttleReadIOPSDevice", [])),
        ("wiops", "--device-write-iops", block_io.get("throttleWriteIOPSDevice", [])),
    )
    for key, flag, devices in limits:
        for each in devices:
            value = f"{each['major']}:{each['minor']} {key}={each['rate']}"
            writes.append(Write("io.max", value, flag, optional=True))
    return writes


def _cpu(cpu: oci.Cpu) -> list[Write]:
    writes = []
    shares, quota, period = cpu.get("shares", 0), cpu.get("quota", 0), cpu.get("period", 0)
    if shares:
        writes.append(Write("cpu.weight", str(weight_from_shares(shares)), "--cpu-shares", given=str(shares)))
    if quota or period:
        writes.append(Write("cpu.max", f"{quota if quota > 0 else 'max'} {period or _PERIOD}", "--cpus"))
    if cpu.get("cpus"):
        writes.append(Write("cpuset.cpus", cpu["cpus"], "--cpuset-cpus"))
    if cpu.get("mems"):
        writes.append(Write("cpuset.mems", cpu["mems"], "--cpuset-mems"))
    return writes
