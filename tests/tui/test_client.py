"""The client against a scripted engine: bodies in any pieces, connections reused and lost, errors in its own words."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import wait_until_async
from tests.tui.fake_engine import FakeEngine, container, frame, ident
from tui.client import Client, usage_of
from tui.text import overview
from tui.wire import ConnectionLost, Dechunker, Demuxer, EngineError, Head, ProtocolError, dechunk, fetch


def pieces(raw: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    return [raw[begin:end] for begin, end in pairwise(places)]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_chunks_may_come_in_any_pieces(chunks: list[bytes], cuts: list[int]) -> None:
    raw = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    dechunker = Dechunker()
    assert b"".join(dechunker.feed(piece) for piece in pieces(raw, cuts)) == b"".join(chunks)
    assert dechunker.done
    assert dechunk(raw) == (b"".join(chunks), True)


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=40)), max_size=8),
    st.lists(st.integers(0, 10_000), max_size=12),
)
def test_multiplexed_output_may_come_in_any_pieces(parts: list[tuple[int, bytes]], cuts: list[int]) -> None:
    raw = b"".join(frame(data, stream) for stream, data in parts)
    demuxer = Demuxer()
    found = [pair for piece in pieces(raw, cuts) for pair in demuxer.feed(piece)]
    for stream in (1, 2):
        joined = b"".join(data for number, data in found if number == stream)
        assert joined == b"".join(data for number, data in parts if number == stream)


@pytest.mark.parametrize("raw", [b"zz\r\n", b"\r\n", b"x" * 2000])
def test_a_chunk_without_a_length_is_an_error(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        Dechunker().feed(raw)


def test_what_is_not_multiplexed_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        Demuxer().feed(b"plain text")


@pytest.mark.parametrize("raw", [b"", b"SSH-2.0", b"HTTP/2 200", b"HTTP/1.1 abc"])
def test_what_is_not_http_is_an_error(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        Head(raw)


async def test_requests_share_a_connection_and_survive_its_end(fake: FakeEngine) -> None:
    client = Client(fake.path)
    fake.items = [container(1, "web")]
    assert [item["Names"] for item in await client.containers()] == [["/web"]]
    await client.containers()
    assert len(client._idle) == 1
    await fake.stop()
    await fake.start()
    assert len(await client.containers()) == 1
    client.close()


async def test_errors_are_the_engines_own_words(fake: FakeEngine) -> None:
    client = Client(fake.path)
    fake.errors = {"POST /containers": (409, "container is paused")}
    with pytest.raises(EngineError, match="container is paused") as caught:
        await client.stop("x")
    assert caught.value.status == 409
    client.close()


async def test_no_engine_is_said_with_the_path(short_folder: Path) -> None:
    with pytest.raises(ConnectionLost, match=str(short_folder)):
        await Client(str(short_folder / "none")).containers()


async def test_events_begin_with_a_sign_that_the_stream_stands(fake: FakeEngine) -> None:
    stream = Client(fake.path).events()
    assert await anext(stream) == {}
    await wait_until_async(lambda: fake.listeners)
    fake.event("start", 7)
    event = await anext(stream)
    assert (event["Action"], event["Actor"]) == ("start", {"ID": ident(7)})
    await stream.aclose()
    await wait_until_async(lambda: not fake.listeners)


async def test_a_stream_that_breaks_off_is_a_lost_connection(fake: FakeEngine) -> None:
    stream = Client(fake.path).events()
    await anext(stream)
    await wait_until_async(lambda: fake.listeners)
    await fake.stop()
    with pytest.raises(ConnectionLost):
        await anext(stream)
    await fake.start()


async def test_a_hijacked_stream_goes_both_ways_and_half_closes(fake: FakeEngine) -> None:
    client = Client(fake.path)
    exec_id = await client.exec_create("c", ["bash"], tty=True, size=(10, 20))
    reader, writer = await client.exec_start(exec_id, tty=True, size=(10, 20))
    assert await reader.readexactly(7) == b"inner$ "
    writer.write(b"\x10\x11")
    assert await reader.readuntil(b">") == b"<1011>"
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    assert fake.console_sizes == [[10, 20]]
    client.close()


async def test_output_of_a_command(fake: FakeEngine) -> None:
    client = Client(fake.path)
    assert await client.exec_output("c", ["sh", "-c", "…"]) == (0, b"bash\n")
    assert await client.exec_output("c", ["zsh", "-c", "…"]) == (126, b"")
    # A hostile image's "shell" must not fill our memory.
    assert await client.exec_output("c", ["flood"]) == (126, b"")
    client.close()


def stats(total: int, before: int, system: int, system_before: int, **memory: object) -> dict[str, object]:
    return {
        "cpu_stats": {"cpu_usage": {"total_usage": total}, "system_cpu_usage": system, "online_cpus": 4},
        "precpu_stats": {"cpu_usage": {"total_usage": before}, "system_cpu_usage": system_before},
        "memory_stats": memory,
    }


def test_usage_is_what_docker_stats_says() -> None:
    v2 = stats(300, 100, 2000, 1000, usage=500, stats={"inactive_file": 100})
    v1 = stats(300, 100, 2000, 1000, usage=500, stats={"total_inactive_file": 200, "inactive_file": 1})
    assert usage_of(v2) == (80.0, 400.0)
    assert usage_of(v1) == (80.0, 300.0)
    assert usage_of(stats(300, 0, 2000, 0, usage=500)) == (0.0, 500.0)
    assert usage_of({}) is None
    assert usage_of({"cpu_stats": {"cpu_usage": None}}) is None


async def test_the_overview_without_a_terminal(fake: FakeEngine) -> None:
    fake.items = [
        container(1, "web", Ports=[{"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]),
        container(2, "job", "exited", "Exited (127) 1 hour ago"),
        container(3, "odd", "created", DockyardExplain='exec: "\x1b[2J日": not found'),
    ]
    text = await asyncio.to_thread(overview, fake.path)
    lines = text.splitlines()
    assert lines[1].split() == ["●", "running", "web", "busybox:1", "3h", "8080→80", "-"]
    assert "exited 127" in lines[2]
    assert "command not found" in lines[2]
    assert 'exec: "?[2J?": not found' in text
    assert "1 running, 2 not" in text


async def test_the_overview_without_containers_says_what_to_try(fake: FakeEngine) -> None:
    assert "dockyard run" in await asyncio.to_thread(overview, fake.path)


def test_the_overview_without_an_engine_is_no_error(short_folder: Path) -> None:
    assert "dockyard serve" in overview(str(short_folder / "none"))


async def test_the_blocking_request_knows_errors(fake: FakeEngine) -> None:
    fake.errors = {"GET /containers": (500, "out of order")}
    with pytest.raises(EngineError, match="out of order"):
        await asyncio.to_thread(fetch, fake.path, "/containers/json", timeout=5.0)
    with pytest.raises(EngineError, match="page not found"):
        await asyncio.to_thread(fetch, fake.path, "/nothing", timeout=5.0)


async def test_an_answer_that_is_not_json_is_an_error(fake: FakeEngine) -> None:
    client = Client(fake.path)
    assert json.loads(await client.call("GET", "/version"))["Version"] == "1.0"
    with pytest.raises(EngineError):
        await client.json("GET", "/_ping")
    client.close()
