"""What a container's group did: block I/O and throttling, of both versions. Cheap: one small read each."""

from __future__ import annotations

import os
from typing import NamedTuple

from core.linux.cgroup_files import read_file, value_of
from core.linux.cgroups import Cgroup


class Transfer(NamedTuple):
    """Bytes that went to or from one device; ``operation`` is ``read`` or ``write``."""

    major: int
    minor: int
    operation: str
    bytes: int


class Throttling(NamedTuple):
    """Periods in which the group could run, those in which its quota ended early, and nanoseconds it waited."""

    periods: int
    throttled: int
    waited: int


def block_io(group: Cgroup) -> list[Transfer]:
    """blkio.throttle.io_service_bytes_recursive (cgroup-v1/blkio-controller.rst), io.stat (cgroup-v2.rst)."""
    if group.version == 2:
        return _from_io_stat(read_file(os.path.join(group.folders["unified"], "io.stat")))
    folder = group.folders.get("blkio", "")
    found = []
    for line in read_file(os.path.join(folder, "blkio.throttle.io_service_bytes_recursive")).splitlines():
        device, *rest = line.split()
        if len(rest) == 2 and rest[0] in ("Read", "Write") and rest[1].isdecimal():
            major, _, minor = device.partition(":")
            found.append(Transfer(int(major), int(minor), rest[0].lower(), int(rest[1])))
    return found


def _from_io_stat(text: str) -> list[Transfer]:
    found = []
    for line in text.splitlines():
        device, *pairs = line.split()
        values = dict(pair.partition("=")[::2] for pair in pairs)
        major, _, minor = device.partition(":")
        for key, operation in (("rbytes", "read"), ("wbytes", "write")):
            if values.get(key, "").isdecimal() and major.isdecimal() and minor.isdecimal():
                found.append(Transfer(int(major), int(minor), operation, int(values[key])))
    return found


def throttling(group: Cgroup) -> Throttling:
    """cpu.stat; version 1 counts in nanoseconds, version 2 in microseconds."""
    text = read_file(os.path.join(group.folders.get("unified" if group.version == 2 else "cpu", ""), "cpu.stat"))
    waited = value_of(text, "throttled_usec") * 1000 if group.version == 2 else value_of(text, "throttled_time")
    return Throttling(value_of(text, "nr_periods"), value_of(text, "nr_throttled"), waited)
