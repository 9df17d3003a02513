"""An engine of canned answers on a Unix socket, and the command line as a process against it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import COMMAND

Handler = Callable[["Exchange"], None]


class Exchange:
    """One request: ``method``, ``target``, ``headers``, ``body``; and the ways to answer."""

    def __init__(self, connection: socket.socket, head: str, body: bytes, preread: bytes) -> None:
        self.connection = connection
        first, *rest = head.split("\r\n")
        self.method, self.target, _ = first.split(" ")
        self.headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in rest)}
        self.body = body
        self.preread = preread

    def json(self) -> Any:
        return json.loads(self.body)

    def reply(self, value: Any = None, status: int = 200) -> None:
        data = b"" if value is None else json.dumps(value).encode()
        kind = "Content-Type: application/json\r\n" if data else ""
        self.send(f"HTTP/1.1 {status} X\r\n{kind}Content-Length: {len(data)}\r\n\r\n".encode() + data)

    def upgrade(self) -> None:
        self.send(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")

    def chunked(self, *pieces: bytes, kind: str = "application/vnd.docker.multiplexed-stream") -> None:
        self.send(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for piece in pieces:
            self.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.send(b"0\r\n\r\n")

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def read_all(self) -> bytes:
        """Everything the client sends until its half-close."""
        data = self.preread
        while piece := self.connection.recv(65536):
            data += piece
        return data


def frame(stream: int, data: bytes) -> bytes:
    """Docker's stdcopy frame."""
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


class FakeEngine:
    """Answers by ``routes``: "METHOD /path" (without the query) → handler. Remembers ``requests``."""

    def __init__(self, path: Path, routes: dict[str, Handler]) -> None:
        self.path = path
        self.routes = routes
        self.requests: list[Exchange] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(10)
        self.listener.close()
        self.path.unlink()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self.threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._answer(connection)
        except (BrokenPipeError, ConnectionResetError):  # the client has left, which some tests want
            return

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            data = b""
            while (exchange := self._read(connection, data)) is not None:
                self.requests.append(exchange)
                handler = self.routes.get(f"{exchange.method} {exchange.target.partition('?')[0]}")
                if handler is None:
                    exchange.reply({"message": f"no route {exchange.method} {exchange.target}"}, 404)
                else:
                    handler(exchange)
                if "upgrade" in exchange.headers:
                    return
                data = exchange.preread

    def _read(self, connection: socket.socket, data: bytes) -> Exchange | None:
        def more() -> bytes:
            try:
                return connection.recv(65536)
            except ConnectionResetError:
                return b""

        while b"\r\n\r\n" not in data:
            piece = more()
            if not piece:
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        found = Exchange(connection, head.decode(), b"", b"")
        if "chunked" in found.headers.get("transfer-encoding", ""):
            while not body.endswith(b"0\r\n\r\n"):
                body += more()
            found.body = _dechunked(body)
        else:
            length = int(found.headers.get("content-length", 0))
            while len(body) < length:
                body += more()
            found.body, found.preread = body[:length], body[length:]
        return found

    def asked(self) -> list[str]:
        """Every request as "METHOD target", in the order of arrival."""
        return [f"{request.method} {request.target}" for request in self.requests]


def _dechunked(data: bytes) -> bytes:
    out = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        out += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return out


def environment(engine: FakeEngine | None = None, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKYARD_", "DOCKER_"))}
    host = {"DOCKYARD_HOST": f"unix://{engine.path}"} if engine else {"DOCKYARD_HOST": "unix:///nowhere/at/all"}
    return {**kept, "TZ": "UTC", **host, **more}


def dockyard(
    engine: FakeEngine | None, *args: str, input: bytes | None = None, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line to its end."""
    feed: dict[str, Any] = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
    argv: Sequence[str] = [*COMMAND, *args]
    return subprocess.run(
        argv, env=environment(engine, **options), capture_output=True, timeout=30, check=False, **feed
    )
