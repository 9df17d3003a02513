"""From the host's root to what a container's process may do: limits, seccomp, identity, capabilities.

The kernel forces an order (seccomp(2), capabilities(7)):

* Without no_new_privs a filter needs CAP_SYS_ADMIN, so it is loaded *before* capabilities and user go; everything after
  it is then judged by the filter. With no_new_privs it is loaded last, right before execve.
* The bounding set goes while CAP_SETPCAP is there; groups and gid before the uid; the permitted set survives the change
  of uid only with KEEPCAPS.
* The inheritable set is empty, or a file's inheritable bits would give it all back (CVE-2022-24769).
"""

from __future__ import annotations

import errno
import os

from core import oci
from core.errors import StartFailed
from core.linux import syscalls
from core.linux.syscalls import CapabilitySets

#: In the kernel's order: the index is the number (linux/capability.h).
CAPABILITY_NAMES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip

#: uid_t is 32 bits wide; above this some programs see a negative number and -1 means "unchanged" (CVE-2024-40635).
MAX_ID = 2**31 - 1

#: asm-generic/resource.h; the same numbers on x86_64 and aarch64.
RLIMITS = {
    "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}  # fmt: skip


def capability_bits(names: list[str]) -> int:
    """The bit set of ``names``; unknown names are StartFailed."""
    bits = 0
    for name in names:
        if name not in _BITS:
            raise StartFailed(f"unknown capability {name!r}", step="capabilities")
        bits |= _BITS[name]
    return bits


_BITS = {name: 1 << number for number, name in enumerate(CAPABILITY_NAMES)}


def _known_to_kernel() -> int:
    """The number of capabilities of this kernel. Asked of prctl, not of /proc: that may be the container's by now."""
    number = 0
    while True:
        try:
            syscalls.prctl(syscalls.PR_CAPBSET_READ, number)
        except OSError:
            return number
        number += 1


#: Asked once, when the zygote is loaded: it cannot change while the kernel runs.
_KNOWN = _known_to_kernel()


# --- limits ------------------------------------------------------------------------------------------


def apply_rlimits(limits: list[oci.Rlimit]) -> list[str]:
    """Set the limits of this process. Without CAP_SYS_RESOURCE a hard limit cannot rise: it is clamped, and said."""
    warnings = []
    for limit in limits:
        kind, number = limit["type"], RLIMITS.get(limit["type"])
        if number is None:
            raise StartFailed(f"unknown limit {kind!r}", step="rlimits")
        try:
            wanted = (_unsigned(limit["soft"]), _unsigned(limit["hard"]))
            try:
                syscalls.setrlimit(number, *wanted)
            except PermissionError:
                _, ceiling = syscalls.getrlimit(number)
                clamped = tuple(min(value, ceiling) for value in wanted)
                syscalls.setrlimit(number, clamped[0], clamped[1])
                warnings.append(
                    f"{kind} is limited to {ceiling} instead of {limit['hard']}: the engine lacks CAP_SYS_RESOURCE"
                )
        except OSError as error:
            raise StartFailed(f"{kind} {limit['soft']}:{limit['hard']}: {error.strerror}", step="rlimits") from error
    return warnings


def _unsigned(value: int) -> int:
    """-1 is "no limit", the largest value (RLIM_INFINITY)."""
    return value & 0xFFFF_FFFF_FFFF_FFFF


def set_oom_score(score: int) -> list[str]:
    """Write this process's oom_score_adj; lowering it needs CAP_SYS_RESOURCE: refused is a warning, as in Docker.

    Call it before pivot_root, while /proc is the host's.
    """
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"%d" % score)
        finally:
            os.close(fd)
    except PermissionError:
        return [f"oom_score_adj {score} was refused: the engine lacks CAP_SYS_RESOURCE"]
    except OSError as error:
        raise StartFailed(f"oom_score_adj {score}: {error.strerror}", step="rlimits") from error
    return []


# --- identity ----------------------------------------------------------------------------------------


