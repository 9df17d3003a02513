"""The members of a create request: the kind of each, and the values that are refused.

A member that this engine knows of and does not support is refused by name unless it has its neutral value.
"""

from __future__ import annotations

from typing import Any

from core.container.config.devices import devices, rates
from core.container.config.health import health
from core.container.config.networks import bindings, exposed, links
from core.container.config.values import (
    Kind,
    anything,
    boolean,
    command,
    integer,
    object_,
    optional_integer,
    paths,
    shown,
    string,
    string_map,
    strings,
    ulimits,
)
from core.errors import Unsupported

CONFIG: dict[str, Kind] = {
    "Hostname": string,
    "Domainname": string,
    "User": string,
    "AttachStdin": boolean,
    "AttachStdout": boolean,
    "AttachStderr": boolean,
    "Tty": boolean,
    "OpenStdin": boolean,
    "StdinOnce": boolean,
    "Env": strings,
    "Cmd": command,
    "Entrypoint": command,
    "Image": string,
    "WorkingDir": string,
    "Labels": string_map,
    "StopSignal": string,
    "StopTimeout": optional_integer,
    "ExposedPorts": exposed,
    "Volumes": object_,
    "Healthcheck": health,
    "OnBuild": anything,
    "Shell": anything,
    "NetworkDisabled": boolean,
    "ArgsEscaped": anything,
}

HOST_CONFIG: dict[str, Kind] = {
    "Binds": strings,
    "Mounts": anything,
    "Tmpfs": string_map,
    "NetworkMode": string,
    "PortBindings": bindings,
    "PublishAllPorts": boolean,
    "Dns": strings,
    "DnsOptions": strings,
    "DnsSearch": strings,
    "ExtraHosts": strings,
    "Links": links,
    "AutoRemove": boolean,
    "LogConfig": object_,
    "RestartPolicy": object_,
    "ConsoleSize": anything,
    "CapAdd": strings,
    "CapDrop": strings,
    "Privileged": boolean,
    "ReadonlyRootfs": boolean,
    "SecurityOpt": strings,
    "Init": boolean,
    "ShmSize": integer,
    "Memory": integer,
    "MemorySwap": integer,
    "MemoryReservation": integer,
    "MemorySwappiness": optional_integer,
    "OomKillDisable": boolean,
    "BlkioWeight": integer,
    "BlkioDeviceReadBps": rates,
    "BlkioDeviceWriteBps": rates,
    "BlkioDeviceReadIOps": rates,
    "BlkioDeviceWriteIOps": rates,
    "Devices": devices,
    "DeviceCgroupRules": strings,
    "Sysctls": string_map,
    "Annotations": string_map,
    "NanoCpus": integer,
    "CpuShares": integer,
    "CpuPeriod": integer,
    "CpuQuota": integer,
    "CpusetCpus": string,
    "CpusetMems": string,
    "PidsLimit": optional_integer,
    "OomScoreAdj": integer,
    "GroupAdd": strings,
    "Ulimits": ulimits,
    "MaskedPaths": paths,
    "ReadonlyPaths": paths,
    "ContainerIDFile": string,
    "Runtime": string,
    "CgroupnsMode": string,
    "IpcMode": string,
    "PidMode": string,
    "UTSMode": string,
    "UsernsMode": string,
    "VolumeDriver": string,
    "VolumesFrom": strings,
    "Isolation": string,
}

#: Members that are refused by name unless they are empty, 0, false or one of these values.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "Cgroup": (),
    "CgroupParent": (),
    "BlkioWeightDevice": (),
    "CpuRealtimePeriod": (),
    "CpuRealtimeRuntime": (),
    "DeviceRequests": (),
    "KernelMemory": (),
    "KernelMemoryTCP": (),
    "StorageOpt": (),
    "CpuCount": (),
    "CpuPercent": (),
    "IOMaximumIOps": (),
    "IOMaximumBandwidth": (),
    "VolumeDriver": ("local",),
    "Isolation": ("default",),
    "Runtime": ("runc", "dockyard"),
}


def refuse_unsupported(raw: dict[str, Any]) -> None:
    """Raise Unsupported, with its name, for a HostConfig's member that has an effect this engine does not have."""
    for key, allowed in _UNSUPPORTED.items():
        value = raw.get(key)
        if value in (None, "", 0, False, [], {}) or value in allowed:
            continue
        raise Unsupported(f"HostConfig.{key} = {shown(value)} is not supported by this version of Dockyard")
