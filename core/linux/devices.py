"""The nodes and links of a container's /dev, made by fd in a tmpfs that is known to be fresh.

An image may ship a /dev with links, files and nodes of its own (CVE-2026-41579): nothing of it is used. The spec's
tmpfs covers it, every node is made below the fd of that tmpfs and looked at after it was made.
"""

from __future__ import annotations

import errno
import os
import stat

from core import oci
from core.errors import StartFailed
from core.linux import syscalls
from core.linux.paths import ensure_target

PRIVILEGED = "dev.dockyard.privileged"

#: name, major, minor (Documentation/admin-guide/devices.txt); runtime-spec config-linux.md "Default Devices".
DEFAULT_NODES = (
    ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
)  # fmt: skip
#: target, name (runtime-spec runtime-linux.md "Dev symbolic links").
LINKS = (
    ("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"), ("pts/ptmx", "ptmx"), ("/proc/kcore", "core"),
)  # fmt: skip

_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
#: What of the host's /dev is never handed on: it belongs to the host's own terminals, memory and manager.
_SKIPPED_FOLDERS = frozenset(("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"))
_SKIPPED_NODES = frozenset(("/dev/console", "/dev/ptmx"))


def make_devices(spec: oci.Spec, root_fd: int) -> None:
    """Make the default nodes, those of ``linux.devices`` and the links below /dev of the root ``root_fd``.

    Skipped when the spec binds a /dev of the host. With the annotation of ``--privileged`` all nodes of the host's
    /dev come as well. Call it before pivot_root: where mknod is refused the host's node is bound instead.
    """
    mount = next((m for m in spec["mounts"] if os.path.normpath(m["destination"]) == "/dev"), None)
    if mount is None or mount.get("type") != "tmpfs":
        return
    devices = list(spec["linux"].get("devices", ()))
    if spec.get("annotations", {}).get(PRIVILEGED) == "true":
        known = {device["path"] for device in devices}
        devices += [device for device in host_devices() if device["path"] not in known]
    before = os.umask(0)
    dev_fd = -1
    path = "/dev"
    try:
        dev_fd = _open_dev(root_fd)
        for name, major, minor in DEFAULT_NODES:
            path = f"/dev/{name}"
            _make_node(dev_fd, name, stat.S_IFCHR | 0o666, os.makedev(major, minor), path)
        for target, name in LINKS:
            path = f"/dev/{name}"
            _link(dev_fd, target, name)
        for device in devices:
            path = device["path"]
            _make_listed(root_fd, dev_fd, device)
    except OSError as error:
        raise StartFailed(f"make {path}: {error.strerror}", step="devices", path=path) from error
    finally:
        os.umask(before)
        if dev_fd >= 0:
            os.close(dev_fd)


def _open_dev(root_fd: int) -> int:
    """The tmpfs on /dev, which the mounts before have put there."""
    fd = syscalls.open_in_root(root_fd, "/dev", os.O_RDONLY | os.O_DIRECTORY)
    if syscalls.statfs_type(fd) != syscalls.TMPFS_MAGIC:
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not the tmpfs of this container", "/dev")
    return fd


def _make_node(parent: int, name: str, mode: int, device: int, host_path: str) -> None:
    """A node ``name`` below ``parent``, or the host's, bound, where mknod is refused (a user namespace)."""
    try:
        os.mknod(name, mode, device, dir_fd=parent)
    except FileExistsError:
        pass  # listed twice, or a mount of the person lies there: the check decides
    except PermissionError:
        _bind_node(parent, name, host_path)
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        found = os.fstat(fd)
    finally:
        os.close(fd)
    wrong_type = stat.S_IFMT(found.st_mode) != stat.S_IFMT(mode)
    if wrong_type or (not stat.S_ISFIFO(mode) and found.st_rdev != device):
        raise OSError(errno.EINVAL, "it is not the device it should be", host_path)


def _bind_node(parent: int, name: str, host_path: str) -> None:
    made = os.open(name, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=parent)
    try:
        copy = syscalls.open_tree(syscalls.AT_FDCWD, host_path, syscalls.OPEN_TREE_CLONE)
        try:
            syscalls.move_mount(copy, made)
        finally:
            os.close(copy)
    finally:
        os.close(made)


def _link(dev_fd: int, target: str, name: str) -> None:
    try:
        os.symlink(target, name, dir_fd=dev_fd)
    except FileExistsError:
        pass  # a person's mount on that name stays


def _make_listed(root_fd: int, dev_fd: int, device: oci.Device) -> None:
    """One entry of ``linux.devices``; its folder is made inside the container's /dev."""
    path = os.path.normpath(device["path"])
    if not path.startswith("/dev/"):
        raise OSError(errno.EINVAL, "devices are made below /dev only", device["path"])
    kind = _TYPES.get(device["type"])
    if kind is None:
        raise OSError(errno.EINVAL, f"unknown type {device['type']!r}", device["path"])
    folder, name = os.path.split(path.removeprefix("/dev/"))
    parent = ensure_target(dev_fd, folder or ".", directory=True)
    try:
        mode = kind | (device.get("fileMode", 0o666) & 0o7777)
        number = os.makedev(device.get("major", 0), device.get("minor", 0))
        _make_node(parent, name, mode, number, path)
        if device.get("uid", 0) or device.get("gid", 0):
            os.chown(name, device.get("uid", 0), device.get("gid", 0), dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)


def host_devices() -> list[oci.Device]:
    """Every character and block device of the host's /dev, for ``--privileged``."""
    found: list[oci.Device] = []
    folders = ["/dev"]
    while folders:
        folder = folders.pop()
        for name in sorted(os.listdir(folder)):
            path = f"{folder}/{name}"
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode) and name not in _SKIPPED_FOLDERS:
                folders.append(path)
            elif (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)) and path not in _SKIPPED_NODES:
                found.append(_describe(path, status))
    return found


def _describe(path: str, status: os.stat_result) -> oci.Device:
    return {
        "path": path,
        "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
