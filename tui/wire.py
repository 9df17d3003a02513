"""HTTP/1.1 over a Unix socket, as much of it as Docker's API needs: pure parsing, and one blocking request.

Source: RFC 9112 (message syntax), Docker Engine API (hijack). No asyncio here: the first picture of the
workstation is fetched before asyncio is imported. ``tui.client`` is the asyncio side.
"""

from __future__ import annotations

import json
import socket
from typing import Any

_HEAD_LIMIT = 64 * 1024


class EngineError(Exception):
    """The engine answered with an error; ``status`` is HTTP's, ``str()`` the engine's own ``message``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ConnectionLost(Exception):
    """No engine listens at the socket, or it went away in the middle of an answer."""


class ProtocolError(ConnectionLost):
    """What came back is not HTTP/1.1 as RFC 9112 defines it."""


class Head:
    """Status line and headers (names in lower case) of an answer."""

    __slots__ = ("headers", "status")

    def __init__(self, raw: bytes) -> None:
        lines = raw.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise ProtocolError(f"not an HTTP answer: {lines[0][:60]!r}")
        self.status = int(parts[1])
        self.headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                self.headers[name.strip().lower()] = value.strip()

    @property
    def chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def length(self) -> int | None:
        """Bytes of the body; None when it runs to the end of the connection (or is chunked)."""
        if self.status in (204, 304) or 100 <= self.status < 200:
            return 0
        text = self.headers.get("content-length", "")
        return int(text) if text.isdigit() and not self.chunked else None

    @property
    def keeps_alive(self) -> bool:
        return self.headers.get("connection", "").lower() != "close" and (self.chunked or self.length is not None)


def request(method: str, target: str, body: bytes = b"", *, upgrade: bool = False, host: str = "dockyard") -> bytes:
    """The bytes of one request. ``target`` is a path with its query, already quoted."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    if body:
        lines.append("Content-Type: application/json")
    if upgrade:
        lines += ["Connection: Upgrade", "Upgrade: tcp"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def error_of(status: int, body: bytes) -> EngineError:
    """The typed error of an answer with a status of 400 or more."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode("utf-8", "replace").strip()[:500]
    return EngineError(status, str(message) or f"the engine answered with status {status}")


def dechunk(raw: bytes) -> tuple[bytes, bool]:
    """The decoded part of a chunked body and whether its end was seen."""
    out: list[bytes] = []
    at = 0
    while True:
        end = raw.find(b"\r\n", at)
        if end < 0:
            return b"".join(out), False
        try:
            count = int(raw[at:end].split(b";", 1)[0], 16)
        except ValueError:
            raise ProtocolError("a chunk without a length") from None
        if count == 0:
            return b"".join(out), True
        if end + 2 + count > len(raw):
            return b"".join(out), False
        out.append(raw[end + 2 : end + 2 + count])
        at = end + 2 + count + 2


def fetch(path: str, target: str, *, timeout: float) -> tuple[Head, Any]:
    """Blocking ``GET``; the JSON body. Raises :class:`ConnectionLost` and :class:`EngineError`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout)
            sock.connect(path)
            sock.sendall(request("GET", target))
            head, body = _read_answer(sock)
    except OSError as error:
        raise ConnectionLost(f"no engine answers at {path}: {error.strerror or error}") from error
    if head.status >= 400:
        raise error_of(head.status, body)
    try:
        return head, json.loads(body)
    except ValueError as error:
        raise ProtocolError(f"the engine's answer to {target} is not JSON") from error


def _read_answer(sock: socket.socket) -> tuple[Head, bytes]:
    raw = bytearray()
    while b"\r\n\r\n" not in raw:
        more = sock.recv(65536)
        if not more or len(raw) > _HEAD_LIMIT:
            raise ProtocolError("the engine closed the connection before it answered")
        raw += more
    at = raw.index(b"\r\n\r\n")
    head = Head(bytes(raw[:at]))
    del raw[: at + 4]
    while not _complete(head, raw):
        more = sock.recv(262144)
        if not more:
            break
        raw += more
    return head, dechunk(bytes(raw))[0] if head.chunked else bytes(raw)


def _complete(head: Head, raw: bytearray) -> bool:
    if head.chunked:
        return raw.endswith(b"0\r\n\r\n") and dechunk(bytes(raw))[1]
    return head.length is not None and len(raw) >= head.length


class Dechunker:
    """Incremental ``Transfer-Encoding: chunked`` (RFC 9112, 7.1): any split of the bytes gives the same payload."""

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0  # payload bytes of the current chunk still to come; -1: its final CRLF is due
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """The payload in ``data``. Raises :class:`ProtocolError`."""
        raw = self._buffer + data if self._buffer else data
        out: list[bytes] = []
        at, end = 0, len(raw)
        while at < end and not self.done:
            if self._left > 0:
                take = min(self._left, end - at)
                out.append(raw[at : at + take])
                at += take
                self._left = self._left - take or -1
                continue
            if self._left == -1:
                if end - at < 2:
                    break
                at, self._left = at + 2, 0
                continue
            line = raw.find(b"\r\n", at)
            if line < 0:
                if end - at > 1024:
                    raise ProtocolError("a chunk without a length")
                break
            try:
                self._left = int(raw[at:line].split(b";", 1)[0], 16)
            except ValueError:
                raise ProtocolError("a chunk without a length") from None
            at = line + 2
            self.done = self._left == 0
        self._buffer = raw[at:]
        return b"".join(out) if len(out) != 1 else out[0]


class Demuxer:
    """Docker's multiplexed stream: 8 bytes of header (stream, 0, 0, 0, length big-endian), then the payload."""

    def __init__(self) -> None:
        self._buffer = b""
        self._stream = 1
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(stream, payload) pairs, neighbours of one stream joined: 1 stdout, 2 stderr, 3 the engine's error."""
        raw = self._buffer + data if self._buffer else data
        out: list[tuple[int, bytes]] = []
        pending: list[bytes] = []
        at, end = 0, len(raw)
        while at < end:
            if self._left:
                take = min(self._left, end - at)
                pending.append(raw[at : at + take])
                at += take
                self._left -= take
                continue
            if end - at < 8:
                break
            if raw[at] > 3 or raw[at + 1 : at + 4] != b"\0\0\0":
                raise ProtocolError("not a multiplexed stream")
            if raw[at] != self._stream:
                if pending:
                    out.append((self._stream, b"".join(pending)))
                    pending = []
                self._stream = raw[at]
            self._left = int.from_bytes(raw[at + 4 : at + 8], "big")
            at += 8
        self._buffer = raw[at:]
        if pending:
            out.append((self._stream, b"".join(pending)))
        return out
