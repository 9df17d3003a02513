"""HTTP/1.1 over a Unix socket, the client's side, in as few instructions as Docker's API needs.

``http.client`` costs 14 ms to import. This knows: requests with a body or a chunked upload, answers with a length,
chunked, until the end, or none, and connections that stop being HTTP (101 or raw 200: attach and exec).
"""

from __future__ import annotations

from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

from tui.cli.errors import ApiError, CliError, Unreachable
from tui.cli.jsonlite import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_BUFFER = 256 * 1024
_HEAD = 4096
_HEAD_LIMIT = 64 * 1024
_HEX = "0123456789ABCDEF"
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:@")


def quote(text: str) -> str:
    """Percent-encode for a path or a query's value; ``/``, ``:`` and ``@`` stay, as image names have them."""
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(b) if b in _PLAIN else f"%{_HEX[b >> 4]}{_HEX[b & 15]}" for b in data)


def container_path(ref: str) -> str:
    """``/containers/REF``, whatever was typed as the name; ApiError when that is nothing."""
    name = ref.strip("/")
    if not name:
        raise ApiError(400, "invalid container name or ID: value is empty")
    return "/containers/" + quote(name).replace("/", "%2F")


def target(path: str, query: dict[str, Any] | None = None) -> str:
    """``path?a=1&b=x``; values that are None or "" are left out, True is 1, lists repeat the name."""
    pairs = [
        f"{name}={quote('1' if item is True else str(item))}"
        for name, value in (query or {}).items()
        for item in (value if isinstance(value, list) else [value])
        if item not in (None, "", False)
    ]
    return path + "?" + "&".join(pairs) if pairs else path


class Response:
    """An answer whose head has been read. ``headers`` have lower-case names."""

    def __init__(self, connection: Connection, status: int, headers: dict[str, str], *, bodiless: bool) -> None:
        self.connection = connection
        self.status = status
        self.headers = headers
        self.bodiless = bodiless or status in (204, 304) or status < 200

    def pieces(self) -> Iterator[memoryview]:
        """The body as it arrives. A piece is valid only until the next one is asked for."""
        if self.bodiless:
            return
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            yield from self._chunks()
            return
        length = self.headers.get("content-length")
        left = int(length) if length is not None else -1
        while left:
            piece = self.connection.receive(left)
            if not piece:
                if left > 0:
                    raise CliError("the engine closed the connection in the middle of its answer")
                return
            left -= len(piece) if left > 0 else 0
            yield piece

    def _chunks(self) -> Iterator[memoryview]:
        connection = self.connection
        while True:
            line = connection.line()
            try:
                left = int(line.partition(b";")[0], 16)
            except ValueError:
                raise CliError("the engine closed the connection in the middle of its answer") from None
            if not left:
                while connection.line():
                    pass
                return
            while left:
                piece = connection.receive(left)
                if not piece:
                    raise CliError("the engine closed the connection in the middle of its answer")
                left -= len(piece)
                yield piece
            connection.line()

    def read(self) -> bytes:
        """The whole body."""
        return b"".join([bytes(piece) for piece in self.pieces()])

    def json(self) -> Any:
        """The body's JSON value. Raises CliError when it is none."""
        return as_json(self.read())

    def check(self) -> Response:
        """Raise :class:`ApiError` with the engine's message unless the status says success."""
        if self.status < 400:
            return self
        body = self.read()
        try:
            message = decode(body)["message"]
        except (ValueError, KeyError, TypeError):
            message = str(body, "utf-8", "replace").strip() or f"HTTP status {self.status}"
        raise ApiError(self.status, str(message).strip())


def as_json(body: bytes) -> Any:
    """The value of a body. Raises CliError when it is no JSON."""
    try:
        return decode(body)
    except ValueError as error:
        raise CliError(f"the engine's answer cannot be read: {error}") from None


