"""Names: containers find one another, and the world, by the engine's resolver; and the files below /etc."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.network import boxes, clients, dns, lan, servers
from tests.network.boxes import PYTHON, serve, start, within
from tests.network.clients import addresses, query
from tests.network.dockerd import DOCKER, ours
from tests.network.lan import Lan
from tests.network.namespace import NetNs
from tests.support import Engine, wait_until

RECORDS = {
    "www.example.com": ["203.0.113.5", "203.0.113.6", "2001:db8:9::5"],
    "long.example.com": ["203.0.113.9"],
    "5.113.0.203.in-addr.arpa": ["www.example.com"],
}


@pytest.fixture
def dns_server(lan: Lan) -> Iterator[servers.DnsServer]:
    with servers.DnsServer(lan.neighbour, "192.0.2.2", RECORDS, truncated=["long.example.com"]) as server:
        yield server


@pytest.fixture
def app(engine: Engine, dns_server: servers.DnsServer) -> Engine:
    """The engine, with networks ``app`` and ``other``."""
    for name in ("app", "other"):
        boxes.network(engine, name)
    return engine


#: Without these a test would wait for the machine's own resolvers, which no test's namespace reaches.
DNS = ("--dns", "192.0.2.2")


def member(engine: Engine, name: str, *flags: str, network: str = "app") -> str:
    """A sleeping container on a network; its id."""
    return start(engine, name, "--network", network, *DNS, *flags)


# --- containers ----------------------------------------------------------------------------------------


def test_names_of_a_container(app: Engine) -> None:
    web = member(app, "web", "--network-alias", "www", "--network-alias", "Shop", "--hostname", "inner")
    member(app, "client")
    wanted = [boxes.address(app, "web", "app")]
    with within(app, "client") as inside:
        for name in ("web", "www", "shop", "SHOP", "Web", web[:12], "web.app", "www.app"):
            assert addresses(inside, name) == wanted, name
        assert query(inside, "web", tcp=True).texts(dns.A) == wanted
        assert addresses(inside, "client") == [boxes.address(app, "client", "app")]
        for name in ("we", "webb", "nothing"):
            assert query(inside, name).code == dns.NXDOMAIN


def test_a_name_without_the_address_that_is_asked_for(app: Engine, dns_server: servers.DnsServer) -> None:
    """There is such a name, but no such address: a client must not be told that there is none, nor ask elsewhere."""
    member(app, "web")
    member(app, "client")
    with within(app, "client") as inside:
        answer = query(inside, "web", dns.AAAA)
        assert (answer.code, answer.answers) == (dns.NOERROR, [])
    assert dns_server.asked("web") == []


def test_an_alias_that_is_shared_has_several_answers(app: Engine) -> None:
    for name in ("one", "two", "three"):
        member(app, name, "--network-alias", "backend")
    member(app, "client")
    wanted = {boxes.address(app, name, "app") for name in ("one", "two", "three")}
    with within(app, "client") as inside:
        assert set(addresses(inside, "backend")) == wanted
        app.dockyard("stop", "-t", "0", "two", check=True)
        wait_until(lambda: len(addresses(inside, "backend")) == 2, 10, "the stopped one is not told any more")
        app.dockyard("start", "two", check=True)
        wanted = {boxes.address(app, name, "app") for name in ("one", "two", "three")}
        wait_until(lambda: set(addresses(inside, "backend")) == wanted, 10, "and is there again")
        app.dockyard("rm", "-f", "one", "two", "three", check=True)
        wait_until(lambda: query(inside, "backend").code == dns.NXDOMAIN, 10, "nobody is called so")


def test_names_of_other_networks_are_not_resolved(app: Engine) -> None:
    hidden = member(app, "hidden", "--network-alias", "secret", network="other")
    member(app, "client")
    address = boxes.address(app, "hidden", "other")
    with within(app, "client") as inside:
        for name in ("hidden", "secret", hidden[:12], "hidden.other"):
            assert query(inside, name).code == dns.NXDOMAIN, name
        assert "hidden" not in str(query(inside, dns.reverse_name(address), dns.PTR).answers)


def test_reverse_names(app: Engine) -> None:
    member(app, "web", "--network-alias", "www")
    member(app, "client")
    with within(app, "client") as inside:
        answer = query(inside, dns.reverse_name(boxes.address(app, "web", "app")), dns.PTR)
        assert answer.texts(dns.PTR) == ["web.app"]


def test_programs_find_names(app: Engine) -> None:
    """musl-like and glibc resolvers: busybox's own, and the C library's."""
    serve(app, "web", "--network", "app", *DNS)
    start(app, "client", "--network", "app", *DNS, *PYTHON)
    address = boxes.address(app, "web", "app")
    assert address in app.dockyard("exec", "client", "ping", "-c", "1", "web", check=True).stdout
    assert address in app.dockyard("exec", "client", "nslookup", "web", check=True).stdout
    assert address in app.dockyard("exec", "client", "/usr/bin/getent", "hosts", "web", check=True).stdout
    assert address in app.dockyard("exec", "client", "/usr/bin/getent", "ahostsv4", "web", check=True).stdout
    script = "import socket; s = socket.create_connection(('web', 80)); s.sendall(b'x\\n'); print(s.recv(999))"
    shown = app.dockyard("exec", "client", "/usr/bin/python3", "-c", script, check=True).stdout
    assert '"name": "web"' in shown
    assert "www.example.com" in app.dockyard("exec", "client", "nslookup", "203.0.113.5", check=True).stdout


def test_connect_and_disconnect(app: Engine) -> None:
    member(app, "web")
    member(app, "client")
    member(app, "far", network="other")
    with within(app, "client") as inside, within(app, "far") as far:
        assert query(far, "web").code == dns.NXDOMAIN
        app.dockyard("network", "connect", "--alias", "shop", "other", "web", check=True)
        wanted = [boxes.address(app, "web", "other")]
        for name in ("web", "shop"):
            wait_until(partial(_known, far, name, wanted), 10, f"{name} is known there")
        assert addresses(inside, "web") == [boxes.address(app, "web", "app")]
        assert query(inside, "shop").code == dns.NXDOMAIN
        app.dockyard("network", "connect", "other", "client", check=True)
        both = sorted([*wanted, boxes.address(app, "web", "app")])
        wait_until(lambda: set(addresses(inside, "web")) <= set(both), 10, "one of its addresses, or both")
        wait_until(lambda: addresses(inside, "far") == [boxes.address(app, "far", "other")], 10, "far is known")
        app.dockyard("network", "disconnect", "other", "web", check=True)
        wait_until(lambda: query(far, "web").code == dns.NXDOMAIN, 10, "it is gone there")
        assert addresses(inside, "web") == [boxes.address(app, "web", "app")]


def _known(namespace: NetNs, name: str, wanted: list[str]) -> bool:
    return addresses(namespace, name) == wanted


def test_a_new_name(app: Engine) -> None:
    # Its host name, which is a name of it too, stays.
    member(app, "web", "--hostname", "inner")
    member(app, "client")
    with within(app, "client") as inside:
        wanted = addresses(inside, "web")
        app.dockyard("rename", "web", "crate", check=True)
        wait_until(lambda: addresses(inside, "crate") == wanted, 10, "the new name")
        if not DOCKER:  # Docker keeps the old name as well
            wait_until(lambda: query(inside, "web").code == dns.NXDOMAIN, 10, "not the old one")


@ours
def test_names_on_the_default_bridge(engine: Engine, dns_server: servers.DnsServer) -> None:
    """Docker has none there."""
    start(engine, "box", *DNS)
    start(engine, "client", *DNS)
    with within(engine, "client") as inside:
        assert addresses(inside, "box") == [boxes.address(engine, "box")]


# --- links ---------------------------------------------------------------------------------------------


def test_links(app: Engine) -> None:
    member(app, "web")
    member(app, "client", "--link", "web:db")
    member(app, "third")
    with within(app, "client") as inside, within(app, "third") as third:
        assert addresses(inside, "db") == [boxes.address(app, "web", "app")]
        assert query(third, "db").code == dns.NXDOMAIN


def test_links_on_the_default_bridge(engine: Engine) -> None:
    web = start(engine, "web")
    start(engine, "client", "--link", "web:db")
    line = next(line for line in boxes.read(engine, "client", "/etc/hosts").splitlines() if "db" in line.split())
    assert line.split()[0] == boxes.address(engine, "web")
    assert {"db", web[:12]} & set(line.split()[1:])
    assert "web" in line.split()[1:]
    engine.dockyard("exec", "client", "ping", "-c", "1", "db", check=True)


def test_a_link_to_nobody(engine: Engine, busybox: str) -> None:
    done = engine.dockyard("run", "-d", "--link", "nobody:db", busybox, "true")
    assert done.returncode == 125
    assert "nobody" in done.stderr


# --- the world -----------------------------------------------------------------------------------------


def test_other_names_are_asked_outside(app: Engine, dns_server: servers.DnsServer) -> None:
    member(app, "client")
    with within(app, "client") as inside:
        for tcp in (False, True):
            assert query(inside, "www.example.com", tcp=tcp).texts(dns.A) == ["203.0.113.5", "203.0.113.6"]
            assert query(inside, "www.example.com", dns.AAAA, tcp=tcp).texts(dns.AAAA) == ["2001:db8:9::5"]
            assert query(inside, "nothing.example.com", tcp=tcp).code == dns.NXDOMAIN
        reverse = query(inside, dns.reverse_name("203.0.113.5"), dns.PTR)
        assert reverse.texts(dns.PTR) == ["www.example.com"]
    assert {question.peer for question in dns_server.questions} == {lan.HOST}


def test_an_answer_that_is_too_long_for_a_datagram(app: Engine) -> None:
    """The client is told so, or has it in full: the resolver does not swallow it."""
    member(app, "client")
    with within(app, "client") as inside:
        first = query(inside, "long.example.com")
        assert first.truncated or first.texts(dns.A) == ["203.0.113.9"]
        assert query(inside, "long.example.com", tcp=True).texts(dns.A) == ["203.0.113.9"]


def test_a_server_that_does_not_answer_is_passed_over(app: Engine) -> None:
    start(app, "client", "--network", "app", "--dns", "192.0.2.99", "--dns", "192.0.2.2")
    with within(app, "client") as inside:
        assert query(inside, "www.example.com", timeout=30).texts(dns.A) == ["203.0.113.5", "203.0.113.6"]


@ours
def test_the_hosts_own_servers(short_folder: Path, make_engine: Callable[..., Engine]) -> None:
    """Also a stub on 127.0.0.53, as systemd-resolved's: asked on the host, and read again when the file changes."""
    conf = short_folder / "resolv.conf"
    conf.write_text("nameserver 127.0.0.53\nsearch corp.example\noptions edns0\n")
    engine = make_engine(resolv_conf=conf)
    engine.busybox()
    records = {"intranet.corp.example": ["10.1.2.3"]}
    with (
        servers.DnsServer(engine.netns, "127.0.0.53", records) as stub,
        servers.DnsServer(engine.netns, "127.0.0.54", {"new.example": ["10.1.2.4"]}),
    ):
        boxes.network(engine, "app")
        start(engine, "client", "--network", "app")
        text = boxes.read(engine, "client", "/etc/resolv.conf")
        assert re.search(r"^nameserver 127\.0\.0\.11$", text, re.MULTILINE)
        assert re.search(r"^search corp\.example$", text, re.MULTILINE)
        with within(engine, "client") as inside:
            assert addresses(inside, "intranet.corp.example") == ["10.1.2.3"]
            assert {question.peer for question in stub.questions} == {"127.0.0.1"}
            conf.write_text("nameserver 127.0.0.54\n")
            wait_until(lambda: addresses(inside, "new.example") == ["10.1.2.4"], 20, "the other server is asked")


