"""A seccomp profile of the OCI spec → a BPF program for the kernel.

The program (seccomp(2), "struct seccomp_data": nr at 0, arch at 4, six 64-bit arguments from 16) looks like this::

    arch?  → one section per architecture; any other: kill, as libseccomp does
    section: numbers above all that the profile names → ENOSYS, so that a C library tries the older call (as runc)
             a binary search over *ranges* of numbers with the same answer
             leaf: RET, or the rules with arguments of that call, one after the other, then RET

Rules with arguments are tried before the rule without for the same call, in the profile's order; the first that
matches answers. Within a rule all arguments must match; a rule that names one argument twice means "any of them"
(runc's reading). Names the architecture does not have are skipped, as everywhere: one profile serves all machines.
"""

from __future__ import annotations

import errno
import struct
from typing import NamedTuple

from core import oci
from core.errors import InvalidArgument, Unsupported
from core.linux.syscall_table import X32_BIT, numbers

_LD, _JEQ, _JGT, _JGE, _JA, _RET, _AND = 0x20, 0x15, 0x25, 0x35, 0x05, 0x06, 0x54

KILL_PROCESS = 0x8000_0000
KILL_THREAD = 0
TRAP = 0x0003_0000
ERRNO = 0x0005_0000
TRACE = 0x7FF0_0000
LOG = 0x7FFC_0000
ALLOW = 0x7FFF_0000

#: Answers by the OCI spec's names (linux/seccomp.h: SECCOMP_RET_*).
ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_ALLOW": ALLOW,
}
#: The comparisons of arguments, without SCMP_CMP_.
COMPARISONS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")

#: AUDIT_ARCH_* of linux/audit.h.
AUDIT_ARCHES = {
    "SCMP_ARCH_X86_64": 0xC000_003E,
    "SCMP_ARCH_X32": 0xC000_003E,
    "SCMP_ARCH_X86": 0x4000_0003,
    "SCMP_ARCH_AARCH64": 0xC000_00B7,
    "SCMP_ARCH_ARM": 0x4000_0028,
}
#: uname's machine → its own architecture, and those that it runs as well.
_MACHINES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}

#: A program is at most this many instructions (BPF_MAXINSNS).
_MAX_INSTRUCTIONS = 4096


def architectures_of(machine: str) -> tuple[str, ...]:
    """The OCI architectures that a kernel of ``machine`` runs, its own first. Unsupported names what is known."""
    found = _MACHINES.get(machine)
    if found is None:
        raise Unsupported(
            f"no seccomp filter for the architecture {machine}",
            hint=f"known: {', '.join(_MACHINES)}; --security-opt seccomp=unconfined starts without one",
        )
    return found


class _Condition(NamedTuple):
    """A rule with arguments, for one call: when all ``args`` match, ``action`` is the answer."""

    args: tuple[tuple[int, str, int, int], ...]  # index, comparison, value, second value
    action: int


class _Answer(NamedTuple):
    """What a call gets: the first condition that holds, else ``otherwise``."""

    conditions: tuple[_Condition, ...]
    otherwise: int


def compile_filter(profile: oci.Seccomp, machine: str) -> bytes:
    """The BPF program of ``profile`` for a kernel of ``machine`` (uname's word), as struct sock_filter's bytes.

    InvalidArgument when the program would be larger than the kernel takes.
    """
    own = architectures_of(machine)
    wanted = [arch for arch in profile.get("architectures") or own[:1] if arch in own] or [own[0]]
    base = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    answers = _collect(profile, wanted, base)
    program = [_instruction(_LD, 4)]
    leaves: dict[_Answer, list[bytes]] = {}
    for audit in dict.fromkeys(AUDIT_ARCHES[arch] for arch in wanted):
        section = _section({arch: answers[arch] for arch in wanted if AUDIT_ARCHES[arch] == audit}, base, leaves)
        program += [_instruction(_JEQ, audit, 1, 0), _instruction(_JA, len(section)), *section]
    program.append(_instruction(_RET, KILL_PROCESS))
    if len(program) > _MAX_INSTRUCTIONS:
        raise InvalidArgument(
            f"seccomp profile: {len(program)} instructions, the kernel takes {_MAX_INSTRUCTIONS}",
            hint="use fewer rules with arguments",
        )
    return b"".join(program)


