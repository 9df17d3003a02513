"""Seccomp: Docker's profile as data, the compiler against an independent reading of the profile, the real kernel."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import oci
from core.errors import InvalidArgument, Unsupported
from core.linux import privileges, seccomp, seccomp_compiler, seccomp_default, syscalls
from core.linux.syscall_table import X32_BIT, numbers
from tests.linux import bpf_machine
from tests.linux.sandbox import DEFAULT_CAPABILITIES

ALLOW = seccomp_compiler.ALLOW
X86_64, I386, AARCH64 = 0xC000_003E, 0x4000_0003, 0xC000_00B7
EPERM, ENOSYS = seccomp_compiler.ERRNO | errno.EPERM, seccomp_compiler.ERRNO | errno.ENOSYS
ARCHES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}

#: Profiles of Debian's container packages, where installed: another engine's data with the same ancestor.
_PEER = Path("/usr/share/containers/seccomp.json")


# --- an independent reading of a profile ------------------------------------------------------------


def matches(rule: oci.SeccompRule, args: tuple[int, ...]) -> bool:
    """Whether the arguments fit: all of the rule's conditions, or any of them if it names one argument twice."""
    values = (*args, 0, 0, 0, 0, 0, 0)
    results = []
    for arg in rule.get("args", []):
        value, want, second = values[arg["index"]], arg["value"], arg.get("valueTwo", 0)
        results.append(
            {
                "EQ": value == want,
                "NE": value != want,
                "LT": value < want,
                "LE": value <= want,
                "GT": value > want,
                "GE": value >= want,
                "MASKED_EQ": value & want == second,
            }[arg["op"].removeprefix("SCMP_CMP_")]
        )
    indices = [arg["index"] for arg in rule.get("args", [])]
    return any(results) if len(set(indices)) < len(indices) else all(results)


def expected(profile: oci.Seccomp, name: str | None, newer: bool, args: tuple[int, ...]) -> int:
    def value(action: str, code: int | None) -> int:
        number = {"ERRNO": 0x50000, "ALLOW": 0x7FFF0000, "LOG": 0x7FFC0000, "TRACE": 0x7FF00000, "KILL": 0}
        base = {**number, "KILL_THREAD": 0, "KILL_PROCESS": 0x80000000, "TRAP": 0x30000}[action[9:]]
        return base | (1 if code is None else code) if base in (0x50000, 0x7FF00000) else base

    rules = [rule for rule in profile.get("syscalls", []) if name in rule["names"]]
    for rule in sorted(rules, key=lambda rule: not rule.get("args")):
        if matches(rule, args):
            return value(rule["action"], rule.get("errnoRet"))
    fallback = value(profile["defaultAction"], profile.get("defaultErrnoRet"))
    return ENOSYS if newer and profile["defaultAction"] not in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG") else fallback


def check_every_number(profile: oci.Seccomp, machine: str, args: tuple[int, ...] = ()) -> None:
    program = seccomp.compile_filter(profile, machine)
    for arch in profile["architectures"]:
        names: dict[int, str] = {}
        for name, number in numbers(arch).items():
            # Two names of one number are one call; the profile's spelling counts.
            known = any(name in rule["names"] for rule in profile["syscalls"])
            if known or number not in names:
                names[number] = name
        named = [numbers(arch)[n] for rule in profile["syscalls"] for n in rule["names"] if n in numbers(arch)]
        bit = X32_BIT if arch == "SCMP_ARCH_X32" else 0
        top = max(named, default=1 << 32)
        for number in [*range(bit, bit + 700), *names, bit + 0x3FFF_FFFF]:
            call = bpf_machine.Call(number, seccomp_compiler.AUDIT_ARCHES[arch], args)
            got = bpf_machine.run(program, call)
            assert got == expected(profile, names.get(number), number > top, args), (arch, number, names.get(number))


