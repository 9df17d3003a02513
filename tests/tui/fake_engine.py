"""A tiny engine for the screens' tests: Docker's API with scripted data over a Unix socket, nothing else.

Every request is recorded in ``calls``; events, logs and statistics are pushed by the test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

Item = dict[str, Any]


class Closed(Exception):
    """This connection is done."""


def container(number: int, name: str, state: str = "running", status: str = "Up 3 hours", **more: Any) -> Item:
    """A list item; ``number`` makes the id."""
    item: Item = {
        "Id": ident(number),
        "Names": [f"/{name}"],
        "Image": "busybox:1",
        "State": state,
        "Status": status,
        "Created": 1_700_000_000 + number,
        "Ports": [],
        "Labels": {},
    }
    item.update(more)
    return item


def ident(number: int) -> str:
    """A container's id."""
    return f"{number:064x}"


class FakeEngine:
    """State that a test sets, and what was asked of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.items: list[Item] = []
        self.inspected: dict[str, Item] = {}
        self.calls: list[str] = []
        #: What was sent to publish ports, or to take them away.
        self.ports: list[Item] = []
        self.logs: dict[str, bytes] = {}
        self.tty: set[str] = set()
        self.errors: dict[str, tuple[int, str]] = {}
        self.stats_status = 200
        self.usage: dict[str, Item] = {}
        self.resizes: list[tuple[int, int]] = []
        self.console_sizes: list[list[int]] = []
        self.shells: tuple[str, ...] = ("bash",)
        self.exec_commands: dict[str, list[str]] = {}
        self.exec_codes: dict[str, int] = {}
        self.typed = b""
        self._event_writers: list[asyncio.StreamWriter] = []
        self._log_writers: dict[str, list[asyncio.StreamWriter]] = {}
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    # ── for the test ──────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self) -> None:
        """Die: every connection ends."""
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._event_writers.clear()
        self._log_writers.clear()
        await self._server.wait_closed()

    def event(self, action: str, number: int = 0) -> None:
        """Tell every listener that something happened to a container."""
        line = json.dumps({"Type": "container", "Action": action, "Actor": {"ID": ident(number)}}).encode() + b"\n"
        for writer in self._event_writers:
            _chunk(writer, line)

    def write_log(self, number: int, data: bytes, stream: int = 1) -> None:
        """Output of a container for those who follow its log."""
        framed = data if ident(number) in self.tty else frame(data, stream)
        for writer in self._log_writers.get(ident(number), []):
            _chunk(writer, framed)

    def followers(self, number: int) -> int:
        """How many follow that log now."""
        return len(self._log_writers.get(ident(number), []))

    @property
    def listeners(self) -> int:
        """How many follow the events now."""
        return len(self._event_writers)

    def changes(self) -> list[str]:
        """The requests that were no reading."""
        return [call for call in self.calls if not call.startswith("GET ")]

    # ── HTTP ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                raw = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, target, _ = raw.split(" ", 2)
                pairs = [line.partition(":") for line in raw.split("\r\n")]
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await self._answer(method, target, body, reader, writer)
                await writer.drain()
        except (Closed, asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            self._tasks.discard(task)
            for writers in (self._event_writers, *self._log_writers.values()):
                if writer in writers:
                    writers.remove(writer)
            writer.close()

    async def _answer(
        self, method: str, target: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        url = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        parts = url.path.strip("/").split("/")
        self.calls.append(f"{method} {target}")
        for prefix, (status, message) in self.errors.items():
            if f"{method} {url.path}".startswith(prefix):
                _json(writer, status, {"message": message})
                return
        if parts == ["containers", "json"]:
            _json(writer, 200, self.items)
        elif parts == ["version"]:
            _json(writer, 200, {"Version": "1.0", "Components": [{"Name": "dockyard"}]})
        elif parts == ["events"]:
            _stream(writer)
            self._event_writers.append(writer)
            await _until_closed(reader)
        elif parts[:2] == ["dockyard", "v1"] and parts[-1] == "tree":
            _json(writer, 200, layers_of_an_image(query.get("layer", "")))
        elif parts[:2] == ["dockyard", "v1"] and parts[-1] == "ports":
            self._publish(method, json.loads(body), writer)
        elif parts[0] == "exec":
            await self._exec(parts, query, body, reader, writer)
        elif parts[0] == "containers" and len(parts) >= 2:
            await self._container(method, parts, body, reader, writer)
        else:
            _json(writer, 404, {"message": "page not found"})

    async def _container(
        self, method: str, parts: list[str], body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        ref, verb = parts[1], parts[2] if len(parts) > 2 else ""
        if method == "GET" and verb == "json":
            self._inspect(ref, writer)
        elif verb == "logs":
            _stream(writer)
            data = self.logs.get(ref, b"")
            _chunk(writer, data if ref in self.tty else frame(data, 1))
            self._log_writers.setdefault(ref, []).append(writer)
            await _until_closed(reader)
        elif verb == "stats" and self.stats_status == 200:
            _stream(writer)
            _chunk(writer, json.dumps(self.usage.get(ref, {})).encode() + b"\n")
            await _until_closed(reader)
        elif verb == "stats":
            _json(writer, self.stats_status, {"message": "no statistics here"})
        elif verb == "exec":
            command = json.loads(body)
            self.exec_commands[str(len(self.exec_commands))] = command["Cmd"]
            if command.get("ConsoleSize"):
                self.console_sizes.append(command["ConsoleSize"])
            _json(writer, 201, {"Id": str(len(self.exec_commands) - 1)})
        else:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    def _publish(self, method: str, body: Item, writer: asyncio.StreamWriter) -> None:
        """Ports are bound where they were asked for, on 49153 without a word about that."""
        self.ports.append(body)
        if method == "DELETE":
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        bound = [
            {**port, "HostIp": address, "HostPort": port["HostPort"] or "49153"}
            for port in body["Ports"]
            for address in ([port["HostIp"]] if port["HostIp"] else ["0.0.0.0", "::"])
        ]
        _json(writer, 200, {"Ports": bound, "Warnings": ["ufw is bypassed"]})

    def _inspect(self, ref: str, writer: asyncio.StreamWriter) -> None:
        found = next((item for item in self.items if item["Id"] == ref), None)
        if found is None:
            _json(writer, 404, {"message": f"No such container: {ref}"})
            return
        running = found["State"] == "running"
        started = "2023-11-14T22:13:20Z" if running else "0001-01-01T00:00:00Z"
        state = {"StartedAt": started, "ExitCode": 0}
        if found["State"] == "exited":
            state["ExitCode"] = int(found["Status"].split("(")[1].split(")")[0])
        _json(
            writer, 200, {"Id": ref, "Config": {"Tty": ref in self.tty}, "State": state} | self.inspected.get(ref, {})
        )

    async def _exec(
        self, parts: list[str], query: dict[str, str], body: bytes,
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        ref, verb = parts[1], parts[2]
        command = self.exec_commands[ref]
        if verb == "resize":
            self.resizes.append((int(query["h"]), int(query["w"])))
            _json(writer, 200, {})
        elif verb == "json":
            _json(writer, 200, {"Running": False, "ExitCode": self.exec_codes.get(ref, 0)})
        else:
            writer.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            if json.loads(body)["Tty"]:
                await self._shell(ref, reader, writer)
            else:
                self._probe(ref, command, writer)
            await writer.drain()
            raise Closed

    def _probe(self, ref: str, command: list[str], writer: asyncio.StreamWriter) -> None:
        if command[0] == "flood":
            writer.write(frame(b"x" * (1 << 20), 1))
        elif command[0] == "sh" and self.shells:
            writer.write(frame(self.shells[0].encode() + b"\n", 1))
        elif command[0] not in self.shells:
            self.exec_codes[ref] = 126

    async def _shell(self, ref: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Show each key as ``<hex>`` until ``q``; leave the terminal in a bad state on the way out."""
        writer.write(b"inner$ ")
        while data := await reader.read(1024):
            self.typed += data
            if b"q" in data:
                self.exec_codes[ref] = 3
                writer.write(b"\x1b[?1049h\x1b[?1000h\x1b[?25l\x1b[31m")
                return
            writer.write(b"<" + data.hex().encode() + b">")
            await writer.drain()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    await reader.read()
    raise Closed


