"""What a program file is, so that "exec format error" can name both architectures (elf(5), execve(2))."""

from __future__ import annotations

import os
import stat
import struct
from typing import NamedTuple

#: e_machine (linux/elf-em.h) → Docker's name, by class (1: 32 bits, 2: 64 bits).
_MACHINES = {
    (62, 2): "amd64", (3, 1): "386", (62, 1): "x32", (183, 2): "arm64", (40, 1): "arm", (243, 2): "riscv64",
    (22, 2): "s390x", (21, 2): "ppc64", (8, 1): "mips", (8, 2): "mips64", (258, 2): "loong64",
}  # fmt: skip
_HOSTS = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64", "s390x": "s390x", "ppc64le": "ppc64le"}
_EI_DATA_BIG = 2


class Program(NamedTuple):
    """``kind``: ``elf``, ``script``, ``empty``, ``other``. ``machine``: Docker's name of an ELF's architecture.

    ``interpreter``: the path behind ``#!`` of a script.
    """

    kind: str
    machine: str = ""
    interpreter: str = ""


def inspect(path: str | int) -> Program:
    """Look at the first bytes of a file (path or fd). Raises OSError when it cannot be read; never waits for a FIFO."""
    fd = path if isinstance(path, int) else os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return Program("other")
        return parse(os.pread(fd, 256, 0))
    finally:
        if fd != path:
            os.close(fd)


def parse(head: bytes) -> Program:
    """The same from the first 256 bytes."""
    if not head:
        return Program("empty")
    if head.startswith(b"#!"):
        words = head[2:].split(b"\n", 1)[0].split()
        return Program("script", interpreter=os.fsdecode(words[0]) if words else "")
    if not head.startswith(b"\x7fELF") or len(head) < 20:
        return Program("other")
    big = head[5] == _EI_DATA_BIG
    number = struct.unpack_from(">H" if big else "<H", head, 18)[0]
    name = _MACHINES.get((number, head[4]), f"machine {number}")
    if name == "ppc64" and not big:
        name = "ppc64le"
    if name.startswith("mips") and not big:
        name += "le"
    return Program("elf", machine=name)


def host_machine() -> str:
    """Docker's name of this machine's architecture."""
    name = os.uname().machine
    return _HOSTS.get(name, name)