def check_id(value: int, what: str) -> int:
    """``value`` when it is a usable uid or gid, else StartFailed in Docker's words."""
    if not 0 <= value <= MAX_ID:
        raise StartFailed(f"uids and gids must be in range 0-{MAX_ID}: {what} {value}", step="user")
    return value


def set_user(uid: int, gid: int, groups: list[int]) -> None:
    """Become the user. The supplementary groups are always set, never inherited from the engine (CVE-2022-36109)."""
    check_id(uid, "uid")
    check_id(gid, "gid")
    for group in groups:
        check_id(group, "group")
    try:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise StartFailed(f"become user {uid}:{gid}: {error.strerror}", step="user") from error


# --- capabilities ------------------------------------------------------------------------------------


class _Plan:
    """The sets to reach, as bits, cut down to what this kernel knows and this process has."""

    def __init__(self, wanted: oci.Capabilities) -> None:
        self.count = _KNOWN
        have = syscalls.capget().permitted
        self.bounding = capability_bits(wanted.get("bounding", []))
        self.missing = self.bounding & ~have
        self.permitted = capability_bits(wanted.get("permitted", [])) & have
        self.effective = capability_bits(wanted.get("effective", [])) & self.permitted
        self.inheritable = capability_bits(wanted.get("inheritable", [])) & self.permitted
        self.ambient = capability_bits(wanted.get("ambient", [])) & self.permitted & self.inheritable


def drop_bounding(keep: int, count: int) -> None:
    """Drop every capability from the bounding set that is not in ``keep``; nothing executed later can get it back."""
    for number in range(count):
        if not keep >> number & 1:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)


def _apply(plan: _Plan) -> None:
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    syscalls.capset(CapabilitySets(plan.effective, plan.permitted, plan.inheritable))
    for number in range(plan.count):
        if plan.ambient >> number & 1:
            syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, number)


def _missing(plan: _Plan) -> list[str]:
    names = [name for number, name in enumerate(CAPABILITY_NAMES) if plan.missing >> number & 1]
    return [f"the engine itself does not have {name}: the container does without it" for name in names]


def new_keyring() -> list[str]:
    """Leave the engine's session keyring, as runc does: keys in it would be the container's too. Returns warnings."""
    try:
        syscalls.join_new_session_keyring()
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return []  # the kernel has no keys at all
        return [f"the container has no session keyring of its own: {error.strerror}"]
    return []


def no_new_privs() -> None:
    """No execve of this process or its children gains rights any more: set-user-ID bits are ignored (prctl(2))."""
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


# --- all of it ---------------------------------------------------------------------------------------


def become(process: oci.Process, seccomp_filter: bytes = b"") -> list[str]:
    """Give up everything but what ``process`` is granted, in the order that the kernel demands. Returns warnings.

    Right after it only execve remains: keep nothing open that should not be inherited, and report by an fd that is
    close-on-exec already. Raises StartFailed (steps ``user``, ``seccomp``, ``capabilities``).
    """
    user = process["user"]
    locked = process.get("noNewPrivileges", False)
    plan = _Plan(process.get("capabilities", {}))
    warnings = new_keyring()
    if locked:
        no_new_privs()
    elif seccomp_filter:
        load_filter(seccomp_filter)
    try:
        drop_bounding(plan.bounding, plan.count)
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
        set_user(user["uid"], user["gid"], user.get("additionalGids", []))
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 0)
        _apply(plan)
    except OSError as error:
        raise StartFailed(f"drop capabilities: {error.strerror}", step="capabilities") from error
    if "umask" in user:
        os.umask(user["umask"])
    if locked and seccomp_filter:
        load_filter(seccomp_filter)
    return warnings + _missing(plan)


def load_filter(program: bytes) -> None:
    """Load a compiled seccomp filter; StartFailed says what a refusal means."""
    try:
        syscalls.seccomp_load(program)
    except OSError as error:
        hint = "the filter is not valid for this kernel" if error.errno == errno.EINVAL else ""
        raise StartFailed(f"load the seccomp filter: {error.strerror}", step="seccomp", hint=hint) from error
