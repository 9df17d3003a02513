"""System calls that Python has no name for, by ctypes: the one seam to the kernel (with ``bpf``).

Every function raises OSError with the errno, its text and the path or the name of the call. Paths are ``str`` or
``bytes``; ``-1`` as a directory's fd is never used: ``AT_FDCWD`` is. Numbers are those of x86_64 and aarch64
(asm/unistd_64.h, asm-generic/unistd.h); the calls from 424 on have one number on every architecture.

``clone3`` goes through PyDLL, which keeps the GIL, between the interpreter's own fork hooks: what comes back in the
child is a whole interpreter. It may only be called in a process with one thread (malloc's locks are not re-made).
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
from typing import NamedTuple

PathLike = str | bytes

CLONE_PIDFD = 0x1000
CLONE_PARENT = 0x8000
CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000
CLONE_INTO_CGROUP = 0x2_0000_0000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_NOSYMFOLLOW = 0x20_0000

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_EMPTY_PATH = 0x40

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

CLOSE_RANGE_CLOEXEC = 4

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_GET_DUMPABLE = 3
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_ACTION_AVAIL = 2

#: f_type of statfs(2) (linux/magic.h).
PROC_SUPER_MAGIC = 0x9FA0
TMPFS_MAGIC = 0x0102_1994
DEVPTS_SUPER_MAGIC = 0x1CD1
CGROUP2_SUPER_MAGIC = 0x6367_7270

_MACHINE = os.uname().machine
#: name → (x86_64, aarch64)
_OLD_NUMBERS = {
    "pivot_root": (155, 41),
    "capget": (125, 90),
    "capset": (126, 91),
    "seccomp": (317, 277),
    "rt_sigaction": (13, 134),
    "keyctl": (250, 219),
    "clone": (56, 220),
}
_NUMBERS = {name: pair[_MACHINE == "aarch64"] for name, pair in _OLD_NUMBERS.items()} | {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "mount_setattr": 442,
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_gil_libc = ctypes.PyDLL(None, use_errno=True)
_gil_libc.syscall.restype = ctypes.c_long
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_libc.unshare.argtypes = [ctypes.c_int]
_libc.setns.argtypes = [ctypes.c_int, ctypes.c_int]
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
_libc.sethostname.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
_libc.setdomainname.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
_libc.fstatfs.argtypes = [ctypes.c_int, ctypes.c_void_p]
_libc.statfs.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
_libc.prlimit64.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p]
for _hook in ("PyOS_BeforeFork", "PyOS_AfterFork_Parent", "PyOS_AfterFork_Child"):
    getattr(ctypes.pythonapi, _hook).restype = None


def _check(result: int, what: PathLike) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fsdecode(what))
    return result


def _syscall(name: str, *args: int | bytes | None, what: PathLike = "") -> int:
    """A raw call: integers as long, bytes as a pointer to them, None as NULL."""
    passed = [ctypes.c_long(arg) if isinstance(arg, int) else ctypes.c_char_p(arg) for arg in (_NUMBERS[name], *args)]
    return _check(_libc.syscall(*passed), what or name)


class _CloneArgs(ctypes.Structure):
    """struct clone_args of linux/sched.h, version 2 (with ``cgroup``)."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid",
            "set_tid_size", "cgroup",
        )
    ]  # fmt: skip


def clone3(flags: int, *, cgroup_fd: int | None = None) -> tuple[int, int]:
    """Fork with namespaces (clone(2)). Parent: (pid, pidfd); child: (0, -1). The pidfd is close-on-exec.

    With ``cgroup_fd`` (a folder of cgroup2) the child is born in that cgroup. One thread only.
    """
    pidfd = ctypes.c_int(-1)
    args = _CloneArgs(flags=flags | CLONE_PIDFD, pidfd=ctypes.addressof(pidfd), exit_signal=int(signal.SIGCHLD))
    if cgroup_fd is not None:
        args.flags |= CLONE_INTO_CGROUP
        args.cgroup = cgroup_fd
    number, size = ctypes.c_long(_NUMBERS["clone3"]), ctypes.c_size_t(ctypes.sizeof(args))
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = _gil_libc.syscall(number, ctypes.byref(args), size)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0, -1
    code = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(code, os.strerror(code), "clone3")
    return pid, pidfd.value


def clone_sibling() -> tuple[int, int]:
    """Fork a child of this process's parent (CLONE_PARENT). Here: (pid, pidfd); in the child: (0, -1).

    By the old clone(2): the usual seccomp filters refuse clone3, and this is called behind one. One thread only.
    """
    pidfd = ctypes.c_int(-1)
    number, flags = ctypes.c_long(_NUMBERS["clone"]), ctypes.c_long(CLONE_PARENT | CLONE_PIDFD | int(signal.SIGCHLD))
    nothing = ctypes.c_void_p(None)
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = _gil_libc.syscall(number, flags, nothing, ctypes.byref(pidfd), nothing, nothing)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0, -1
    code = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(code, os.strerror(code), "clone")
    return pid, pidfd.value