def test_an_internal_network_asks_nobody(app: Engine, dns_server: servers.DnsServer) -> None:
    boxes.network(app, "inner", "--internal")
    member(app, "web", network="inner")
    member(app, "client", network="inner")
    with within(app, "client") as inside:
        assert addresses(inside, "web") == [boxes.address(app, "web", "inner")]
        try:
            assert query(inside, "www.example.com", timeout=1).texts(dns.A) == []
        except OSError:
            pass
    assert dns_server.questions == []


# --- port 53 is the container's ------------------------------------------------------------------------


def test_a_container_has_port_53_to_itself(app: Engine) -> None:
    """A name server in a container binds 0.0.0.0:53, and the engine's resolver answers beside it."""
    serve(app, "ns", "--network", "app", *DNS, ports=("tcp:53", "udp:53"))
    member(app, "client")
    address = boxes.address(app, "ns", "app")
    with within(app, "client") as inside, within(app, "ns") as server:
        for protocol in ("tcp", "udp"):
            assert clients.reached(inside, protocol, address, 53) == "ns"
            assert clients.reached(server, protocol, "127.0.0.1", 53) == "ns"
        for tcp in (False, True):
            assert query(server, "client", tcp=tcp).texts(dns.A) == [boxes.address(app, "client", "app")]
            assert query(server, "www.example.com", tcp=tcp).texts(dns.A) == ["203.0.113.5", "203.0.113.6"]


