"""Frames to descriptors, signals and keys."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.fake import frame
from tui.cli import streams
from tui.cli.errors import CliError
from tui.cli.output import write, write_vector
from tui.cli.session import DetachKeys, parse_keys


class Written:
    """Stands in for the descriptors: what each got."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.got = {1: b"", 2: b""}
        monkeypatch.setattr(streams, "write", self.write)
        monkeypatch.setattr(streams, "write_vector", self.write_vector)

    def write(self, fd: int, data: bytes | memoryview) -> None:
        self.got[fd] += bytes(data)

    def write_vector(self, fd: int, parts: list[memoryview]) -> None:
        for part in parts:
            self.write(fd, part)


@pytest.fixture
def written() -> Iterator[Written]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Written(monkeypatch)


@given(
    frames=st.lists(st.tuples(st.sampled_from([0, 1, 2, 3]), st.binary(max_size=3000)), max_size=12),
    cuts=st.lists(st.integers(1, 4000), min_size=1, max_size=20),
)
def test_frames_cut_anywhere_come_out_whole(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(stream, payload) for stream, payload in frames)
    with pytest.MonkeyPatch.context() as monkeypatch:
        written = Written(monkeypatch)
        sink = streams.Demultiplexer()
        position, turn = 0, 0
        while position < len(data):
            size = cuts[turn % len(cuts)]
            sink.feed(memoryview(data)[position : position + size])
            position, turn = position + size, turn + 1
    assert written.got[1] == b"".join(payload for stream, payload in frames if stream in (0, 1))
    assert written.got[2] == b"".join(payload for stream, payload in frames if stream in (2, 3))


def test_an_unknown_stream_number_is_output(written: Written) -> None:
    streams.Demultiplexer().feed(memoryview(frame(9, b"x")))
    assert written.got == {1: b"x", 2: b""}


def test_a_full_non_blocking_pipe_gets_everything() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = os.urandom(1 << 20)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            write_vector(writer, [memoryview(data)[i : i + 1000] for i in range(0, len(data), 1000)])
            write(writer, data)
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert pipe.read() == data * 2
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize(
    ("spec", "keys"),
    [("ctrl-p,ctrl-q", b"\x10\x11"), ("a,b", b"ab"), ("ctrl-@", b"\0"), ("ctrl-\\", b"\x1c"), ("ctrl-X,y", b"\x18y")],
)
def test_detach_keys_are_read(spec: str, keys: bytes) -> None:
    assert parse_keys(spec) == keys


@pytest.mark.parametrize("spec", ["foo", "ctrl-", "ctrl-ab", "a,,b", "ctrl-1", "é"])
def test_wrong_detach_keys_are_named(spec: str) -> None:
    with pytest.raises(CliError, match="invalid detach keys") as caught:
        parse_keys(spec)
    assert spec in caught.value.message


@pytest.mark.parametrize(
    ("typed", "detached"),
    [
        ([b"\x10\x11"], True),
        ([b"\x10", b"\x11"], True),
        ([b"ab\x10\x11"], True),
        ([b"\x10\x10\x11"], True),
        ([b"\x10a\x11"], False),
        ([b"\x11\x10"], False),
    ],
)
def test_the_sequence_is_seen(typed: list[bytes], detached: bool) -> None:
    keys = DetachKeys("")
    assert [keys.seen(data) for data in typed][-1] is detached
