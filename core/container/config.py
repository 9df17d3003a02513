"""Docker's create request, checked: every member has the right type and an allowed value, or the request is refused.

The result keeps Docker's own shape (its ``Config`` and ``HostConfig`` objects), with defaults filled in, since
that is what is stored and what inspect returns. A member that this engine knows of and does not support is
refused by name unless it has its neutral value; members nobody knows are ignored, as Docker ignores them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.container.mounts import anonymous_volume, check_mounts
from core.errors import InvalidArgument, Unsupported
from core.linux.privileges import CAPABILITY_NAMES, RLIMITS

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_HOSTNAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CPUSET = re.compile(r"[0-9, -]*")

#: Docker's smallest memory limit (daemon/daemon_unix.go, linuxMinMemory): 6 MiB.
MIN_MEMORY = 6 * 1024 * 1024
MAX_STRINGS = 10_000

Kind = Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A checked create request. ``config`` and ``host_config`` are Docker's objects, complete."""

    name: str
    config: dict[str, Any]
    host_config: dict[str, Any]
    platform: str = ""
    warnings: tuple[str, ...] = field(default=())


def _string(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} must be a string, not {_shown(value)}")
    if "\0" in value:
        raise InvalidArgument(f"{name} must not hold a NUL byte")
    return value


def _boolean(name: str, value: Any) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InvalidArgument(f"{name} must be true or false, not {_shown(value)}")
    return value


def _integer(name: str, value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgument(f"{name} must be a whole number, not {_shown(value)}")
    if not -(2**63) <= value < 2**63:
        raise InvalidArgument(f"{name} is out of range: {value}")
    return value


def _optional_integer(name: str, value: Any) -> int | None:
    return None if value is None else _integer(name, value)


def _strings(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_STRINGS:
        raise InvalidArgument(f"{name} must be a list of strings, not {_shown(value)}")
    return [_string(f"{name}[{i}]", item) for i, item in enumerate(value)]


def _command(name: str, value: Any) -> list[str] | None:
    if value is None:
        return None
    return [value] if isinstance(value, str) else _strings(name, value)


def _string_map(name: str, value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"{name} must be an object of strings, not {_shown(value)}")
    return {key: _string(f"{name}.{key}", item) for key, item in value.items()}


def _object(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"{name} must be an object, not {_shown(value)}")
    return value


def _paths(name: str, value: Any) -> list[str] | None:
    if value is None:
        return None
    paths = _strings(name, value)
    if not all(path.startswith("/") for path in paths):
        raise InvalidArgument(f"{name} must be a list of absolute paths, not {_shown(paths)}")
    return paths


def _ulimits(name: str, value: Any) -> list[dict[str, Any]] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(i, dict) and isinstance(i.get("Name"), str) for i in value):
        raise InvalidArgument(f"{name} must be a list of {{Name, Soft, Hard}}, not {_shown(value)}")
    return [
        {"Name": item["Name"], **{key: _integer(f"{name}.{key}", item.get(key)) for key in ("Soft", "Hard")}}
        for item in value
    ]


def _any(name: str, value: Any) -> Any:
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


_CONFIG: dict[str, Kind] = {
    "Hostname": _string,
    "Domainname": _string,
    "User": _string,
    "AttachStdin": _boolean,
    "AttachStdout": _boolean,
    "AttachStderr": _boolean,
    "Tty": _boolean,
    "OpenStdin": _boolean,
    "StdinOnce": _boolean,
    "Env": _strings,
    "Cmd": _command,
    "Entrypoint": _command,
    "Image": _string,
    "WorkingDir": _string,
    "Labels": _string_map,
    "StopSignal": _string,
    "StopTimeout": _optional_integer,
    "ExposedPorts": _object,
    "Volumes": _object,
    "Healthcheck": _any,
    "OnBuild": _any,
    "Shell": _any,
    "NetworkDisabled": _boolean,
    "ArgsEscaped": _any,
}

_HOST_CONFIG: dict[str, Kind] = {
    "Binds": _strings,
    "Mounts": _any,
    "Tmpfs": _string_map,
    "NetworkMode": _string,
    "AutoRemove": _boolean,
    "LogConfig": _object,
    "RestartPolicy": _object,
    "ConsoleSize": _any,
    "CapAdd": _strings,
    "CapDrop": _strings,
    "Privileged": _boolean,
    "ReadonlyRootfs": _boolean,
    "SecurityOpt": _strings,
    "Init": _boolean,
    "ShmSize": _integer,
    "Memory": _integer,
    "MemorySwap": _integer,
    "MemoryReservation": _integer,
    "NanoCpus": _integer,
    "CpuShares": _integer,
    "CpuPeriod": _integer,
    "CpuQuota": _integer,
    "CpusetCpus": _string,
    "CpusetMems": _string,
    "PidsLimit": _optional_integer,
    "OomScoreAdj": _integer,
    "GroupAdd": _strings,
    "Ulimits": _ulimits,
    "MaskedPaths": _paths,
    "ReadonlyPaths": _paths,
    "ContainerIDFile": _string,
    "Runtime": _string,
    "CgroupnsMode": _string,
    "IpcMode": _string,
    "PidMode": _string,
    "UTSMode": _string,
    "UsernsMode": _string,
    "VolumeDriver": _string,
    "VolumesFrom": _strings,
    "Isolation": _string,
}

#: Members that are refused by name unless they are empty, 0, false or one of these values.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "PortBindings": (),
    "PublishAllPorts": (),
    "Dns": (),
    "DnsOptions": (),
    "DnsSearch": (),
    "ExtraHosts": (),
    "Links": (),
    "Cgroup": (),
    "CgroupParent": (),
    "BlkioWeight": (),
    "BlkioWeightDevice": (),
    "BlkioDeviceReadBps": (),
    "BlkioDeviceWriteBps": (),
    "BlkioDeviceReadIOps": (),
    "BlkioDeviceWriteIOps": (),
    "CpuRealtimePeriod": (),
    "CpuRealtimeRuntime": (),
    "Devices": (),
    "DeviceCgroupRules": (),
    "DeviceRequests": (),
    "MemorySwappiness": (-1,),
    "KernelMemory": (),
    "KernelMemoryTCP": (),
    "OomKillDisable": (),
    "StorageOpt": (),
    "Sysctls": (),
    "Annotations": (),
    "CpuCount": (),
    "CpuPercent": (),
    "IOMaximumIOps": (),
    "IOMaximumBandwidth": (),
    "VolumeDriver": ("local",),
    "Isolation": ("default",),
    "UsernsMode": ("host",),
    "UTSMode": (),
    "PidMode": (),
    "IpcMode": ("private", "shareable"),
    "CgroupnsMode": ("private",),
    "Runtime": ("runc", "dockyard"),
}


