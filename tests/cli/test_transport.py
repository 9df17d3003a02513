"""HTTP over a Unix socket, against a server of canned bytes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tui.cli.errors import ApiError, CliError, Unreachable
from tui.cli.transport import Connection, container_path, quote, target

Serve = Callable[[Callable[[socket.socket], None]], Connection]


@pytest.fixture
def serve(short_folder: Path) -> Iterator[Serve]:
    """``serve(handler)`` → a connection whose other end ``handler`` has, in a thread."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(short_folder / "s"))
    listener.listen()
    threads: list[threading.Thread] = []
    connections: list[Connection] = []

    def start(handler: Callable[[socket.socket], None]) -> Connection:
        def run() -> None:
            peer, _ = listener.accept()
            with peer:
                handler(peer)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        connections.append(Connection(str(short_folder / "s")))
        return connections[-1]

    yield start
    for connection in connections:
        connection.close()
    listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10)
    listener.close()


def answer(*pieces: bytes) -> Callable[[socket.socket], None]:
    """Read a request, send ``pieces`` one by one."""

    def handler(peer: socket.socket) -> None:
        peer.recv(65536)
        for piece in pieces:
            try:
                peer.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):  # the client has heard enough
                return

    return handler


def test_a_body_with_a_length(serve: Serve) -> None:
    connection = serve(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhe", b"llo"))
    response = connection.request("GET", "/x")
    assert (response.status, response.headers["x-a"], response.read()) == (200, "b", b"hello")


def test_a_chunked_body(serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = head + b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
    connection = serve(answer(*(pieces[i : i + 1] for i in range(len(pieces)))))
    assert connection.request("GET", "/x").read() == b"hello world"


def test_a_large_chunked_body_arrives_whole(serve: Serve) -> None:
    data = bytes(range(256)) * 8192
    chunks = [b"%x\r\n%b\r\n" % (len(data[i : i + 70001]), data[i : i + 70001]) for i in range(0, len(data), 70001)]
    connection = serve(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n"))
    assert connection.request("GET", "/x").read() == data


def test_a_body_until_the_end(serve: Serve) -> None:
    connection = serve(answer(b"HTTP/1.1 200 OK\r\n\r\n", b"all ", b"of it"))
    assert connection.request("GET", "/x").read() == b"all of it"


def test_no_body(serve: Serve) -> None:
    connection = serve(answer(b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert connection.request("POST", "/x").read() == b""


def test_requests_follow_one_another(serve: Serve) -> None:
    seen = []

    def handler(peer: socket.socket) -> None:
        for number in range(2):
            seen.append(peer.recv(65536))
            peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"n":%d}' % number)

    connection = serve(handler)
    assert connection.request("POST", "/a", {"k": "é"}).json() == {"n": 0}
    assert connection.request("GET", "/b").json() == {"n": 1}
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert body == b'{"k":"\\u00e9"}'
    assert b"Content-Length: 14" in head
    assert seen[1].startswith(b"GET /b HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b'{"message": "no such thing"}', "no such thing"), (b"plain words\n", "plain words"), (b"", "HTTP status 404")],
)
def test_refusals_carry_the_engines_words(serve: Serve, body: bytes, reason: str) -> None:
    connection = serve(answer(b"HTTP/1.1 404 X\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)))
    with pytest.raises(ApiError) as caught:
        connection.request("GET", "/x")
    assert (caught.value.status, caught.value.reason) == (404, reason)
    assert caught.value.message == f"Error response from daemon: {reason}"


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnothex\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{x}",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000,
    ],
    ids=["ssh", "nothing", "short", "cut chunk", "no chunk", "no json", "endless header"],
)
def test_answers_that_are_none_are_typed_errors(serve: Serve, data: bytes) -> None:
    connection = serve(answer(data))
    with pytest.raises(CliError):
        connection.request("GET", "/x").json()


def test_an_upgraded_connection_is_a_stream_with_half_close(serve: Serve) -> None:
    def handler(peer: socket.socket) -> None:
        assert b"Upgrade: tcp" in peer.recv(65536)
        peer.sendall(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly ")
        data = b""
        while piece := peer.recv(100):
            data += piece
        peer.sendall(data.upper())

    connection = serve(handler)
    connection.send_upgrade("/attach")
    connection.answer_upgrade()
    assert connection.pending()
    connection.socket.sendall(b"typed")
    connection.socket.shutdown(socket.SHUT_WR)
    got = b""
    while piece := connection.receive():
        got += bytes(piece)
    assert got == b"early TYPED"


def test_an_upload_that_is_refused_half_way(serve: Serve) -> None:
    def handler(peer: socket.socket) -> None:
        peer.recv(65536)
        body = b'{"message": "disk full"}'
        peer.sendall(b"HTTP/1.1 500 X\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        peer.shutdown(socket.SHUT_RDWR)

    connection = serve(handler)
    with pytest.raises(ApiError, match="disk full"):
        connection.send_stream("/load", (b"x" * 65536 for _ in range(1000)), "application/x-tar").check()


def test_where_nobody_listens(short_folder: Path) -> None:
    with pytest.raises(Unreachable) as caught:
        Connection(str(short_folder / "none"))
    assert caught.value.missing
    assert str(short_folder / "none") in caught.value.message
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(short_folder / "left"))
    left.close()
    with pytest.raises(Unreachable) as caught:
        Connection(str(short_folder / "left"))
    assert caught.value.missing
    with pytest.raises(Unreachable) as caught:
        Connection("x" * 200)
    assert not caught.value.missing


def test_targets_are_quoted() -> None:
    assert quote("a b/c:d@e?é\udcff") == "a%20b/c:d@e%3F%C3%A9%FF"
    query = {"a": True, "b": False, "c": None, "d": "", "e": ["x", "y z"], "f": 5}
    assert target("/p", query) == "/p?a=1&e=x&e=y%20z&f=5"
    assert target("/p", {"a": None}) == "/p"


def test_a_container_that_is_named_oddly_is_one_part_of_the_path() -> None:
    assert container_path("/web") == "/containers/web"
    assert container_path("../../images/x") == "/containers/..%2F..%2Fimages%2Fx"
    with pytest.raises(ApiError, match="value is empty"):
        container_path("")
