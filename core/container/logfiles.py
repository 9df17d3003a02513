"""A container's log files for the reader: opening them in order, over rotations, and where to begin.

Where reading begins is found from the index: ``tail`` walks backwards from the end, ``since`` skips whole
files and index steps. The tail counts lines by their ends; a last line without an end counts too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass

from core.runtime.logs import (
    CURRENT,
    FILE_HEADER,
    FRAME,
    INDEX_MAGIC,
    INDEX_RECORD,
    INDEX_STEP,
    LOG_MAGIC,
    STDERR,
    STDOUT,
    file_name,
)

BLOCK = 512 * 1024
NEWLINE = 10

#: (stream, time in ns, payload)
Frame = tuple[int, int, memoryview]


@dataclass(frozen=True, slots=True)
class LogRequest:
    """What to read. Times in nanoseconds since the epoch, 0: no limit. ``tail`` None: all lines."""

    stdout: bool = True
    stderr: bool = True
    since: int = 0
    until: int = 0
    tail: int | None = None
    follow: bool = False
    timestamps: bool = False
    details: bool = False


def streams(request: LogRequest) -> frozenset[int]:
    return frozenset(n for n, chosen in ((STDOUT, request.stdout), (STDERR, request.stderr)) if chosen)


class LogFile:
    """One open log file."""

    def __init__(self, folder: str, base: str) -> None:
        self.fd = os.open(f"{folder}/{base}.log", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        raw = os.pread(self.fd, FILE_HEADER.size, 0)
        magic, self.sequence = FILE_HEADER.unpack(raw) if len(raw) == FILE_HEADER.size else (b"", 0)
        if magic != LOG_MAGIC:
            self.close()
            raise FileNotFoundError(base)

    def index(self, folder: str) -> list[tuple[int, int]]:
        """(time, offset) records of this file; empty when there is no index that belongs to it."""
        for base in (file_name(self.sequence), CURRENT):
            try:
                with open(f"{folder}/{base}.idx", "rb") as file:
                    raw = file.read()
            except FileNotFoundError:
                continue
            if raw[: FILE_HEADER.size] == FILE_HEADER.pack(INDEX_MAGIC, self.sequence):
                whole = (len(raw) - FILE_HEADER.size) // INDEX_RECORD.size * INDEX_RECORD.size
                size = self.size()
                records = INDEX_RECORD.iter_unpack(raw[FILE_HEADER.size : FILE_HEADER.size + whole])
                return [(at, offset) for at, offset in records if offset < size]
        return []

    def is_current(self, folder: str) -> bool:
        """Whether this still is ``current.log``; its inode cannot be another file's while it is open here."""
        try:
            return os.stat(f"{folder}/{CURRENT}.log").st_ino == os.fstat(self.fd).st_ino
        except FileNotFoundError:
            return False

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def close(self) -> None:
        os.close(self.fd)


def _open(folder: str, sequence: int) -> LogFile | None:
    """The file ``sequence``, or when it was deleted the oldest newer one; None when there is none yet."""
    while True:
        current = _current(folder)
        older = [n for n in _numbers(folder) if n >= sequence and (current is None or n < current.sequence)]
        if not older and current is not None and current.sequence >= sequence:
            return current
        if current is not None:
            current.close()
        if not older:
            return None
        try:
            return LogFile(folder, file_name(min(older)))
        except FileNotFoundError:  # rotated away meanwhile, or damaged
            sequence = min(older) + 1


def _current(folder: str) -> LogFile | None:
    try:
        return LogFile(folder, CURRENT)
    except FileNotFoundError:  # no log yet, or the moment of a rotation
        return None


def _numbers(folder: str) -> list[int]:
    try:
        names = [name.removesuffix(".log") for name in os.listdir(folder) if name.endswith(".log")]
    except FileNotFoundError:
        return []
    return [int(name) for name in names if name.isdecimal()]


def split_frames(block: bytes) -> tuple[list[Frame], int, int]:
    """The whole frames at the beginning of ``block``: they, the bytes they take, the size of the next one.

    The size of the next frame is 0 when not even its header is there, -1 when it is no frame.
    """
    view = memoryview(block)
    frames: list[Frame] = []
    at, size = 0, len(block)
    while at + FRAME.size <= size:
        stream, _, zero, length, at_ns = FRAME.unpack_from(block, at)
        if zero or stream not in (STDOUT, STDERR):
            return frames, at, -1
        after = at + FRAME.size + length
        if after > size:
            return frames, at, FRAME.size + length
        frames.append((stream, at_ns, view[at + FRAME.size : after]))
        at = after
    return frames, at, 0


class Cursor:
    """Where a reader stands: a file and an offset in it. ``next`` gives frames and moves on."""

    def __init__(self, folder: str, file: LogFile | None, offset: int = FILE_HEADER.size) -> None:
        self._folder = folder
        self._file = file
        self._offset = offset
        self._sequence = file.sequence if file is not None else 0
        #: Frames to give before those of the file: what the search for the beginning has cut.
        self.first: list[Frame] = []

    def next(self) -> list[Frame]:
        """The next frames, over the ends of files; empty when there is no more now."""
        if self.first:
            first, self.first = self.first, []
            return first
        while True:
            if frames := self._read():
                return frames
            if self._file is not None and self._file.is_current(self._folder):
                return []
            newer = _open(self._folder, self._sequence + 1)
            if newer is None:
                return []
            if frames := self._read():  # written between our look and the rotation
                newer.close()
                return frames
            self.close()
            self._file, self._sequence, self._offset = newer, newer.sequence, FILE_HEADER.size

    def _read(self) -> list[Frame]:
        if self._file is None:
            return []
        frames, used, missing = split_frames(os.pread(self._file.fd, BLOCK, self._offset))
        if not frames and missing > BLOCK and self._offset + missing <= self._file.size():
            frames, used, _ = split_frames(os.pread(self._file.fd, missing, self._offset))
        self._offset += used
        return frames

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


