"""A container's resolver: tables, other servers, bounds. In a network namespace of the test's own."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.linux import netns
from core.runtime import resolver as module
from core.runtime.poller import Poller
from core.runtime.resolver import Resolver
from tests.network import dns
from tests.network.namespace import NetNs
from tests.network.servers import DnsServer

pytestmark = pytest.mark.root
TABLE: dict[str, Any] = {
    "name": "app",
    "names": {"web": ["10.0.0.2", "fd00::2"], "api": ["10.0.0.2", "10.0.0.3"]},
    "reverse": {"10.0.0.2": "web"},
}


class Box:
    """A resolver with its tables and its loop, all in one thread of one namespace."""

    def __init__(self, folder: Path, namespace: NetNs) -> None:
        self.folder = folder
        self.poller = Poller()
        self.write("table.json", TABLE)
        self.own()
        (folder / "resolv.conf").write_text("nameserver 127.0.0.2\nnameserver 127.0.0.3\nnameserver 127.0.0.11\n")
        self._run_fd = os.open(folder, os.O_RDONLY)
        self.resolver = Resolver(self.poller, self._run_fd, namespace.fd, str(folder / "resolv.conf"))

    def own(self, **members: Any) -> None:
        document = {"networks": [str(self.folder / "table.json")], "own": {}, "upstream": [], "forward": True}
        self.write("dns.json", document | members)

    def write(self, name: str, document: Any) -> None:
        path = self.folder / f"{name}.new"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        path.rename(self.folder / name)

    def ask(self, name: str, kind: int = dns.A, *, stream: bool = False) -> dns.Message | None:
        """The answer, after the loop has done what it has to; None while there is none."""
        replies: list[bytes] = []
        self.resolver.handle(dns.encode(dns.Message(7, name, kind)), replies.append, stream=stream)
        for _ in range(20):
            if replies or not self.poller.run_once(10_000):
                break
        return dns.decode(replies[0]) if replies else None

    def got(self, name: str, kind: int = dns.A, *, stream: bool = False) -> dns.Message:
        """The answer, which there is."""
        answer = self.ask(name, kind, stream=stream)
        assert answer is not None
        return answer

    def turn(self, until: Callable[[], bool]) -> None:
        """Let the loop run until something is so."""
        while not until():
            assert self.poller.run_once(10_000), "nothing happens any more"

    def settle(self) -> None:
        """Let the loop do all that it can do now."""
        while self.poller.run_once(0):
            pass

    def close(self) -> None:
        self.resolver.close()
        os.close(self._run_fd)


class Client:
    """A TCP connection to the resolver, in the thread of its loop."""

    def __init__(self, *, buffer: int = 0) -> None:
        self._socket = socket.socket()
        if buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._socket.connect(("127.0.0.11", module.PORT))
        self._socket.setblocking(False)
        self.received = b""
        self.ended = False

    def send(self, *packets: bytes) -> None:
        self._socket.sendall(b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets))

    def ask(self, *names: str) -> None:
        self.send(*(dns.encode(dns.Message(number, name, dns.A)) for number, name in enumerate(names)))

    def finish(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def replies(self) -> list[bytes]:
        """The whole messages so far."""
        try:
            while data := self._socket.recv(65535):
                self.received += data
            self.ended = True
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.ended = True
        found, rest = [], self.received
        while len(rest) > 2 and len(rest) >= 2 + int.from_bytes(rest[:2], "big"):
            end = 2 + int.from_bytes(rest[:2], "big")
            found.append(rest[2:end])
            rest = rest[end:]
        return found

    def is_over(self) -> bool:
        self.replies()
        return self.ended

    def close(self) -> None:
        self._socket.close()


Inside = Callable[[Callable[[Box], None]], None]


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    """Run a test's body with a box, in a thread that is in the namespace."""
    monkeypatch.setattr(module, "_PATIENCE", 30)
    with NetNs() as namespace:
        monkeypatch.setattr(netns, "_home", namespace.fd)

        def run(body: Callable[[Box], None]) -> None:
            def work() -> None:
                box = Box(tmp_path, namespace)
                before = len(os.listdir("/proc/self/fd"))
                try:
                    body(box)
                finally:
                    box.close()
                assert len(os.listdir("/proc/self/fd")) < before

            namespace.inside(work)

        yield run


