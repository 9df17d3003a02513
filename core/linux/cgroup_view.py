"""The container's view of /sys/fs/cgroup: its own part of the hierarchies, read-only unless asked otherwise.

With a cgroup namespace (cgroup_namespaces(7)) a fresh mount of a hierarchy has the container's own cgroup as its root.
"""

from __future__ import annotations

import os

from core.linux import mounts, syscalls

_CGROUP_ROOT = "/sys/fs/cgroup"


def mount_cgroups(target_fd: int, flags: int, *, own_namespace: bool) -> None:
    """Mount the view onto ``target_fd``; ``flags`` as MS_*. Call it before pivot_root: it reads the host's layout.

    Version 2: one cgroup2. Version 1 and hybrid: a small tmpfs with a folder for each hierarchy, as on a host. Without
    a cgroup namespace of its own the container sees the host's tree as it is.
    """
    if not own_namespace:
        _bind_host(target_fd, flags)
    elif syscalls.statfs_type(_CGROUP_ROOT) == syscalls.CGROUP2_SUPER_MAGIC:
        _attach(mounts.make_detached("cgroup2", flags, [], "cgroup"), target_fd)
    else:
        _mount_v1(target_fd, flags)


def _attach(fd: int, target_fd: int) -> None:
    try:
        syscalls.move_mount(fd, target_fd)
    finally:
        os.close(fd)


def _bind_host(target_fd: int, flags: int) -> None:
    fd = syscalls.open_tree(syscalls.AT_FDCWD, _CGROUP_ROOT, syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
    try:
        mounts.set_attributes(fd, flags, 0, recursive=True)
        syscalls.mount_setattr(fd, propagation=syscalls.MS_PRIVATE, recursive=True)
        syscalls.move_mount(fd, target_fd)
    finally:
        os.close(fd)


def hierarchies(text: str) -> list[str]:
    """The version 1 hierarchies in the text of /proc/self/cgroup: ``cpu,cpuacct``, ``name=systemd`` …"""
    found = [line.split(":", 2)[1] for line in text.splitlines() if line.count(":") >= 2]
    return [controllers for controllers in reversed(found) if controllers]


def _mount_v1(target_fd: int, flags: int) -> None:
    """The tmpfs becomes read-only last: the folders are made in it first."""
    with open("/proc/self/cgroup", "rb") as file:
        found = hierarchies(file.read().decode())
    tree = mounts.make_detached("tmpfs", flags & ~syscalls.MS_RDONLY, ["mode=755", "size=64k"], "tmpfs")
    try:
        syscalls.move_mount(tree, target_fd)
        for controllers in found:
            folder = controllers.removeprefix("name=")
            os.mkdir(folder, 0o755, dir_fd=tree)
            fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree)
            try:
                # mount(2): with a dozen hierarchies the many calls of the new interface cost half a millisecond.
                syscalls.mount("cgroup", f"/proc/self/fd/{fd}", "cgroup", flags, controllers)
            finally:
                os.close(fd)
            if "," in folder:
                for name in folder.split(","):
                    os.symlink(folder, name, dir_fd=tree)
        if flags & syscalls.MS_RDONLY:
            syscalls.mount_setattr(tree, set=syscalls.MOUNT_ATTR_RDONLY)
    finally:
        os.close(tree)