def frame(data: bytes, stream: int) -> bytes:
    """Docker's multiplexed framing."""
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data if data else b""


def _json(writer: asyncio.StreamWriter, status: int, value: Any) -> None:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} X\r\nServer: Dockyard/1.0 (linux)\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    if data:
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


@asynccontextmanager
async def fake_engine(path: str) -> AsyncIterator[FakeEngine]:
    """A running fake."""
    engine = FakeEngine(path)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def layers_of_an_image(wanted: str) -> Item:
    """An image of three layers; the files of the one that is wanted."""
    steps = [
        ("ADD alpine-minirootfs-3.20.tar.gz /", 7_800_000, (522, 0, 0, 0)),
        ("RUN apk add --no-cache curl", 5_300_000, (61, 4, 0, 210_000)),
        ('CMD ["/bin/sh"]', 0, (0, 0, 0, 0)),
        ("RUN rm -rf /var/cache", 0, (0, 0, 3, 1_200_000)),
    ]
    layers: list[Item] = []
    for number, (text, size, (added, changed, removed, wasted)) in enumerate(steps):
        layers.append({
            "DiffId": f"sha256:{number:064x}", "Size": size, "CreatedBy": text, "Created": 1, "Comment": "",
            "Empty": text.startswith("CMD"), "Added": added, "Changed": changed, "Removed": removed, "Wasted": wasted,
        })  # fmt: skip
    if wanted:
        layers[int(wanted)]["Files"] = [
            {"Path": "/etc/apk/world", "Kind": "changed", "Type": "file", "Mode": 0o644, "Size": 12},
            {"Path": "/usr/bin/curl", "Kind": "added", "Type": "file", "Mode": 0o755, "Size": 265_000},
            {"Path": "/var/cache/apk", "Kind": "removed", "Type": "dir", "Mode": 0o755, "Size": 0},
        ]
    return {
        "Id": "sha256:" + "e" * 64, "Tags": ["shop/web:2.14"], "Size": 13_100_000, "Wasted": 1_410_000,
        "Efficiency": 0.892, "Layers": layers,
        "WastedFiles": [{"Path": "/var/cache/apk/APKINDEX.tar.gz", "Size": 1_200_000, "Count": 1}],
    }  # fmt: skip