def _instruction(code: int, k: int, jt: int = 0, jf: int = 0) -> bytes:
    return struct.pack("<HBBI", code, jt, jf, k)


def _action(name: str, errno_ret: int | None) -> int:
    action = ACTIONS[name]
    if action in (ERRNO, TRACE):
        return action | (errno.EPERM if errno_ret is None else errno_ret)
    return action


def _collect(profile: oci.Seccomp, architectures: list[str], base: int) -> dict[str, dict[int, _Answer]]:
    """Architecture → number → answer."""
    plain: dict[str, int] = {}
    conditional: dict[str, list[_Condition]] = {}
    for rule in profile.get("syscalls") or ():
        action = _action(rule["action"], rule.get("errnoRet"))
        conditions = _conditions(rule, action)
        for name in rule["names"]:
            if conditions:
                conditional.setdefault(name, []).extend(conditions)
            else:
                plain.setdefault(name, action)
    found: dict[str, dict[int, _Answer]] = {}
    shared = {action: _Answer((), action) for action in plain.values()}
    simple = {name: shared[action] for name, action in plain.items()}
    for arch in architectures:
        table = numbers(arch)
        section = {table[name]: answer for name, answer in simple.items() if name in table}
        for name, rules in conditional.items():
            if name in table:
                section[table[name]] = _Answer(tuple(rules), plain.get(name, base))
        found[arch] = section
    return found


def _conditions(rule: oci.SeccompRule, action: int) -> list[_Condition]:
    args = [
        (arg["index"], arg["op"].removeprefix("SCMP_CMP_"), arg["value"], arg.get("valueTwo", 0))
        for arg in rule.get("args") or ()
    ]
    if len({arg[0] for arg in args}) < len(args):
        return [_Condition((arg,), action) for arg in args]
    return [_Condition(tuple(args), action)] if args else []


def _section(answers: dict[str, dict[int, _Answer]], base: int, leaves: dict[_Answer, list[bytes]]) -> list[bytes]:
    """The code for one audit architecture: the number is loaded, then x32 (if asked for) parts from x86_64."""
    trees = {
        arch: _tree(_ranges(found, base, X32_BIT if arch == "SCMP_ARCH_X32" else 0), leaves)
        for arch, found in answers.items()
    }
    load = [_instruction(_LD, 0)]
    native = trees.get("SCMP_ARCH_X86_64")
    if native is None:
        return load + next(iter(trees.values()))
    other = trees.get("SCMP_ARCH_X32", [_instruction(_RET, KILL_PROCESS)])
    return [*load, _instruction(_JGE, X32_BIT, 0, 1), _instruction(_JA, len(native)), *native, *other]


def _ranges(answers: dict[int, _Answer], base: int, first: int) -> list[tuple[int, _Answer]]:
    """(first number, answer) for each run of numbers with one answer, the last one open-ended."""
    fallback = _Answer((), base)
    if not answers:
        return [(first, fallback)]
    after = max(answers) + 1
    # ENOSYS for calls that are newer than the profile, where the default would refuse them in another way.
    newer = fallback if base in (ALLOW, LOG) or base & 0xFFFF_0000 == TRACE else _Answer((), ERRNO | errno.ENOSYS)
    ranges: list[tuple[int, _Answer]] = []
    expected = first
    for number in sorted(answers):
        if number > expected and (not ranges or ranges[-1][1] != fallback):
            ranges.append((expected, fallback))
        if not ranges or ranges[-1][1] != answers[number]:
            ranges.append((number, answers[number]))
        expected = number + 1
    if ranges[-1][1] != newer:
        ranges.append((after, newer))
    return ranges


def _tree(ranges: list[tuple[int, _Answer]], leaves: dict[_Answer, list[bytes]]) -> list[bytes]:
    """A binary search with the number in the accumulator. ``leaves`` remembers the code of each answer."""
    if len(ranges) == 1:
        answer = ranges[0][1]
        if answer not in leaves:
            leaves[answer] = _leaf(answer)
        return leaves[answer]
    middle = len(ranges) // 2
    left, right = _tree(ranges[:middle], leaves), _tree(ranges[middle:], leaves)
    split = ranges[middle][0]
    if len(left) <= 255:
        return [_instruction(_JGE, split, len(left), 0), *left, *right]
    return [_instruction(_JGE, split, 0, 1), _instruction(_JA, len(left)), *left, *right]


