"""Bytes → other bytes. ``Mutator(seed, words)``: the same seed and inputs make the same outputs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_INTERESTING = (0, 1, 0x1F, 0x20, 0x2F, 0x30, 0x37, 0x38, 0x7F, 0x80, 0xFF)
_BLOCK = 512


class Mutator:
    """``words`` are pieces of the format: field names, magic numbers, paths."""

    def __init__(self, seed: int, words: Sequence[bytes]) -> None:
        self._chance = random.Random(seed)
        self._words = list(words)
        self._steps: list[Callable[[bytearray], None]] = [
            self._flip, self._flip, self._byte, self._word, self._word, self._drop, self._repeat, self._move,
            self._digits, self._fill,
        ]  # fmt: skip

    def choose(self, corpus: Sequence[bytes]) -> bytes:
        return self._chance.choice(corpus)

    def one_in(self, count: int) -> bool:
        return self._chance.randrange(count) == 0

    def mutate(self, data: bytes, other: bytes = b"") -> bytes:
        """One to six changes; now and then the end is that of another input."""
        changed = bytearray(data)
        for _ in range(self._chance.randint(1, 6)):
            if not changed:
                changed = bytearray(self._chance.choice(self._words))
            self._chance.choice(self._steps)(changed)
        if other and self.one_in(8):
            at = self._chance.randrange(len(changed) + 1)
            changed[at:] = other[self._chance.randrange(len(other)) :]
        return bytes(changed)

    def _place(self, data: bytearray) -> int:
        return self._chance.randrange(len(data)) if data else 0

    def _flip(self, data: bytearray) -> None:
        data[self._place(data)] ^= 1 << self._chance.randrange(8)

    def _byte(self, data: bytearray) -> None:
        data[self._place(data)] = self._chance.choice(_INTERESTING)

    def _word(self, data: bytearray) -> None:
        at, word = self._place(data), self._chance.choice(self._words)
        data[at : at + self._chance.choice((0, len(word)))] = word

    def _drop(self, data: bytearray) -> None:
        start = self._place(data)
        del data[start : start + self._chance.choice((1, 2, 8, _BLOCK, len(data)))]

    def _repeat(self, data: bytearray) -> None:
        start = self._place(data)
        piece = data[start : start + self._chance.choice((1, 16, _BLOCK, 2 * _BLOCK))]
        data[start:start] = piece * self._chance.choice((1, 2, 50 if len(data) < 1 << 16 else 1))

    def _move(self, data: bytearray) -> None:
        blocks = max(1, len(data) // _BLOCK)
        source, target = (self._chance.randrange(blocks) * _BLOCK for _ in range(2))
        data[target : target + _BLOCK] = data[source : source + _BLOCK]

    def _digits(self, data: bytearray) -> None:
        """Another number where one is."""
        start = self._place(data)
        digits = [at for at in range(start, min(len(data), start + 200)) if chr(data[at]).isdigit()]
        if digits:
            data[digits[0]] = self._chance.choice(b"0123456789-+ \xff\x80")

    def _fill(self, data: bytearray) -> None:
        start = self._place(data)
        end = min(len(data), start + self._chance.choice((2, 8, 12, 100)))
        data[start:end] = bytes([self._chance.choice(_INTERESTING)]) * (end - start)


def summed(data: bytes) -> bytes:
    """The checksums of what looks like headers of a tar made right, so that what is behind them is reached."""
    fixed = bytearray(data)
    for at in range(0, len(fixed) - _BLOCK + 1, _BLOCK):
        if fixed[at + 257 : at + 262] == b"ustar":
            fixed[at + 148 : at + 156] = b" " * 8
            fixed[at + 148 : at + 156] = b"%06o\0 " % sum(fixed[at : at + _BLOCK])
    return bytes(fixed)