async def begin(folder: str, request: LogRequest) -> Cursor:
    """A cursor before the first frame that can be wanted."""
    if request.tail is not None:
        return await _begin_tail(folder, request)
    if request.since:
        return _begin_since(folder, request.since)
    return Cursor(folder, _open(folder, 1))


def _begin_since(folder: str, since: int) -> Cursor:
    """Before the first frame of ``since`` or later, by whole files and index records."""
    for file in _backwards(folder):
        records = [(at, offset) for at, offset in file.index(folder) if at < since]
        if records:
            return Cursor(folder, file, records[-1][1])
        raw = os.pread(file.fd, FRAME.size, FILE_HEADER.size)
        if len(raw) == FRAME.size and FRAME.unpack(raw)[4] < since:
            return Cursor(folder, file)
        file.close()
    return Cursor(folder, _open(folder, 1))


def _backwards(folder: str) -> Iterator[LogFile]:
    """The files from the newest to the oldest. Who takes one closes it."""
    current = _current(folder)
    below = current.sequence if current is not None else 1 << 63
    if current is not None:
        yield current
    for number in sorted((n for n in _numbers(folder) if n < below), reverse=True):
        try:
            yield LogFile(folder, file_name(number))
        except FileNotFoundError:  # rotated away meanwhile
            return


async def _begin_tail(folder: str, request: LogRequest) -> Cursor:
    """Before the last ``tail`` lines of the chosen streams."""
    search = _Tail(streams(request), request.tail or 0)
    for file in _backwards(folder):
        if not request.tail:
            return Cursor(folder, file, _whole_end(file, folder, file.size()))
        end = file.size()
        try:
            for start in _steps(file, folder):
                frames, used, _ = split_frames(os.pread(file.fd, end - start, start))
                if search.step(frames):
                    cursor = Cursor(folder, file, start + used)
                    cursor.first = search.found
                    return cursor
                end = start
                await asyncio.sleep(0)  # a long way back must not hold the loop
        except BaseException:
            file.close()
            raise
        file.close()
    return Cursor(folder, _open(folder, 1))


class _Tail:
    """Counts line ends backwards, a step of frames at a time, until more than ``wanted`` are known."""

    def __init__(self, chosen: frozenset[int], wanted: int) -> None:
        self._chosen = chosen
        self._wanted = wanted
        #: Streams whose last frame has not been met: it says whether their last line has an end.
        self._unmet = set(chosen)
        #: The frames of the last step that belong to the tail.
        self.found: list[Frame] = []

    def step(self, frames: list[Frame]) -> bool:
        """Whether the tail begins within ``frames``, which come before those of the last call."""
        frames = [frame for frame in frames if frame[0] in self._chosen]
        for stream, _, payload in reversed(frames):
            if stream in self._unmet:
                self._unmet.discard(stream)
                if payload and payload[-1] != NEWLINE:
                    self._wanted = max(0, self._wanted - 1)
        counts = [bytes(payload).count(b"\n") for _, _, payload in frames]
        if sum(counts) > self._wanted:
            self.found = _cut(frames, counts, self._wanted)
            return True
        self._wanted -= sum(counts)
        return False


def _steps(file: LogFile, folder: str) -> list[int]:
    """Offsets of frames about an index step apart, from the last one back to the beginning."""
    offsets = [offset for _, offset in file.index(folder)]
    if not offsets or offsets[0] != FILE_HEADER.size:
        offsets.insert(0, FILE_HEADER.size)
    return offsets[::-1]


def _whole_end(file: LogFile, folder: str, size: int) -> int:
    """The end of the last whole frame: where new output will appear."""
    start = _steps(file, folder)[0]
    while start < size:
        _, used, missing = split_frames(os.pread(file.fd, max(BLOCK, INDEX_STEP), start))
        if missing > BLOCK and start + missing <= size:
            used = missing
        if not used:
            break
        start += used
    return start


def _cut(frames: list[Frame], counts: list[int], wanted: int) -> list[Frame]:
    """The last ``wanted`` line ends of ``frames``, each line from its beginning, as far as that is there.

    ``counts`` are the frames' numbers of line ends; their sum is more than ``wanted``.
    """
    at = len(frames)
    while wanted >= counts[at - 1]:
        at -= 1
        wanted -= counts[at]
    at -= 1
    stream, at_ns, payload = frames[at]
    skipped = bytes(payload).split(b"\n", counts[at] - wanted)[-1]
    rest: list[Frame] = [(stream, at_ns, memoryview(skipped))] if skipped else []
    return _open_line(frames[:at], stream) + rest + frames[at + 1 :]


def _open_line(frames: list[Frame], other_than: int) -> list[Frame]:
    """The beginning of the line that the other stream has not ended at the end of ``frames``."""
    line: list[Frame] = []
    for stream, at_ns, payload in reversed(frames):
        if stream == other_than:
            continue
        head, newline, rest = bytes(payload).rpartition(b"\n")
        if rest:
            line.insert(0, (stream, at_ns, memoryview(rest)))
        if newline or head:
            break
    return line