def test_nobody_else_asks_a_containers_resolver(app: Engine) -> None:
    """It is on the container's loopback: neither a neighbour on the network nor the host gets to it."""
    member(app, "web")
    member(app, "client")
    address = boxes.address(app, "web", "app")
    with within(app, "client") as inside:
        for port in (53, 61053):
            for namespace in (inside, app.netns):
                assert not _answers(namespace, address, port)


def _answers(namespace: NetNs, address: str, port: int) -> bool:
    try:
        with clients.connect(namespace, "udp", address, port, timeout=clients.QUIET) as client:
            client.send(dns.encode(dns.Message(1, "web", dns.A)))
            return bool(client.recv(512))
    except OSError:
        return False


# --- while the daemon is dead --------------------------------------------------------------------------


@ours
def test_names_outlive_the_daemon(own_engine: Engine) -> None:
    own_engine.busybox()
    with lan_of(own_engine) as cable, servers.DnsServer(cable.neighbour, "192.0.2.2", RECORDS):
        boxes.network(own_engine, "app")
        member(own_engine, "web")
        member(own_engine, "client")
        wanted = [boxes.address(own_engine, "web", "app")]
        with within(own_engine, "client") as inside:
            own_engine.kill()
            assert addresses(inside, "web") == wanted
            assert addresses(inside, "www.example.com") == ["203.0.113.5", "203.0.113.6"]
            own_engine.start()
            assert addresses(inside, "web") == wanted
            member(own_engine, "newcomer")
            found = [boxes.address(own_engine, "newcomer", "app")]
            wait_until(lambda: addresses(inside, "newcomer") == found, 10, "who came later is known")
            own_engine.kill()
            own_engine.start()
            own_engine.dockyard("rm", "-f", "web", check=True)
            wait_until(lambda: query(inside, "web").texts(dns.A) != wanted, 10, "who went is not")