# --- tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("header", "arch", "bit"), [
    ("asm/unistd_64.h", "SCMP_ARCH_X86_64", 0),
    ("asm/unistd_32.h", "SCMP_ARCH_X86", 0),
    ("asm/unistd_x32.h", "SCMP_ARCH_X32", X32_BIT),
])  # fmt: skip
def test_numbers_are_those_of_the_kernels_headers(header: str, arch: str, bit: int) -> None:
    path = Path("/usr/include/x86_64-linux-gnu") / header
    if not path.exists():
        pytest.skip("no kernel headers (linux-libc-dev) on this machine")
    found = re.findall(r"#define __NR_(\w+) \(?(?:__X32_SYSCALL_BIT \+ )?(\d+)\)?$", path.read_text(), re.MULTILINE)
    assert len(found) > 300
    table = numbers(arch)
    assert {name: table.get(name) for name, _ in found} == {name: int(number) | bit for name, number in found}


def test_well_known_numbers() -> None:
    assert [numbers("SCMP_ARCH_AARCH64")[n] for n in ("openat", "clone", "execve", "fstat", "mmap")] == [
        56,
        220,
        221,
        80,
        222,
    ]
    assert [numbers("SCMP_ARCH_ARM")[n] for n in ("read", "cacheflush", "execve")] == [3, 0xF0002, 11]
    for arch in (arch for pair in ARCHES.values() for arch in pair):
        bit = X32_BIT if arch.endswith("X32") else 0
        assert numbers(arch)["clone3"] == 435 | bit
        assert numbers(arch)["mseal"] == 462 | bit


def test_every_name_of_the_profile_is_a_call_somewhere() -> None:
    known = {name for pair in ARCHES.values() for arch in pair for name in numbers(arch)}
    texts = [seccomp_default.ALLOWED, seccomp_default.ALLOWED_SINCE_4_8, *seccomp_default.ALLOWED_ON.values()]
    names = {name for text in [*texts, *seccomp_default.ALLOWED_WITH.values()] for name in text.split()}
    assert names - known == {"riscv_hwprobe", "arm_sync_file_range"} - known


# --- the default profile -----------------------------------------------------------------------------


@pytest.mark.parametrize("capabilities", [
    DEFAULT_CAPABILITIES, [], ["CAP_SYS_ADMIN"], ["CAP_SYS_PTRACE", "CAP_SYS_MODULE", "CAP_BPF"],
    list(privileges.CAPABILITY_NAMES),
])  # fmt: skip
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_program_answers_as_the_profile_says_for_every_number(machine: str, capabilities: list[str]) -> None:
    profile = seccomp.default_profile(capabilities, machine)
    check_every_number(profile, machine)
    check_every_number(profile, machine, (0x1000_0000, 0, 9))


@pytest.mark.parametrize(("name", "args", "answer"), [
    ("read", (), ALLOW),
    ("keyctl", (), EPERM), ("add_key", (), EPERM), ("request_key", (), EPERM),
    ("io_uring_setup", (), EPERM), ("userfaultfd", (), EPERM), ("kexec_load", (), EPERM),
    ("mount", (), EPERM), ("unshare", (), EPERM), ("setns", (), EPERM), ("bpf", (), EPERM),
    ("ptrace", (), ALLOW), ("chroot", (), ALLOW), ("reboot", (), EPERM),
    ("clone3", (), ENOSYS),
    ("clone", (17,), ALLOW), ("clone", (0x1000_0000,), EPERM), ("clone", (0x2000_0011,), EPERM),
    ("clone", (0x3D0F00,), ALLOW), ("clone", (0x0002_0011,), EPERM),
    ("socket", (socket.AF_INET,), ALLOW), ("socket", (16,), ALLOW), ("socket", (40,), EPERM),
    ("socket", (38,), EPERM), ("socket", (44,), ALLOW),
    # The upper half of the register must not hide a family that the kernel then cuts to 32 bits.
    ("socket", (38 | 1 << 32,), EPERM), ("socket", (40 | 1 << 32,), EPERM),
    ("personality", (0,), ALLOW), ("personality", (8,), ALLOW),
    ("personality", (0xFFFF_FFFF,), ALLOW), ("personality", (0x0040000,), EPERM),
])  # fmt: skip
def test_what_docker_allows_and_refuses(name: str, args: tuple[int, ...], answer: int) -> None:
    program = seccomp.compile_filter(seccomp.default_profile(DEFAULT_CAPABILITIES, "x86_64"), "x86_64")
    number = numbers("SCMP_ARCH_X86_64")[name]
    assert bpf_machine.run(program, bpf_machine.Call(number, X86_64, args)) == answer


