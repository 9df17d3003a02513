"""Container record → OCI spec and monitor config. Pure: no file is read, nothing is made.

Defaults (masked paths, capabilities, devices, mounts) are those of Docker: moby's ``daemon/pkg/oci/defaults.go``,
``daemon/pkg/oci/caps/defaults.go``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from core import oci
from core.container.config import parse_signal, parse_size
from core.container.devices import HostDevices
from core.container.merge import environment
from core.container.mounts import BindMount, mounts_of, to_oci
from core.container.status import Container
from core.errors import InvalidArgument
from core.linux.mounts import RootfsMount
from core.linux.privileges import CAPABILITY_NAMES
from core.linux.seccomp import default_profile, load_profile
from core.runtime.protocol import LogConfig, MonitorConfig

DEFAULT_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
)  # fmt: skip

MASKED_PATHS = [
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
]  # fmt: skip
READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

#: Character devices every container may use: null zero full random urandom tty console ptmx, and its ptys.
_DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, -1))

#: ctrl-p ctrl-q
DETACH_KEYS = b"\x10\x11"
DEFAULT_SHM = 64 << 20
DEFAULT_LOG_SIZE = 10_000_000
DEFAULT_LOG_FILES = 10


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the engine adds to a container's own record at each start."""

    run_dir: str
    log_folder: str
    etc_folder: str  # where the generated files of /etc lie
    rootfs: list[RootfsMount]
    scratch_size: int
    cgroup: dict[str, Any]
    cgroups_path: str
    seccomp: str  # path of the compiled filter, "" for none
    network_path: str = ""  # /proc/PID/ns/net of the container whose network is joined
    pid_path: str = ""  # /proc/PID/ns/pid, likewise
    hostname: str = ""
    resolver: bool = False  # its monitor answers for names
    devices: HostDevices = field(default_factory=HostDevices)


def capabilities(host: dict[str, Any]) -> list[str]:
    """The names a container keeps, after ``--privileged``, ``--cap-add`` and ``--cap-drop``."""
    if host["Privileged"]:
        return list(CAPABILITY_NAMES)
    add, drop = set(host["CapAdd"]), set(host["CapDrop"])
    base = set(CAPABILITY_NAMES) if "ALL" in add else set(DEFAULT_CAPABILITIES)
    if "ALL" in drop:
        base = set()
    wanted = (base - drop) | (add - {"ALL"})
    return [name for name in CAPABILITY_NAMES if name in wanted]


def seccomp_profile(host: dict[str, Any]) -> oci.Seccomp | None:
    """The profile a container is started with, None for unconfined."""
    chosen = next((o for o in reversed(host["SecurityOpt"]) if o.startswith(("seccomp=", "seccomp:"))), "")
    value = chosen[len("seccomp=") :]
    if host["Privileged"] and not value:
        return None
    if value == "unconfined":
        return None
    if value and value != "builtin":
        return load_profile(value, capabilities(host))
    return default_profile(capabilities(host))


def no_new_privileges(host: dict[str, Any]) -> bool:
    """Whether ``--security-opt no-new-privileges`` is on."""
    last = next((o for o in reversed(host["SecurityOpt"]) if o.startswith("no-new-privileges")), "=false")
    return not last.endswith(("=false", ":false"))


def make_spec(container: Container, around: Surroundings) -> oci.Spec:
    """The OCI spec (config.json) of ``container`` for its next start."""
    host = container.host_config
    privileged = host["Privileged"]
    linux: oci.Linux = {
        "namespaces": namespaces(host, around.network_path, around.pid_path),
        "cgroupsPath": around.cgroups_path,
        "resources": resources(host, around.devices),
        "devices": around.devices.nodes,
        "sysctl": sysctls(host, own_network=own_network(host, around.network_path)),
        "maskedPaths": [] if privileged else _paths(host["MaskedPaths"], MASKED_PATHS),
        "readonlyPaths": [] if privileged else _paths(host["ReadonlyPaths"], READONLY_PATHS),
        "rootfsPropagation": _root_propagation(container),
    }
    profile = seccomp_profile(host)
    if profile is not None:
        linux["seccomp"] = profile
    annotations = {**host.get("Annotations", {}), "dev.dockyard.id": container.id, "dev.dockyard.name": container.name}
    if privileged:
        annotations["dev.dockyard.privileged"] = "true"
    return {
        "ociVersion": "1.2.0",
        "process": make_process(container, around.hostname),
        "root": {"path": os.path.join(around.run_dir, "rootfs"), "readonly": host["ReadonlyRootfs"]},
        "hostname": around.hostname,
        "domainname": container.config["Domainname"],
        "mounts": mounts(container, around),
        "linux": linux,
        "annotations": annotations,
    }