@contextmanager
def lan_of(engine: Engine) -> Iterator[Lan]:
    with Lan(engine.netns) as made:
        yield made


# --- files below /etc ----------------------------------------------------------------------------------


def hosts(engine: Engine, name: str) -> dict[str, list[str]]:
    """Name → addresses, of /etc/hosts."""
    found: dict[str, list[str]] = {}
    for line in boxes.read(engine, name, "/etc/hosts").splitlines():
        words = line.partition("#")[0].split()
        for host in words[1:]:
            found.setdefault(host, []).append(words[0])
    return found


def test_a_container_knows_itself(engine: Engine) -> None:
    boxes.network(engine, "app")
    boxes.network(engine, "other")
    for network in ("bridge", "app"):
        name = f"box-{network}"
        start(engine, name, "--network", network, "--hostname", "inner.example.com")
        assert hosts(engine, name)["inner.example.com"] == [boxes.address(engine, name, network)]
        assert hosts(engine, name)["inner"] == [boxes.address(engine, name, network)]
        assert "127.0.0.1" in hosts(engine, name)["localhost"]
        assert boxes.read(engine, name, "/etc/hostname") == "inner.example.com\n"
        assert engine.dockyard("exec", name, "hostname", "-i", check=True).stdout.split()[0]


def test_hosts_is_kept_true(engine: Engine) -> None:
    """Lines come and go with networks; what the container wrote stays, and the file is the same one."""
    for name in ("app", "other"):
        boxes.network(engine, name)
    start(engine, "box", "--network", "app", "--add-host", "extra:10.0.0.1")
    engine.dockyard("exec", "box", "sh", "-c", "echo '10.0.0.2 mine' >> /etc/hosts", check=True)
    inode = engine.dockyard("exec", "box", "stat", "-c", "%i", "/etc/hosts", check=True).stdout
    engine.dockyard("network", "connect", "other", "box", check=True)
    both = [boxes.address(engine, "box", "app"), boxes.address(engine, "box", "other")]
    wait_until(lambda: sorted(hosts(engine, "box")["box"]) == sorted(both), 10, "both addresses")
    engine.dockyard("network", "disconnect", "app", "box", check=True)
    if not DOCKER:  # Docker leaves the line of the network that was left
        wait_until(lambda: hosts(engine, "box")["box"] == both[1:], 10, "the other alone")
    found = hosts(engine, "box")
    assert (found["extra"], found["mine"]) == (["10.0.0.1"], ["10.0.0.2"])
    assert engine.dockyard("exec", "box", "stat", "-c", "%i", "/etc/hosts", check=True).stdout == inode