def clone3_probe() -> None:
    """OSError ENOSYS where the kernel has no clone3; else nothing, and no process is made (the size is too small)."""
    try:
        _syscall("clone3", bytes(8), 8)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(ctypes.c_int(flags).value), "unshare")


def setns(fd: int, flags: int = 0) -> None:
    """setns(2); ``fd`` is a namespace or a pidfd (then ``flags`` say which namespaces)."""
    _check(_libc.setns(fd, ctypes.c_int(flags).value), "setns")


def prctl(option: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
    """prctl(2) with integer arguments."""
    return _check(_libc.prctl(option, a, b, c, d), f"prctl {option}")


def sethostname(name: str) -> None:
    """sethostname(2); at most 64 bytes."""
    data = os.fsencode(name)
    _check(_libc.sethostname(data, len(data)), "sethostname")


def setdomainname(name: str) -> None:
    """setdomainname(2): the NIS domain that uname(2) shows."""
    data = os.fsencode(name)
    _check(_libc.setdomainname(data, len(data)), "setdomainname")


# --- mounts ----------------------------------------------------------------------------------------


def mount(source: PathLike | None, target: PathLike, kind: str | None = None, flags: int = 0, data: str = "") -> None:
    """mount(2). The error names the target."""
    encoded = None if source is None else os.fsencode(source)
    fstype = None if kind is None else kind.encode()
    result = _libc.mount(encoded, os.fsencode(target), fstype, flags, os.fsencode(data) if data else None)
    _check(result, target)


def umount2(target: PathLike, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags), target)


def pivot_root(new_root: PathLike, put_old: PathLike) -> None:
    """pivot_root(2)."""
    _syscall("pivot_root", os.fsencode(new_root), os.fsencode(put_old), what="pivot_root")


def fsopen(kind: str) -> int:
    """A new file system context (fsopen(2)), close-on-exec."""
    return _syscall("fsopen", kind.encode(), _FSOPEN_CLOEXEC, what=kind)


def fsconfig_string(fd: int, key: str, value: PathLike) -> None:
    """Set a parameter; the kernel cuts no string: over 255 bytes it is EINVAL."""
    data = os.fsencode(value)
    _syscall("fsconfig", fd, _FSCONFIG_SET_STRING, key.encode(), data, 0, what=b"%s=%s" % (key.encode(), data))


def fsconfig_flag(fd: int, key: str) -> None:
    """Set a parameter without a value."""
    _syscall("fsconfig", fd, _FSCONFIG_SET_FLAG, key.encode(), None, 0, what=key)


def fsconfig_create(fd: int) -> None:
    """Make the superblock."""
    _syscall("fsconfig", fd, _FSCONFIG_CMD_CREATE, None, None, 0, what="fsconfig create")


def fsmount(fd: int, attributes: int = 0) -> int:
    """A detached mount of the context (fsmount(2)), close-on-exec; ``attributes`` are MOUNT_ATTR_*."""
    return _syscall("fsmount", fd, _FSMOUNT_CLOEXEC, attributes)


def context_messages(fd: int) -> list[str]:
    """What the kernel has to say about a context (``e`` error, ``w`` warning, ``i`` info lines)."""
    lines: list[str] = []
    while True:
        try:
            lines.append(os.read(fd, 4096).decode(errors="replace").strip())
        except OSError as error:
            if error.errno != errno.ENODATA:
                lines.append(f"e {error.strerror}")
            return lines


def open_tree(fd: int, path: PathLike = "", flags: int = 0) -> int:
    """open_tree(2), close-on-exec; an empty ``path`` means ``fd`` itself."""
    data = os.fsencode(path)
    return _syscall(
        "open_tree",
        fd,
        data,
        flags | OPEN_TREE_CLOEXEC | (0 if data else AT_EMPTY_PATH),
        what=path or "open_tree",
    )


def move_mount(mount_fd: int, target_fd: int, target: PathLike = "") -> None:
    """Attach (or move) the mount ``mount_fd`` to ``target``, or onto ``target_fd`` itself when that is empty.

    Onto an fd nothing is looked up again, so nobody can exchange the target for a link in between.
    """
    data = os.fsencode(target)
    flags = _MOVE_MOUNT_F_EMPTY_PATH | (0 if data else _MOVE_MOUNT_T_EMPTY_PATH)
    _syscall("move_mount", mount_fd, b"", target_fd, data, flags, what=target or "move_mount")