def test_names_of_the_tables(inside: Inside) -> None:
    def body(box: Box) -> None:
        for name in ("web", "WEB", "web.app", "Web.App"):
            answer = box.ask(name)
            assert answer is not None
            assert (answer.code, answer.texts(dns.A), answer.name) == (dns.NOERROR, ["10.0.0.2"], name)
        six = box.ask("web", dns.AAAA)
        assert six is not None
        assert six.texts(dns.AAAA) == ["fd00::2"]
        for name, kind in (("api", dns.AAAA), ("web", dns.TXT)):
            nothing = box.ask(name, kind)
            assert nothing is not None
            assert (nothing.code, nothing.answers) == (dns.NOERROR, [])

    inside(body)


def test_a_shared_alias_is_turned_around(inside: Inside) -> None:
    def body(box: Box) -> None:
        first = [[text for *_, text in answer.answers] for _ in range(2) if (answer := box.ask("api"))]
        assert sorted(map(tuple, first)) == [("10.0.0.2", "10.0.0.3"), ("10.0.0.3", "10.0.0.2")]

    inside(body)


def test_reverse_and_services(inside: Inside) -> None:
    def body(box: Box) -> None:
        reverse = box.ask(dns.reverse_name("10.0.0.2"), dns.PTR)
        assert reverse is not None
        assert reverse.texts(dns.PTR) == ["web.app"]
        for name, host in (("_80._tcp.web", "web"), ("_80._TCP.Web.app", "Web.app"), ("_80._udp.WEB", "WEB")):
            service = box.ask(name, dns.SRV)
            assert service is not None
            assert service.texts(dns.SRV) == [f"80 {host}"]

    inside(body)


def test_names_that_dns_cannot_say(inside: Inside) -> None:
    """A neighbour may be called so; who asks for it has no name, and goes on."""

    def body(box: Box) -> None:
        strange = {"10.0.0.3": "x" * 70, "10.0.0.4": "a..b", "10.0.0.5": "end."}
        box.write("table.json", {"name": "app", "names": {"a..b": ["10.0.0.4"]}, "reverse": strange})
        for address in strange:
            answer = box.ask(dns.reverse_name(address), dns.PTR)
            assert answer is not None
            assert (answer.code, answer.answers) == (dns.NOERROR, [])
        # One label with dots in it.
        label = b"_80._tcp.a..b"
        packet = b"\x00\x07\x01\x00\x00\x01" + bytes(6) + bytes([len(label)]) + label + b"\x00\x00\x21\x00\x01"
        replies: list[bytes] = []
        box.resolver.handle(packet, replies.append, stream=False)
        assert struct.unpack_from(">HHH", replies[0], 2) == (0x8180, 1, 0)

    inside(body)


def test_types_that_a_known_name_has_none_of(inside: Inside) -> None:
    """They are answered here: nobody outside hears what the neighbours are called."""

    def body(box: Box) -> None:
        with _server("127.0.0.2") as outside:
            outside.setblocking(False)
            for kind in (dns.PTR, dns.SRV, dns.TXT, dns.CNAME, 15, 65):
                answer = box.ask("web", kind)
                assert answer is not None
                assert (answer.code, answer.answers) == (dns.NOERROR, []), kind
            with pytest.raises(BlockingIOError):
                outside.recv(512)

    inside(body)


def test_tables_are_read_again_and_a_damaged_one_is_not_believed(inside: Inside) -> None:
    def body(box: Box) -> None:
        box.own(forward=False, own={"db": ["10.0.0.9"]})
        private = box.ask("db")
        assert private is not None
        assert private.texts(dns.A) == ["10.0.0.9"]
        box.write("table.json", {**TABLE, "names": {"web": ["10.0.0.7"]}})
        moved = box.ask("web")
        assert moved is not None
        assert moved.texts(dns.A) == ["10.0.0.7"]
        box.write("table.json", "{")
        kept = box.ask("web")
        assert kept is not None
        assert kept.texts(dns.A) == ["10.0.0.7"]
        gone = box.ask("api")
        assert gone is not None
        assert gone.code == dns.NXDOMAIN

    inside(body)


def _server(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 53))
    return sock


