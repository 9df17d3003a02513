"""The device filter of a version 2 cgroup: a small BPF program, assembled by hand and attached to the group.

The program sees ``struct bpf_cgroup_dev_ctx`` (include/uapi/linux/bpf.h): ``access_type`` (access << 16 | type), major,
minor, and returns 1 to allow. Rules are tested from the last to the first, so that a later rule wins, as the order
of writes does on version 1.
"""

from __future__ import annotations

import ctypes
import os
import struct

from core import oci

_SYSCALL = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _PROG_ATTACH = 5, 8
_PROG_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_ALLOW_MULTI = 2

_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}

# struct bpf_insn: opcode, registers (source << 4 | destination), offset, immediate.
_LOAD_WORD, _AND, _RIGHT_SHIFT, _MOVE, _EXIT = 0x61, 0x54, 0x74, 0xB7, 0x95
_MOVE_REGISTER, _JUMP_NOT_EQUAL = 0xBC, 0x55

_libc = ctypes.CDLL(None, use_errno=True)


def _instruction(code: int, destination: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | destination, offset, value)


def assemble(rules: list[oci.DeviceRule]) -> bytes:
    """The program for ``rules``; what no rule names is refused.

    Registers: r2 type, r3 access, r4 major, r5 minor, r1 scratch.
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
    """The block of one rule, and whether it matches everything."""
    answer = [_instruction(_MOVE, 0, value=int(rule["allow"])), _instruction(_EXIT)]
    tests: list[list[bytes]] = []
    kind = rule.get("type", "a")
    if kind != "a":
        tests.append([_instruction(_JUMP_NOT_EQUAL, 2, value=_TYPES[kind])])
    mask = sum(_ACCESS[letter] for letter in set(rule.get("access", "rwm")))
    if mask != 7 and rule["allow"]:
        # An access beyond the rule's letters does not match: the next rule decides.
        tests.append(
            [
                _instruction(_MOVE_REGISTER, 1, 3),
                _instruction(_AND, 1, value=~mask & 7),
                _instruction(_JUMP_NOT_EQUAL, 1, value=0),
            ]
        )
    for register, number in ((4, rule.get("major", -1)), (5, rule.get("minor", -1))):
        if number >= 0:
            tests.append([_instruction(_JUMP_NOT_EQUAL, register, value=number)])
    return _with_jumps(tests, answer), not tests


def _with_jumps(tests: list[list[bytes]], answer: list[bytes]) -> list[bytes]:
    """Every test's last instruction jumps behind the block when it fails."""
    flat = [instruction for test in tests for instruction in test]
    length = len(flat) + len(answer)
    block, at = [], 0
    for test in tests:
        at += len(test)
        code, registers, _, value = struct.unpack("<BBhi", test[-1])
        block += [*test[:-1], struct.pack("<BBhi", code, registers, length - at, value)]
    return block + answer


def attach_device_filter(cgroup_fd: int, rules: list[oci.DeviceRule]) -> None:
    """Load the program for ``rules`` and attach it to the group. It goes when the group is removed. Raises OSError."""
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
    fd = _bpf(_PROG_LOAD, load, "load the device filter")
    try:
        attach = struct.pack("<IIII", cgroup_fd, fd, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI)
        _bpf(_PROG_ATTACH, attach, "attach the device filter")
    finally:
        os.close(fd)


def _bpf(command: int, attributes: bytes, what: str) -> int:
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    number = _SYSCALL[os.uname().machine]
    result: int = _libc.syscall(number, command, buffer, 128)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result