def _leaf(answer: _Answer) -> list[bytes]:
    code: list[bytes] = []
    for group in _grouped(answer.conditions):
        code += _check(group[0]) if len(group) == 1 else _check_values(group)
    return [*code, _instruction(_RET, answer.otherwise)]


#: As many values as one jump can pass over, with room to spare.
_MAX_GROUP = 200


def _grouped(conditions: tuple[_Condition, ...]) -> list[list[_Condition]]:
    """Neighbours that compare one argument with single values, for the same action, together."""
    groups: list[list[_Condition]] = []
    key: tuple[int, int, int] | None = None
    for condition in conditions:
        index, op, value, _ = condition.args[0]
        simple = len(condition.args) == 1 and op == "EQ"
        mine = (index, value >> 32, condition.action) if simple else None
        if mine is not None and mine == key and len(groups[-1]) < _MAX_GROUP:
            groups[-1].append(condition)
        else:
            groups.append([condition])
        key = mine
    return groups


def _check_values(group: list[_Condition]) -> list[bytes]:
    """RET the action when the argument is one of the group's values; both halves are loaded once."""
    index, _, value, _ = group[0].args[0]
    count = len(group)
    code = [
        _instruction(_LD, 20 + 8 * index),
        _instruction(_JEQ, value >> 32, 0, count + 2),
        _instruction(_LD, 16 + 8 * index),
    ]
    for number, condition in enumerate(group, start=1):
        last = number == count
        code.append(_instruction(_JEQ, condition.args[0][2] & 0xFFFF_FFFF, count - number, int(last)))
    return [*code, _instruction(_RET, group[0].action)]


def _check(condition: _Condition) -> list[bytes]:
    """RET the action when all arguments match, else fall through behind it."""
    code = [_instruction(_RET, condition.action)]
    # Built from the end: each comparison must know how far it is to the end of the block.
    for arg in reversed(condition.args):
        code = _compare(arg, len(code)) + code
    return code


def _compare(arg: tuple[int, str, int, int], rest: int) -> list[bytes]:
    """Go on when the 64-bit argument compares as wanted, else jump over ``rest`` more instructions.

    Both halves are compared: the kernel passes 64 bits, and a 32-bit test alone could be fooled by the upper half.
    """
    index, op, value, second = arg
    low, high = 16 + 8 * index, 20 + 8 * index
    want = second if op == "MASKED_EQ" else value
    want_low, want_high = want & 0xFFFF_FFFF, want >> 32
    load_high, load_low = _instruction(_LD, high), _instruction(_LD, low)
    if op == "MASKED_EQ":
        return [
            load_high, _instruction(_AND, value >> 32), _instruction(_JEQ, want_high, 0, rest + 3),
            load_low, _instruction(_AND, value & 0xFFFF_FFFF), _instruction(_JEQ, want_low, 0, rest),
        ]  # fmt: skip
    if op == "EQ":
        return [load_high, _instruction(_JEQ, want_high, 0, rest + 2), load_low, _instruction(_JEQ, want_low, 0, rest)]
    if op == "NE":
        return [load_high, _instruction(_JEQ, want_high, 0, 2), load_low, _instruction(_JEQ, want_low, rest, 0)]
    # Order: the upper half decides unless it is equal.
    code, greater_passes = {"GT": (_JGT, True), "GE": (_JGE, True), "LE": (_JGT, False), "LT": (_JGE, False)}[op]
    if greater_passes:
        return [
            load_high, _instruction(_JGT, want_high, 3, 0), _instruction(_JEQ, want_high, 0, rest + 2),
            load_low, _instruction(code, want_low, 0, rest),
        ]  # fmt: skip
    return [
        load_high, _instruction(_JGT, want_high, rest + 3, 0), _instruction(_JEQ, want_high, 0, 2),
        load_low, _instruction(code, want_low, rest, 0),
    ]  # fmt: skip
