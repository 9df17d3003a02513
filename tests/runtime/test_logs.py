"""The log's writer: frames, rotation, recovery, a full disk."""

from __future__ import annotations

import errno
import os
import resource
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.runtime import logs
from core.runtime.logs import FILE_HEADER, FRAME, INDEX_RECORD, LOST, STDERR, STDOUT, LogWriter

Frame = tuple[int, int, int, bytes]


def frames_of(path: Path) -> list[Frame]:
    """(stream, flags, time, payload) of a file that must be whole."""
    raw = path.read_bytes()
    found, at = [], FILE_HEADER.size
    while at < len(raw):
        stream, flags, zero, length, at_ns = FRAME.unpack_from(raw, at)
        assert zero == 0
        payload = raw[at + FRAME.size : at + FRAME.size + length]
        assert len(payload) == length
        found.append((stream, flags, at_ns, payload))
        at += FRAME.size + length
    return found


def sequence_of(path: Path) -> int:
    magic, sequence = FILE_HEADER.unpack(path.read_bytes()[: FILE_HEADER.size])
    assert magic == b"DOCKLOG1"
    return int(sequence)


def logs_in(folder: Path) -> list[Path]:
    """The log files, oldest first."""
    return sorted(folder.glob("*.log"), key=sequence_of)


def test_frames_are_written_as_they_came(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path / "log"))
    assert writer.write(STDOUT, b"half a li", 5)
    assert writer.write(STDERR, memoryview(b"\x00\xff\n"), 6)
    assert writer.write(STDOUT, bytearray(b"ne\n"), 7)
    assert writer.write(STDOUT, b"", 8)
    writer.close()
    assert frames_of(tmp_path / "log/current.log") == [
        (STDOUT, 0, 5, b"half a li"),
        (STDERR, 0, 6, b"\x00\xff\n"),
        (STDOUT, 0, 7, b"ne\n"),
    ]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "log/current.log").stat().st_mode & 0o777 == 0o600


def test_rotation_keeps_the_newest_files(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path), max_size=5000, max_files=3)
    payloads = [b"%04d" % n * 250 for n in range(40)]
    for n, payload in enumerate(payloads):
        writer.write(STDOUT, payload, n)
    writer.close()
    files = logs_in(tmp_path)
    assert [sequence_of(path) for path in files] == [8, 9, 10]
    assert [path.name for path in files] == ["0000000008.log", "0000000009.log", "current.log"]
    kept = [frame[3] for path in files for frame in frames_of(path)]
    assert kept == payloads[-len(kept) :]
    assert len(kept) == 12
    assert all(path.stat().st_size <= 5000 for path in files)
    assert sorted(path.stem for path in tmp_path.glob("*.idx")) == sorted(path.stem for path in files)


def test_one_file_only(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path), max_size=4096, max_files=1)
    for n in range(10):
        writer.write(STDOUT, b"x" * 3000, n)
    writer.close()
    assert [path.name for path in tmp_path.glob("*.log")] == ["current.log"]


def test_a_frame_larger_than_a_file_is_cut(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path), max_size=4096, max_files=100)
    data = os.urandom(50_000)
    assert writer.write(STDOUT, data, 1)
    writer.close()
    assert b"".join(f[3] for path in logs_in(tmp_path) for f in frames_of(path)) == data


def test_fewer_files_than_before(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path), max_size=4096, max_files=5)
    for n in range(8):
        writer.write(STDOUT, b"x" * 3000, n)
    writer.close()
    LogWriter(str(tmp_path), max_size=4096, max_files=2).close()
    assert [sequence_of(path) for path in logs_in(tmp_path)] == [7, 8]


def test_a_later_run_appends(tmp_path: Path) -> None:
    for n in (1, 2):
        writer = LogWriter(str(tmp_path))
        writer.write(STDOUT, b"run", n)
        writer.close()
    assert [frame[2] for frame in frames_of(tmp_path / "current.log")] == [1, 2]


@pytest.mark.parametrize("cut", range(1, 22))
def test_a_half_written_frame_is_cut_off(tmp_path: Path, cut: int) -> None:
    writer = LogWriter(str(tmp_path))
    writer.write(STDOUT, b"whole\n", 1)
    writer.write(STDOUT, b"torn\n", 2)
    writer.close()
    path = tmp_path / "current.log"
    os.truncate(path, path.stat().st_size - cut)
    writer = LogWriter(str(tmp_path))
    writer.write(STDOUT, b"next\n", 3)
    writer.close()
    assert [frame[3] for frame in frames_of(path)] == [b"whole\n", b"next\n"]


