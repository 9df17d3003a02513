"""The only place of the screens that speaks to an engine: Docker's API over a Unix socket, in asyncio.

A small client of our own, because importing a general one costs more than the whole first picture. It works
with our engine, dockerd and podman. Errors are :class:`tui.wire.EngineError` (the engine refused, in its own
words) and :class:`tui.wire.ConnectionLost` (there is no engine any more).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode

from tui.wire import ConnectionLost, Dechunker, Demuxer, EngineError, Head, ProtocolError, error_of, request

_READ = 64 * 1024
_LINE_LIMIT = 8 * 1024 * 1024
_OUTPUT_LIMIT = 256 * 1024
_IDLE_CONNECTIONS = 4
#: Seconds an answer may take when nothing says otherwise.
TIMEOUT = 30.0

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Client:
    """One engine. Keeps a few idle connections; every stream has a connection of its own."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path
        self._idle: list[Connection] = []

    def close(self) -> None:
        """Close the idle connections; running streams belong to their tasks."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    # ── plumbing ──────────────────────────────────────────────────────────────────────────────────────────

    async def _connect(self) -> Connection:
        try:
            return await asyncio.open_unix_connection(self.socket_path, limit=_READ)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConnectionLost(f"no engine answers at {self.socket_path}: {reason}") from error

    async def _send(self, connection: Connection, raw: bytes) -> Head:
        reader, writer = connection
        try:
            writer.write(raw)
            await writer.drain()
            return Head((await reader.readuntil(b"\r\n\r\n"))[:-4])
        except asyncio.LimitOverrunError as error:
            raise ProtocolError("the engine's answer has a head without an end") from error
        except (OSError, asyncio.IncompleteReadError) as error:
            raise ConnectionLost("the engine closed the connection") from error

    async def call(self, method: str, target: str, body: Any = None, *, timeout: float = TIMEOUT) -> bytes:
        """One request with its whole answer. Raises EngineError for 400 and more, ConnectionLost, TimeoutError."""
        payload = b"" if body is None else json.dumps(body).encode()
        raw = request(method, target, payload)
        async with asyncio.timeout(timeout):
            while self._idle:
                connection = self._idle.pop()
                if connection[0].at_eof() or connection[1].is_closing():
                    connection[1].close()
                    continue
                try:
                    return await self._exchange(connection, raw)
                except ConnectionLost:
                    # The engine may have closed an idle connection just now; only a read may be repeated.
                    if method != "GET":
                        raise
            return await self._exchange(await self._connect(), raw)

    async def _exchange(self, connection: Connection, raw: bytes) -> bytes:
        reader, writer = connection
        reusable = False
        try:
            head = await self._send(connection, raw)
            body = b"".join([chunk async for chunk in chunks(reader, head)])
            reusable = head.keeps_alive
        finally:
            if reusable and len(self._idle) < _IDLE_CONNECTIONS:
                self._idle.append(connection)
            else:
                writer.close()
        if head.status >= 400:
            raise error_of(head.status, body)
        return body

    async def json(self, method: str, target: str, body: Any = None, *, timeout: float = TIMEOUT) -> Any:
        """Like :meth:`call`, decoded; None for an empty body."""
        answer = await self.call(method, target, body, timeout=timeout)
        try:
            return json.loads(answer) if answer.strip() else None
        except ValueError as error:
            raise ProtocolError(f"the engine's answer to {target} is not JSON") from error

    @asynccontextmanager
    async def stream(self, target: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """``GET`` whose body has no end of its own; gives its chunks. The connection ends with the block."""
        connection = await self._connect()
        try:
            head = await self._send(connection, request("GET", target))
            body = chunks(connection[0], head)
            if head.status >= 400:
                raise error_of(head.status, b"".join([chunk async for chunk in body]))
            yield body
        finally:
            connection[1].close()

    async def hijack(self, target: str, body: Any) -> Connection:
        """``POST`` that turns the connection into a raw stream both ways; ``write_eof`` is the half-close.

        What the engine sent behind its head is still in the reader. Raises like :meth:`call`.
        """
        connection = await self._connect()
        reader, writer = connection
        try:
            async with asyncio.timeout(TIMEOUT):
                head = await self._send(connection, request("POST", target, json.dumps(body).encode(), upgrade=True))
                if head.status not in (101, 200):
                    raise error_of(head.status, b"".join([chunk async for chunk in chunks(reader, head)]))
        except BaseException:
            writer.close()
            raise
        return connection

    # ── the engine ────────────────────────────────────────────────────────────────────────────────────────

    async def ping(self) -> None:
        """Whether an engine answers."""
        await self.call("GET", "/_ping", timeout=5.0)

    async def version(self) -> dict[str, Any]:
        """``GET /version``."""
        return dict(await self.json("GET", "/version"))

    async def info(self) -> dict[str, Any]:
        """``GET /info``."""
        return dict(await self.json("GET", "/info"))

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """Container events as they happen, one dictionary each. Ends with the connection."""
        filters = quote(json.dumps({"type": ["container"]}))
        async with self.stream(f"/events?filters={filters}") as body:
            # Yielded once when the stream stands: what happened before it must be listed after this.
            yield {}
            async for line in json_lines(body):
                yield line

    # ── containers ────────────────────────────────────────────────────────────────────────────────────────

    async def containers(self) -> list[dict[str, Any]]:
        """All containers, running or not."""
        return list(await self.json("GET", "/containers/json?all=1") or [])

    async def inspect(self, ref: str) -> dict[str, Any]:
        """Everything about one container."""
        return dict(await self.json("GET", f"/containers/{quote(ref)}/json"))

    async def tree(self, image: str, layer: int | None = None) -> dict[str, Any]:
        """An image layer by layer; with the files of one."""
        query = "" if layer is None else f"?layer={layer}"
        return dict(await self.json("GET", f"/dockyard/v1/images/{quote(image)}/tree{query}", timeout=120))

    async def start(self, ref: str) -> None:
        """Start; nothing when it runs."""
        await self.call("POST", f"/containers/{quote(ref)}/start")

    async def stop(self, ref: str) -> None:
        """Stop with the container's own signal and time-out."""
        await self.call("POST", f"/containers/{quote(ref)}/stop", timeout=3600)

    async def restart(self, ref: str) -> None:
        """Stop and start."""
        await self.call("POST", f"/containers/{quote(ref)}/restart", timeout=3600)

    async def kill(self, ref: str, signal: str = "KILL") -> None:
        """Send a signal."""
        await self.call("POST", f"/containers/{quote(ref)}/kill?signal={quote(signal)}")

    async def pause(self, ref: str) -> None:
        """Freeze all processes."""
        await self.call("POST", f"/containers/{quote(ref)}/pause")

    async def unpause(self, ref: str) -> None:
        """Let them go on."""
        await self.call("POST", f"/containers/{quote(ref)}/unpause")

    async def remove(self, ref: str, *, force: bool = False) -> None:
        """Remove; ``force`` kills it first."""
        await self.call("DELETE", f"/containers/{quote(ref)}" + ("?force=1" if force else ""), timeout=300)

    async def publish(self, ref: str, ports: list[dict[str, str]]) -> dict[str, Any]:
        """Publish ports of a container that exists; ``Ports`` as they are now, and ``Warnings``."""
        return dict(await self.json("POST", f"/dockyard/v1/containers/{quote(ref)}/ports", {"Ports": ports}))

    async def unpublish(self, ref: str, ports: list[dict[str, str]]) -> None:
        """Take published ports away again."""
        await self.call("DELETE", f"/dockyard/v1/containers/{quote(ref)}/ports", {"Ports": ports})

    async def logs(
        self, ref: str, *, tty: bool, tail: int, follow: bool = True
    ) -> AsyncGenerator[list[tuple[int, bytes]], None]:
        """(stream, bytes) pairs of the log from ``tail`` lines before its end; a terminal's output is stream 1."""
        query = urlencode({"stdout": 1, "stderr": 1, "follow": int(follow), "tail": tail})
        demuxer = Demuxer()
        async with self.stream(f"/containers/{quote(ref)}/logs?{query}") as body:
            yield []
            async for chunk in body:
                yield [(1, chunk)] if tty else demuxer.feed(chunk)

    async def stats(self, ref: str) -> AsyncGenerator[dict[str, Any], None]:
        """About one measurement a second until the container ends."""
        async with self.stream(f"/containers/{quote(ref)}/stats?stream=1") as body:
            async for line in json_lines(body):
                yield line

    # ── exec ──────────────────────────────────────────────────────────────────────────────────────────────

    async def exec_create(self, ref: str, command: list[str], *, tty: bool, size: tuple[int, int] | None = None) -> str:
        """A new exec's id. ``size`` is (rows, columns)."""
        body: dict[str, Any] = {
            "AttachStdout": True,
            "AttachStderr": True,
            "AttachStdin": tty,
            "Tty": tty,
            "Cmd": command,
        }
        if tty:
            body["Env"] = ["TERM=xterm-256color"]
            if size:
                body["ConsoleSize"] = list(size)
        return str((await self.json("POST", f"/containers/{quote(ref)}/exec", body))["Id"])

    async def exec_start(self, exec_id: str, *, tty: bool, size: tuple[int, int] | None = None) -> Connection:
        """Start it; the raw stream (multiplexed unless ``tty``)."""
        body: dict[str, Any] = {"Detach": False, "Tty": tty}
        if tty and size:
            body["ConsoleSize"] = list(size)
        return await self.hijack(f"/exec/{quote(exec_id)}/start", body)

    async def exec_resize(self, exec_id: str, rows: int, columns: int) -> None:
        """Tell its terminal the size."""
        await self.call("POST", f"/exec/{quote(exec_id)}/resize?h={rows}&w={columns}")

    async def exec_inspect(self, exec_id: str) -> dict[str, Any]:
        """``Running``, ``ExitCode`` and more."""
        return dict(await self.json("GET", f"/exec/{quote(exec_id)}/json"))

    async def exec_output(self, ref: str, command: list[str]) -> tuple[int, bytes]:
        """Run without a terminal to its end: (exit code, standard output). Raises EngineError.

        A program that says more than :data:`_OUTPUT_LIMIT` bytes is not listened to any longer: it failed.
        """
        exec_id = await self.exec_create(ref, command, tty=False)
        reader, writer = await self.exec_start(exec_id, tty=False)
        try:
            async with asyncio.timeout(TIMEOUT):
                raw = bytearray()
                while more := await reader.read(_READ):
                    raw += more
                    if len(raw) > _OUTPUT_LIMIT:
                        return 126, b""
        except TimeoutError as error:
            raise ConnectionLost(f"{command[0]} in the container does not end") from error
        except OSError as error:
            raise ConnectionLost("the engine closed the connection") from error
        finally:
            writer.close()
        code = int((await self.exec_inspect(exec_id)).get("ExitCode") or 0)
        try:
            return code, b"".join(data for stream, data in Demuxer().feed(bytes(raw)) if stream == 1)
        except ProtocolError:
            # Some engines write the reason of a failed exec into the stream as plain text.
            return code or 126, b""