def test_capabilities_open_calls() -> None:
    profile = seccomp.default_profile(["CAP_SYS_ADMIN", "CAP_SYS_MODULE"], "x86_64")
    program = seccomp.compile_filter(profile, "x86_64")
    table = numbers("SCMP_ARCH_X86_64")
    for name in ("mount", "unshare", "setns", "clone3", "finit_module"):
        assert bpf_machine.run(program, bpf_machine.Call(table[name], X86_64)) == ALLOW
    assert bpf_machine.run(program, bpf_machine.Call(table["clone"], X86_64, (0x1000_0000,))) == ALLOW
    assert bpf_machine.run(program, bpf_machine.Call(table["chroot"], X86_64)) == EPERM


def test_other_architectures_are_killed() -> None:
    program = seccomp.compile_filter(seccomp.default_profile([], "x86_64"), "x86_64")
    assert bpf_machine.run(program, bpf_machine.Call(0, AARCH64)) == seccomp_compiler.KILL_PROCESS


def test_x32_without_its_architecture_is_killed() -> None:
    profile = seccomp.default_profile([], "x86_64")
    profile["architectures"] = ["SCMP_ARCH_X86_64"]
    program = seccomp.compile_filter(profile, "x86_64")
    assert bpf_machine.run(program, bpf_machine.Call(X32_BIT, X86_64)) == seccomp_compiler.KILL_PROCESS


def test_allowed_set_equals_the_peers_but_for_known_differences() -> None:
    """Debian's container packages carry an older profile of the same family: every difference is known by name."""
    if not _PEER.exists():
        pytest.skip("golang-github-containers-common is not installed")
    peer = seccomp.load_profile(_PEER.read_text(), DEFAULT_CAPABILITIES, "x86_64")
    assert peer is not None
    ours = seccomp.default_profile(DEFAULT_CAPABILITIES, "x86_64")

    def allowed(profile: oci.Seccomp) -> set[str]:
        rules = [rule for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
        return {name for rule in rules for name in rule["names"]} & set(numbers("SCMP_ARCH_X86_64"))

    since = {name for name, number in numbers("SCMP_ARCH_X86_64").items() if number > 450 or name == "uretprobe"}
    # Podman allows these to containers without CAP_SYS_ADMIN or CAP_SYS_NICE; Docker does not.
    podman = {
        "clone3", "fsconfig", "fsmount", "fsopen", "fspick", "get_mempolicy", "keyctl", "mbind", "mount",
        "mount_setattr", "move_mount", "open_tree", "pidfd_getfd", "pivot_root", "reboot", "set_mempolicy",
        "set_mempolicy_home_node", "setns", "syslog", "umount2", "unshare",
    }  # fmt: skip
    docker = {
        "landlock_add_rule",
        "landlock_create_ruleset",
        "landlock_restrict_self",
        "process_mrelease",
        "futex_waitv",
        "vmsplice",
    }
    assert allowed(peer) - allowed(ours) <= podman
    assert allowed(ours) - allowed(peer) <= since | docker | {"io_pgetevents", "memfd_secret"}


def test_default_filter_is_built_quickly() -> None:
    def build() -> float:
        begun = time.perf_counter()
        seccomp.compile_filter(seccomp.default_profile(DEFAULT_CAPABILITIES), os.uname().machine)
        return time.perf_counter() - begun

    build()
    assert min(build() for _ in range(20)) < 0.002


# --- profiles of the person's own --------------------------------------------------------------------


def profile_text(**changes: Any) -> str:
    return json.dumps(
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}], **changes}
    )


def one_rule(**changes: Any) -> str:
    return profile_text(syscalls=[{"names": ["a"], "action": "SCMP_ACT_ALLOW", **changes}])


