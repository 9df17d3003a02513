"""The device program against an interpreter of the few instructions it uses."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import oci
from core.container.specgen import resources
from core.linux.bpf import assemble
from tests.container.records import make_container

M, R, W = 1, 2, 4
BLOCK, CHARACTER = 1, 2


def run(program: bytes, kind: int, access: int, major: int, minor: int) -> bool:
    """Whether ``program`` allows; fails on anything the kernel's verifier would refuse."""
    context = struct.pack("<III", access << 16 | kind, major, minor)
    registers: list[int | None] = [None] * 11
    registers[1] = -1  # the context's address
    at = 0
    while True:
        code, regs, offset, value = struct.unpack_from("<BBhi", program, at * 8)
        at += 1
        destination, source = regs & 15, regs >> 4
        if code == 0x61:
            assert registers[source] == -1
            registers[destination] = struct.unpack_from("<I", context, offset)[0]
            continue
        if code == 0x95:
            assert registers[0] is not None
            return bool(registers[0])
        if code == 0xB7:
            registers[destination] = value
            continue
        if code == 0xBC:
            assert registers[source] is not None
            registers[destination] = registers[source]
            continue
        current = registers[destination]
        assert current is not None
        if code == 0x54:
            registers[destination] = current & value & 0xFFFFFFFF
        elif code == 0x74:
            registers[destination] = current >> value
        elif code in (0x15, 0x55):
            assert offset > 0
            if (current == value) == (code == 0x15):
                at += offset
        else:
            pytest.fail(f"instruction {code:#x}")


def allows(rules: list[oci.DeviceRule], kind: int, access: int, major: int, minor: int) -> bool:
    """The meaning of the list: for each letter of the access the last rule that names it decides; else refused."""
    return all(_allows(rules, kind, letter, major, minor) for letter in (M, R, W) if access & letter)


def _allows(rules: list[oci.DeviceRule], kind: int, letter: int, major: int, minor: int) -> bool:
    answer = False
    for rule in rules:
        if rule.get("type", "a") != "a" and {"b": BLOCK, "c": CHARACTER}[rule["type"]] != kind:
            continue
        if any(rule.get(key, -1) not in (-1, number) for key, number in (("major", major), ("minor", minor))):
            continue
        if letter & sum({"m": M, "r": R, "w": W}[name] for name in rule.get("access", "rwm")):
            answer = rule["allow"]
    return answer


def cases() -> Iterator[tuple[int, int, int, int]]:
    numbers = (0, 1, 3, 5, 8, 136)
    yield from itertools.product((BLOCK, CHARACTER), range(1, 8), numbers, (0, 3, 5, 7))


@pytest.mark.parametrize("privileged", [False, True])
def test_the_rules_of_a_real_container(privileged: bool) -> None:
    rules = resources(make_container({"Privileged": privileged}).host_config)["devices"]
    program = assemble(rules)
    for case in cases():
        assert run(program, *case) is allows(rules, *case), case
    assert run(program, CHARACTER, R | W, 1, 3)
    assert run(program, BLOCK, M, 8, 0)
    assert run(program, BLOCK, R, 8, 0) is privileged


RULES = st.lists(
    st.fixed_dictionaries(
        {"allow": st.booleans()},
        optional={
            "type": st.sampled_from(["b", "c"]),
            "major": st.sampled_from([-1, 1, 5, 8]),
            "minor": st.sampled_from([-1, 0, 3]),
            "access": st.sampled_from(["r", "w", "m", "rw", "rwm"]),
        },
    ),
    max_size=6,
)


@given(RULES)
def test_any_rules(rules: list[oci.DeviceRule]) -> None:
    program = assemble(rules)
    for case in cases():
        assert run(program, *case) is allows(rules, *case), (rules, case)


def test_two_rules_for_one_device_add_up() -> None:
    program = assemble(
        [
            {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"},
            {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "w"},
        ]
    )
    assert run(program, CHARACTER, R | W, 1, 3)
    assert not run(program, CHARACTER, R | W | M, 1, 3)


def test_a_rule_takes_one_access_back() -> None:
    program = assemble([{"allow": True, "access": "rwm"}, {"allow": False, "type": "c", "major": 1, "access": "w"}])
    assert run(program, CHARACTER, R | M, 1, 3)
    assert not run(program, CHARACTER, R | W, 1, 3)
    assert run(program, CHARACTER, W, 5, 3)


def test_an_empty_list_refuses_everything() -> None:
    assert not run(assemble([]), CHARACTER, R, 1, 3)
