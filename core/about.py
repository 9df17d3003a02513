"""What this engine is and runs on, as ``GET /version`` and ``GET /info`` tell it."""

from __future__ import annotations

import os
import platform
import time
from typing import Any, NamedTuple

from core.container.inspect import rfc3339
from core.linux import cgroups

VERSION = "0.1.0"
API_VERSION = "1.51"
MIN_API_VERSION = "1.24"


class Counts(NamedTuple):
    """How many of what there are."""

    containers: int
    running: int
    paused: int
    images: int


def architecture() -> str:
    """This machine's processor, in Go's words."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def version() -> dict[str, Any]:
    """The answer of ``GET /version``."""
    release = os.uname().release
    details = {
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "Arch": architecture(),
        "KernelVersion": release,
        "Os": "linux",
        "PythonVersion": platform.python_version(),
    }
    return {
        "Platform": {"Name": "Dockyard"},
        "Components": [{"Name": "Dockyard", "Version": VERSION, "Details": details}],
        "Version": VERSION,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "GitCommit": "",
        "GoVersion": f"python{platform.python_version()}",
        "Os": "linux",
        "Arch": architecture(),
        "KernelVersion": release,
        "BuildTime": rfc3339(0),
    }


def info(name: str, root: str, systemd: bool, counts: Counts, warnings: list[str]) -> dict[str, Any]:
    """The answer of ``GET /info``."""
    return {
        **_machine(),
        **_limits(systemd),
        **_CONSTANT,
        "ID": name,
        "Containers": counts.containers,
        "ContainersRunning": counts.running,
        "ContainersPaused": counts.paused,
        "ContainersStopped": counts.containers - counts.running - counts.paused,
        "Images": counts.images,
        "SystemTime": rfc3339(time.time_ns()),
        "NFd": len(os.listdir("/proc/self/fd")),
        "DockerRootDir": root,
        "ServerVersion": VERSION,
        "Warnings": list(warnings),
    }


def _machine() -> dict[str, Any]:
    uname = os.uname()
    return {
        "KernelVersion": uname.release,
        "OperatingSystem": _os_name(),
        "OSVersion": "",
        "OSType": "linux",
        "Architecture": uname.machine,
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "Name": uname.nodename,
        "IPv4Forwarding": _read("/proc/sys/net/ipv4/ip_forward") == "1",
    }


def _limits(systemd: bool) -> dict[str, Any]:
    found = cgroups.detect()
    return {
        "MemoryLimit": "memory" in found.controllers,
        "SwapLimit": "memory" in found.controllers,
        "CpuCfsPeriod": "cpu" in found.controllers,
        "CpuCfsQuota": "cpu" in found.controllers,
        "CPUShares": "cpu" in found.controllers,
        "CPUSet": "cpuset" in found.controllers,
        "PidsLimit": "pids" in found.controllers,
        "OomKillDisable": False,
        "CgroupDriver": "systemd" if systemd else "cgroupfs",
        "CgroupVersion": str(found.version),
    }


#: What is the same on every engine of this version.
_CONSTANT: dict[str, Any] = {
    "Driver": "overlay2",
    "DriverStatus": [["Snapshotter", "overlayfs"]],
    "Plugins": {
        "Volume": ["local"], "Network": ["bridge", "host", "ipvlan", "macvlan", "null"], "Authorization": None,
        "Log": ["json-file", "local", "none"],
    },
    "Debug": False,
    "NGoroutines": 1,
    "LoggingDriver": "json-file",
    "NEventsListener": 0,
    "IndexServerAddress": "https://index.docker.io/v1/",
    "RegistryConfig": {"InsecureRegistryCIDRs": [], "IndexConfigs": {}, "Mirrors": []},
    "GenericResources": None,
    "Labels": [],
    "ExperimentalBuild": False,
    "Runtimes": {"dockyard": {"path": "dockyard"}},
    "DefaultRuntime": "dockyard",
    "Swarm": {
        "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False, "Error": "",
        "RemoteManagers": None,
    },
    "LiveRestoreEnabled": True,
    "Isolation": "",
    "InitBinary": "dockyard",
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
}  # fmt: skip


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def _os_name() -> str:
    for line in _read("/etc/os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip('"')
    return "Linux"
