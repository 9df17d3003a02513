"""The keeper of published ports: the relay for what NAT does not catch. In a network namespace of the test's own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from core.runtime import proxy
from core.runtime.poller import Poller
from core.runtime.proxy import Ports
from tests.network.namespace import NetNs

pytestmark = pytest.mark.root


class Keeper:
    """Ports on a loop that runs in a thread of the namespace."""

    def __init__(self) -> None:
        self.poller = Poller()
        self.ports = Ports(self.poller)
        self._wake, self._woken = socket.socketpair()
        self._calls: list[Callable[[], object]] = []
        self._done = threading.Event()
        self.poller.watch(self._woken.fileno(), 1, lambda events: self._do())
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._done.is_set():
            self.poller.run_once(None)

    def _do(self) -> None:
        self._woken.recv(1)
        self._calls.pop(0)()

    def call(self, work: Callable[[], object]) -> None:
        """Do it in the loop's thread and wait for that."""
        finished = threading.Event()
        failures: list[BaseException] = []

        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again below
                failures.append(error)
            finished.set()

        self._calls.append(guarded)
        self._wake.send(b"x")
        assert finished.wait(20)
        if failures:
            raise failures[0]

    def close(self) -> None:
        self.call(self.ports.close)
        self.call(self._done.set)
        self._thread.join()
        self._wake.close()
        self._woken.close()

    def publish(self, key: str, sock: socket.socket, target: tuple[str, int]) -> None:
        protocol = key.partition("/")[0]
        self.call(lambda: self.ports.add([[key, protocol, *target]], [sock.detach()]))


Inside = Callable[[Callable[[Keeper], None]], None]


@pytest.fixture
def inside() -> Iterator[Inside]:
    with NetNs() as namespace:

        def run(body: Callable[[Keeper], None]) -> None:
            def work() -> None:
                keeper = Keeper()
                try:
                    body(keeper)
                finally:
                    keeper.close()

            namespace.inside(work)

        yield run


