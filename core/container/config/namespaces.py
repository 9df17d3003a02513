"""``--pid --ipc --uts --cgroupns --userns``, ``--sysctl`` and ``--annotation``."""

from __future__ import annotations

from typing import Any

from core.container.config.values import shown
from core.errors import InvalidArgument, Unsupported

#: Member → (the flag, its values; "" is the default).
_MODES = {
    "PidMode": ("--pid", ("", "host")),
    "IpcMode": ("--ipc", ("", "private", "shareable", "host", "none")),
    "UTSMode": ("--uts", ("", "host")),
    "CgroupnsMode": ("--cgroupns", ("", "private", "host")),
    "UsernsMode": ("--userns", ("", "host")),
}
#: The engine's own annotations: one of them hands on all devices.
_OWN = "dev.dockyard."
_IPC_SYSCTLS = ("fs.mqueue.", "kernel.msg", "kernel.sem", "kernel.shm")
_UTS_SYSCTLS = ("kernel.hostname", "kernel.domainname")


def check_namespaces(config: dict[str, Any], host: dict[str, Any]) -> None:
    """Refuse modes that are unknown, and what would change the host through a namespace that is shared with it."""
    for member, (flag, values) in _MODES.items():
        _check_mode(flag, host[member], values)
    if host["UTSMode"] == "host" and (config["Hostname"] or config["Domainname"]):
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    for name in host["Annotations"]:
        if not name or name.startswith(_OWN):
            raise InvalidArgument(f"invalid annotation {shown(name)}: {_OWN}* belongs to the engine")
    for name in host["Sysctls"]:
        _check_sysctl(name, host)


def _check_mode(flag: str, mode: str, values: tuple[str, ...]) -> None:
    if mode in values or (flag == "--pid" and mode.startswith("container:") and mode != "container:"):
        return
    if mode.startswith("container:"):
        raise Unsupported(
            f"{flag} {shown(mode)} is not supported: only another container's network and processes are joined"
        )
    raise InvalidArgument(f"{flag}: invalid mode {shown(mode)}", hint=f"one of {', '.join(filter(None, values))}")


def _check_sysctl(name: str, host: dict[str, Any]) -> None:
    """The names are looked at with dots: sysctl(8) takes slashes as well."""
    dotted = name.replace("/", ".")
    shared = {
        "network": host["NetworkMode"] == "host" and dotted.startswith("net."),
        "IPC": host["IpcMode"] == "host" and dotted.startswith(_IPC_SYSCTLS),
        "UTS": host["UTSMode"] == "host" and dotted in _UTS_SYSCTLS,
    }
    if not dotted.strip(".") or ".." in dotted or not name.isprintable() or " " in name:
        raise InvalidArgument(f"invalid sysctl {shown(name)}", hint="write NAME=VALUE")
    for kind, is_shared in shared.items():
        if is_shared:
            raise InvalidArgument(f"sysctl {shown(name)} not allowed in host {kind} namespace")