def test_others_are_asked_one_after_the_other(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    def body(box: Box) -> None:
        with _server("127.0.0.2") as refuses, _server("127.0.0.3") as answers:

            def refuse(events: int) -> None:
                packet, client = refuses.recvfrom(512)
                question = dns.decode(packet)
                assert question.id != 7 or question.name == "example.com"
                # Another number, another question, then the refusal: only the last one counts.
                refuses.sendto(dns.encode(dns.reply(dns.Message(question.id ^ 1, question.name, 1), [])), client)
                refuses.sendto(dns.encode(dns.reply(dns.Message(question.id, "evil.com", 1), [])), client)
                refuses.sendto(dns.encode(dns.reply(question, [], dns.REFUSED)), client)

            def answer(events: int) -> None:
                packet, client = answers.recvfrom(512)
                question = dns.decode(packet)
                found = [(question.name, dns.A, 60, "203.0.113.5")]
                answers.sendto(dns.encode(dns.reply(question, found)), client)

            box.poller.watch(refuses.fileno(), 1, refuse)
            box.poller.watch(answers.fileno(), 1, answer)
            found = box.ask("example.com")
            assert found is not None
            assert (found.id, found.texts(dns.A)) == (7, ["203.0.113.5"])
            box.poller.forget(refuses.fileno())  # it is silent from now on
            monkeypatch.setattr(module, "_PATIENCE", 0.5)
            found = box.ask("example.com")
            assert found is not None
            assert found.texts(dns.A) == ["203.0.113.5"]
            box.poller.forget(answers.fileno())
            monkeypatch.setattr(module, "_PATIENCE", 0.05)
            nobody = box.ask("example.com")
            assert nobody is not None
            assert nobody.code == dns.SERVFAIL

    inside(body)


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_of_the_hosts(inside: Inside, stream: bool) -> None:
    records = {"www.example.com": ["203.0.113.5", "2001:db8::5"], "5.113.0.203.in-addr.arpa": ["www.example.com"]}

    def body(box: Box) -> None:
        namespace = NetNs.own()
        with namespace, DnsServer(namespace, "127.0.0.3", records, truncated=["long.example.com"]) as server:
            server.records["long.example.com"] = ["203.0.113.9"]
            # Nobody is at 127.0.0.2, which is told at once: the next one is asked.
            found = box.got("WWW.example.com", stream=stream)
            assert (found.id, found.name, found.texts(dns.A)) == (7, "WWW.example.com", ["203.0.113.5"])
            assert box.got("www.example.com", dns.AAAA, stream=stream).texts(dns.AAAA) == ["2001:db8::5"]
            reverse = box.got(dns.reverse_name("203.0.113.5"), dns.PTR, stream=stream)
            assert reverse.texts(dns.PTR) == ["www.example.com"]
            assert box.got("nobody.example.com", stream=stream).code == dns.NXDOMAIN
            assert box.got("_http._tcp.web", dns.SRV, stream=stream).code == dns.NXDOMAIN
            long = box.got("long.example.com", stream=stream)
            assert (long.truncated, long.texts(dns.A)) == ((False, ["203.0.113.9"]) if stream else (True, []))
            assert {question.protocol for question in server.questions} == {"tcp" if stream else "udp"}
            assert server.asked("web") == []

    inside(body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("listed", ["::1", "fe80::53%lo", "fe80::53%1"])
def test_a_server_with_an_address_of_ipv6(inside: Inside, listed: str, stream: bool) -> None:
    def body(box: Box) -> None:
        with NetNs.own() as namespace:
            namespace.ip("address", "add", "fe80::53/64", "dev", "lo", "nodad")
            # A zone that there is not, and a link-local address without one: no way there.
            box.write("resolv.conf", f"nameserver fe80::53%nothing\nnameserver fe80::53\nnameserver {listed}\n")
            with DnsServer(namespace, "::", {"www.example.com": ["203.0.113.5"]}):
                assert box.got("www.example.com", stream=stream).texts(dns.A) == ["203.0.113.5"]

    inside(body)


def test_servers_change_under_it(inside: Inside) -> None:
    def body(box: Box) -> None:
        with (
            NetNs.own() as namespace,
            DnsServer(namespace, "127.0.0.2", {"www.example.com": ["203.0.113.2"]}),
            DnsServer(namespace, "127.0.0.4", {"www.example.com": ["203.0.113.4"]}),
        ):
            assert box.got("www.example.com").texts(dns.A) == ["203.0.113.2"]
            box.write("resolv.conf", "search example.com\nnameserver 127.0.0.4\noptions ndots:5\n")
            assert box.got("www.example.com").texts(dns.A) == ["203.0.113.4"]
            assert box.got("www").code == dns.NXDOMAIN  # the search list is the clients' own affair
            for text in ("nameserver 127.0.0.11\n", "", "nameserver localhost\n"):
                box.write("resolv.conf", text)
                assert box.got("www.example.com").code == dns.SERVFAIL

    inside(body)


@pytest.mark.parametrize("stream", [False, True])
def test_who_is_asked_from_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    """The host's servers from the host, the person's own from the container's namespace."""
    with NetNs() as host, NetNs() as container:
        monkeypatch.setattr(netns, "_home", host.fd)

        def work() -> None:
            box = Box(tmp_path, container)
            try:
                assert box.got("www.example.com", stream=stream).texts(dns.A) == ["203.0.113.1"]
                box.own(upstream=["127.0.0.2"])
                assert box.got("www.example.com", stream=stream).texts(dns.A) == ["203.0.113.2"]
                box.own(upstream=["127.0.0.2"], forward=False)
                assert box.got("www.example.com", stream=stream).texts(dns.A) == ["203.0.113.2"]
                box.own(upstream=["127.0.0.11"])
                assert box.got("www.example.com", stream=stream).code == dns.SERVFAIL
                asked = len(outside.questions)
                box.own(forward=False)
                assert box.got("www.example.com", stream=stream).code == dns.NXDOMAIN
                (tmp_path / "dns.json").unlink()
                assert box.got("web", stream=stream).texts(dns.A) == ["10.0.0.2"]
                assert len(outside.questions) == asked
            finally:
                box.close()

        with (
            DnsServer(host, "127.0.0.2", {"www.example.com": ["203.0.113.1"]}) as outside,
            DnsServer(container, "127.0.0.2", {"www.example.com": ["203.0.113.2"]}),
        ):
            host.inside(work)


def test_no_server_is_an_answer_too(inside: Inside) -> None:
    def body(box: Box) -> None:
        # Nobody listens on 127.0.0.2 and .3: the kernel says so at once.
        found = box.ask("example.com")
        assert found is not None
        assert found.code == dns.SERVFAIL
        stream = box.ask("example.com", stream=True)
        assert stream is not None
        assert stream.code == dns.SERVFAIL

    inside(body)


def test_port_53_leads_here_over_both_protocols(inside: Inside) -> None:
    def body(box: Box) -> None:
        question = dns.encode(dns.Message(9, "web", dns.A))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect(("127.0.0.11", 53))
            udp.send(question)
            assert box.poller.run_once(5000)
            assert dns.decode(udp.recv(512)).texts(dns.A) == ["10.0.0.2"]
        with socket.create_connection(("127.0.0.11", 53)) as tcp:
            tcp.sendall(struct.pack(">H", len(question)) + question[:5])
            tcp.sendall(question[5:])
            tcp.setblocking(False)
            data = b""
            while not data:
                assert box.poller.run_once(5000)
                try:
                    data = tcp.recv(512)
                except BlockingIOError:
                    continue
            assert dns.decode(data[2:]).texts(dns.A) == ["10.0.0.2"]
        # The container's own server has the port all the same.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.bind(("0.0.0.0", 53))

    inside(body)


def test_questions_that_wait_are_bounded(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_WAITING", 3)

    def body(box: Box) -> None:
        with _server("127.0.0.2"):
            replies: list[bytes] = []
            for number in range(5):
                packet = dns.encode(dns.Message(number, "example.com", dns.A))
                box.resolver.handle(packet, replies.append, stream=False)
            assert [dns.decode(reply).code for reply in replies] == [dns.SERVFAIL] * 2

    inside(body)


# --- bounds --------------------------------------------------------------------------------------------


def test_a_question_that_is_none(inside: Inside) -> None:
    """Over both protocols; the next one is answered all the same."""

    def body(box: Box) -> None:
        good = dns.encode(dns.Message(9, "web", dns.A))
        large = good + bytes(5000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect(("127.0.0.11", module.PORT))
            udp.setblocking(False)
            for packet in (b"", b"x", b"\0\0\x80" + good[3:], large, good):
                udp.send(packet)
            replies: list[bytes] = []
            box.turn(lambda: len(_drain(udp, replies)) == 2)
            assert _codes(replies) == [dns.FORMERR, dns.NOERROR]
        client = Client()
        client.send(b"", b"x", large, good)
        box.turn(lambda: len(client.replies()) == 2)
        assert _codes(client.replies()) == [dns.FORMERR, dns.NOERROR]
        client.close()

    inside(body)


def _drain(sock: socket.socket, replies: list[bytes]) -> list[bytes]:
    try:
        while True:
            replies.append(sock.recv(512))
    except BlockingIOError:
        return replies


def _codes(replies: list[bytes]) -> list[int]:
    return [reply[3] & 0xF for reply in replies]


def test_whatever_a_client_sends(inside: Inside) -> None:
    names = st.sampled_from([b"\x03web\0", b"\x03web\x03app\0", b"\x012\x010\x010\x0210\x07in-addr\x04arpa\0"])
    heads = st.sampled_from([b"\0\7\1\0\0\1" + bytes(6), b"\0\7\1\0\0\1" + bytes(5) + b"\1"])
    questions = st.tuples(heads, names | st.binary(max_size=40), st.integers(0, 260), st.binary(max_size=16))

    def body(box: Box) -> None:
        box.own(forward=False)

        @given(question=questions, noise=st.binary(max_size=80), stream=st.booleans())
        @settings(deadline=None)
        def asked(question: tuple[bytes, bytes, int, bytes], noise: bytes, stream: bool) -> None:
            head, name, kind, rest = question
            for packet in (noise, head + noise, head + name + struct.pack(">HH", kind, 1) + rest):
                replies: list[bytes] = []
                box.resolver.handle(packet, replies.append, stream=stream)
                assert len(replies) <= 1
                for reply in replies:
                    assert (reply[:2], reply[2] & 0x80) == (packet[:2], 0x80)

        asked()

    inside(body)


def test_connections_are_bounded(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_CONNECTIONS", 2)

    def body(box: Box) -> None:
        clients = [Client() for _ in range(3)]
        for client in clients:
            client.ask("web")
        box.turn(lambda: [len(client.replies()) for client in clients[:2]] == [1, 1])
        box.settle()
        assert [len(client.replies()) for client in clients] == [1, 1, 0]
        clients[0].close()
        box.turn(lambda: len(clients[2].replies()) == 1)
        for client in clients:
            client.close()

    inside(body)


@pytest.mark.parametrize("said", [b"", b"\0", b"\0\x20web"])
def test_a_silent_connection_is_closed(inside: Inside, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(module, "_IDLE", 0.05)

    def body(box: Box) -> None:
        client = Client()
        client._socket.send(said)
        box.turn(client.is_over)
        client.close()

    inside(body)


def test_who_asks_and_does_not_read_is_closed(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE", 9999)

    def body(box: Box) -> None:
        many = [f"10.1.{number >> 8}.{number & 255}" for number in range(4000)]
        box.write("table.json", {"name": "app", "names": {"all": many}, "reverse": {}})
        client = Client(buffer=4096)
        client.ask(*["all"] * 150)  # nine megabytes of answers
        box.turn(lambda: len(box.resolver._connections) == 1)
        box.turn(lambda: not box.resolver._connections)
        client.close()

    inside(body)


def test_a_client_that_has_no_more_to_ask_gets_its_answers(inside: Inside) -> None:
    def body(box: Box) -> None:
        with NetNs.own() as namespace, DnsServer(namespace, "127.0.0.2", {"www.example.com": ["203.0.113.5"]}):
            client = Client()
            client.ask("web", "www.example.com", "web")
            client.finish()
            box.turn(client.is_over)
            found = [(reply.id, *reply.texts(dns.A)) for reply in map(dns.decode, client.replies())]
            assert sorted(found) == [(0, "10.0.0.2"), (1, "203.0.113.5"), (2, "10.0.0.2")]
            client.close()
            silent = Client()
            silent.finish()
            box.turn(silent.is_over)
            silent.close()

    inside(body)


def test_a_client_that_leaves_before_its_answer(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.2)

    def body(box: Box) -> None:
        with NetNs.own() as namespace, DnsServer(namespace, "127.0.0.2", {}, silent=["slow.example.com"]):
            client = Client()
            client.ask("slow.example.com")
            box.turn(lambda: len(box.resolver._questions) == 1)
            client.close()
            box.turn(lambda: not box.resolver._questions and not box.resolver._connections)
            assert box.got("web").texts(dns.A) == ["10.0.0.2"]

    inside(body)
