"""One step from an input to another. Tar headers may get a fitting sum again, or nothing behind it would be reached."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_BLOCK = 512
_SUM = slice(148, 156)
_NUMBERS = (b"\0", b"\x01", b"\x7f", b"\x80", b"\xff", b"0", b"7", b"9", b"-1", b"77777777777", b"\x80" + bytes(11))
_TEXTS = (
    b"../", b"/", b"..", b".wh.", b".wh..wh..opq", b"\\u0000", b"{", b"[", b'"', b"sha256:", b"1e999", b"null",
    b"SCHILY.xattr.", b"GNU.sparse.", b"99999 path=", b"PaxHeader", b"\xed\xa0\x80", b"\x1f\x8b", b"\x28\xb5\x2f\xfd",
)  # fmt: skip
_LONGEST = 1 << 18
_FIELDS = (
    (0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (329, 8), (337, 8),
    (345, 155),
)  # fmt: skip


def mutated(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """A member of the corpus after one to six steps."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, 6)):
        chance.choice(_STEPS)(chance, data, corpus)
    if chance.random() < 0.7:
        _mend_sums(data)
    return bytes(data[:_LONGEST])


def _flip(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _overwrite(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    piece = chance.choice(_NUMBERS + _TEXTS)
    at = chance.randrange(len(data) + 1)
    data[at : at + len(piece)] = piece


def _insert(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.choice(_NUMBERS + _TEXTS) * chance.choice((1, 1, 1, 40))


def _cut(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    del data[at : at + chance.choice((1, 8, _BLOCK, 5 * _BLOCK, len(data)))]


def _repeat(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    piece = data[at : at + chance.choice((1, 8, _BLOCK, 3 * _BLOCK))]
    data[at:at] = piece * chance.randint(1, 8)


def _splice(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    other = chance.choice(corpus)
    at = chance.randrange(len(data) // _BLOCK + 1) * _BLOCK
    start = chance.randrange(len(other) // _BLOCK + 1) * _BLOCK
    data[at:] = other[start:]


def _field(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    """A field of some tar header: name, mode, owner, size, time, type, target, magic, device, prefix."""
    start, length = chance.choice(_FIELDS)
    at = chance.randrange(len(data) // _BLOCK + 1) * _BLOCK + start
    value = chance.choice(_NUMBERS + _TEXTS) if length > 1 else bytes([chance.choice(b"0123456gKLxSVNADI\0\xff")])
    data[at : at + length] = value[:length].ljust(length, b"\0")


_STEPS: tuple[Callable[[random.Random, bytearray, Sequence[bytes]], None], ...] = (
    _flip, _overwrite, _insert, _cut, _repeat, _splice, _field, _field, _field,
)  # fmt: skip


def _mend_sums(data: bytearray) -> None:
    """Every block whose sum field looks like one gets the right sum (POSIX ustar)."""
    for at in range(0, len(data) - _BLOCK + 1, _BLOCK):
        block = data[at : at + _BLOCK]
        if any(block) and all(byte in b"01234567 \0" for byte in block[_SUM]):
            block[_SUM] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(block)
