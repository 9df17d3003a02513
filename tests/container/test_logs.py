"""The log's reader: which lines, in which form, and following without loss."""

from __future__ import annotations

import asyncio
import os
import random
import struct
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from core.container import logfiles
from core.container.logfiles import LogRequest
from core.container.logs import MAX_LINE, LogReader, LogSource
from core.runtime.logs import STDERR, STDOUT, LogWriter

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


@pytest.fixture
async def reader() -> AsyncIterator[LogReader]:
    made = LogReader()
    yield made
    made.close()


def write(folder: Path, *entries: tuple[int, bytes, int], max_size: int = 10_000_000, max_files: int = 10) -> None:
    """Frames (stream, payload, seconds since START) as one run of a container writes them."""
    writer = LogWriter(str(folder), max_size, max_files)
    for stream, payload, second in entries:
        assert writer.write(stream, payload, START + second * SECOND)
    writer.close()


async def read(reader: LogReader, folder: Path, *, tty: bool = False, **request: Any) -> bytes:
    chunks = reader.stream(LogSource(str(folder), tty), LogRequest(**request))
    return b"".join([chunk async for chunk in chunks])


def split(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a multiplexed stream."""
    found = []
    while data:
        stream, length = struct.unpack_from(">BxxxI", data)
        found.append((stream, data[8 : 8 + length]))
        assert len(found[-1][1]) == length
        data = data[8 + length :]
    return found


def of(data: bytes, stream: int) -> bytes:
    return b"".join(payload for number, payload in split(data) if number == stream)


async def test_chunks_go_out_as_they_came(reader: LogReader, tmp_path: Path) -> None:
    write(tmp_path, (STDOUT, b"a", 0), (STDOUT, b"b\n", 1), (STDERR, b"\xff\x00", 2), (STDOUT, b"c\n", 3))
    assert split(await read(reader, tmp_path)) == [(1, b"ab\n"), (2, b"\xff\x00"), (1, b"c\n")]
    assert split(await read(reader, tmp_path, stdout=False)) == [(2, b"\xff\x00")]
    assert await read(reader, tmp_path, tty=True) == b"ab\n\xff\x00c\n"


async def test_no_log_yet(reader: LogReader, tmp_path: Path) -> None:
    assert await read(reader, tmp_path / "missing") == b""
    assert await read(reader, tmp_path, tail=5, since=1) == b""


async def test_timestamps_are_those_of_the_lines_beginning(reader: LogReader, tmp_path: Path) -> None:
    write(
        tmp_path,
        (STDOUT, b"one\ntw", 0),
        (STDERR, b"err\n", 1),
        (STDOUT, b"o", 2),
        (STDOUT, b"\nthree\n\nfo", 3),
        (STDOUT, b"ur", 4),
    )
    stamps = [b"2023-11-14T22:13:2%d.000000000Z " % n for n in range(5)]
    assert split(await read(reader, tmp_path, timestamps=True)) == [
        (1, stamps[0] + b"one\n"),
        (2, stamps[1] + b"err\n"),
        (1, stamps[0] + b"two\n" + stamps[3] + b"three\n" + stamps[3] + b"\n"),
        (1, stamps[3] + b"four"),
    ]


async def test_details_without_attributes_are_a_blank(reader: LogReader, tmp_path: Path) -> None:
    write(tmp_path, (STDOUT, b"one\ntwo\n", 0))
    assert split(await read(reader, tmp_path, details=True)) == [(1, b" one\n two\n")]


async def test_a_line_without_end_is_held_only_so_long(reader: LogReader, tmp_path: Path) -> None:
    write(tmp_path, *((STDOUT, b"x" * 100_000, n) for n in range(25)), (STDOUT, b"end\nnext\n", 30), max_size=10**8)
    data = await read(reader, tmp_path, timestamps=True)
    stamps = [b"2023-11-14T22:13:20.000000000Z ", b"2023-11-14T22:13:50.000000000Z "]
    assert of(data, 1) == stamps[0] + b"x" * 2_500_000 + b"end\n" + stamps[1] + b"next\n"
    assert MAX_LINE < 2_500_000


@pytest.mark.parametrize("timestamps", [False, True])
async def test_since_and_until_choose_lines_by_their_beginning(
    reader: LogReader, tmp_path: Path, timestamps: bool
) -> None:
    write(
        tmp_path,
        (STDOUT, b"0\n1 begins", 0),
        (STDERR, b"e0\n", 1),
        (STDOUT, b" and ends\n2\n", 2),
        (STDERR, b"e1 begins", 3),
        (STDOUT, b"3\n", 4),
        (STDERR, b" and ends\n", 5),
        (STDOUT, b"4\n", 6),
    )
    data = await read(reader, tmp_path, since=START + SECOND, until=START + 3 * SECOND, timestamps=timestamps)
    lines = [line.rpartition(b"Z ")[2] for line in (of(data, 1) + of(data, 2)).splitlines()]
    assert lines == [b"2", b"e0", b"e1 begins and ends"]


def many(count: int) -> list[tuple[int, bytes, int]]:
    return [(STDOUT, b"line %06d %s\n" % (n, b"." * 60), n) for n in range(count)]


@pytest.mark.parametrize("since", [0, 1, 777, 4_999, 5_000, 10_000])
async def test_since_finds_its_place_in_rotated_files(reader: LogReader, tmp_path: Path, since: int) -> None:
    write(tmp_path, *many(5_000), max_size=60_000)
    data = of(await read(reader, tmp_path, since=START + since * SECOND), 1)
    kept = of(await read(reader, tmp_path), 1).splitlines()
    assert data.splitlines() == [line for line in kept if int(line.split()[1]) >= since]


@pytest.mark.parametrize("request_", [{"since": START + 899 * SECOND}, {"tail": 1}])
async def test_since_and_tail_read_little(
    reader: LogReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: dict[str, Any]
) -> None:
    write(tmp_path, *((STDOUT, b"x" * 9_999 + b"\n", n) for n in range(900)))
    taken: list[int] = []
    real = os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        data = real(fd, size, at)
        taken.append(len(data))
        return data

    monkeypatch.setattr("core.container.logfiles.os.pread", counted)
    assert len(of(await read(reader, tmp_path, **request_), 1)) == 10_000
    assert sum(taken) < 600_000  # of nine million


@pytest.mark.parametrize("tail", [0, 1, 2, 7, 799, 800, 801, 100_000])
@pytest.mark.parametrize("frame_lines", [1, 3, 50])
async def test_tail_counts_lines_over_frames_and_files(
    reader: LogReader, tmp_path: Path, tail: int, frame_lines: int
) -> None:
    lines = [payload for _, payload, _ in many(800)]
    whole = b"".join(lines)
    step = len(lines[0]) * frame_lines - 11  # frames end inside lines
    frames = [(STDOUT, whole[at : at + step], at) for at in range(0, len(whole), step)]
    write(tmp_path, *frames, max_size=20_000, max_files=100)
    assert of(await read(reader, tmp_path, tail=tail), 1) == b"".join(
        lines[len(lines) - tail :] if tail < 800 else lines
    )


async def test_tail_counts_a_line_without_end(reader: LogReader, tmp_path: Path) -> None:
    write(tmp_path, (STDOUT, b"a\nb\nc", 0), (STDERR, b"e\n", 1))
    assert split(await read(reader, tmp_path, tail=2)) == [(1, b"c"), (2, b"e\n")]
    assert split(await read(reader, tmp_path, tail=3)) == [(1, b"b\nc"), (2, b"e\n")]
    assert split(await read(reader, tmp_path, tail=1, stderr=False)) == [(1, b"c")]


async def test_tail_keeps_the_beginning_of_the_other_streams_line(reader: LogReader, tmp_path: Path) -> None:
    write(tmp_path, (STDERR, b"x\nbegin ", 0), (STDOUT, b"1\n2\n3\n", 1), (STDERR, b"end\n", 2))
    assert split(await read(reader, tmp_path, tail=2)) == [(2, b"begin "), (1, b"3\n"), (2, b"end\n")]


async def test_tail_with_timestamps_and_since(reader: LogReader, tmp_path: Path) -> None:
    write(tmp_path, *many(10))
    data = of(await read(reader, tmp_path, tail=3, timestamps=True, since=START + 8 * SECOND), 1)
    assert [line[:20] for line in data.splitlines()] == [b"2023-11-14T22:13:28.", b"2023-11-14T22:13:29."]


@pytest.mark.parametrize("extension", ["idx", "none"])
async def test_a_missing_or_foreign_index_changes_nothing(reader: LogReader, tmp_path: Path, extension: str) -> None:
    write(tmp_path, *many(20_000))
    expected = [await read(reader, tmp_path, tail=5), await read(reader, tmp_path, since=START + 19_000 * SECOND)]
    index = tmp_path / "current.idx"
    if extension == "idx":
        index.write_bytes(b"DOCKIDX1" + struct.pack("<Q", 99) + os.urandom(160))
    else:
        index.unlink()
    assert [
        await read(reader, tmp_path, tail=5),
        await read(reader, tmp_path, since=START + 19_000 * SECOND),
    ] == expected


async def test_a_damaged_file_ends_where_it_is_damaged(reader: LogReader, tmp_path: Path) -> None:
    write(tmp_path, *many(400), max_size=20_000, max_files=100)
    damaged = min(tmp_path.glob("00*.log"))
    raw = bytearray(damaged.read_bytes())
    raw[2_000:2_100] = os.urandom(100)
    damaged.write_bytes(raw)
    lines = of(await read(reader, tmp_path), 1).splitlines()
    assert lines[-1].startswith(b"line 000399 ")
    assert 100 < len(lines) < 400


async def test_a_frame_larger_than_a_block(reader: LogReader, tmp_path: Path) -> None:
    data = os.urandom(3 * logfiles.BLOCK)
    write(tmp_path, (STDOUT, b"a\n", 0), (STDOUT, data, 1), (STDOUT, b"b\n", 2))
    assert await read(reader, tmp_path, tty=True) == b"a\n" + data + b"b\n"


# --- follow ----------------------------------------------------------------------------------------


class Following:
    """A follower at work in a task; ``got`` is what it has delivered."""

    def __init__(self, reader: LogReader, folder: Path, **request: Any) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.got = b""
        self._more = asyncio.Event()
        source = LogSource(str(folder), tty=True, ended=self.ended)
        self.task = asyncio.create_task(self._run(reader, source, LogRequest(follow=True, **request)))

    async def _run(self, reader: LogReader, source: LogSource, request: LogRequest) -> None:
        async with aclosing(reader.stream(source, request)) as chunks:
            async for chunk in chunks:
                self.got += chunk
                self._more.set()

    async def until(self, length: int) -> None:
        async with asyncio.timeout(10):
            while len(self.got) < length:
                self._more.clear()
                await self._more.wait()

    async def end(self) -> None:
        self.ended.set_result(None)
        async with asyncio.timeout(10):
            await self.task


async def test_follow_gives_what_comes_and_ends_with_the_container(reader: LogReader, tmp_path: Path) -> None:
    write(tmp_path, (STDOUT, b"before\n", 0))
    following = Following(reader, tmp_path)
    await following.until(7)
    writer = LogWriter(str(tmp_path))
    writer.write(STDOUT, b"prompt> ", 1)
    await following.until(15)  # a chunk needs no end of line
    writer.write(STDOUT, b"last", 2)
    await following.end()  # at once: what was written before the end must still come
    writer.close()
    assert following.got == b"before\nprompt> last"


async def test_follow_begins_before_there_is_a_log(reader: LogReader, tmp_path: Path) -> None:
    following = Following(reader, tmp_path, tail=0)
    await asyncio.wait([following.task], timeout=0)
    write(tmp_path, (STDOUT, b"first\n", 0))
    await following.until(6)
    await following.end()


async def test_many_followers_over_many_rotations_lose_nothing(reader: LogReader, tmp_path: Path) -> None:
    """The writer rotates every few frames while three readers follow at their own pace."""
    chance = random.Random(7)
    expected = b""
    writer = LogWriter(str(tmp_path), max_size=4096, max_files=10_000)
    followers = [Following(reader, tmp_path) for _ in range(3)]
    for n in range(2_000):
        payload = b"%06d " % n * chance.randrange(1, 60)
        writer.write(STDOUT, payload, START + n)
        expected += payload
        if chance.random() < 0.3:
            await asyncio.wait([follower.task for follower in followers], timeout=0)
    for follower in followers:
        await follower.end()
        assert follower.got == expected
    writer.close()
    assert len(list(tmp_path.glob("*.log"))) > 50


async def test_follow_until_ends_by_the_clock(reader: LogReader, tmp_path: Path) -> None:
    write(tmp_path, (STDOUT, b"x", 0))
    following = Following(reader, tmp_path, until=time.time_ns() + 50_000_000)
    async with asyncio.timeout(5):
        await following.task
    assert following.got == b"x"


async def test_a_follower_that_is_cancelled_leaves_nothing(reader: LogReader, tmp_path: Path) -> None:
    write(tmp_path, (STDOUT, b"x", 0))
    before = set(os.listdir("/proc/self/fd"))
    following = Following(reader, tmp_path)
    await following.until(1)
    following.task.cancel()
    await asyncio.wait([following.task])
    reader.close()
    assert set(os.listdir("/proc/self/fd")) == before