def parse_create(body: Any, name: str = "", platform: str = "") -> CreateRequest:
    """Check a create request's JSON body. Raises InvalidArgument or Unsupported, naming the member."""
    if not isinstance(body, dict):
        raise InvalidArgument("the request's body must be a JSON object")
    if name and not NAME.fullmatch(name):
        raise InvalidArgument(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    config = {key: kind(key, body.get(key)) for key, kind in _CONFIG.items()}
    raw = _object("HostConfig", body.get("HostConfig"))
    host = {key: kind(f"HostConfig.{key}", raw.get(key)) for key, kind in _HOST_CONFIG.items()}
    if not config["Image"]:
        raise InvalidArgument("Image is missing", hint="name the image to run")
    _refuse_unsupported(raw)
    _check_networking(body.get("NetworkingConfig"), host)
    _check_config(config)
    warnings = _check_host_config(host)
    check_mounts(host)
    return CreateRequest(name, config, host, platform, tuple(warnings))


def _refuse_unsupported(raw: dict[str, Any]) -> None:
    for key, allowed in _UNSUPPORTED.items():
        value = raw.get(key)
        if value in (None, "", 0, False, [], {}) or value in allowed:
            continue
        raise Unsupported(f"HostConfig.{key} = {_shown(value)} is not supported by this version of Dockyard")


def _check_networking(value: Any, host: dict[str, Any]) -> None:
    endpoints = _object("NetworkingConfig.EndpointsConfig", _object("NetworkingConfig", value).get("EndpointsConfig"))
    for network, settings in endpoints.items():
        if network not in ("default", "bridge", "none", "host", host["NetworkMode"]):
            raise Unsupported(
                f"network {network} cannot be used: this version of Dockyard has only none, host and container:NAME"
            )
        for key in ("Aliases", "Links", "IPAMConfig", "MacAddress"):
            if _object(f"EndpointsConfig.{network}", settings).get(key):
                raise Unsupported(f"EndpointsConfig.{network}.{key} is not supported by this version of Dockyard")
    mode = host["NetworkMode"] = host["NetworkMode"] or "default"
    if mode in ("default", "bridge", "none", "host"):
        return
    kind, _, target = mode.partition(":")
    if kind != "container":
        raise Unsupported(
            f"network {mode} cannot be used: this version of Dockyard has only none, host and container:NAME"
        )
    if not target:
        raise InvalidArgument("network container: needs a container's name or id, as in container:web")


def _check_config(config: dict[str, Any]) -> None:
    for variable in config["Env"]:
        if not variable.partition("=")[0]:
            raise InvalidArgument(f"invalid environment variable: {_shown(variable)}", hint="write NAME=value")
    if config["Hostname"] and not _HOSTNAME.fullmatch(config["Hostname"]):
        raise InvalidArgument(
            f"invalid hostname {config['Hostname']!r}", hint="at most 64 letters, digits, dots, hyphens"
        )
    if config["Domainname"] and not _HOSTNAME.fullmatch(config["Domainname"]):
        raise InvalidArgument(
            f"invalid domain name {_shown(config['Domainname'])}", hint="at most 64 letters, digits, dots, hyphens"
        )
    if config["StopSignal"]:
        parse_signal(config["StopSignal"])
    if config["WorkingDir"] and not config["WorkingDir"].startswith("/"):
        raise InvalidArgument(
            f"the working directory '{config['WorkingDir']}' is invalid, it needs to be an absolute path"
        )
    for path in config["Volumes"]:
        anonymous_volume(path)
    if config["StopTimeout"] is not None and config["StopTimeout"] < -1:
        raise InvalidArgument(f"StopTimeout must be -1 (no limit) or more, not {config['StopTimeout']}")
    health = config["Healthcheck"]
    if health and (health.get("Test") if isinstance(health, dict) else health) not in (None, [], ["NONE"]):
        raise Unsupported("Healthcheck is not supported by this version of Dockyard")


def _check_host_config(host: dict[str, Any]) -> list[str]:
    _check_resources(host)
    for member in ("CapAdd", "CapDrop"):
        host[member] = [_capability(member, name) for name in host[member]]
    _check_log_config(host)
    policy = host["RestartPolicy"].get("Name") or "no"
    if policy != "no":
        raise Unsupported(f"HostConfig.RestartPolicy {policy} is not supported by this version of Dockyard")
    host["RestartPolicy"] = {"Name": "no", "MaximumRetryCount": 0}
    host["ConsoleSize"] = _console_size(host["ConsoleSize"])
    _check_security(host["SecurityOpt"])
    for option in host["Ulimits"] or ():
        _check_ulimit(option["Name"], option["Soft"], option["Hard"])
    return []


def _check_ulimit(name: str, soft: int, hard: int) -> None:
    if f"RLIMIT_{name.upper()}" not in RLIMITS:
        raise InvalidArgument(f"invalid ulimit type: {name}")
    if min(soft, hard) < -1:
        raise InvalidArgument(f"ulimit {name}: a limit must be -1 (none) or more, not {min(soft, hard)}")
    if soft > hard >= 0:
        raise InvalidArgument(f"ulimit {name}: the soft limit must not exceed the hard limit")


def _check_resources(host: dict[str, Any]) -> None:
    memory, swap, reservation = host["Memory"], host["MemorySwap"], host["MemoryReservation"]
    if memory and memory < MIN_MEMORY:
        raise InvalidArgument(f"Memory {memory}: Minimum memory limit allowed is 6MB")
    if swap > 0 and not memory:
        raise InvalidArgument("MemorySwap: you should always set the Memory limit when using Memoryswap limit")
    if 0 < swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit")
    if 0 < memory < reservation:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit")
    if host["NanoCpus"] < 0:
        raise InvalidArgument(f"NanoCpus must be 0 (no limit) or more, not {host['NanoCpus']}")
    if 0 < host["NanoCpus"] < 10_000_000:
        raise InvalidArgument("range of CPUs is from 0.01 up", hint="give --cpus at least 0.01")
    if host["NanoCpus"] and (host["CpuPeriod"] or host["CpuQuota"]):
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set")
    if host["CpuPeriod"] and not 1000 <= host["CpuPeriod"] <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < host["CpuQuota"] < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if not -1000 <= host["OomScoreAdj"] <= 1000:
        raise InvalidArgument(f"Invalid value {host['OomScoreAdj']}, range for oom score adj is [-1000, 1000]")
    for member in ("CpusetCpus", "CpusetMems"):
        if not _CPUSET.fullmatch(host[member]):
            raise InvalidArgument(f"Invalid value {_shown(host[member])} for {member}", hint="write 0-2,4")
    if host["ShmSize"] < 0:
        raise InvalidArgument("SHM size can not be less than 0")


def _capability(member: str, name: str) -> str:
    upper = name.upper()
    if upper == "ALL":
        return upper
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in CAPABILITY_NAMES:
        raise InvalidArgument(f'HostConfig.{member}: unknown capability "{name}"')
    return full


def _check_log_config(host: dict[str, Any]) -> None:
    kind = _string("HostConfig.LogConfig.Type", host["LogConfig"].get("Type")) or "json-file"
    options = _string_map("HostConfig.LogConfig.Config", host["LogConfig"].get("Config"))
    if kind not in ("json-file", "local", "none"):
        raise Unsupported(f"log driver {kind} is not supported", hint="use local, json-file or none")
    for option, value in options.items():
        if option == "max-size":
            parse_size(f"log option {option}", value)
        elif option == "max-file":
            if not value.isdecimal() or len(value) > 5 or not 1 <= int(value) <= 10_000:
                raise InvalidArgument(f"log option max-file must be a number from 1 to 10000, not {_shown(value)}")
        else:
            raise Unsupported(
                f"unknown log opt '{option}' for {kind} log driver", hint="max-size and max-file are known"
            )
    host["LogConfig"] = {"Type": kind, "Config": options}


def _console_size(value: Any) -> list[int]:
    if value in (None, []):
        return [0, 0]
    if not isinstance(value, list) or len(value) != 2:
        raise InvalidArgument("HostConfig.ConsoleSize must be [height, width]")
    size = [_integer("HostConfig.ConsoleSize", number) for number in value]
    if not all(0 <= number <= 0xFFFF for number in size):
        raise InvalidArgument(f"HostConfig.ConsoleSize is out of range: {_shown(value)}")
    return size


def _check_security(options: list[str]) -> None:
    for option in options:
        key, separator, value = option.partition("=") if "=" in option else option.partition(":")
        if key == "no-new-privileges" and value in ("", "true", "false"):
            continue
        if key == "seccomp" and separator:
            continue
        if key == "apparmor" and value == "unconfined":
            continue
        if key == "label" and value == "disable":
            continue
        raise Unsupported(
            f"security option {_shown(option)} is not supported",
            hint="no-new-privileges[=true|false], seccomp=unconfined, seccomp=PROFILE.json and apparmor=unconfined are",
        )


_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(name: str, text: str) -> int:
    """Bytes from ``10m``, ``1.5g``, ``512k``, ``4096`` (powers of 1024, as docker/go-units RAMInBytes)."""
    found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?) ?([kmgt]?)i?b?", text.strip().lower())
    if not found or not (size := int(float(found[1]) * _UNITS[found[2]])):
        raise InvalidArgument(f"{name}: invalid size {_shown(text)}", hint="write a number and b, k, m or g, as in 10m")
    return size


def parse_signal(text: str) -> int:
    """The number of ``TERM``, ``SIGTERM``, ``15`` or ``RTMIN+1``; InvalidArgument for anything else."""
    from signal import SIGRTMAX, SIGRTMIN, Signals

    name = text.upper().removeprefix("SIG")
    if name.isdecimal() and len(name) <= 3 and 1 <= int(name) <= SIGRTMAX:
        return int(name)
    if "SIG" + name in Signals.__members__:
        return Signals["SIG" + name].value
    found = re.fullmatch(r"RTM(IN|AX)([+-]\d{1,2})", name)
    if found:
        number = (SIGRTMIN if found[1] == "IN" else SIGRTMAX) + int(found[2])
        if SIGRTMIN <= number <= SIGRTMAX:
            return number
    raise InvalidArgument(f"Invalid signal: {text[:100]}", hint="use a name such as SIGTERM, or a number")