class Connection:
    """One connection. Requests follow one another; after :meth:`upgrade` it is a plain two-way stream."""

    def __init__(self, path: str) -> None:
        """Connect. Raises Unreachable, which says what to do."""
        self.path = path
        self.socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        try:
            self.socket.connect(path)
        except OSError as error:
            self.socket.close()
            raise unreachable(path, error) from None
        self._buffer = bytearray(_HEAD)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()

    def send(self, method: str, where: str, body: Any = None, headers: Iterable[str] = ()) -> None:
        """Send a request; ``body`` is bytes, or a value that goes as JSON."""
        head = [f"{method} {where} HTTP/1.1", "Host: dockyard", "User-Agent: dockyard", *headers]
        data = b""
        if body is not None:
            data = body if isinstance(body, bytes) else encode(body)
            head += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        elif method != "GET":
            head.append("Content-Length: 0")
        head += ["", ""]
        try:
            self.socket.sendall("\r\n".join(head).encode() + data)
        except OSError as error:
            raise CliError(f"the engine at {self.path} hung up: {error.strerror}") from None

    def send_stream(self, where: str, pieces: Iterable[bytes], content_type: str, method: str = "POST") -> Response:
        """Send ``pieces`` as a chunked upload. An engine that refuses half-way answers before it hangs up."""
        head = f"{method} {where} HTTP/1.1\r\nHost: dockyard\r\nContent-Type: {content_type}\r\n"
        try:
            self.socket.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
            for piece in pieces:
                self.socket.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.socket.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self.answer()

    def answer(self, *, head: bool = False) -> Response:
        """Read an answer's head (informational ones are skipped)."""
        while True:
            line = self.line()
            parts = line.split(b" ", 2)
            if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
                raise CliError(f"what answers at {self.path} does not speak HTTP")
            status = int(parts[1])
            headers = {}
            while header := self.line():
                name, _, value = header.decode("latin-1").partition(":")
                headers[name.strip().lower()] = value.strip()
            if status == 101 or status >= 200:
                return Response(self, status, headers, bodiless=head)

    def request(self, method: str, where: str, body: Any = None) -> Response:
        """Send, read the head, raise ApiError for a refusal."""
        self.send(method, where, body)
        return self.answer().check()

    def send_upgrade(self, where: str, body: Any = None) -> None:
        """Ask for a connection that carries a stream from then on (attach, exec)."""
        self.send("POST", where, body, ("Connection: Upgrade", "Upgrade: tcp"))

    def answer_upgrade(self) -> Response:
        """The head that ends HTTP on this connection: 101, or 200 from engines that know no better."""
        return self.answer().check()

    def line(self) -> bytes:
        """A line without its end; b"" also at the end of the stream."""
        scanned = self._start
        while True:
            found = self._buffer.find(b"\n", scanned, self._end)
            if found >= 0:
                line = bytes(self._view[self._start : found])
                self._start = found + 1
                return line[:-1] if line.endswith(b"\r") else line
            if self._end - self._start > _HEAD_LIMIT:
                raise CliError("the engine sent a header line longer than 64 KiB")
            scanned = self._end
            before = self._start
            if not self._fill():
                return b""
            scanned -= before - self._start

    def receive(self, limit: int = -1) -> memoryview:
        """Some bytes, at most ``limit``; empty at the end. Valid until the next call."""
        if self._start == self._end:
            if len(self._buffer) < _BUFFER:
                self._buffer = bytearray(_BUFFER)
                self._view = memoryview(self._buffer)
            self._start = 0
            self._end = self._receive_into(self._view)
        end = self._end if limit < 0 else min(self._end, self._start + limit)
        piece = self._view[self._start : end]
        self._start = end
        return piece

    def pending(self) -> bool:
        """Whether bytes are here already, so that poll(2) on the socket would wait in vain."""
        return self._start < self._end

    def _fill(self) -> int:
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == len(self._buffer):
            kept = bytes(self._view[self._start : self._end])
            if len(kept) * 2 > len(self._buffer):
                self._buffer = bytearray(2 * len(self._buffer))
                self._view = memoryview(self._buffer)
            self._view[: len(kept)] = kept
            self._start, self._end = 0, len(kept)
        count = self._receive_into(self._view[self._end :])
        self._end += count
        return count

    def _receive_into(self, view: memoryview) -> int:
        try:
            return self.socket.recv_into(view)
        except ConnectionResetError:
            return 0
        except OSError as error:
            raise CliError(f"the engine at {self.path} does not answer: {error.strerror or error}") from None


def unreachable(path: str, error: OSError) -> Unreachable:
    """What it means that a socket could not be connected to, and what to do."""
    missing = isinstance(error, FileNotFoundError | ConnectionRefusedError)
    if isinstance(error, PermissionError):
        return Unreachable(
            f"permission denied on the engine's socket {path}\n"
            "Join its group and log in again: sudo usermod -aG dockyard $USER",
            False,
        )
    why = error.strerror or str(error)
    return Unreachable(f"Cannot connect to the engine at unix://{path} ({why}). Is it running?", missing)
