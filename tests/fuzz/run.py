"""The loop of a fuzzing run: mutate, run, keep what reaches new lines."""

from __future__ import annotations

import hashlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from tests.fuzz.mutate import Mutator
from tests.fuzz.targets import Target

_WATCHED = f"{os.sep}core{os.sep}image{os.sep}"
#: Kept inputs stay small, so that a run of an hour does as many a second as one of a minute.
_LARGEST = 1 << 16


class Found(NamedTuple):
    """An input that ended badly, and how."""

    data: bytes
    text: str


class Lines:
    """Lines of ``core/image`` that were reached."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, int]] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(before)

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._line if _WATCHED in frame.f_code.co_filename else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        self.seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


def inputs(target: Target, seed: int) -> Generator[bytes, bool | None, None]:
    """The corpus, then mutations without end. ``send(True)`` after an input adds it to the corpus."""
    mutator = Mutator(seed, target.words)
    corpus = list(target.corpus)
    yield from corpus
    while True:
        data = target.mutate(mutator, mutator.choose(corpus), mutator.choose(corpus))
        keep = yield data
        if keep and len(data) <= _LARGEST:
            corpus.append(data)


def attempt(target: Target, data: bytes) -> Found | None:
    """Run one input."""
    try:
        target.run(data)
    except Exception:  # noqa: BLE001 - any of them is what is looked for
        return Found(data, traceback.format_exc())
    return None


def fuzz(
    target: Target, seed: int, seconds: float, guard: Callable[[], Any], say: Callable[[str], None]
) -> Found | None:
    """Run for so long, or until something is found. ``guard`` is called before each input: it sets its time limit."""
    lines = Lines()
    source = inputs(target, seed)
    end = time.monotonic() + seconds
    data, count, told = next(source), 0, 0.0
    while time.monotonic() < end:
        before = len(lines.seen)
        guard()
        with lines.watching():
            found = attempt(target, data)
        if found is not None:
            return found
        count += 1
        if time.monotonic() - told > 10:
            told = time.monotonic()
            say(f"{count} inputs, {len(lines.seen)} lines of core/image reached")
        data = source.send(True) if len(lines.seen) > before and count > len(target.corpus) else next(source)
    say(f"{count} inputs, {len(lines.seen)} lines of core/image reached; nothing found")
    return None


def write(found: Found, folder: Path, name: str) -> Path:
    """Keep the input where it is found again."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(found.data).hexdigest()[:16]}"
    path.write_bytes(found.data)
    return path
