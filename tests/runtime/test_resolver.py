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

from core.linux import netns
from core.runtime import resolver as module
from core.runtime.poller import Poller
from core.runtime.resolver import Resolver
from tests.network import dns
from tests.network.namespace import NetNs

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
            if replies or not self.poller.run_once(1000):
                break
        return dns.decode(replies[0]) if replies else None

    def close(self) -> None:
        self.resolver.close()
        os.close(self._run_fd)


Inside = Callable[[Callable[[Box], None]], None]


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    """Run a test's body with a box, in a thread that is in the namespace."""
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
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


def test_others_are_asked_one_after_the_other(inside: Inside) -> None:
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
            found = box.ask("example.com")
            assert found is not None
            assert found.texts(dns.A) == ["203.0.113.5"]
            box.poller.forget(answers.fileno())
            nobody = box.ask("example.com")
            assert nobody is not None
            assert nobody.code == dns.SERVFAIL

    inside(body)


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