async def chunks(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """The body behind ``head``, decoded. Raises ConnectionLost when it breaks off."""
    dechunker = Dechunker() if head.chunked else None
    left = head.length
    while left is None or left > 0:
        try:
            data = await reader.read(_READ if left is None else min(left, _READ))
        except OSError as error:
            raise ConnectionLost("the engine closed the connection") from error
        if not data:
            if dechunker is not None or left is not None:
                raise ConnectionLost("the engine closed the connection in the middle of an answer")
            return
        if dechunker is None:
            left = None if left is None else left - len(data)
            yield data
            continue
        payload = dechunker.feed(data)
        if payload:
            yield payload
        if dechunker.done:
            return


async def json_lines(body: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """One dictionary per JSON text, separated by line ends."""
    rest = b""
    async for chunk in body:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LINE_LIMIT:
            raise ProtocolError("a line of the engine's stream has no end")
        for line in lines:
            if line.strip():
                yield _decoded(line)
    if rest.strip():
        yield _decoded(rest)


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ProtocolError("a line of the engine's stream is not JSON") from error
    if not isinstance(value, dict):
        raise ProtocolError("a line of the engine's stream is not an object")
    return value


def usage_of(stats: dict[str, Any]) -> tuple[float, float] | None:
    """(CPU in percent of one processor, memory in bytes) as ``docker stats`` computes them; None without data.

    Memory is usage less the inactive file cache: ``total_inactive_file`` on cgroup v1, ``inactive_file`` on v2.
    """
    try:
        now, before = stats["cpu_stats"], stats["precpu_stats"]
        memory = stats["memory_stats"]
        spent = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
        system = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
        cpus = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or ()) or 1
        details = memory.get("stats") or {}
        cache = details.get("total_inactive_file", details.get("inactive_file", 0))
        used = memory.get("usage", 0)
        first = not before.get("system_cpu_usage")
        cpu = spent / system * cpus * 100.0 if system > 0 and spent > 0 and not first else 0.0
        return cpu, float(used - cache if cache < used else used)
    except (KeyError, TypeError):
        return None


__all__ = ["Client", "ConnectionLost", "EngineError", "ProtocolError", "usage_of"]