def make_process(container: Container, hostname: str) -> oci.Process:
    """The ``process`` of the spec: what runs, as whom, with which rights."""
    host, config = container.host_config, container.config
    process = base_process(host, privileged=host["Privileged"])
    process["terminal"] = container.tty
    process["args"] = list(container.args)
    process["env"] = environment(config, hostname)
    process["cwd"] = config["WorkingDir"] or "/"
    if host["OomScoreAdj"]:
        process["oomScoreAdj"] = host["OomScoreAdj"]
    return process


def base_process(host: dict[str, Any], *, privileged: bool) -> oci.Process:
    """Identity, capabilities and limits, shared by pid 1 and by execs; the user is looked up by init."""
    names = list(CAPABILITY_NAMES) if privileged else capabilities(host)
    return {
        "user": {"uid": 0, "gid": 0, "additionalGids": _group_ids(host["GroupAdd"])},
        "args": [],
        "env": [],
        "cwd": "/",
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "rlimits": [_rlimit(item) for item in host["Ulimits"] or ()],
        "noNewPrivileges": no_new_privileges(host),
    }


def namespaces(host: dict[str, Any], network_path: str, pid_path: str = "") -> list[oci.Namespace]:
    """Which namespaces are new and which are joined. Host networking: none is named, the host's stays."""
    members = {"uts": "UTSMode", "ipc": "IpcMode", "pid": "PidMode", "cgroup": "CgroupnsMode"}
    own = [kind for kind, member in members.items() if host[member] != "host"]
    found: list[oci.Namespace] = [{"type": kind} for kind in ("mount", *own)]
    if pid_path:
        found = [entry for entry in found if entry["type"] != "pid"]
        found.append({"type": "pid", "path": pid_path})
    if network_path:
        found.append({"type": "network", "path": network_path})
    elif host["NetworkMode"] != "host":
        found.append({"type": "network"})
    return found


def own_network(host: dict[str, Any], network_path: str) -> bool:
    """Whether a new network namespace is made."""
    return host["NetworkMode"] != "host" and not network_path


def sysctls(host: dict[str, Any], *, own_network: bool) -> dict[str, str]:
    """Docker's defaults for a network of its own: ports below 1024 and ping without capabilities; then the person's."""
    own = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
    return {**(own if own_network else {}), **host.get("Sysctls", {})}


def mounts(container: Container, around: Surroundings) -> list[oci.Mount]:
    """Docker's default mounts, the three generated files of /etc, then the person's own."""
    host = container.host_config
    cgroup_mode = "rw" if host["Privileged"] else "ro"
    found = [
        _mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        _mount("/sys", "sysfs", "sysfs", f"nosuid,noexec,nodev,{cgroup_mode}"),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", f"nosuid,noexec,nodev,{cgroup_mode}"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        *_shared_memory(host),
    ]
    own = [to_oci(mount) for mount in mounts_of(container)]
    targets = {os.path.normpath(mount["destination"]) for mount in own}
    for name in ("resolv.conf", "hostname", "hosts"):
        if f"/etc/{name}" not in targets:
            source = os.path.join(around.etc_folder, name)
            found.append(_mount(f"/etc/{name}", "bind", source, "rbind,rw,rprivate"))
    # A person's mount on one of the default targets replaces the default.
    return [mount for mount in found if mount["destination"] not in targets] + own


def _shared_memory(host: dict[str, Any]) -> list[oci.Mount]:
    """/dev/shm: the host's with ``--ipc host``, none with ``--ipc none``."""
    if host["IpcMode"] == "none":
        return []
    if host["IpcMode"] == "host":
        return [_mount("/dev/shm", "bind", "/dev/shm", "rbind,rw,rprivate")]
    size = host["ShmSize"] or DEFAULT_SHM
    return [_mount("/dev/shm", "tmpfs", "shm", f"nosuid,noexec,nodev,mode=1777,size={size}")]


def _mount(destination: str, kind: str, source: str, options: str) -> oci.Mount:
    return {"destination": destination, "type": kind, "source": source, "options": options.split(",")}


