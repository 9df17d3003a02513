"""An interpreter for classic BPF as seccomp uses it: what the kernel would answer, without asking it."""

from __future__ import annotations

import struct
from typing import NamedTuple


class Call(NamedTuple):
    """struct seccomp_data: the number, AUDIT_ARCH_* and the six arguments."""

    number: int
    arch: int
    args: tuple[int, ...] = ()

    def data(self) -> bytes:
        padded = (*self.args, 0, 0, 0, 0, 0, 0)[:6]
        return struct.pack("<IIQ6Q", self.number & 0xFFFF_FFFF, self.arch, 0, *padded)


def run(program: bytes, call: Call) -> int:
    """The value that the program returns. Anything the kernel's checker would refuse is an AssertionError."""
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    data = call.data()
    accumulator, at = 0, 0
    while True:
        assert at < len(code), "ran off the end"
        op, true, false, k = code[at]
        at += 1
        if op == 0x20:
            assert k % 4 == 0, k
            accumulator = struct.unpack_from("<I", data, k)[0]
        elif op == 0x54:
            accumulator &= k
        elif op == 0x05:
            at += k
        elif op == 0x06:
            return int(k)
        else:
            taken = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k}[op]
            at += true if taken else false