def mount_setattr(
    fd: int,
    path: PathLike = "",
    *,
    set: int = 0,
    clear: int = 0,
    propagation: int = 0,
    recursive: bool = False,
) -> None:
    """mount_setattr(2), Linux 5.12. ``propagation`` is one of MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE."""
    data = os.fsencode(path)
    flags = (0 if data else AT_EMPTY_PATH) | (AT_RECURSIVE if recursive else 0)
    attributes = struct.pack("QQQQ", set, clear, propagation, 0)
    _syscall("mount_setattr", fd, data, flags, attributes, len(attributes), what=path or "mount_setattr")


# --- files -----------------------------------------------------------------------------------------


def openat2(fd: int, path: PathLike, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), Linux 5.6; always close-on-exec."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, resolve)
    return _syscall("openat2", fd, os.fsencode(path), how, len(how), what=path)


def open_in_root(root_fd: int, path: PathLike, flags: int, mode: int = 0) -> int:
    """Open ``path`` as if ``root_fd`` were "/": links and ``..`` cannot lead out of it, magic links are refused.

    EAGAIN (a rename raced with ``..``) is tried again a few times, as openat2(2) advises.
    """
    for _ in range(32):
        try:
            return openat2(root_fd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        except BlockingIOError:
            continue
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), os.fsdecode(path))


def statfs_type(target: PathLike | int) -> int:
    """The magic number of the file system that ``target`` (a path or an fd, O_PATH too) lies on."""
    buffer = ctypes.create_string_buffer(256)
    if isinstance(target, int):
        _check(_libc.fstatfs(target, buffer), f"fd {target}")
    else:
        _check(_libc.statfs(os.fsencode(target), buffer), target)
    return int(struct.unpack_from("l", buffer)[0])


def close_range(first: int, last: int = 0x7FFF_FFFF, flags: int = 0) -> None:
    """close_range(2), Linux 5.9 (the flag CLOSE_RANGE_CLOEXEC 5.11)."""
    _syscall("close_range", first, last, flags)


# --- privileges ------------------------------------------------------------------------------------

_CAPABILITY_VERSION_3 = 0x2008_0522


class CapabilitySets(NamedTuple):
    """Bit sets, bit n for capability n (linux/capability.h)."""

    effective: int
    permitted: int
    inheritable: int


def capget() -> CapabilitySets:
    """The capabilities of this process (capget(2))."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    buffer = ctypes.create_string_buffer(24)
    number = ctypes.c_long(_NUMBERS["capget"])
    _check(_libc.syscall(number, ctypes.c_char_p(header), buffer), "capget")
    low = struct.unpack_from("III", buffer)
    high = struct.unpack_from("III", buffer, 12)
    return CapabilitySets(*(a | b << 32 for a, b in zip(low, high, strict=True)))


def capset(sets: CapabilitySets) -> None:
    """capset(2) for this process."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    halves = [value & 0xFFFF_FFFF for value in sets] + [value >> 32 for value in sets]
    _syscall("capset", header, struct.pack("IIIIII", *halves))


def getrlimit(kind: int) -> tuple[int, int]:
    """(soft, hard) as unsigned 64-bit numbers (prlimit(2)); ``resource`` is not in the zygote's closure."""
    buffer = ctypes.create_string_buffer(16)
    _check(_libc.prlimit64(0, kind, None, buffer), f"limit {kind}")
    soft, hard = struct.unpack("QQ", buffer.raw)
    return soft, hard


def setrlimit(kind: int, soft: int, hard: int) -> None:
    """Set both values of a limit; all ones means no limit."""
    _check(_libc.prlimit64(0, kind, struct.pack("QQ", soft, hard), None), f"limit {kind}")


_KEYCTL_JOIN_SESSION_KEYRING = 1


def join_new_session_keyring() -> int:
    """Leave the session keyring that was inherited for a new, empty one; its id (keyctl(2))."""
    return _syscall("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, None)


def seccomp_load(program: bytes, flags: int = 0) -> None:
    """Load a compiled filter (struct sock_filter after sock_filter) for this process and its children.

    Needs no_new_privs or CAP_SYS_ADMIN, else EACCES (seccomp(2)).
    """
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    _syscall("seccomp", SECCOMP_SET_MODE_FILTER, flags, fprog)


def seccomp_action_available(action: int) -> bool:
    """Whether the kernel knows the return action ``action``."""
    try:
        _syscall("seccomp", SECCOMP_GET_ACTION_AVAIL, 0, struct.pack("I", action))
    except OSError:
        return False
    return True


def default_signal(number: int) -> None:
    """Give a signal its default action, also those two (32, 33) that the C library keeps to itself.

    glibc's posix_spawn leaves them ignored in its child, and that goes through every execve after it.
    """
    _syscall("rt_sigaction", number, bytes(64), None, 8, what=f"signal {number}")


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """Send a signal to exactly the process of ``pidfd``; ProcessLookupError when it has ended."""
    _syscall("pidfd_send_signal", pidfd, number, None, 0)