def resources(host: dict[str, Any], devices: HostDevices | None = None) -> oci.Resources:
    """Limits as the OCI spec writes them; what was not asked for is left out."""
    devices = devices or HostDevices()
    found: oci.Resources = {"devices": _device_rules(host["Privileged"]) + devices.rules}
    if devices.block_io:
        found["blockIO"] = devices.block_io
    memory: oci.Memory = {}
    if host["Memory"]:
        memory["limit"] = host["Memory"]
        # Docker's rule: without --memory-swap, as much swap again as memory.
        memory["swap"] = host["MemorySwap"] or host["Memory"] * 2
    if host["MemoryReservation"]:
        memory["reservation"] = host["MemoryReservation"]
    if host.get("MemorySwappiness") is not None:
        memory["swappiness"] = host["MemorySwappiness"]
    if host.get("OomKillDisable"):
        memory["disableOOMKiller"] = True
    if memory:
        found["memory"] = memory
    cpu = _cpu(host)
    if cpu:
        found["cpu"] = cpu
    if host["PidsLimit"] and host["PidsLimit"] > 0:
        found["pids"] = {"limit": host["PidsLimit"]}
    return found


def _cpu(host: dict[str, Any]) -> oci.Cpu:
    cpu: oci.Cpu = {}
    if host["NanoCpus"]:
        cpu["period"] = 100_000
        cpu["quota"] = max(1000, host["NanoCpus"] * 100_000 // 1_000_000_000)
    if host["CpuPeriod"]:
        cpu["period"] = host["CpuPeriod"]
    if host["CpuQuota"]:
        cpu["quota"] = host["CpuQuota"]
    if host["CpuShares"]:
        cpu["shares"] = host["CpuShares"]
    if host["CpusetCpus"]:
        cpu["cpus"] = host["CpusetCpus"]
    if host["CpusetMems"]:
        cpu["mems"] = host["CpusetMems"]
    return cpu


def _device_rules(privileged: bool) -> list[oci.DeviceRule]:
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[oci.DeviceRule] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
    ]
    for major, minor in _DEVICES:
        rule: oci.DeviceRule = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        if minor >= 0:
            rule["minor"] = minor
        rules.append(rule)
    return rules


def _rlimit(item: dict[str, Any]) -> oci.Rlimit:
    return {"type": f"RLIMIT_{item['Name'].upper()}", "soft": int(item["Soft"]), "hard": int(item["Hard"])}


def _group_ids(groups: list[str]) -> list[int]:
    for group in groups:
        if not group.isdecimal() or len(group) > 10 or int(group) > 2**31 - 1:
            raise InvalidArgument(f"GroupAdd: {group!r} must be a group's number", hint="names are not supported yet")
    return [int(group) for group in groups]


def _paths(given: Any, default: list[str]) -> list[str]:
    return list(default) if given is None else list(given)


def _root_propagation(container: Container) -> str:
    wanted = {mount.propagation for mount in mounts_of(container) if isinstance(mount, BindMount)}
    if wanted & {"shared", "rshared"}:
        return "shared"
    return "rslave" if wanted & {"slave", "rslave"} else "rprivate"


def log_config(host: dict[str, Any], folder: str) -> LogConfig | None:
    """Where output goes and when it rotates (default 10 files of 10 MB), None for ``--log-driver none``."""
    if host["LogConfig"]["Type"] == "none":
        return None
    options = host["LogConfig"]["Config"]
    size = parse_size("max-size", options["max-size"]) if "max-size" in options else DEFAULT_LOG_SIZE
    return {"folder": folder, "max_size": size, "max_files": int(options.get("max-file", DEFAULT_LOG_FILES))}


def stop_signal(container: Container) -> int:
    """The number of the signal that asks it to stop (SIGTERM unless the image or the person says otherwise)."""
    return parse_signal(container.config["StopSignal"] or "SIGTERM")


def make_monitor_config(container: Container, around: Surroundings) -> MonitorConfig:
    """``dockyard.json``: what the monitor needs beside the spec."""
    config, host = container.config, container.host_config
    return {
        "id": container.id,
        "name": container.name,
        "run_dir": around.run_dir,
        "rootfs": around.rootfs,
        "scratch_size": around.scratch_size,
        "log": log_config(host, around.log_folder),
        "tty": container.tty,
        "open_stdin": config["OpenStdin"],
        "stdin_once": config["StdinOnce"],
        "console_size": host["ConsoleSize"],
        "init": host["Init"],
        "user": config["User"],
        "set_home": not any(variable.startswith("HOME=") for variable in config["Env"]),
        "cgroup": around.cgroup,
        "seccomp": around.seccomp,
        "stop_signal": stop_signal(container),
        "resolver": around.resolver,
    }
