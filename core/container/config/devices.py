"""``--device``, ``--device-cgroup-rule`` and the block I/O limits. Only the texts: whether a device exists is asked at
each start (:mod:`core.container.devices`)."""

from __future__ import annotations

import os
import re
from typing import Any

from core.container.config.values import integer, object_, shown, string
from core.errors import InvalidArgument, Unsupported

#: moby, daemon/daemon_unix.go (deviceCgroupRuleRegex).
CGROUP_RULE = re.compile(r"([acb]) ([0-9]{1,10}|\*):([0-9]{1,10}|\*) ([rwm]{1,3})")
_PERMISSIONS = re.compile(r"[rwm]{1,3}")
#: HostConfig's member → the OCI spec's member and the flag.
THROTTLES = {
    "BlkioDeviceReadBps": ("throttleReadBpsDevice", "--device-read-bps"),
    "BlkioDeviceWriteBps": ("throttleWriteBpsDevice", "--device-write-bps"),
    "BlkioDeviceReadIOps": ("throttleReadIOPSDevice", "--device-read-iops"),
    "BlkioDeviceWriteIOps": ("throttleWriteIOPSDevice", "--device-write-iops"),
}
MAX_DEVICES = 1000


def devices(name: str, value: Any) -> list[dict[str, str]]:
    """Docker's DeviceMapping: ``PathOnHost``, ``PathInContainer``, ``CgroupPermissions``."""
    found = []
    for item in _list(name, value):
        members = {key: string(f"{name}.{key}", object_(name, item).get(key)) for key in _MEMBERS}
        members["PathInContainer"] = members["PathInContainer"] or members["PathOnHost"]
        members["CgroupPermissions"] = members["CgroupPermissions"] or "rwm"
        found.append(members)
    return found


_MEMBERS = ("PathOnHost", "PathInContainer", "CgroupPermissions")


def rates(name: str, value: Any) -> list[dict[str, Any]]:
    """Docker's ThrottleDevice: ``Path`` and ``Rate`` (bytes or operations a second)."""
    return [
        {
            "Path": string(f"{name}.Path", object_(name, item).get("Path")),
            "Rate": integer(f"{name}.Rate", item.get("Rate")),
        }
        for item in _list(name, value)
    ]


def _list(name: str, value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_DEVICES or not all(isinstance(item, dict) for item in value):
        raise InvalidArgument(f"{name} must be a list of objects, not {shown(value)}")
    return value


def check_devices(host: dict[str, Any]) -> None:
    """Raise InvalidArgument for a device or a rule that cannot be meant, Unsupported for a node outside /dev."""
    for device in host["Devices"]:
        _check_device(device)
    for rule in host["DeviceCgroupRules"]:
        if not CGROUP_RULE.fullmatch(rule):
            raise InvalidArgument(f"invalid device cgroup rule format: '{rule[:100]}'", hint="write 'c 1:3 rwm'")
    for member, (_, flag) in THROTTLES.items():
        for item in host[member]:
            if not item["Path"].startswith("/dev/") or item["Rate"] <= 0:
                raise InvalidArgument(f"bad format for {flag}: {shown(item)}", hint="write /dev/NAME:RATE")


def _check_device(device: dict[str, str]) -> None:
    source, target, permissions = (device[key] for key in _MEMBERS)
    if not source.startswith("/"):
        raise InvalidArgument(f"{shown(source)} is not an absolute path")
    if not _PERMISSIONS.fullmatch(permissions):
        raise InvalidArgument(f"invalid device mode: {shown(permissions)}", hint="write r, w, m or several of them")
    if not os.path.normpath(target).startswith("/dev/"):
        raise Unsupported(f"--device to {shown(target)} is not supported: devices are made below /dev only")
