"""From a fresh mount namespace to a container's own root: every step between clone3 and the user's rights.

Runs in the child, in this order, which matters:

1. ``open_sources``: bind sources are taken while the host's mounts still have their propagation: a mount that is to be
   a ``slave`` of, or ``shared`` with, the host must be copied before the next step cuts the ties.
2. ``make_private``: from here on nothing that is mounted can appear on the host, and pivot_root is allowed.
3. ``mount_root``: the overlay at the bundle's empty folder; pieces of the image ``host`` below it.
4. ``mount_all``: the spec's mounts in their order, each onto an fd that was looked up inside the root.
5. ``devices.make_devices``: nodes in the fresh tmpfs of /dev.
6. ``pivot``: the host's file system is gone. Nothing may be imported any more (``process.seal_imports``).
7. ``console.open_console``, ``write_sysctls`` (while /proc/sys is still writable), ``mask``, ``readonly``,
   ``readonly_root``, ``set_propagation``, ``enter_cwd``.

All errors are :class:`core.errors.StartFailed`; the OSError behind it is its ``__cause__``.
"""

from __future__ import annotations

import errno
import os
import stat

from core import oci
from core.errors import StartFailed
from core.linux import cgroup_view, mounts, syscalls
from core.linux.mounts import RootfsMount
from core.linux.paths import copy_below, ensure_target

_PROPAGATIONS = {
    "private": syscalls.MS_PRIVATE,
    "rprivate": syscalls.MS_PRIVATE | syscalls.MS_REC,
    "slave": syscalls.MS_SLAVE,
    "rslave": syscalls.MS_SLAVE | syscalls.MS_REC,
    "shared": syscalls.MS_SHARED,
    "rshared": syscalls.MS_SHARED | syscalls.MS_REC,
    "unbindable": syscalls.MS_UNBINDABLE,
    "runbindable": syscalls.MS_UNBINDABLE | syscalls.MS_REC,
}

#: The only files below /proc that may be mounted over (lxcfs and the like): with others a container could be shown,
#: and we could be made to write, something else than the kernel's file (CVE-2019-16884, CVE-2019-19921).
_PROC_FILES = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo",
        "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled",
    )
)  # fmt: skip


#: Besides ``net.*`` and ``fs.mqueue.*``, what belongs to a namespace and not to the whole machine (runc's list).
_NAMESPACED_SYSCTLS = frozenset(
    f"kernel.{name}"
    for name in (
        "msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced", "domainname", "hostname",
    )
)  # fmt: skip


def _failed(step: str, path: str, what: str, error: OSError, *, hint: str = "") -> StartFailed:
    return StartFailed(f"{what}: {error.strerror}", step=step, path=path, hint=hint)


# --- before the host's mounts are left ---------------------------------------------------------------


def open_sources(spec_mounts: list[oci.Mount]) -> list[int]:
    """A detached copy of each bind source, by fd, in the list's order; -1 for mounts of another kind."""
    return [_open_source(mount) if is_bind(mount) else -1 for mount in spec_mounts]


def is_bind(mount: oci.Mount) -> bool:
    """Whether ``mount`` shows something of the host (type ``bind``, or the word in its options)."""
    return mount.get("type") == "bind" or any(word in ("bind", "rbind") for word in mount.get("options", ()))


def _open_source(mount: oci.Mount) -> int:
    source = mount.get("source", "")
    recursive = "rbind" in mount.get("options", ())
    flags = syscalls.OPEN_TREE_CLONE | (syscalls.AT_RECURSIVE if recursive else 0)
    subpath = next((w for w in mount.get("options", ()) if w.startswith(mounts.SUBPATH_OPTION)), "")
    try:
        if subpath:
            return copy_below(source, subpath[len(mounts.SUBPATH_OPTION) :], flags)
        return syscalls.open_tree(syscalls.AT_FDCWD, source, flags)
    except FileNotFoundError as error:
        raise StartFailed(f"bind source path does not exist: {source}", step="mounts", path=source) from error
    except OSError as error:
        raise _failed("mounts", source, f"bind source {source}", error) from error