def test_conditions_of_dockers_format() -> None:
    rules = [
        {"name": "read", "action": "SCMP_ACT_ALLOW"},
        {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["b"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_CHOWN"]}},
        {"names": ["c"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_CHOWN"]}},
        {"names": ["d"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["e"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}},
        {"names": ["f"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "3.1"}},
        {"names": ["g"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
        {"names": ["h"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "3.1"}},
    ]
    loaded = seccomp.load_profile(profile_text(syscalls=rules), ["CAP_CHOWN"], "x86_64")
    assert loaded is not None
    assert [rule["names"] for rule in loaded["syscalls"]] == [["read"], ["b"], ["f"]]


def test_architectures_come_from_the_map() -> None:
    text = profile_text(archMap=[
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
    ])  # fmt: skip
    loaded = seccomp.load_profile(text, [], "x86_64")
    assert loaded is not None
    assert loaded["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]


def test_a_profile_that_says_nothing_restricts_nothing() -> None:
    assert seccomp.load_profile("{}", [], "x86_64") is None


@pytest.mark.parametrize(("text", "words"), [
    ("{", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("[]", "object"),
    (profile_text(defaultAction="SCMP_ACT_MAYBE"), "SCMP_ACT_MAYBE"),
    (profile_text(syscalls=[{"names": ["read"]}]), "syscalls[0].action"),
    (profile_text(syscalls=[{"names": ["read"], "action": "SCMP_ACT_ALLOW"}, 7]), "syscalls[1]"),
    (one_rule(name="a", names=["b"]), "name or names"),
    (profile_text(syscalls=[{"names": "read", "action": "SCMP_ACT_ALLOW"}]), "syscalls[0].names"),
    (one_rule(args=[{"index": 6, "op": "SCMP_CMP_EQ"}]), "args[0].index"),
    (one_rule(args=[{"index": 0, "op": "=="}]), "'=='"),
    (one_rule(includes={"minKernel": "new"}), "minKernel"),
    (one_rule(errnoRet=5000), "errnoRet"),
    (profile_text(architectures=["SCMP_ARCH_X86"], archMap=[{"architecture": "SCMP_ARCH_X86_64"}]), "not both"),
])  # fmt: skip
def test_wrong_profiles_are_refused_by_place(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(words)):
        seccomp.load_profile(text, [], "x86_64")


@pytest.mark.parametrize("changes", [
    {"defaultAction": "SCMP_ACT_NOTIFY"}, {"flags": ["SECCOMP_FILTER_FLAG_LOG"]}, {"listenerPath": "/run/s"},
])  # fmt: skip
def test_what_is_not_done_is_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match="not supported"):
        seccomp.load_profile(profile_text(**changes), [], "x86_64")


def test_too_large_a_program_is_refused() -> None:
    args = [{"index": index, "value": 1, "op": "SCMP_CMP_EQ"} for index in (0, 1)]
    rules = [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": args} for _ in range(2000)]
    loaded = seccomp.load_profile(profile_text(syscalls=rules), [], "x86_64")
    assert loaded is not None
    with pytest.raises(InvalidArgument, match="instructions"):
        seccomp.compile_filter(loaded, "x86_64")


@pytest.mark.parametrize("count", [1, 2, 25, 300])
def test_many_values_of_one_argument(count: int) -> None:
    """Neighbouring values share their loads, in groups that a jump can pass over."""
    high = 7 << 32
    values = [high | number * 3 for number in range(count)]
    args = [[{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}] for value in values]
    rules = [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": arg} for arg in args]
    loaded = seccomp.load_profile(profile_text(syscalls=rules), [], "x86_64")
    assert loaded is not None
    program = seccomp.compile_filter(loaded, "x86_64")
    for value in [*values, high | 1, high | count * 3, 0, 3, (8 << 32) | 3]:
        answer = bpf_machine.run(program, bpf_machine.Call(0, X86_64, (0, value)))
        assert answer == (ALLOW if value in values else EPERM), value


_values = st.one_of(st.integers(0, 3), st.sampled_from([0xFFFF_FFFF, 1 << 32, (1 << 32) | 1, (1 << 64) - 1]))
_args = st.lists(
    st.fixed_dictionaries({
        "index": st.integers(0, 2), "value": _values, "valueTwo": _values,
        "op": st.sampled_from(["SCMP_CMP_" + name for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")]),
    }),
    max_size=3,
)  # fmt: skip
_names = st.sampled_from(["read", "write", "close", "clone3", "mseal"])
_rules = st.lists(
    st.fixed_dictionaries({
        "names": st.lists(_names, min_size=1, max_size=3, unique=True),
        "action": st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG"]),
        "args": _args,
    }),
    max_size=6,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    rules=_rules,
    default=st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL"]),
    args=st.tuples(_values, _values, _values),
)
def test_any_profile_compiles_to_what_it_says(rules: list[Any], default: str, args: tuple[int, ...]) -> None:
    plain: dict[str, str] = {}
    kept: list[Any] = []
    for rule in rules:
        # Two rules without arguments for one call contradict each other: only the first is looked at.
        names = [
            name for name in rule["names"] if rule["args"] or plain.setdefault(name, rule["action"]) == rule["action"]
        ]
        kept.append({**rule, "names": names})
    profile: oci.Seccomp = {"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64"], "syscalls": kept}
    program = seccomp.compile_filter(profile, "x86_64")
    table = numbers("SCMP_ARCH_X86_64")
    named = [table[name] for rule in kept for name in rule["names"]]
    for name in ("read", "write", "open", "close", "clone3", "mseal", "getxattrat"):
        got = bpf_machine.run(program, bpf_machine.Call(table[name], X86_64, args))
        assert got == expected(profile, name, table[name] > max(named, default=1 << 32), args), name


# --- the kernel itself -------------------------------------------------------------------------------


def in_child(function: Callable[[], int]) -> int:
    """Run ``function`` in a child; its result, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        code = 120
        try:
            code = function()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def errno_of(number: int, *args: int) -> int:
    """The errno of a raw call with the default filter loaded (no_new_privs, so that no root is needed)."""

    def call() -> int:
        privileges.no_new_privs()
        syscalls.seccomp_load(seccomp.compile_filter(seccomp.default_profile(DEFAULT_CAPABILITIES), os.uname().machine))
        libc = ctypes.CDLL(None, use_errno=True)
        result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(arg) for arg in args))
        return 0 if result >= 0 else ctypes.get_errno()

    return in_child(call)


needs_x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86_64's call numbers")


@needs_x86
@pytest.mark.parametrize(("name", "args", "code"), [
    ("getpid", (), 0), ("keyctl", (0,), errno.EPERM), ("clone3", (0, 0), errno.ENOSYS),
    ("unshare", (syscalls.CLONE_NEWUSER,), errno.EPERM), ("io_uring_setup", (1, 0), errno.EPERM),
    ("socket", (40, 1, 0), errno.EPERM), ("socket", (38, 5, 0), errno.EPERM), ("socket", (1, 1, 0), 0),
    ("clone", (syscalls.CLONE_NEWUSER | signal.SIGCHLD,), errno.EPERM), ("personality", (0xFFFF_FFFF,), 0),
    ("personality", (0x0040000,), errno.EPERM), ("mount", (0, 0, 0, 0, 0), errno.EPERM),
])  # fmt: skip
def test_the_kernel_answers(name: str, args: tuple[int, ...], code: int) -> None:
    assert errno_of(numbers("SCMP_ARCH_X86_64")[name], *args) == code


@needs_x86
def test_a_call_newer_than_the_profile_does_not_exist() -> None:
    assert errno_of(469) == errno.ENOSYS


def _by_interrupt(number: int) -> int:
    """The result of ``int 0x80``: the 32-bit table from a 64-bit program, the usual way around a filter."""
    # push rbx; mov eax, number; xor ebx, ebx; int 0x80; pop rbx; ret
    code = b"\x53\xb8" + number.to_bytes(4, "little") + b"\x31\xdb\xcd\x80\x5b\xc3"
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)())


@needs_x86
def test_the_32_bit_table_is_filtered_too() -> None:
    table = numbers("SCMP_ARCH_X86")

    def has_32_bit() -> int:
        return int(_by_interrupt(table["getpid"]) == os.getpid())

    if in_child(has_32_bit) != 1:
        pytest.skip("this kernel runs no 32-bit calls")

    def filtered(name: str) -> Callable[[], int]:
        def call() -> int:
            privileges.no_new_privs()
            syscalls.seccomp_load(seccomp.compile_filter(seccomp.default_profile(DEFAULT_CAPABILITIES), "x86_64"))
            result = _by_interrupt(table[name])
            return -result if result < 0 else 0

        return call

    assert in_child(filtered("getuid32")) == 0
    assert in_child(filtered("keyctl")) == errno.EPERM
    assert in_child(filtered("unshare")) == errno.EPERM
    assert in_child(filtered("clone3")) == errno.ENOSYS
