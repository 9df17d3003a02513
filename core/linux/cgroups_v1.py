"""Version 2's vocabulary → version 1's files. A translation: no policy, nothing that version 2 does not know.

Sources: the kernel's Documentation/admin-guide/cgroup-v1/ (memory.rst, cpusets.rst, devices.rst, freezer-subsystem.rst,
pids.rst) and Documentation/scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import os

from core import oci
from core.linux.cgroup_files import read_file
from core.linux.cgroup_limits import Write

#: Version 1 controllers that are used; named hierarchies (systemd) and the rest are left alone.
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")
#: io.max's keys → the middle of version 1's file names (blkio-controller.rst).
_THROTTLES = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}
V2_NAMES = {"blkio": "io"}


def translate(writes: list[Write], current_limit: int = 0) -> list[Write]:
    """Version 2 writes as version 1 writes, in an order that the kernel takes.

    ``current_limit``: the group's memory limit in bytes now, 0 for none. The kernel demands at every moment that memory
    and swap together are not below memory alone: their limit is lifted before it and lowered after it.
    """
    memory = next((w.value for w in writes if w.file == "memory.max"), "")
    found = [write for each in writes for write in _translate_one(each, memory)]
    files = [write.file for write in found]
    if "memory.limit_in_bytes" in files and "memory.memsw.limit_in_bytes" in files:
        one, both = files.index("memory.limit_in_bytes"), files.index("memory.memsw.limit_in_bytes")
        total = int(found[both].value)
        if current_limit and (total < 0 or total > current_limit):
            found[one], found[both] = found[both], found[one]
    return found


def _translate_one(write: Write, memory: str) -> list[Write]:
    file, value, flag, optional, given = write
    if file == "memory.max":
        return [Write("memory.limit_in_bytes", "-1" if value == "max" else value, flag, optional)]
    if file == "memory.swap.max":
        total = "-1" if value == "max" else str(int(value) + (int(memory) if memory.isdecimal() else 0))
        return [Write("memory.memsw.limit_in_bytes", total, flag, optional)]
    if file == "memory.low":
        return [Write("memory.soft_limit_in_bytes", value, flag, optional)]
    if file == "cpu.weight":
        return [Write("cpu.shares", given or str(shares_from_weight(int(value))), flag, optional)]
    if file == "cpu.max":
        quota, _, period = value.partition(" ")
        return [
            Write("cpu.cfs_period_us", period or "100000", flag, optional),
            Write("cpu.cfs_quota_us", "-1" if quota == "max" else quota, flag, optional),
        ]
    if file == "io.max":
        device, _, limit = value.partition(" ")
        key, _, rate = limit.partition("=")
        return [Write(f"blkio.throttle.{_THROTTLES[key]}_device", f"{device} {rate}", flag, optional)]
    if file == "io.weight":
        return [Write("blkio.weight", given or str(blkio_weight(int(value))), flag, optional)]
    return [write]


def shares_from_weight(weight: int) -> int:
    """cpu.weight → cpu.shares in proportion (100 is 1024), for a weight that was given as such (``unified``)."""
    return min(max(weight * 1024 // 100, 2), 262_144)


def blkio_weight(weight: int) -> int:
    """io.weight 1…10000 → blkio.weight 10…1000."""
    return 10 + -(-(weight - 1) * 990 // 9999)


def inherit_cpuset(folders: dict[str, str]) -> None:
    """A new cpuset is empty and takes no task until it has processors and memory nodes (cpusets.rst)."""
    folder = folders.get("cpuset")
    if folder is None:
        return
    for file in ("cpuset.cpus", "cpuset.mems"):
        _fill(folder, file)


def _fill(folder: str, file: str) -> str:
    path = os.path.join(folder, file)
    try:
        with open(path, encoding="ascii") as stream:
            value = stream.read().strip()
    except FileNotFoundError:
        return ""
    if not value:
        value = _fill(os.path.dirname(folder), file)
        if value:
            with open(path, "w", encoding="ascii") as stream:
                stream.write(value)
    return value


def apply_devices(folder: str, rules: list[oci.DeviceRule]) -> list[str]:
    """The rules in their order; a rule without a type is for all devices and clears what came before."""
    if not folder:
        return ["devices are not restricted: the devices controller is not available"]
    for rule in rules:
        file = os.path.join(folder, "devices.allow" if rule["allow"] else "devices.deny")
        fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, device_line(rule).encode())
        finally:
            os.close(fd)
    return []


def device_line(rule: oci.DeviceRule) -> str:
    """``c 1:3 rwm``, ``b *:* m``, ``a`` (devices.rst)."""
    kind = rule.get("type", "a")
    if kind == "a":
        return "a"
    major, minor = rule.get("major", -1), rule.get("minor", -1)
    numbers = f"{major if major >= 0 else '*'}:{minor if minor >= 0 else '*'}"
    return f"{kind} {numbers} {rule.get('access', 'rwm')}"


def oom_eventfd(folder: str) -> int:
    """An eventfd that the kernel signals at each out-of-memory event of the group (memory.rst, section 10)."""
    control = os.open(os.path.join(folder, "memory.oom_control"), os.O_RDONLY | os.O_CLOEXEC)
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        with open(os.path.join(folder, "cgroup.event_control"), "w", encoding="ascii") as stream:
            stream.write(f"{event} {control}")
    except OSError:
        os.close(event)
        raise
    finally:
        os.close(control)
    return event


#: memory.limit_in_bytes of an unlimited group: LONG_MAX rounded down to pages.
_UNLIMITED = 1 << 60
_TICK_NS = 10_000_000


def usage(folders: dict[str, str]) -> tuple[int, int, int, int, int, int, int, int, int]:
    """The fields of :class:`core.linux.cgroups.Usage`."""

    def text(controller: str, name: str) -> str:
        folder = folders.get(controller)
        return read_file(f"{folder}/{name}") if folder else ""

    def number(controller: str, name: str) -> int:
        found = text(controller, name).strip()
        return int(found) if found.isdecimal() else 0

    limit = number("memory", "memory.limit_in_bytes")
    found = text("memory", "memory.stat").partition("\ntotal_inactive_file ")[2].partition("\n")[0]
    inactive = int(found) if found.isdecimal() else 0
    ticks = dict(line.split() for line in text("cpuacct", "cpuacct.stat").splitlines())
    return (
        number("memory", "memory.usage_in_bytes"),
        limit if limit < _UNLIMITED else 0,
        inactive,
        number("cpuacct", "cpuacct.usage"),
        int(ticks.get("user", 0)) * _TICK_NS,
        int(ticks.get("system", 0)) * _TICK_NS,
        number("pids", "pids.current"),
        number("pids", "pids.max"),
        number("memory", "memory.max_usage_in_bytes"),
    )