def test_added_hosts(engine: Engine) -> None:
    start(engine, "box", "--add-host", "one:10.0.0.1", "--add-host", "six:fd00::1", "--add-host", "up:host-gateway")
    found = hosts(engine, "box")
    assert (found["one"], found["six"]) == (["10.0.0.1"], ["fd00::1"])
    assert found["up"] == [boxes.gateway(engine, "box")]


@pytest.mark.parametrize("text", ["nothing", "name:999.0.0.1", ":10.0.0.1"])
def test_what_is_no_added_host(engine: Engine, busybox: str, text: str) -> None:
    done = engine.dockyard("run", "--rm", "--add-host", text, busybox, "true")
    assert done.returncode == 125
    assert "Traceback" not in done.stderr


def test_resolv_conf(engine: Engine) -> None:
    boxes.network(engine, "app")
    flags = ("--dns", "192.0.2.2", "--dns-search", "one.example", "--dns-search", "two.example")
    start(engine, "box", "--network", "app", *flags, "--dns-option", "timeout:7")
    lines = boxes.read(engine, "box", "/etc/resolv.conf").splitlines()
    assert [line for line in lines if line.startswith("nameserver")] == ["nameserver 127.0.0.11"]
    assert "search one.example two.example" in lines
    options = next(line for line in lines if line.startswith("options")).split()
    assert "timeout:7" in options
    start(engine, "none", "--network", "app", "--dns-search", ".")
    assert "search" not in boxes.read(engine, "none", "/etc/resolv.conf")


@pytest.mark.parametrize("flags", [("--dns", "not-an-address"), ("--dns-search", "a b")])
def test_what_is_no_resolver(engine: Engine, busybox: str, flags: tuple[str, str]) -> None:
    done = engine.dockyard("run", "--rm", *flags, busybox, "true")
    assert done.returncode == 125
    assert "Traceback" not in done.stderr


def test_host_networking_has_the_hosts_files(engine: Engine) -> None:
    start(engine, "box", "--network", "host")
    text = boxes.read(engine, "box", "/etc/resolv.conf")
    assert "127.0.0.11" not in text
    servers_of_host = [x for x in Path("/etc/resolv.conf").read_text().splitlines() if x.startswith("nameserver")]
    assert [line for line in text.splitlines() if line.startswith("nameserver")] == servers_of_host


def test_a_shared_network_has_shared_files(engine: Engine) -> None:
    boxes.network(engine, "app")
    start(engine, "owner", "--network", "app", "--add-host", "extra:10.0.0.1")
    start(engine, "guest", "--network", "container:owner")
    for path in ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname"):
        assert boxes.read(engine, "guest", path) == boxes.read(engine, "owner", path)
    engine.dockyard("exec", "guest", "ping", "-c", "1", "owner", check=True)
