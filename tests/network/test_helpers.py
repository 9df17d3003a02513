"""The test ground for networks can fail: what it shows as reached is reached, and what is left behind is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network import clients, dns, firewalls, lan, servers
from tests.network.lan import Lan
from tests.network.namespace import NetNs
from tests.network.state import state
from tests.support import wait_until

pytestmark = pytest.mark.root

TCP_AND_UDP = pytest.mark.parametrize("protocol", ["tcp", "udp"])


def test_a_namespace_is_entered_by_one_thread_alone() -> None:
    with NetNs() as made, NetNs.own() as own:
        assert made.name != own.name
        assert made.inside(lambda: Path("/proc/thread-self/ns/net").readlink()) == Path(made.name)
        assert made.run(["readlink", "/proc/self/ns/net"]) == f"{made.name}\n"
        assert str(Path("/proc/thread-self/ns/net").readlink()) == own.name
        assert made.sysctl("net.ipv4.ip_forward", "1") == "1"
        with pytest.raises(ZeroDivisionError):
            made.inside(lambda: 1 / 0)
        with pytest.raises(AssertionError, match="exit 1"):
            made.run(["false"])


@TCP_AND_UDP
@pytest.mark.parametrize(
    ("server", "source"), [(lan.NEIGHBOUR, lan.HOST), (lan.NEIGHBOUR6, lan.HOST6), (lan.OUTSIDE, lan.HOST)]
)
def test_the_neighbour_answers_with_who_asked(protocol: str, server: str, source: str) -> None:
    with NetNs() as host, Lan(host) as cable, servers.echo(cable.neighbour, "tcp:7", "udp:7"):
        answer = clients.ask(host, protocol, server, 7, text="some text")
        assert (answer["peer"][0], answer["own"], answer["text"]) == (source, [server, 7], "some text")
        assert clients.unreached(host, protocol, server, 8)
        # From there to here nobody listens.
        assert clients.unreached(cable.neighbour, protocol, lan.HOST, 7)


def test_a_dns_server_answers_over_both_protocols() -> None:
    records = {"www.example.com": ["203.0.113.5", "203.0.113.6", "2001:db8::5"], "long.example.com": ["203.0.113.9"]}
    with (
        NetNs() as host,
        Lan(host) as cable,
        servers.DnsServer(cable.neighbour, lan.NEIGHBOUR, records, truncated=["long.example.com"]) as server,
    ):

        def query(name: str, kind: int = dns.A, *, tcp: bool = False) -> dns.Message:
            return clients.query(host, name, kind, server=lan.NEIGHBOUR, tcp=tcp)

        for tcp in (False, True):
            assert query("www.example.com", tcp=tcp).texts(dns.A) == ["203.0.113.5", "203.0.113.6"]
            assert query("WWW.example.com", dns.AAAA, tcp=tcp).texts(dns.AAAA) == ["2001:db8::5"]
            assert query("nothing.example.com", tcp=tcp).code == dns.NXDOMAIN
        assert query("long.example.com").truncated
        assert query("long.example.com", tcp=True).texts(dns.A) == ["203.0.113.9"]
        assert [question.protocol for question in server.asked("long.example.com")] == ["udp", "tcp"]
        assert {question.peer for question in server.questions} == {lan.HOST}


def test_reverse_names() -> None:
    assert dns.reverse_name("192.0.2.1") == "1.2.0.192.in-addr.arpa"
    assert dns.reverse_name("2001:db8::1").startswith("1.0.0.0.0.0.")
    assert dns.reverse_name("2001:db8::1").endswith(".8.b.d.0.1.0.0.2.ip6.arpa")


def test_a_web_server_on_the_lan(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("the neighbour's page\n")
    with NetNs() as host, Lan(host) as cable, servers.httpd(cable.neighbour, lan.NEIGHBOUR, tmp_path):
        argv = ["busybox", "wget", "-qO-", f"http://{lan.NEIGHBOUR}/"]
        wait_until(lambda: "the neighbour's page" in host.run(argv, check=False), 10, "the page is served")


def test_what_is_left_in_a_namespace_is_told() -> None:
    with NetNs() as host:
        before = state(host)
        host.ip("link", "add", "br7", "type", "bridge")
        host.ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
        host.ip("link", "set", "v1", "master", "br7")
        host.ip("link", "set", "br7", "up")
        host.ip("address", "add", "10.9.8.1/24", "dev", "br7")
        host.nft(
            "table inet left { chain c { type filter hook forward priority 0; ip daddr 10.9.8.7 counter drop; }; }"
        )
        with servers.echo(host, "tcp:81", "udp:82"):
            found = before.added(state(host))
        assert {"link: v1 veth on br7", "link: br7 bridge", "address: 10.9.8.1/24 on br7"} <= set(found)
        assert any(line.startswith("route: 10.9.8.0/24") for line in found)
        assert any(line.startswith("rule: ") and "10.9.8.7" in line for line in found)
        assert any(line.startswith("socket: tcp6 ") and line.endswith(":0051") for line in found)
        assert any(line.startswith("socket: udp6 ") and line.endswith(":0052") for line in found)
        host.nft("delete table inet left")
        host.ip("link", "delete", "br7")
        host.ip("link", "delete", "v0")
        assert before.added(state(host)) == []
        assert before.missing(state(host)) == []


@pytest.mark.parametrize("program", ["ufw", "firewalld", "dockerd"])
def test_firewalls_guard_and_go_without_a_trace(program: str) -> None:
    """Each lets the host ask and its answers in; ufw and firewalld let nobody in, and all of them forward nothing."""
    with NetNs() as host, Lan(host) as cable, NetNs() as behind:
        host.ip("link", "add", "in0", "type", "veth", "peer", "name", "eth0", "netns", behind.path)
        host.ip("address", "add", "10.9.8.1/24", "dev", "in0")
        host.ip("link", "set", "in0", "up")
        behind.ip("address", "add", "10.9.8.2/24", "dev", "eth0")
        behind.ip("link", "set", "eth0", "up")
        behind.ip("route", "add", "default", "via", "10.9.8.1")
        host.sysctl("net.ipv4.ip_forward", "1")
        cable.route("10.9.8.0/24")
        before = state(host)
        echoes = [servers.echo(space, "tcp:7") for space in (host, cable.neighbour, behind)]
        with echoes[0], echoes[1], echoes[2]:
            assert clients.reached(cable.neighbour, "tcp", "10.9.8.2", 7)
            firewalls.load(host, program)
            assert firewalls.text(host, program)
            assert clients.reached(host, "tcp", lan.NEIGHBOUR, 7)
            assert clients.unreached(cable.neighbour, "tcp", lan.HOST, 7) == (program != "dockerd")
            assert clients.unreached(cable.neighbour, "tcp", "10.9.8.2", 7)
            firewalls.unload(host, program)
            assert clients.reached(cable.neighbour, "tcp", "10.9.8.2", 7)
        assert before.added(state(host)) == []
