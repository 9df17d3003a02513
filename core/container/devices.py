"""The host's devices that a container is given, looked up at each start: nodes, rules and block I/O limits."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Any

from core import oci
from core.container.config.devices import CGROUP_RULE, THROTTLES
from core.errors import InvalidArgument, from_os_error


@dataclass(frozen=True, slots=True)
class HostDevices:
    """What is known of the devices of one container."""

    nodes: list[oci.Device] = field(default_factory=list)
    rules: list[oci.DeviceRule] = field(default_factory=list)
    block_io: oci.BlockIO = field(default_factory=oci.BlockIO)


def look_up(host: dict[str, Any]) -> HostDevices:
    """The devices of a checked HostConfig.

    InvalidArgument names one that is missing, or is none. A record of an earlier version may lack members.
    """
    found = HostDevices()
    for item in host.get("Devices", ()):
        for path, target in _expand(item["PathOnHost"], item["PathInContainer"]):
            node = _node(path, target)
            found.nodes.append(node)
            found.rules.append(_rule(node, item["CgroupPermissions"]))
    found.rules.extend(_parse_rule(text) for text in host.get("DeviceCgroupRules", ()))
    limits = {name: [_throttle(item) for item in host.get(member, ())] for member, (name, _) in THROTTLES.items()}
    return HostDevices(found.nodes, found.rules, _block_io(host.get("BlkioWeight", 0), limits))


def _block_io(weight: int, limits: dict[str, list[oci.Throttle]]) -> oci.BlockIO:
    block_io: oci.BlockIO = {}
    if weight:
        block_io["weight"] = weight
    if limits["throttleReadBpsDevice"]:
        block_io["throttleReadBpsDevice"] = limits["throttleReadBpsDevice"]
    if limits["throttleWriteBpsDevice"]:
        block_io["throttleWriteBpsDevice"] = limits["throttleWriteBpsDevice"]
    if limits["throttleReadIOPSDevice"]:
        block_io["throttleReadIOPSDevice"] = limits["throttleReadIOPSDevice"]
    if limits["throttleWriteIOPSDevice"]:
        block_io["throttleWriteIOPSDevice"] = limits["throttleWriteIOPSDevice"]
    return block_io


def _expand(source: str, target: str) -> list[tuple[str, str]]:
    """A folder stands for all devices below it, as in Docker."""
    if not os.path.isdir(source):
        return [(source, target)]
    found = []
    for folder, _, names in os.walk(source):
        for name in sorted(names):
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                found.append((path, os.path.join(target, os.path.relpath(path, source))))
    return found


def _status(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except FileNotFoundError:
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{path}": no such file or directory'
        ) from None
    except OSError as error:
        raise from_os_error(error, f"look up the device {path}") from error


def _node(path: str, target: str) -> oci.Device:
    status = _status(path)
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{path}": not a device node'
        )
    return {
        "path": target,
        "type": kind,
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def _rule(node: oci.Device, access: str) -> oci.DeviceRule:
    return {"allow": True, "type": node["type"], "major": node["major"], "minor": node["minor"], "access": access}


def _parse_rule(text: str) -> oci.DeviceRule:
    found = CGROUP_RULE.fullmatch(text)
    if found is None:
        raise InvalidArgument(f"invalid device cgroup rule format: '{text[:100]}'")
    kind, major, minor, access = found.groups()
    rule: oci.DeviceRule = {"allow": True, "type": kind, "access": access}
    if major != "*":
        rule["major"] = int(major)
    if minor != "*":
        rule["minor"] = int(minor)
    return rule


def _throttle(item: dict[str, Any]) -> oci.Throttle:
    status = _status(item["Path"])
    if not stat.S_ISBLK(status.st_mode):
        raise InvalidArgument(f"{item['Path']} is not a block device")
    return {"major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev), "rate": item["Rate"]}
