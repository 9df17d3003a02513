"""Answers that go on: logs, wait, events, and sockets that are handed over."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from pathlib import Path

import pytest

from core.container.status import Container
from core.errors import Unavailable
from core.runtime.logs import STDERR, STDOUT, LogWriter
from tests.api import schemas
from tests.api.fakes import Served, read_chunk, read_head, served
from tests.support import wait_until_async

UPGRADE = "Connection: Upgrade\nUpgrade: tcp"


def frame(stream: int, payload: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(payload)) + payload


def write_log(api: Served, container: Container, *entries: tuple[int, bytes, int]) -> None:
    writer = LogWriter(api.engine.containers.log_folder(container))
    for stream, payload, at_ns in entries:
        writer.write(stream, payload, at_ns)
    writer.close()


async def receive(sock: socket.socket, size: int) -> bytes:
    async with asyncio.timeout(5):
        data = b""
        while len(data) < size and (more := await asyncio.get_running_loop().sock_recv(sock, size - len(data))):
            data += more
    return data


async def at_end(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        return await reader.read()


# --- logs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "tty", "kind"),
    [
        ("1.41", False, "application/vnd.docker.raw-stream"),
        ("1.42", False, "application/vnd.docker.multiplexed-stream"),
        ("1.42", True, "application/vnd.docker.raw-stream"),
    ],
)
async def test_logs_content_type_and_framing(api: Served, version: str, tty: bool, kind: str) -> None:
    box = api.engine.add("box", tty=tty)
    write_log(api, box, (STDOUT, b"out\n", 1), (STDERR, b"\xff\x00err\n", 2))
    answer = await api.ask("GET", f"/v{version}/containers/box/logs?stdout=1&stderr=1")
    assert answer.headers["content-type"] == kind
    raw = b"out\n\xff\x00err\n"
    assert answer.body == (raw if tty else frame(1, b"out\n") + frame(2, b"\xff\x00err\n"))


async def test_logs_with_timestamps_since_and_tail(api: Served) -> None:
    box = api.engine.add("box")
    second = 1_700_000_000_000_000_000
    write_log(api, box, *((STDOUT, b"line %d\n" % n, second + n * 1_000_000_000) for n in range(10)))
    answer = await api.ask("GET", "/containers/box/logs?stdout=1&timestamps=1&tail=3&since=1700000008.000000000")
    lines = b"2023-11-14T22:13:28.000000000Z line 8\n2023-11-14T22:13:29.000000000Z line 9\n"
    assert answer.body == frame(1, lines)


async def test_logs_are_followed_to_the_end(api: Served) -> None:
    box = api.engine.add("box", running=True)
    writer = LogWriter(api.engine.containers.log_folder(box))
    reader, connection = await api.open("GET /containers/box/logs?stdout=1&follow=1&tail=0 HTTP/1.1\nHost: d")
    status, headers = await read_head(reader)  # before there is anything to read
    assert (status, headers["transfer-encoding"]) == (200, "chunked")
    for text in (b"one\n", b"two\n"):
        writer.write(STDOUT, text, time.time_ns())
        assert await read_chunk(reader) == frame(1, text)
    writer.write(STDOUT, b"last words", time.time_ns())
    api.engine.containers.end("box")
    assert await read_chunk(reader) == frame(1, b"last words")
    assert await read_chunk(reader) == b""
    connection.close()
    writer.close()


async def test_a_follower_that_leaves_is_let_go(api: Served) -> None:
    box = api.engine.add("box", running=True)
    reader, connection = await api.open("GET /containers/box/logs?stdout=1&follow=1 HTTP/1.1\nHost: d")
    await read_head(reader)
    before = len(asyncio.all_tasks())
    connection.close()
    await wait_until_async(lambda: len(asyncio.all_tasks()) < before, what="the handler has ended")
    assert api.engine.containers.get("box") == box


async def test_logs_of_driver_none(api: Served) -> None:
    box = api.engine.add("box")
    box.host_config["LogConfig"]["Type"] = "none"
    answer = await api.ask("GET", "/containers/box/logs?stdout=1")
    assert answer.status == 501
    assert answer.body["message"].startswith("configured logging driver does not support reading")


# --- wait and events -------------------------------------------------------------------------------


async def test_wait_sends_its_head_before_the_end(api: Served) -> None:
    api.engine.add("box", running=True)
    reader, connection = await api.open("POST /containers/box/wait?condition=next-exit HTTP/1.1\nHost: d")
    status, headers = await read_head(reader)
    assert (status, headers["content-type"]) == (200, "application/json")
    api.engine.containers.end("box", 7)
    answer = json.loads(await read_chunk(reader))
    schemas.check("Waited", answer)
    assert answer == {"StatusCode": 7}
    connection.close()


async def test_events_come_as_lines(api: Served) -> None:
    reader, connection = await api.open('GET /events?filters={"event":["die"]} HTTP/1.1\nHost: d'.replace('"', "%22"))
    status, headers = await read_head(reader)
    assert (status, headers["content-type"]) == (200, "application/json")
    api.engine.events.publish("container", "start", "c" * 64, {"name": "box"})
    api.engine.events.publish("container", "die", "c" * 64, {"name": "box", "exitCode": "3"})
    raw = await read_chunk(reader)
    assert raw.endswith(b"}\n")
    event = json.loads(raw)
    schemas.check("Event", event)
    assert (event["Action"], event["Actor"]["Attributes"]["exitCode"]) == ("die", "3")
    connection.close()


async def test_events_of_the_past_end_by_themselves(api: Served) -> None:
    api.engine.events.publish("container", "start", "c" * 64, {})
    api.engine.events.publish("container", "die", "c" * 64, {})
    answer = await api.ask("GET", f"/events?since=1&until={time.time():.9f}")
    assert [json.loads(line)["Action"] for line in answer.body.splitlines()] == ["start", "die"]


async def test_shutdown_does_not_wait_for_streams(short_folder: Path) -> None:
    async with served(short_folder) as api:
        api.engine.add("box", running=True)
        waiting = [
            await api.open(f"{request} HTTP/1.1\nHost: d")
            for request in (
                "GET /events",
                "POST /containers/box/wait",
                "GET /containers/box/logs?follow=1&stdout=1",
                "GET /_ping",
            )
        ]
        for reader, _ in waiting:
            await read_head(reader)
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 3
    for reader, writer in waiting:
        await at_end(reader)
        writer.close()


# --- hand-over -------------------------------------------------------------------------------------


async def test_attach_hands_the_socket_over(api: Served) -> None:
    api.engine.add("box")
    head = f"POST /v1.44/containers/box/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\nHost: d\n{UPGRADE}"
    reader, writer = await api.open(head, b"typed early")
    status, headers = await read_head(reader)
    assert status == 101
    assert (headers["connection"], headers["upgrade"]) == ("Upgrade", "tcp")
    assert headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    await wait_until_async(lambda: api.engine.containers.attached, what="attached")
    sock, wanted = api.engine.containers.attached[0]
    assert wanted == {
        "stdin": True, "stdout": True, "stderr": True, "detach_keys": b"\x10\x11", "preread": b"typed early",
    }  # fmt: skip
    writer.write(b"typed later")
    assert await receive(sock, 11) == b"typed later"
    sock.sendall(frame(1, b"output"))
    assert await reader.readexactly(14) == frame(1, b"output")
    writer.write_eof()
    assert await receive(sock, 1) == b""  # half-closed: the other direction still works
    sock.sendall(b"more")
    assert await reader.readexactly(4) == b"more"
    sock.close()
    assert await at_end(reader) == b""
    writer.close()


async def test_a_handed_over_socket_outlives_the_server(short_folder: Path) -> None:
    async with served(short_folder) as api:
        api.engine.add("box", running=True)
        head = f"POST /containers/box/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\nHost: d\n{UPGRADE}"
        reader, writer = await api.open(head)
        await read_head(reader)
        await wait_until_async(lambda: api.engine.containers.attached, what="attached")
        sock = api.engine.containers.attached[0][0]
    sock.sendall(b"still here")
    assert await reader.readexactly(10) == b"still here"
    sock.close()
    writer.close()


async def test_attach_without_upgrade_is_a_raw_200(api: Served) -> None:
    api.engine.add("box", tty=True)
    reader, writer = await api.open("POST /containers/box/attach?stream=1&stdout=1 HTTP/1.1\nHost: d")
    status, headers = await read_head(reader)
    assert (status, headers["content-type"]) == (200, "application/vnd.docker.raw-stream")
    assert "transfer-encoding" not in headers
    await wait_until_async(lambda: api.engine.containers.attached, what="attached")
    api.engine.containers.attached[0][0].sendall(b"x")
    assert await reader.readexactly(1) == b"x"
    api.engine.containers.attached[0][0].close()
    writer.close()


async def test_attach_replays_the_log_first(api: Served) -> None:
    box = api.engine.add("box")
    write_log(api, box, (STDOUT, b"before\n", 1))
    reader, writer = await api.open(
        f"POST /containers/box/attach?logs=1&stdout=1&stderr=1 HTTP/1.1\nHost: d\n{UPGRADE}"
    )
    assert (await read_head(reader))[0] == 101
    assert await at_end(reader) == frame(1, b"before\n")
    assert not api.engine.containers.attached
    writer.close()


async def test_a_refused_upgrade_is_an_http_error(api: Served) -> None:
    reader, writer = await api.open(f"POST /containers/none/attach?stream=1 HTTP/1.1\nHost: d\n{UPGRADE}", b"x\r\n\r\n")
    status, headers = await read_head(reader)
    assert (status, headers["content-type"]) == (404, "application/json")
    body = await at_end(reader)
    assert json.loads(body) == {"message": "No such container: none"}
    writer.close()


async def test_attach_that_fails_after_the_upgrade_says_so_in_the_stream(api: Served) -> None:
    api.engine.add("box", running=True)
    api.engine.containers.fail["attach"] = Unavailable("the monitor does not answer")
    reader, writer = await api.open(f"POST /containers/box/attach?stream=1 HTTP/1.1\nHost: d\n{UPGRADE}")
    assert (await read_head(reader))[0] == 101
    assert await at_end(reader) == frame(2, b"the monitor does not answer\r\n")
    writer.close()


async def exec_id(api: Served, **members: object) -> str:
    api.engine.add("box", running=True)
    answer = await api.ask("POST", "/containers/box/exec", {"Cmd": ["sh"], "AttachStdin": True, **members})
    assert answer.status == 201
    return str(answer.body["Id"])


def exec_start(ref: str, body: bytes) -> str:
    return (
        f"POST /v1.44/exec/{ref}/start HTTP/1.1\nHost: d\nContent-Type: application/json\n"
        f"Content-Length: {len(body)}\n{UPGRADE}"
    )


async def test_exec_start_reads_its_body_and_hands_the_rest_over(api: Served) -> None:
    ref = await exec_id(api, Tty=True)
    body = b'{"Detach": false, "Tty": true, "ConsoleSize": [40, 100]}'
    reader, writer = await api.open(exec_start(ref, body), body + b"ls\n")
    assert (await read_head(reader))[0] == 101
    await wait_until_async(lambda: api.engine.execs.started, what="started")
    started, sock, options = api.engine.execs.started[0]
    assert started == ref
    assert options == {"tty": True, "size": (40, 100), "preread": b"ls\n"}
    assert sock is not None
    sock.sendall(b"$ ")
    assert await reader.readexactly(2) == b"$ "
    sock.close()
    assert await at_end(reader) == b""
    writer.close()


async def test_exec_start_with_a_body_in_pieces(api: Served) -> None:
    ref = await exec_id(api)
    body = b'{"Detach": false, "Tty": false}'
    reader, writer = await api.open(exec_start(ref, body), body[:10])
    assert (await api.ask("GET", "/_ping")).status == 200  # the server has seen the first piece
    writer.write(body[10:])
    writer.write(b"stdin")
    assert (await read_head(reader))[0] == 101
    await wait_until_async(lambda: api.engine.execs.started, what="started")
    _, sock, options = api.engine.execs.started[0]
    assert sock is not None
    preread = options["preread"]
    assert preread + await receive(sock, 5 - len(preread)) == b"stdin"
    sock.close()
    writer.close()


@pytest.mark.parametrize("tty", [False, True])
async def test_exec_that_cannot_be_handed_over_says_so_in_the_stream(api: Served, tty: bool) -> None:
    ref = await exec_id(api, Tty=tty)
    api.engine.execs.failure = Unavailable("the container's monitor does not answer")
    body = json.dumps({"Tty": tty}).encode()
    reader, writer = await api.open(exec_start(ref, body), body)
    assert (await read_head(reader))[0] == 101
    text = b"the container's monitor does not answer\r\n"
    assert await at_end(reader) == (text if tty else frame(2, text))
    writer.close()


async def test_exec_detached_is_a_plain_answer(api: Served) -> None:
    ref = await exec_id(api)
    answer = await api.ask("POST", f"/exec/{ref}/start", {"Detach": True})
    assert (answer.status, answer.body) == (200, b"")
    assert api.engine.execs.started == [(ref, None, {"size": None})]
    assert (await api.ask("GET", f"/exec/{ref}/json")).body["Running"] is True
    again = await api.ask("POST", f"/exec/{ref}/start", {})
    assert again.status == 409


async def test_exec_in_a_stopped_container(api: Served) -> None:
    box = api.engine.add("box")
    answer = await api.ask("POST", "/containers/box/exec", {"Cmd": ["sh"]})
    assert (answer.status, answer.body["message"]) == (409, f"container {box.id} is not running")


async def test_a_head_in_pieces_loses_nothing(api: Served) -> None:
    api.engine.add("box", running=True)
    head = "POST /containers/box/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: d\r\nupgrade: TCP\r\nConnection: Upgrade"
    reader, writer = await asyncio.open_unix_connection(str(api.path))
    for piece in (head[:3], head[3:60], head[60:], "\r\n\r\nearly"):
        writer.write(piece.encode())
        assert (await api.ask("GET", "/_ping")).status == 200  # the server has seen the piece
    assert (await read_head(reader))[0] == 101
    await wait_until_async(lambda: api.engine.containers.attached, what="attached")
    sock, wanted = api.engine.containers.attached[0]
    preread = wanted["preread"]
    assert preread + await receive(sock, 5 - len(preread)) == b"early"
    sock.close()
    writer.close()


async def test_a_client_that_does_not_wait_for_its_head(api: Served) -> None:
    api.engine.add("box", running=True)
    head = f"POST /containers/box/attach?stream=1&stdin=1 HTTP/1.1\nHost: d\n{UPGRADE}"
    reader, writer = await api.open(head, b"x" * 100_000)
    status, _ = await read_head(reader)
    assert status == 400
    assert not api.engine.containers.attached
    writer.close()


async def test_stats_carry_the_counters_of_the_moment_before(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.api.stats.INTERVAL", 0.01)
    api.engine.add("box", running=True)
    reader, connection = await api.open("GET /containers/box/stats HTTP/1.1\nHost: d")
    assert (await read_head(reader))[0] == 200
    first, second = [json.loads(await read_chunk(reader)) for _ in range(2)]
    assert (first["name"], first["precpu_stats"]["cpu_usage"]["total_usage"]) == ("/box", 0)
    assert second["precpu_stats"] == first["cpu_stats"]
    assert second["cpu_stats"]["cpu_usage"]["total_usage"] == 2000
    assert second["preread"] == first["read"]
    api.engine.containers.end("box")
    last = first
    while chunk := await read_chunk(reader):
        last = json.loads(chunk)
    assert last["memory_stats"] == {}
    connection.close()


async def test_stats_once(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.api.stats.INTERVAL", 0.01)
    api.engine.add("box", running=True)
    primed = (await api.ask("GET", "/containers/box/stats?stream=false")).body
    assert primed["precpu_stats"]["cpu_usage"]["total_usage"] == 1000
    single = (await api.ask("GET", "/containers/box/stats?stream=false&one-shot=1")).body
    assert single["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    api.engine.add("idle")
    nothing = (await api.ask("GET", "/containers/idle/stats?stream=0")).body
    assert (nothing["read"], nothing["memory_stats"]) == ("0001-01-01T00:00:00Z", {})