def _listener(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen(64)
    return sock


def _read(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


@pytest.mark.parametrize(("host", "target"), [("127.0.0.1", "127.0.0.1"), ("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
def test_both_directions_and_the_end_of_each(inside: Inside, host: str, target: str) -> None:
    def body(keeper: Keeper) -> None:
        with _listener(target, 8000) as server:
            keeper.publish("tcp/x/80", _listener(host, 80), (target, 8000))
            with socket.create_connection((host, 80)) as client:
                accepted, _ = server.accept()
                with accepted:
                    client.sendall(b"question")
                    client.shutdown(socket.SHUT_WR)
                    assert _read(accepted) == b"question"
                    accepted.sendall(b"answer")
                    accepted.shutdown(socket.SHUT_WR)
                    assert _read(client) == b"answer"

    inside(body)


def test_much_data_comes_through_whole(inside: Inside) -> None:
    size = 16 << 20

    def body(keeper: Keeper) -> None:
        with _listener("127.0.0.1", 8000) as server:
            keeper.publish("tcp/x/80", _listener("127.0.0.1", 80), ("127.0.0.1", 8000))
            with socket.create_connection(("127.0.0.1", 80)) as client:
                accepted, _ = server.accept()
                with accepted:

                    def send() -> None:
                        client.sendall(b"ab" * (size // 2))
                        client.shutdown(socket.SHUT_WR)

                    sender = threading.Thread(target=send)
                    sender.start()
                    assert _read(accepted) == b"ab" * (size // 2)
                    sender.join()

    inside(body)


def test_nobody_listens_behind(inside: Inside) -> None:
    def body(keeper: Keeper) -> None:
        keeper.publish("tcp/x/80", _listener("127.0.0.1", 80), ("127.0.0.1", 8000))
        with socket.create_connection(("127.0.0.1", 80)) as client, pytest.raises(ConnectionResetError):
            client.recv(1)

    inside(body)


def test_a_port_is_free_when_it_is_let_go(inside: Inside) -> None:
    def body(keeper: Keeper) -> None:
        with _listener("127.0.0.1", 8000) as server:
            keeper.publish("tcp/x/80", _listener("127.0.0.1", 80), ("127.0.0.1", 8000))
            with socket.create_connection(("127.0.0.1", 80)) as client:
                accepted, _ = server.accept()
                keeper.call(lambda: keeper.ports.remove(["tcp/x/80", "tcp/unknown/1"]))
                assert client.recv(1) == b""
                accepted.close()
            _listener("127.0.0.1", 80).close()

    inside(body)


def test_another_target(inside: Inside) -> None:
    def body(keeper: Keeper) -> None:
        with _listener("127.0.0.1", 8000), _listener("127.0.0.1", 8001) as second:
            keeper.publish("tcp/x/80", _listener("127.0.0.1", 80), ("127.0.0.1", 8000))
            keeper.call(lambda: keeper.ports.retarget([["tcp/x/80", "tcp", "127.0.0.1", 8001]]))
            with socket.create_connection(("127.0.0.1", 80)):
                second.settimeout(10)
                second.accept()[0].close()

    inside(body)


def test_connections_are_bounded_and_the_next_one_waits(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_MAX_CONNECTIONS", 2)

    def body(keeper: Keeper) -> None:
        with _listener("127.0.0.1", 8000) as server:
            keeper.publish("tcp/x/80", _listener("127.0.0.1", 80), ("127.0.0.1", 8000))
            clients = [socket.create_connection(("127.0.0.1", 80)) for _ in range(3)]
            accepted = [server.accept()[0] for _ in range(2)]
            server.setblocking(False)
            keeper.call(lambda: None)
            with pytest.raises(BlockingIOError):
                server.accept()
            clients[0].close()
            accepted[0].close()
            server.settimeout(10)
            accepted.append(server.accept()[0])
            for sock in clients + accepted:
                sock.close()

    inside(body)


def test_a_silent_connection_makes_room(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_MAX_CONNECTIONS", 2)
    monkeypatch.setattr(proxy, "_IDLE", 0.3)
    monkeypatch.setattr(proxy, "_GRAIN", 0.0)

    def body(keeper: Keeper) -> None:
        with _listener("127.0.0.1", 8000) as server:
            server.settimeout(10)
            keeper.publish("tcp/x/80", _listener("127.0.0.1", 80), ("127.0.0.1", 8000))
            silent = socket.create_connection(("127.0.0.1", 80))
            accepted = [server.accept()[0]]
            busy = socket.create_connection(("127.0.0.1", 80))
            accepted.append(server.accept()[0])
            busy.sendall(b"x")
            assert accepted[1].recv(1) == b"x"
            third = socket.create_connection(("127.0.0.1", 80))
            accepted.append(server.accept()[0])
            silent.settimeout(10)
            assert silent.recv(1) == b""
            busy.sendall(b"y")
            assert accepted[1].recv(1) == b"y"
            for sock in (silent, busy, third, *accepted):
                sock.close()

    inside(body)


def test_datagrams_are_answered_from_the_address_that_was_asked(inside: Inside) -> None:
    def body(keeper: Keeper) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 8000))
            server.settimeout(10)
            published = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            published.bind(("0.0.0.0", 53))
            keeper.publish("udp/x/53", published, ("127.0.0.1", 8000))
            for address in ("127.0.0.2", "127.0.0.3"):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.settimeout(10)
                    client.sendto(b"hello", (address, 53))
                    data, relay = server.recvfrom(100)
                    server.sendto(data.upper(), relay)
                    assert client.recvfrom(100) == (b"HELLO", (address, 53))

    inside(body)


def test_the_oldest_client_makes_room(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_MAX_CLIENTS", 2)

    def body(keeper: Keeper) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 8000))
            server.settimeout(10)
            published = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            published.bind(("127.0.0.1", 53))
            keeper.publish("udp/x/53", published, ("127.0.0.1", 8000))
            relays = []
            for number in (0, 1, 2, 0):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.bind(("127.0.0.1", 9000 + number))
                    client.sendto(b"x", ("127.0.0.1", 53))
                    relays.append(server.recvfrom(10)[1])
            assert len(set(relays[:3])) == 3
            assert relays[3] != relays[0]

    inside(body)
