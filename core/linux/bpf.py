"""The device filter of a version 2 cgroup: a small BPF program, assembled by hand and attached to the group.

The program sees ``struct bpf_cgroup_dev_ctx`` (include/uapi/linux/bpf.h): ``access_type`` (access << 16 | type), major,
minor, and returns 1 to allow. Rules are tested from the last to the first, so that a later rule wins, as the order
of writes does on version 1. What is left of the wanted access is kept in a register: a rule that allows takes its
letters away, and the access is allowed when none is left; a rule that denies refuses when it meets one that is left.
So ``c 1:3 r`` and ``c 1:3 w`` together allow to read and write at once, as the kernel's own list of version 1 does.

bpf(2) is called here and not in :mod:`core.linux.syscalls`: nothing else needs it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from core import oci

_SYSCALL = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_PROG_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_ALLOW_MULTI = 2
#: How many programs the kernel attaches to one group at most (BPF_CGROUP_MAX_PROGS).
_MAX_PROGRAMS = 64

_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL = 7

# struct bpf_insn: opcode, registers (source << 4 | destination), offset, immediate.
_LOAD_WORD, _AND, _RIGHT_SHIFT, _MOVE, _EXIT = 0x61, 0x54, 0x74, 0xB7, 0x95
_MOVE_REGISTER, _JUMP_EQUAL, _JUMP_NOT_EQUAL = 0xBC, 0x15, 0x55

_libc = ctypes.CDLL(None, use_errno=True)


def _instruction(code: int, destination: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | destination, offset, value)


def assemble(rules: list[oci.DeviceRule]) -> bytes:
    """The program for ``rules``; what no rule names is refused.

    Registers: r2 type, r3 what is left of the access, r4 major, r5 minor, r1 scratch.
    """
    program = [
        _instruction(_LOAD_WORD, 2, 1, 0),
        _instruction(_MOVE_REGISTER, 3, 2),
        _instruction(_AND, 2, value=0xFFFF),
        _instruction(_RIGHT_SHIFT, 3, value=16),
        _instruction(_LOAD_WORD, 4, 1, 4),
        _instruction(_LOAD_WORD, 5, 1, 8),
    ]
    for rule in reversed(rules):
        block, final = _rule(rule)
        program += block
        if final:
            return b"".join(program)
    program += [_instruction(_MOVE, 0, value=0), _instruction(_EXIT)]
    return b"".join(program)


def _rule(rule: oci.DeviceRule) -> tuple[list[bytes], bool]:
    """The block of one rule, and whether it decides for every device and access."""
    answer = [_instruction(_MOVE, 0, value=int(rule["allow"])), _instruction(_EXIT)]
    tests: list[list[bytes]] = []
    kind = rule.get("type", "a")
    if kind != "a":
        tests.append([_instruction(_JUMP_NOT_EQUAL, 2, value=_TYPES[kind])])
    for register, number in ((4, rule.get("major", -1)), (5, rule.get("minor", -1))):
        if number >= 0:
            tests.append([_instruction(_JUMP_NOT_EQUAL, register, value=number)])
    mask = sum(_ACCESS[letter] for letter in set(rule.get("access") or "rwm"))
    if mask != _ALL and rule["allow"]:
        # What this rule grants need not be granted again; the rest is for the rules before it.
        tests.append([_instruction(_AND, 3, value=~mask & _ALL), _instruction(_JUMP_NOT_EQUAL, 3)])
    elif mask != _ALL:
        meets = [_instruction(_MOVE_REGISTER, 1, 3), _instruction(_AND, 1, value=mask), _instruction(_JUMP_EQUAL, 1)]
        tests.append(meets)
    return _with_jumps(tests, answer), not tests


def _with_jumps(tests: list[list[bytes]], answer: list[bytes]) -> list[bytes]:
    """Every test's last instruction jumps behind the block when the rule does not decide."""
    length = sum(len(test) for test in tests) + len(answer)
    block: list[bytes] = []
    for test in tests:
        code, registers, _, value = struct.unpack("<BBhi", test[-1])
        jump = struct.pack("<BBhi", code, registers, length - len(block) - len(test), value)
        block += [*test[:-1], jump]
    return block + answer


def attach_device_filter(cgroup_fd: int, rules: list[oci.DeviceRule]) -> None:
    """Load the program for ``rules`` and attach it to the group, in place of those attached to it before.

    It goes when the group is removed. Raises OSError; then the programs from before are still in force.
    """
    program = ctypes.create_string_buffer(assemble(rules))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    load = struct.pack(
        "<IIQQIIQ",
        _PROG_TYPE_CGROUP_DEVICE,
        (len(program) - 1) // 8,
        ctypes.addressof(program),
        ctypes.addressof(licence),
        0,
        0,
        0,
    )
    before = attached(cgroup_fd)
    fd = _bpf(_PROG_LOAD, load, "load the device filter")
    try:
        attach = struct.pack("<IIII", cgroup_fd, fd, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI)
        _bpf(_PROG_ATTACH, attach, "attach the device filter")
    finally:
        os.close(fd)
    # All attached programs must agree: the new one comes first and the old ones go after, so there is no gap.
    for number in before:
        _detach(cgroup_fd, number)


def attached(cgroup_fd: int) -> list[int]:
    """The kernel's ids of the device programs attached to the group itself (not to its parents)."""
    found = (ctypes.c_uint32 * _MAX_PROGRAMS)()
    query = struct.pack("<IIIIQI", cgroup_fd, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(found), _MAX_PROGRAMS)
    attributes = ctypes.create_string_buffer(query.ljust(128, b"\0"), 128)
    _bpf_in(_PROG_QUERY, attributes, "list the device filters")
    (count,) = struct.unpack_from("<I", attributes.raw, 24)
    return list(found[:count])


def _detach(cgroup_fd: int, number: int) -> None:
    try:
        fd = _bpf(_PROG_GET_FD_BY_ID, struct.pack("<I", number), "open the device filter")
    except OSError as error:
        if error.errno == errno.ENOENT:  # somebody else took it away
            return
        raise
    try:
        _bpf(_PROG_DETACH, struct.pack("<III", cgroup_fd, fd, _ATTACH_CGROUP_DEVICE), "detach the device filter")
    finally:
        os.close(fd)


def _bpf(command: int, attributes: bytes, what: str) -> int:
    return _bpf_in(command, ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128), what)


def _bpf_in(command: int, attributes: ctypes.Array[ctypes.c_char], what: str) -> int:
    number = _SYSCALL[os.uname().machine]
    result: int = _libc.syscall(number, command, attributes, len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result
