"""The record as Docker's JSON: an item of the list, and the whole of inspect.

Beyond Docker there are ``DockyardExplain``: why the container is not running, in words; and ``StartedAt`` of an item.
"""

from __future__ import annotations

import os
import time
from typing import Any

from core.container import netview
from core.container.explain import explain
from core.container.mounts import described
from core.container.status import Container, Status
from core.network.store import NetworkStore

_HEALTH_WORDS = {"starting": "health: starting"}
_NEVER = "0001-01-01T00:00:00Z"


def rfc3339(nanoseconds: int) -> str:
    """Nanoseconds since the epoch as Docker writes times; 0 is Go's zero time."""
    if not nanoseconds:
        return _NEVER
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def docker_status(container: Container) -> str:
    """Docker's word for the state; the intents show as what the container was before."""
    if container.restarting:
        return "restarting"
    if container.status is Status.STARTING:
        return "created"
    return container.status.value


def human_duration(seconds: float) -> str:
    """``About a minute``, ``3 hours`` … as docker/go-units HumanDuration."""
    count = int(seconds)
    if count < 1:
        return "Less than a second"
    if count == 1:
        return "1 second"
    if count < 60:
        return f"{count} seconds"
    minutes = count // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"


def status_text(container: Container, now: int) -> str:
    """``Up 3 minutes``, ``Exited (137) 2 hours ago``, ``Created`` …"""
    if container.status.is_up:
        up = f"Up {human_duration((now - container.started_at) / 1e9)}"
        if container.status is Status.PAUSED:
            return f"{up} (Paused)"
        if container.error and not container.monitor_pid:
            return f"{up} (monitor lost)"
        return f"{up} ({_HEALTH_WORDS.get(container.health, container.health)})" if container.health_state else up
    if container.restarting:
        return f"Restarting ({container.exit_code}) {human_duration((now - container.finished_at) / 1e9)} ago"
    if container.status is Status.EXITED:
        return f"Exited ({container.exit_code}) {human_duration((now - container.finished_at) / 1e9)} ago"
    return "Removal In Progress" if container.status is Status.REMOVING else "Created"


def summary(container: Container, now: int, networks: NetworkStore) -> dict[str, Any]:
    """One item of ``GET /containers/json``."""
    words = " ".join(_quote(word) for word in container.args)
    item: dict[str, Any] = {
        "Id": container.id,
        "Names": ["/" + container.name],
        "Image": container.image,
        "ImageID": container.image_id,
        "Command": words,
        "Created": container.created // 1_000_000_000,
        "Ports": netview.ports(container, networks),
        "Labels": container.labels,
        "State": docker_status(container),
        "Status": status_text(container, now),
        "HostConfig": {"NetworkMode": container.host_config["NetworkMode"]},
        "NetworkSettings": {"Networks": netview.endpoints(container, networks)},
        "Mounts": described(container),
    }
    item["DockyardExplain"] = explain(container)
    if container.status.is_up:
        item["StartedAt"] = container.started_at // 1_000_000_000
    return item


def _quote(word: str) -> str:
    """As Docker shows a command: a word with blanks is quoted."""
    return "'" + word.replace("'", "'\\''") + "'" if " " in word else word


def state(container: Container) -> dict[str, Any]:
    """Inspect's ``State``; ``Health`` only with a check."""
    found = {
        "Status": docker_status(container),
        "Running": container.status.is_up or container.restarting,
        "Paused": container.status is Status.PAUSED,
        "Restarting": container.restarting,
        "OOMKilled": container.oom_killed,
        "Dead": False,
        "Pid": container.pid if container.status.is_up else 0,
        "ExitCode": 0 if container.status.is_up else container.exit_code,
        "Error": container.error,
        "StartedAt": rfc3339(container.started_at),
        "FinishedAt": rfc3339(container.finished_at),
    }
    if container.health_state:
        found["Health"] = _health(container.health_state)
    return found


def _health(kept: dict[str, Any]) -> dict[str, Any]:
    log = [entry | {"Start": rfc3339(entry["Start"]), "End": rfc3339(entry["End"])} for entry in kept.get("Log") or []]
    return {"Status": kept["Status"], "FailingStreak": kept["FailingStreak"], "Log": log}


def inspect(container: Container, exec_ids: list[str], folder: str, networks: NetworkStore) -> dict[str, Any]:
    """The answer of ``GET /containers/{id}/json``."""
    log_folder = os.path.join(folder, "log")
    etc = folder if container.started_at else ""
    document: dict[str, Any] = {
        "Id": container.id,
        "Created": rfc3339(container.created),
        "Path": container.args[0],
        "Args": list(container.args[1:]),
        "State": state(container),
        "Image": container.image_id,
        "ResolvConfPath": os.path.join(etc, "resolv.conf") if etc else "",
        "HostnamePath": os.path.join(etc, "hostname") if etc else "",
        "HostsPath": os.path.join(etc, "hosts") if etc else "",
        "LogPath": os.path.join(log_folder, "current.log") if _logs(container) else "",
        "Name": "/" + container.name,
        "RestartCount": container.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": exec_ids or None,
        "HostConfig": _host_config(container),
        "GraphDriver": {"Name": "overlay2", "Data": {}},
        "Mounts": described(container),
        "Config": _config(container),
        "NetworkSettings": netview.settings(container, networks),
    }
    reason = explain(container)
    if reason:
        document["DockyardExplain"] = reason
    return document


def _logs(container: Container) -> bool:
    return bool(container.host_config["LogConfig"]["Type"] != "none")


def _config(container: Container) -> dict[str, Any]:
    config = dict(container.config)
    config["Hostname"] = config["Hostname"] or container.short
    for member in ("Healthcheck", "Shell", "ArgsEscaped", "NetworkDisabled"):
        if not config.get(member):
            config.pop(member, None)
    for member in ("StopTimeout", "StopSignal"):
        if config.get(member) in (None, ""):
            config.pop(member, None)
    if not config["ExposedPorts"]:
        config.pop("ExposedPorts")
    config["Volumes"] = config["Volumes"] or None
    return config


_HOST_DEFAULTS: dict[str, Any] = {
    "PortBindings": {}, "PublishAllPorts": False, "Dns": [], "DnsOptions": [], "DnsSearch": [],
    "ExtraHosts": None, "Cgroup": "", "CgroupParent": "", "Links": None, "BlkioWeight": 0, "BlkioWeightDevice": [],
    "BlkioDeviceReadBps": [], "BlkioDeviceWriteBps": [], "BlkioDeviceReadIOps": [], "BlkioDeviceWriteIOps": [],
    "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "Devices": [], "DeviceCgroupRules": None, "DeviceRequests": None,
    "MemorySwappiness": None, "OomKillDisable": None, "CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0, "PidMode": "", "UTSMode": "", "UsernsMode": "",
}  # fmt: skip


def _host_config(container: Container) -> dict[str, Any]:
    host = {**_HOST_DEFAULTS, **container.host_config}
    for member in ("CapAdd", "CapDrop", "Binds", "SecurityOpt", "Ulimits", "VolumesFrom", "ExtraHosts", "Links"):
        host[member] = host[member] or None
    host["IpcMode"] = host["IpcMode"] or "private"
    host["CgroupnsMode"] = host["CgroupnsMode"] or "private"
    host["Runtime"] = host["Runtime"] or "dockyard"
    host["ShmSize"] = host["ShmSize"] or 64 << 20
    if not host["Tmpfs"]:
        host.pop("Tmpfs")
    if not host["Mounts"]:
        host.pop("Mounts")
    return host
