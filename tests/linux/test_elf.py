"""Naming a program's architecture."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest

from core.linux import elf
from tests import images


def header(machine: int, *, bits: int = 64, big: bool = False) -> bytes:
    """The first 20 bytes of an ELF file."""
    ident = b"\x7fELF" + bytes([bits // 32, 2 if big else 1, 1]) + bytes(9)
    return ident + struct.pack(">HH" if big else "<HH", 2, machine)


@pytest.mark.parametrize(("head", "name"), [
    (header(62), "amd64"), (header(3, bits=32), "386"), (header(183), "arm64"), (header(40, bits=32), "arm"),
    (header(243), "riscv64"), (header(22, big=True), "s390x"), (header(21), "ppc64le"), (header(21, big=True), "ppc64"),
    (header(9999), "machine 9999"), (b"\x7fELF", ""), (b"", ""), (b"#!/bin/sh\n", ""),
])  # fmt: skip
def test_machine(head: bytes, name: str) -> None:
    assert elf.parse(head).machine == name


@pytest.mark.parametrize(("head", "interpreter"), [
    (b"#!/bin/sh\necho", "/bin/sh"), (b"#! /usr/bin/env python3\n", "/usr/bin/env"), (b"#!\n", ""), (b"#!", ""),
])  # fmt: skip
def test_script(head: bytes, interpreter: str) -> None:
    assert elf.parse(head) == elf.Program("script", interpreter=interpreter)


def test_this_interpreter_runs_here() -> None:
    found = elf.inspect(os.path.realpath(sys.executable))
    assert (found.kind, found.machine) == ("elf", images.architecture())
    assert elf.host_machine() == found.machine


def test_a_fifo_is_not_waited_for(short_folder: Path) -> None:
    os.mkfifo(short_folder / "fifo")
    assert elf.inspect(str(short_folder / "fifo")).kind == "other"
    (short_folder / "empty").touch()
    assert elf.inspect(str(short_folder / "empty")).kind == "empty"
