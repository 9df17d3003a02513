"""``--device*``, ``--sysctl`` and ``--annotation`` as members of the create request."""

from __future__ import annotations

from tui.cli.errors import UsageError
from tui.cli.units import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tui.cli.flags import Options

_RATES: dict[str, tuple[str, Callable[[str], int]]] = {
    "BlkioDeviceReadBps": ("device-read-bps", parse_bytes),
    "BlkioDeviceWriteBps": ("device-write-bps", parse_bytes),
    "BlkioDeviceReadIOps": ("device-read-iops", int),
    "BlkioDeviceWriteIOps": ("device-write-iops", int),
}


def add(options: Options, host: dict[str, Any]) -> None:
    """Put what was given into the request. Raises UsageError naming the flag."""
    if options["device"]:
        host["Devices"] = [device(text) for text in options["device"]]
    for member, (flag, convert) in _RATES.items():
        if options[flag]:
            host[member] = [_rate(flag, text, convert) for text in options[flag]]
    for member, flag in (("Sysctls", "sysctl"), ("Annotations", "annotation")):
        if options[flag]:
            host[member] = _pairs(flag, options[flag])


def _pairs(flag: str, texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name:
            raise UsageError(f'invalid argument "{text}" for "--{flag}" flag: write NAME=VALUE')
        pairs[name] = value
    return pairs


def device(text: str) -> dict[str, str]:
    """``host[:container][:rwm]``; a second part of only r, w and m is the permissions (docker/cli, parseDevice)."""
    source, *rest = text.split(":")
    if not source or len(rest) > 2:
        raise UsageError(f"invalid device specification: {text}")
    permissions = rest[1] if len(rest) == 2 else "rwm"
    target = rest[0] if rest else source
    if len(rest) == 1 and _is_mode(target):
        target, permissions = source, target
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": permissions}


def _is_mode(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def _rate(flag: str, text: str, convert: Callable[[str], int]) -> dict[str, Any]:
    path, _, rate = text.partition(":")
    try:
        return {"Path": path, "Rate": convert(rate)}
    except ValueError:
        raise UsageError(
            f'invalid argument "{text}" for "--{flag}" flag: invalid rate for device: {text}. '
            "The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer"
        ) from None