def make_private() -> None:
    """Cut all ties of this mount namespace with the host's."""
    try:
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    except OSError as error:
        raise _failed("rootfs", "/", "make the mounts private", error) from error


# --- the root ----------------------------------------------------------------------------------------


def mount_root(pieces: list[RootfsMount], overlay_fd: int | None, at: str, scratch_size: int = 0) -> int:
    """Mount the root file system at the empty folder ``at``; an O_PATH fd of its root.

    ``overlay_fd`` is the first piece when the monitor has made it already (``mounts.overlay_detached``). Ephemeral
    uppers are made in a tmpfs of ``scratch_size`` bytes (0: the kernel's default, half of the memory) that is mounted
    at ``at`` below the root: once the root covers it, nothing can reach it but the overlay itself.
    """
    if not pieces or pieces[0]["target"] != "/":
        raise StartFailed("the first piece of the root file system must be /", step="rootfs", path=at)
    root_fd = -1
    scratch_fd = -1
    try:
        if any(piece.get("ephemeral") for piece in pieces):
            scratch_fd = mount_scratch(at, scratch_size)
        for index, piece in enumerate(pieces):
            if piece.get("ephemeral"):
                piece = _with_scratch(piece, scratch_fd, index)
            if index == 0:
                _mount_piece(piece, overlay_fd, syscalls.AT_FDCWD, at)
                root_fd = os.open(at, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                continue
            target = ensure_target(root_fd, piece["target"], directory=True)
            try:
                _mount_piece(piece, None, target, "")
            finally:
                os.close(target)
        return root_fd
    except OSError as error:
        raise _failed("rootfs", str(error.filename or at), "root file system", error) from error
    finally:
        if scratch_fd >= 0:
            os.close(scratch_fd)


def mount_scratch(at: str, size: int) -> int:
    """Mount a tmpfs of ``size`` bytes (0: the kernel's default) at ``at``; an fd of its root."""
    data = ["mode=700"] + ([f"size={size}"] if size else [])
    fd = mounts.make_detached("tmpfs", 0, data, "scratch")
    try:
        syscalls.move_mount(fd, syscalls.AT_FDCWD, at)
    finally:
        os.close(fd)
    return os.open(at, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _with_scratch(piece: RootfsMount, scratch_fd: int, index: int) -> RootfsMount:
    """``piece`` with an upper and a work folder in the scratch. The merged root has the upper's mode and owner."""
    lower = os.stat(piece["lower"][0])
    names = {"upper": f"{index}u", "work": f"{index}w"}
    for name in names.values():
        os.mkdir(name, 0o755, dir_fd=scratch_fd)
    os.chmod(names["upper"], stat.S_IMODE(lower.st_mode), dir_fd=scratch_fd)
    os.chown(names["upper"], lower.st_uid, lower.st_gid, dir_fd=scratch_fd)
    folder = f"/proc/self/fd/{scratch_fd}"
    return {
        "target": piece["target"],
        "lower": piece["lower"],
        "upper": f"{folder}/{names['upper']}",
        "work": f"{folder}/{names['work']}",
    }


def _mount_piece(piece: RootfsMount, made_fd: int | None, target_fd: int, target: str) -> None:
    if made_fd is not None:
        syscalls.move_mount(made_fd, target_fd, target)
    elif mounts.overlay_method() == "mount" and not mounts.is_plain(piece):
        mounts.mount_overlay(piece, target or f"/proc/self/fd/{target_fd}")
    else:
        fd = mounts.overlay_detached(piece)
        try:
            syscalls.move_mount(fd, target_fd, target)
        finally:
            os.close(fd)


# --- the spec's mounts -------------------------------------------------------------------------------


def mount_all(
    spec_mounts: list[oci.Mount], root_fd: int, sources: list[int], *, cgroup_namespace: bool = True
) -> list[str]:
    """Mount everything in the spec's order; warnings about what the kernel does not have.

    ``sources`` come from :func:`open_sources` and are closed here. ``cgroup_namespace``: the child has its own, so
    that the cgroup file systems show only its part.
    """
    warnings: list[str] = []
    for mount, source in zip(spec_mounts, sources, strict=True):
        try:
            warnings += _mount_one(mount, root_fd, source, cgroup_namespace)
        except OSError as error:
            raise _mount_failed(mount, error) from error
        finally:
            if source >= 0:
                os.close(source)
    return warnings


def _mount_one(mount: oci.Mount, root_fd: int, source: int, cgroup_namespace: bool) -> list[str]:
    destination = mount["destination"]
    kind = mount.get("type", "")
    options = mounts.parse_options(mount.get("options", []))
    directory = stat.S_ISDIR(os.fstat(source).st_mode) if source >= 0 else True
    if kind in ("proc", "sysfs"):
        _refuse_link(root_fd, destination)
    target = ensure_target(root_fd, destination, directory=directory)
    try:
        _check_target(mount, root_fd, target, source)
        if kind in ("cgroup", "cgroup2") and source < 0:
            cgroup_view.mount_cgroups(target, options.set, own_namespace=cgroup_namespace)
            return []
        if source >= 0:
            if directory != stat.S_ISDIR(os.fstat(target).st_mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), destination)
            _adjust_bind(source, options)
            syscalls.move_mount(source, target)
            return []
        fd = _new_file_system(mount, options)
        if fd < 0:
            return [f"the kernel has no {kind} file system: {destination} is not mounted"]
        try:
            if options.propagation:
                _propagate(fd, options.propagation)
            syscalls.move_mount(fd, target)
        finally:
            os.close(fd)
    finally:
        os.close(target)
    return []


def _refuse_link(root_fd: int, destination: str) -> None:
    """/proc and /sys must be ordinary folders of the image: links would move the files that are masked later."""
    try:
        fd = syscalls.open_in_root(root_fd, destination, os.O_PATH | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.ELOOP, "the image has a symbolic link there", destination)
    finally:
        os.close(fd)


def _new_file_system(mount: oci.Mount, options: mounts.Options) -> int:
    """A detached mount; -1 where the kernel lacks POSIX message queues, which few programs miss."""
    kind = mount.get("type", "")
    try:
        return mounts.make_detached(kind, options.set, options.data, mount.get("source", kind))
    except OSError as error:
        if kind == "mqueue" and error.errno == errno.ENODEV:
            return -1
        raise


def _adjust_bind(fd: int, options: mounts.Options) -> None:
    """Attributes and propagation of a copied tree, before anybody can see it."""
    try:
        mounts.set_attributes(fd, options.set, options.clear, recursive=False)
        mounts.set_attributes(fd, options.recursive_set, options.recursive_clear, recursive=True)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        raise OSError(errno.ENOSYS, "the kernel lacks mount_setattr (Linux 5.12)", error.filename) from None
    _propagate(fd, options.propagation or syscalls.MS_PRIVATE | syscalls.MS_REC)


def _propagate(fd: int, propagation: int) -> None:
    kind = propagation & ~syscalls.MS_REC
    syscalls.mount_setattr(fd, propagation=kind, recursive=bool(propagation & syscalls.MS_REC))


def _check_target(mount: oci.Mount, root_fd: int, target: int, source: int) -> None:
    """Refuse the root itself, and everything inside a procfs but a few files that only inform."""
    destination = mount["destination"]
    here, root = os.fstat(target), os.fstat(root_fd)
    if (here.st_dev, here.st_ino) == (root.st_dev, root.st_ino):
        raise OSError(errno.EINVAL, "a mount cannot cover the root itself", destination)
    # Read by the kernel's own eyes, not by name: a link in the image may lead anywhere below the root.
    path = os.readlink(f"/proc/self/fd/{target}")
    inside = os.readlink(f"/proc/self/fd/{root_fd}")
    seen = path[len(inside) :] if path.startswith(inside) else destination
    if os.path.normpath(destination) == "/proc" or seen == "/proc":
        if mount.get("type") != "proc" and (source < 0 or syscalls.statfs_type(source) != syscalls.PROC_SUPER_MAGIC):
            raise OSError(errno.EPERM, "only a proc file system may be mounted on /proc", destination)
    elif syscalls.statfs_type(target) == syscalls.PROC_SUPER_MAGIC and seen not in _PROC_FILES:
        raise OSError(errno.EPERM, "mounts inside /proc are not allowed", destination)


def _mount_failed(mount: oci.Mount, error: OSError) -> StartFailed:
    destination = mount["destination"]
    what = f"mount {mount.get('source') or mount.get('type', '')} on {destination}"
    hint = ""
    if error.errno == errno.ENOTDIR:
        hint = "are you trying to mount a directory onto a file, or the other way round?"
    elif error.errno == errno.ENODEV:
        hint = f"the kernel has no file system {mount.get('type')!r}"
    return _failed("mounts", destination, what, error, hint=hint)


# --- after the pivot ---------------------------------------------------------------------------------


def pivot(root_fd: int) -> None:
    """Make ``root_fd`` the root and let go of the host's (pivot_root(2), "pivot_root(".", ".")")."""
    try:
        os.fchdir(root_fd)
        syscalls.pivot_root(".", ".")
        # The old root now lies on top of the new one, at the same place: "." is it.
        syscalls.umount2(".", syscalls.MNT_DETACH)
        os.chdir("/")
    except OSError as error:
        raise _failed("pivot", "/", "pivot_root", error) from error


def mask(paths: list[str]) -> None:
    """Cover files with /dev/null and folders with an empty read-only tmpfs; what does not exist is left.

    The null device is checked and used by fd: an image's fake /dev/null is an error, never a mask (CVE-2025-31133).
    """
    if not paths:
        return
    null_fd = open_null()
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    empty_fd = -1
    path = ""
    try:
        for path in paths:
            target = _existing(root_fd, path)
            if target < 0:
                continue
            if not stat.S_ISDIR(os.fstat(target).st_mode):
                _cover(null_fd, target)
            elif empty_fd >= 0:
                _cover(empty_fd, target)
            else:
                # The first one is used itself: a mount that is dropped unused waits for all processors (RCU).
                options = ["size=4k", "nr_inodes=2", "mode=755"]
                empty_fd = mounts.make_detached("tmpfs", syscalls.MS_RDONLY, options, "tmpfs")
                syscalls.move_mount(empty_fd, target)
            os.close(target)
    except OSError as error:
        raise _failed("mask", path, f"mask {path}", error) from error
    finally:
        for fd in (null_fd, empty_fd, root_fd):
            if fd >= 0:
                os.close(fd)


def _cover(source: int, target: int) -> None:
    """A copy of the mount at ``source`` onto ``target``."""
    copy = syscalls.open_tree(source, "", syscalls.OPEN_TREE_CLONE)
    try:
        syscalls.move_mount(copy, target)
    finally:
        os.close(copy)


def open_null() -> int:
    """An O_PATH fd of the container's /dev/null. StartFailed when it is not character device 1:3."""
    try:
        fd = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _failed("mask", "/dev/null", "/dev/null", error) from error
    found = os.fstat(fd)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
        os.close(fd)
        raise StartFailed("/dev/null is not the null device", step="mask", path="/dev/null")
    return fd


def _existing(root_fd: int, path: str) -> int:
    try:
        return syscalls.open_in_root(root_fd, path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return -1


def readonly(paths: list[str]) -> None:
    """Make each path that exists read-only, by a bind of it on itself; its other mount flags stay."""
    if not paths:
        return
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    path = ""
    try:
        for path in paths:
            target = _existing(root_fd, path)
            if target < 0:
                continue
            copy = syscalls.open_tree(target, "", syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
            syscalls.mount_setattr(copy, set=syscalls.MOUNT_ATTR_RDONLY, recursive=True)
            syscalls.move_mount(copy, target)
            os.close(copy)
            os.close(target)
    except OSError as error:
        raise _failed("mask", path, f"make {path} read-only", error) from error
    finally:
        os.close(root_fd)


def readonly_root() -> None:
    """Make the root mount read-only; what is mounted below it keeps its own state."""
    try:
        syscalls.mount_setattr(syscalls.AT_FDCWD, "/", set=syscalls.MOUNT_ATTR_RDONLY)
    except OSError as error:
        raise _failed("rootfs", "/", "make the root read-only", error) from error


def set_propagation(word: str) -> None:
    """``linux.rootfsPropagation`` for the container's own root; ``""`` leaves it private."""
    if word in ("", "private", "rprivate"):
        return
    propagation = _PROPAGATIONS.get(word)
    if propagation is None:
        raise StartFailed(f"unknown root propagation {word!r}", step="rootfs", path="/")
    try:
        syscalls.mount(None, "/", None, propagation)
    except OSError as error:
        raise _failed("rootfs", "/", f"set the root's propagation to {word}", error) from error


def write_sysctls(values: dict[str, str]) -> None:
    """Write ``net.ipv4.ip_forward=1`` and the like into a procfs that nobody else can see.

    A fresh detached procfs cannot be covered by the image or by another container, and the open may not leave it
    (CVE-2025-52881). Names use dots; a name that starts with a slash-separated part uses slashes (sysctl(8)). What
    would change the whole machine is refused; that ``net.*`` is the container's own is the caller's to know.
    """
    if not values:
        return
    name = ""
    try:
        proc_fd = mounts.make_detached("proc", syscalls.MS_NOSUID | syscalls.MS_NOEXEC | syscalls.MS_NODEV, [])
        try:
            for name, value in values.items():
                path = name if "/" in name.partition(".")[0] else name.replace(".", "/")
                if not is_namespaced_sysctl(path):
                    raise OSError(errno.EPERM, "it belongs to the whole machine, not to a namespace", name)
                fd = syscalls.openat2(
                    proc_fd, f"sys/{path}", os.O_WRONLY, 0,
                    syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_XDEV,
                )  # fmt: skip
                try:
                    os.write(fd, value.encode())
                finally:
                    os.close(fd)
        finally:
            os.close(proc_fd)
    except OSError as error:
        raise _failed("sysctl", name, f"sysctl {name}", error) from error


def is_namespaced_sysctl(path: str) -> bool:
    """Whether ``net/ipv4/ip_forward`` (slashes) is a setting of a namespace."""
    if ".." in path.split("/"):
        return False
    return path.startswith(("net/", "fs/mqueue/")) or path.replace("/", ".") in _NAMESPACED_SYSCTLS


def enter_cwd(cwd: str, *, create: bool) -> None:
    """Go to the process's working directory. With ``create`` a missing one is made, 0755 and root's.

    Magic links are refused and the result is checked: a working directory outside the root, by way of an inherited fd,
    is the escape of CVE-2024-21626.
    """
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    fd = -1
    try:
        made = ensure_target(root_fd, cwd, directory=True) if create else -1
        fd = made if create else syscalls.open_in_root(root_fd, cwd, os.O_PATH)
        os.fchdir(fd)
    except OSError as error:
        raise _failed("cwd", cwd, f"working directory {cwd}", error) from error
    finally:
        os.close(root_fd)
        if fd >= 0:
            os.close(fd)
    check_cwd(cwd)


def check_cwd(cwd: str) -> None:
    """StartFailed when the process stands outside its root, however it came there (getcwd(2), "(unreachable)")."""
    try:
        inside = os.getcwd().startswith("/")
    except FileNotFoundError:
        inside = False
    if not inside:
        raise StartFailed(f"working directory {cwd} lies outside the container's root", step="cwd", path=cwd)
