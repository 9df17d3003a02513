"""What this kernel and this process can do, asked once at the engine's start; each lack with what it costs."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import NamedTuple

from core.linux import mounts, syscalls
from core.linux.privileges import CAPABILITY_NAMES

_CGROUP_ROOT = "/sys/fs/cgroup"


class Feature(NamedTuple):
    """``cost``: what is lost without it, as the end of "… is missing: ". ``needed``: no container starts without."""

    name: str
    present: bool
    cost: str
    needed: bool = False


def kernel_features() -> list[Feature]:
    """All features, present or not. Nothing is changed on the host: probes make only detached things."""
    version = _cgroup_version()
    rows: list[tuple[str, bool, str, bool]] = [
        ("root", os.geteuid() == 0, "containers cannot be made", True),
        ("clone3", _has(syscalls.clone3_probe), "containers cannot be made (Linux 5.3)", True),
        ("pidfd", _has(_pidfd), "a container's end cannot be waited for (Linux 5.3)", True),
        ("openat2", _has(_openat2), "paths in containers cannot be resolved safely (Linux 5.6)", True),
        ("new mount API", _has(_mount_api), "file systems cannot be mounted safely (Linux 5.2)", True),
        ("mount_setattr", _has(_mount_setattr), "there are no read-only mounts (Linux 5.12)", True),
        ("close_range", _has(_close_range), "descriptors could leak into containers (Linux 5.9)", True),
        ("overlayfs", _knows_file_system("overlay"), "images cannot be mounted (try: modprobe overlay)", True),
        ("overlayfs lowerdir+", mounts.knows_lowerdir_plus(), "a container's end waits for a sync (Linux 6.8)", False),
        ("seccomp", _seccomp(), "containers start only with --security-opt seccomp=unconfined", False),
        ("POSIX message queues", _knows_file_system("mqueue"), "containers have no /dev/mqueue", False),
        ("user namespaces", _namespace("user"), "there are no rootless containers", False),
        ("cgroup namespaces", _namespace("cgroup"), "containers would see the host's cgroups", True),
        ("cgroup v2", version == 2, "limits go through cgroup v1", False),
        ("cgroups", version > 0, f"nothing is mounted on {_CGROUP_ROOT}: limits do not work", True),
        ("CAP_SYS_ADMIN", _capable("CAP_SYS_ADMIN"), "containers cannot be made", True),
        ("CAP_SYS_RESOURCE", _capable("CAP_SYS_RESOURCE"), "limits above the engine's own are clamped", False),
        ("CAP_NET_ADMIN", _capable("CAP_NET_ADMIN"), "containers have no network", False),
        ("CAP_MKNOD", _capable("CAP_MKNOD"), "device nodes are bound from the host", False),
    ]
    return [Feature(*row) for row in rows]


def missing() -> list[Feature]:
    """Those that are not there, the needed ones first."""
    return sorted((f for f in kernel_features() if not f.present), key=lambda f: not f.needed)


def _has(probe: Callable[[], object]) -> bool:
    """ENOSYS means no; every other answer means that the call is there. A refusal is looked at by its capability."""
    try:
        result = probe()
    except OSError as error:
        return error.errno != errno.ENOSYS
    if isinstance(result, int) and not isinstance(result, bool):
        os.close(result)
    return True


def _pidfd() -> int:
    return os.pidfd_open(os.getpid())


def _openat2() -> int:
    return syscalls.openat2(syscalls.AT_FDCWD, "/", os.O_PATH, 0, syscalls.RESOLVE_IN_ROOT)


def _mount_api() -> int:
    return syscalls.fsopen("tmpfs")


def _mount_setattr() -> None:
    # An fd that is none: EBADF where the call exists.
    syscalls.mount_setattr(1 << 30)


def _close_range() -> None:
    syscalls.close_range(1 << 30)  # far above any descriptor: nothing is closed


def _knows_file_system(name: str) -> bool:
    """Whether the kernel mounts ``name``; asking loads its module where there is one."""
    try:
        os.close(syscalls.fsopen(name))
    except OSError as error:
        return error.errno not in (errno.ENODEV, errno.ENOSYS)
    return True


def _cgroup_version() -> int:
    """2: unified; 1: version 1 or hybrid; 0: none."""
    try:
        kind = syscalls.statfs_type(_CGROUP_ROOT)
        names = os.listdir(_CGROUP_ROOT)
    except OSError:
        return 0
    if kind == syscalls.CGROUP2_SUPER_MAGIC:
        return 2
    return 1 if "memory" in names or "pids" in names else 0


def _seccomp() -> bool:
    return syscalls.seccomp_action_available(0x0005_0000)  # SECCOMP_RET_ERRNO


def _namespace(name: str) -> bool:
    return os.path.exists(f"/proc/self/ns/{name}")


def _capable(name: str) -> bool:
    return bool(syscalls.capget().effective >> CAPABILITY_NAMES.index(name) & 1)