def test_a_tail_of_zeros_is_cut_off(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path))
    writer.write(STDOUT, b"whole\n", 1)
    writer.close()
    with (tmp_path / "current.log").open("ab") as file:
        file.write(bytes(4096))
    LogWriter(str(tmp_path)).close()
    assert [frame[3] for frame in frames_of(tmp_path / "current.log")] == [b"whole\n"]


def test_recovery_begins_at_the_index(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path))
    for n in range(40):
        writer.write(STDOUT, b"y" * 50_000, n)
    writer.close()
    path = tmp_path / "current.log"
    whole = frames_of(path)
    with path.open("ab") as file:
        file.write(FRAME.pack(STDOUT, 0, 0, 100, 9) + b"short")
    LogWriter(str(tmp_path)).close()
    assert frames_of(path) == whole


def test_a_file_that_is_not_a_log_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / "current.log").write_bytes(b"plain text\n" * 10)
    writer = LogWriter(str(tmp_path))
    writer.write(STDOUT, b"new", 1)
    writer.close()
    assert (tmp_path / "damaged.log").read_bytes() == b"plain text\n" * 10
    assert [frame[3] for frame in frames_of(tmp_path / "current.log")] == [b"new"]


def test_the_index_points_at_frames(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path), max_size=3_000_000)
    for n in range(100):
        writer.write(STDOUT, b"z" * 20_000, n)
    writer.close()
    raw = (tmp_path / "current.idx").read_bytes()
    log = (tmp_path / "current.log").read_bytes()
    assert raw[:8] == b"DOCKIDX1"
    records = list(INDEX_RECORD.iter_unpack(raw[FILE_HEADER.size :]))
    assert len(records) == pytest.approx(2_000_000 / logs.INDEX_STEP, abs=1)
    for at_ns, offset in records:
        assert FRAME.unpack_from(log, offset) == (STDOUT, 0, 0, 20_000, at_ns)


def test_a_torn_index_is_repaired(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path))
    for n in range(20):
        writer.write(STDOUT, b"z" * 50_000, n)
    writer.close()
    index = tmp_path / "current.idx"
    os.truncate(index, index.stat().st_size - 5)
    writer = LogWriter(str(tmp_path))
    for n in range(20, 40):
        writer.write(STDOUT, b"z" * 50_000, n)
    writer.close()
    log = (tmp_path / "current.log").read_bytes()
    records = list(INDEX_RECORD.iter_unpack(index.read_bytes()[FILE_HEADER.size :]))
    assert [FRAME.unpack_from(log, offset)[4] for _, offset in records] == [at for at, _ in records]
    assert records == sorted(records)


@pytest.fixture
def file_limit() -> Iterator[int]:
    """Files of this process end at this many bytes: writes beyond are cut, then fail."""
    limit = 20_000
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_drops_and_counts_and_says_so(tmp_path: Path, file_limit: int) -> None:
    warnings: list[str] = []
    writer = LogWriter(str(tmp_path), warn=warnings.append)
    assert writer.write(STDOUT, b"a" * 15_000, 1)
    assert not writer.write(STDOUT, b"b" * 10_000, 2)
    assert not writer.write(STDERR, b"c" * 10_000, 3)
    assert (writer.lost_frames, writer.lost_bytes) == (2, 20_000)
    assert len(warnings) == 1
    assert str(tmp_path) in warnings[0]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert writer.write(STDOUT, b"d\n", 4)
    writer.close()
    first, mark, last = frames_of(tmp_path / "current.log")
    assert first == (STDOUT, 0, 1, b"a" * 15_000)
    assert mark[:3] == (STDERR, LOST, 4)
    assert b"20000 bytes" in mark[3]
    assert last == (STDOUT, 0, 4, b"d\n")


def test_a_rotation_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LogWriter(str(tmp_path), max_size=5000)
    assert writer.write(STDOUT, b"a" * 4000, 1)
    real = os.open

    def full(path: str, *arguments: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr("core.runtime.logs.os.open", full)
    assert not writer.write(STDOUT, b"b" * 4000, 2)
    assert not writer.write(STDOUT, b"b", 3)
    monkeypatch.setattr("core.runtime.logs.os.open", real)
    assert writer.write(STDOUT, b"c", 4)
    writer.close()
    assert [sequence_of(path) for path in logs_in(tmp_path)] == [1, 2]
    assert [frame[3] for frame in frames_of(tmp_path / "current.log")][1:] == [b"c"]


def test_the_header_is_sixteen_bytes() -> None:
    assert FRAME.size == 16
    assert FRAME.pack(2, 0, 0, 5, 7) == struct.pack("<BBHIQ", 2, 0, 0, 5, 7)
