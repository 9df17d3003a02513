"""Published ports with real servers and clients: on the host, from its LAN, from other containers, from oneself."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from functools import partial

import pytest

from tests.network import boxes, clients, lan, servers
from tests.network.boxes import serve, start, within
from tests.network.dockerd import DOCKER, Dockerd, ours
from tests.network.lan import Lan
from tests.network.namespace import NetNs
from tests.network.state import state
from tests.support import Engine, wait_until

TCP_AND_UDP = pytest.mark.parametrize("protocol", ["tcp", "udp"])
BOTH = ("-p", "8080:80", "-p", "8080:80/udp")


def reachable(engine: Engine, protocol: str, address: str, port: int, name: str) -> None:
    """From the engine's host, at last."""
    wait_until(
        lambda: clients.reached(engine.netns, protocol, address, port, timeout=1) == name,
        10,
        f"{name} answers at {protocol} {address} {port}",
    )


# --- where a port answers, and whom the server sees ----------------------------------------------------


@TCP_AND_UDP
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", lan.HOST, lan.HOST6])
def test_on_the_host(engine: Engine, lan: Lan, protocol: str, address: str) -> None:
    serve(engine, "web", *BOTH)
    answer = clients.ask(engine.netns, protocol, address, 8080)
    assert (answer["name"], answer["own"][1]) == ("web", 80)
    if address == "192.0.2.1":
        assert answer["peer"][0] == address
    else:
        assert answer["peer"][0] == boxes.gateway(engine, "web")


@TCP_AND_UDP
def test_from_the_lan(engine: Engine, lan: Lan, protocol: str) -> None:
    """Who asked over IPv4 is seen; over IPv6 it is the proxy who asks a container that has only IPv4."""
    serve(engine, "web", *BOTH)
    answer = clients.ask(lan.neighbour, protocol, "192.0.2.1", 8080)
    assert (answer["name"], answer["peer"][0]) == ("web", "192.0.2.2")
    answer = clients.ask(lan.neighbour, protocol, "2001:db8:1::1", 8080)
    assert (answer["name"], answer["peer"][0]) == ("web", boxes.gateway(engine, "web"))
    assert clients.unreached(lan.neighbour, protocol, "192.0.2.1", 80)


@TCP_AND_UDP
def test_on_one_address_alone(engine: Engine, lan: Lan, protocol: str) -> None:
    for name, address in (("local", "127.0.0.1"), ("public", "192.0.2.1")):
        serve(engine, name, "-p", f"{address}:8080:80", "-p", f"{address}:8080:80/udp")
    assert clients.reached(engine.netns, protocol, "127.0.0.1", 8080) == "local"
    assert clients.reached(engine.netns, protocol, "192.0.2.1", 8080) == "public"
    assert clients.reached(lan.neighbour, protocol, "192.0.2.1", 8080) == "public"
    for address in ("::1", "2001:db8:1::1"):
        assert clients.unreached(engine.netns, protocol, address, 8080)


@TCP_AND_UDP
def test_on_an_ipv6_address_alone(engine: Engine, lan: Lan, protocol: str) -> None:
    serve(engine, "web", "-p", "[::1]:8080:80", "-p", "[::1]:8080:80/udp")
    assert clients.reached(engine.netns, protocol, "::1", 8080) == "web"
    for address in ("127.0.0.1", "192.0.2.1", "2001:db8:1::1"):
        assert clients.unreached(engine.netns, protocol, address, 8080)


@TCP_AND_UDP
def test_a_port_of_loopback_stays_there(engine: Engine, lan: Lan, protocol: str) -> None:
    serve(engine, "web", "-p", "127.0.0.1:8080:80", "-p", "127.0.0.1:8080:80/udp")
    reachable(engine, protocol, "127.0.0.1", 8080, "web")
    assert clients.unreached(engine.netns, protocol, "192.0.2.1", 8080)
    assert clients.unreached(lan.neighbour, protocol, "192.0.2.1", 8080)


@ours
@TCP_AND_UDP
def test_a_neighbour_cannot_ask_for_the_hosts_loopback(engine: Engine, lan: Lan, protocol: str) -> None:
    """Such a packet would be the container's before the kernel sees what is wrong with it."""
    serve(engine, "web", "-p", "127.0.0.1:8080:80", "-p", "127.0.0.1:8080:80/udp")
    reachable(engine, protocol, "127.0.0.1", 8080, "web")
    _give_away_loopback(lan.neighbour, "eth0", "192.0.2.1")
    assert clients.unreached(lan.neighbour, protocol, "127.0.0.1", 8080)


@ours
@TCP_AND_UDP
def test_a_neighbour_with_a_route_gets_no_further(engine: Engine, lan: Lan, protocol: str) -> None:
    """Neither to a container's port that is published on 127.0.0.1, nor to one that is not published at all."""
    serve(engine, "web", "-p", "127.0.0.1:8080:80", "-p", "127.0.0.1:8080:80/udp")
    serve(engine, "inner")
    for name in ("web", "inner"):
        address = boxes.address(engine, name)
        lan.route(f"{address}/32")
        assert clients.reached(engine.netns, protocol, address, 80) == name
        assert clients.unreached(lan.neighbour, protocol, address, 80)


@TCP_AND_UDP
def test_a_container_gets_nothing_of_the_hosts_loopback(engine: Engine, lan: Lan, protocol: str) -> None:
    """Even one that may change its routes: bridges let packets for 127.0.0.0/8 through, for ports published there."""
    serve(engine, "web", "-p", "127.0.0.1:8080:80", "-p", "127.0.0.1:8080:80/udp")
    start(engine, "bad")
    with servers.echo(engine.netns, "tcp:9000", "udp:9000"), within(engine, "bad") as bad:
        gateway = boxes.gateway(engine, "bad")
        assert clients.reached(bad, protocol, gateway, 9000)
        assert clients.reached(engine.netns, protocol, "127.0.0.1", 9000)
        _give_away_loopback(bad, "eth0", gateway)
        for port in (8080, 9000):
            assert clients.unreached(bad, protocol, "127.0.0.1", port)


def _give_away_loopback(namespace: NetNs, device: str, gateway: str) -> None:
    """Send what is for 127.0.0.0/8 out to somebody else's."""
    namespace.sysctl("net.ipv4.conf.all.route_localnet", "1")
    namespace.sysctl("net.ipv4.conf.all.accept_local", "1")
    namespace.ip("address", "delete", "127.0.0.1/8", "dev", "lo")
    namespace.ip("route", "flush", "table", "local", "127.0.0.0/8")
    namespace.ip("route", "add", "127.0.0.0/8", "via", gateway, "dev", device)


# --- from containers -----------------------------------------------------------------------------------


@TCP_AND_UDP
@pytest.mark.parametrize("bridge", ["bridge", "own"])
def test_from_the_container_itself(engine: Engine, lan: Lan, protocol: str, bridge: str) -> None:
    if bridge == "own":
        boxes.network(engine, "own")
    serve(engine, "web", "--network", bridge, *BOTH)
    with within(engine, "web") as inside:
        assert clients.reached(inside, protocol, boxes.gateway(engine, "web", bridge), 8080) == "web"
        assert clients.reached(inside, protocol, "127.0.0.1", 80) == "web"


@ours
@TCP_AND_UDP
def test_from_the_container_itself_by_the_hosts_name(engine: Engine, lan: Lan, protocol: str) -> None:
    """Docker's proxy answers datagrams from another address than was asked."""
    serve(engine, "web", *BOTH)
    with within(engine, "web") as inside:
        assert clients.reached(inside, protocol, "192.0.2.1", 8080) == "web"


@TCP_AND_UDP
@pytest.mark.parametrize("network", ["same", "other", "bridge"])
def test_from_another_container(engine: Engine, lan: Lan, protocol: str, network: str) -> None:
    """What is published is there for everybody, on other networks too: by the host's address and by the gateway."""
    for name in ("same", "other"):
        boxes.network(engine, name)
    serve(engine, "web", "--network", "same", *BOTH)
    start(engine, "client", "--network", network)
    with within(engine, "client") as inside:
        assert clients.reached(inside, protocol, boxes.gateway(engine, "client", network), 8080) == "web"
        if protocol == "tcp":
            assert clients.reached(inside, protocol, "192.0.2.1", 8080) == "web"
        if network != "same":
            assert clients.unreached(inside, protocol, boxes.address(engine, "web", "same"), 80)


@ours
@pytest.mark.parametrize("network", ["same", "other"])
def test_datagrams_from_another_container_by_the_hosts_address(engine: Engine, lan: Lan, network: str) -> None:
    """The answer comes from the address that was asked: the client's socket is connected to it."""
    for name in ("same", "other"):
        boxes.network(engine, name)
    serve(engine, "web", "--network", "same", *BOTH)
    start(engine, "client", "--network", network)
    with within(engine, "client") as inside:
        assert clients.reached(inside, "udp", "192.0.2.1", 8080) == "web"


# --- which port ----------------------------------------------------------------------------------------


def test_random_ports_are_told(engine: Engine) -> None:
    for name in ("one", "two"):
        serve(engine, name, "-p", "80", "-p", "80/udp", "-p", "127.0.0.1::80")
    taken = set()
    for name in ("one", "two"):
        ports = engine.inspect(name)["NetworkSettings"]["Ports"]
        for protocol in ("tcp", "udp"):
            for binding in ports[f"80/{protocol}"]:
                address = "127.0.0.1" if ":" not in binding["HostIp"] else "::1"
                reachable(engine, protocol, address, int(binding["HostPort"]), name)
                key = (protocol, address, binding["HostPort"])
                assert key not in taken
                taken.add(key)
        assert [binding["HostIp"] for binding in ports["80/tcp"]].count("127.0.0.1") == 1
        shown = engine.dockyard("port", name, "80/udp", check=True).stdout.splitlines()
        assert shown[0] == f"0.0.0.0:{ports['80/udp'][0]['HostPort']}"


def test_all_exposed_ports(engine: Engine) -> None:
    serve(engine, "web", "-P", "--expose", "80", "--expose", "81/udp", ports=("tcp:80", "udp:81"))
    lines = engine.dockyard("port", "web", check=True).stdout.splitlines()
    assert {line.partition(" -> ")[0] for line in lines} == {"80/tcp", "81/udp"}
    reachable(engine, "tcp", "127.0.0.1", boxes.port_of(engine, "web", "80/tcp"), "web")
    reachable(engine, "udp", "127.0.0.1", boxes.port_of(engine, "web", "81/udp"), "web")


def test_ranges(engine: Engine) -> None:
    ports = ("tcp:80", "tcp:81", "tcp:82")
    serve(engine, "three", "-p", "9000-9002:80-82", ports=ports)
    for port in (9000, 9001, 9002):
        assert clients.ask(engine.netns, "tcp", "127.0.0.1", port)["own"][1] == port - 8920
    for name in ("first", "second"):
        serve(engine, name, "-p", "9001-9005:80")
    assert {boxes.port_of(engine, name) for name in ("first", "second")} == {9003, 9004}
    assert clients.reached(engine.netns, "tcp", "127.0.0.1", boxes.port_of(engine, "second")) == "second"
    too_many = engine.dockyard("run", "-d", "-p", "9000-9001:80-82", engine.busybox(), "true")
    assert too_many.returncode == 125
    assert "range" in too_many.stderr


@ours
def test_a_range_of_a_thousand(engine: Engine) -> None:
    """It costs no process, and all of it answers."""
    serve(engine, "few", "-p", "8080:80")
    few = _children_of_zygote(engine)
    ends = ("tcp:20000", "tcp:20500", "tcp:20999")
    serve(engine, "many", "-p", "20000-20999:20000-20999", ports=ends)
    assert _children_of_zygote(engine) == few + 1
    for port in (20000, 20500, 20999):
        assert clients.ask(engine.netns, "tcp", "127.0.0.1", port)["own"][1] == port
    assert len(engine.inspect("many")["NetworkSettings"]["Ports"]) == 1000
    engine.dockyard("rm", "-f", "many", check=True)
    with engine.in_netns(lambda: socket.create_server(("", 20500))):
        pass


def _children_of_zygote(engine: Engine) -> int:
    with open(f"/proc/{engine.pid}/task/{engine.pid}/children") as file:
        zygote = file.read().split()[0]
    with open(f"/proc/{zygote}/task/{zygote}/children") as file:
        return len(file.read().split())


WRONG = ["65536:80", "8080:65536", "x:80", "8080:80/icmp", "1.2.3:8080:80", "9-8:80-81"]


@pytest.mark.parametrize("text", [*WRONG, pytest.param("8080:0", marks=ours)])
def test_what_is_no_port(engine: Engine, busybox: str, text: str) -> None:
    done = engine.dockyard("run", "-d", "-p", text, busybox, "true")
    assert done.returncode == 125
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
    assert engine.containers() == []


def test_an_address_that_the_host_has_not(engine: Engine, busybox: str) -> None:
    done = engine.dockyard("run", "-d", "-p", "203.0.113.99:8080:80", busybox, "true")
    assert done.returncode == 125
    assert "203.0.113.99" in done.stderr


# --- who has it ----------------------------------------------------------------------------------------


@TCP_AND_UDP
def test_a_port_that_another_container_has(engine: Engine, protocol: str) -> None:
    flags = ("-p", f"8080:80/{protocol}")
    start(engine, "first", *flags)
    before = state(engine.netns)
    done = engine.dockyard("run", "-d", "--name", "second", *flags, engine.busybox(), "sleep", "1000")
    assert done.returncode == 125
    assert "8080" in done.stderr
    assert "port is already allocated" in done.stderr
    assert before.added(state(engine.netns)) == []
    engine.dockyard("rm", "-f", "first", check=True)
    engine.dockyard("start", "second", check=True)


@ours
def test_the_one_who_has_a_port_is_named(engine: Engine) -> None:
    start(engine, "first", "-p", "127.0.0.1:8080:80")
    image = engine.busybox()
    for flags in (["-p", "8080:80"], ["-p", "127.0.0.1:8080:81"]):
        done = engine.dockyard("run", "-d", *flags, image, "true")
        assert "by container first" in done.stderr
    with servers.echo(engine.netns, "tcp:8090"):
        done = engine.dockyard("run", "-d", "-p", "8090:80", image, "true")
        assert done.returncode == 125
        assert "python" in done.stderr
        assert "(pid " in done.stderr


@TCP_AND_UDP
def test_a_port_that_somebody_on_the_host_has(engine: Engine, protocol: str) -> None:
    image = engine.busybox()
    with servers.echo(engine.netns, "tcp:8080", "udp:8080"):
        done = engine.dockyard("run", "-d", "--name", "web", "-p", f"8080:80/{protocol}", image, "sleep", "1000")
        assert done.returncode == 125
        assert "8080" in done.stderr
        assert "already" in done.stderr
    engine.dockyard("start", "web", check=True)


@TCP_AND_UDP
def test_nobody_on_the_host_gets_a_published_port(engine: Engine, protocol: str) -> None:
    start(engine, "web", "-p", f"8080:80/{protocol}")
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM

    def bind() -> None:
        with socket.socket(socket.AF_INET, kind) as sock:
            sock.bind(("0.0.0.0", 8080))

    with pytest.raises(OSError, match="in use"):
        engine.in_netns(bind)
    engine.dockyard("stop", "-t", "0", "web", check=True)
    engine.in_netns(bind)


def _end(engine: Engine, way: str) -> None:
    if way == "stop":
        engine.dockyard("stop", "-t", "0", "web", check=True)
    elif way == "kill":
        engine.dockyard("kill", "web", check=True)
    elif way == "remove":
        engine.dockyard("rm", "-f", "web", check=True)
    else:
        os.kill(engine.inspect("web")["State"]["Pid"], 9)


@pytest.mark.parametrize("way", ["stop", "kill", "remove", "process"])
def test_nothing_is_left_of_a_port(engine: Engine, way: str) -> None:
    start(engine, "before", "-p", "8079:80")  # what the engine keeps between containers is there after this
    engine.dockyard("rm", "-f", "before", check=True)
    wait_until(lambda: not any(" veth on " in link for link in state(engine.netns).links), 10, "its veth is gone")
    before = state(engine.netns)
    serve(engine, "web", *BOTH, "-p", "127.0.0.1:8081:80", "-p", "[::1]:8082:80")
    assert before.added(state(engine.netns))
    _end(engine, way)
    wait_until(lambda: not before.added(state(engine.netns)), 10, "nothing is left")
    assert before.missing(state(engine.netns)) == []
    serve(engine, "next", *BOTH)
    assert clients.reached(engine.netns, "tcp", "127.0.0.1", 8080) == "next"


def test_a_stopped_container_gets_its_port_again(engine: Engine) -> None:
    serve(engine, "web", *BOTH, "--restart", "no")
    for _ in range(2):
        engine.dockyard("restart", "-t", "0", "web", check=True)
        for protocol in ("tcp", "udp"):
            reachable(engine, protocol, "127.0.0.1", 8080, "web")


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1", "::1"])
def test_datagrams_follow_the_port(engine: Engine, lan: Lan, address: str) -> None:
    """The same socket of a client reaches who has the port now, though the kernel remembers whom it reached before."""
    serve(engine, "first", *BOTH)
    with clients.connect(engine.netns, "udp", address, 8080, timeout=1) as client:
        assert clients.say(client, "to the first")["name"] == "first"
        engine.dockyard("rm", "-f", "first", check=True)
        serve(engine, "second", *BOTH)

        def second() -> bool:
            try:
                return clients.say(client, "to the second")["name"] == "second"
            except OSError:
                return False

        wait_until(second, 10, "the second answers the same client")


# --- much of it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_every_byte_arrives_and_the_end_of_it(engine: Engine, address: str) -> None:
    """By NAT and by the proxy: 20 MB in, the sender's end is passed on, and the answer comes back after it."""
    start(engine, "web", "-p", "8080:80", command=("nc", "-ll", "-p", "80", "-e", "sha256sum"))
    data = os.urandom(1 << 20) * 20
    reached = wait_until(lambda: _try(engine, address), 10, "the server listens")
    assert reached is not None
    with reached as connection:
        connection.settimeout(60)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile().read().split()[0] == hashlib.sha256(data).hexdigest()


def _try(engine: Engine, address: str) -> socket.socket | None:
    try:
        return clients.connect(engine.netns, "tcp", address, 8080)
    except OSError:
        return None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_many_clients_at_once(engine: Engine, address: str) -> None:
    serve(engine, "web", *BOTH)
    for protocol in ("tcp", "udp"):
        opened = [clients.connect(engine.netns, protocol, address, 8080) for _ in range(100)]
        try:
            for turn in range(2):
                answers = [clients.say(client, f"{turn} {n}") for n, client in enumerate(opened)]
                assert {answer["name"] for answer in answers} == {"web"}
                assert len({answer["peer"][1] for answer in answers}) == 100
        finally:
            for client in opened:
                client.close()


def test_a_web_page(engine: Engine, lan: Lan) -> None:
    """busybox's own server and client, by docker's command line where there is one."""
    script = "mkdir /www; echo a page > /www/index.html; exec httpd -f -p 80 -h /www"
    start(engine, "web", "-p", "8080:80", command=("sh", "-c", script))
    argv = ["busybox", "wget", "-qO-", "http://192.0.2.1:8080/"]
    for namespace in (engine.netns, lan.neighbour):
        wait_until(partial(_prints, namespace, argv, "a page\n"), 10, "the page is served")
    line = engine.dockyard("ps", "--format", "{{.Ports}}", check=True).stdout
    assert "0.0.0.0:8080->80/tcp" in line


def _prints(namespace: NetNs, argv: list[str], text: str) -> bool:
    return namespace.run(argv, check=False) == text


# --- ports of a running container ----------------------------------------------------------------------


@ours
@TCP_AND_UDP
def test_a_running_container_publishes(engine: Engine, lan: Lan, protocol: str) -> None:
    """Everywhere, to itself too; what else it publishes goes on; and it is so after a restart."""
    serve(engine, "web", "-p", "8079:80")
    ways = [
        (engine.netns, "127.0.0.1"),
        (engine.netns, "::1"),
        (engine.netns, "192.0.2.1"),
        (lan.neighbour, "192.0.2.1"),
    ]
    body = {"Ports": [{"HostIp": "", "HostPort": "8080", "ContainerPort": f"80/{protocol}"}]}

    def reaching() -> list[bool]:
        with within(engine, "web") as inside:
            gateway = boxes.gateway(engine, "web")
            return [
                clients.reached(space, protocol, address, 8080, timeout=clients.QUIET) == "web"
                for space, address in [*ways, (inside, gateway)]
            ]

    assert not any(reaching())
    with clients.connect(engine.netns, "tcp", "127.0.0.1", 8079) as other:
        assert clients.say(other, "before")["name"] == "web"
        answer = engine.api("POST", "/dockyard/v1/containers/web/ports", body)
        assert answer.status == 200, answer
        assert all(reaching())
        engine.dockyard("restart", "-t", "0", "web", check=True)
        reachable(engine, protocol, "127.0.0.1", 8080, "web")
        assert all(reaching())
    with clients.connect(engine.netns, "tcp", "127.0.0.1", 8079) as other:
        assert clients.say(other, "before")["name"] == "web"
        assert engine.api("DELETE", "/dockyard/v1/containers/web/ports", body).status == 204
        assert not any(reaching())
        assert clients.say(other, "after")["name"] == "web"
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with engine.in_netns(lambda: socket.socket(socket.AF_INET, kind)) as free:
        free.bind(("0.0.0.0", 8080))


@ours
@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1", "::1"])
def test_a_client_that_asked_before_there_was_a_port(engine: Engine, lan: Lan, address: str) -> None:
    """Its datagrams were for the host itself, and the kernel remembers that."""
    serve(engine, "web")
    body = {"Ports": [{"HostIp": "", "HostPort": "8080", "ContainerPort": "80/udp"}]}
    with clients.connect(engine.netns, "udp", address, 8080, timeout=1) as client:
        with pytest.raises(OSError, match="refused"):
            clients.say(client, "nobody is there")
        assert engine.api("POST", "/dockyard/v1/containers/web/ports", body).status == 200
        assert clients.say(client, "now")["name"] == "web"


def test_a_default_address(make_engine: Callable[..., Engine]) -> None:
    """Ports that name no address are published there; others where they say."""
    engine = make_engine(kind=Dockerd if DOCKER else Engine, serve_args=["--ip=127.0.0.1"])
    with Lan(engine.netns) as cable:
        serve(engine, "web", "-p", "8080:80", "-p", "0.0.0.0:8081:80")
        assert clients.reached(engine.netns, "tcp", "127.0.0.1", 8080) == "web"
        assert clients.unreached(engine.netns, "tcp", "192.0.2.1", 8080)
        assert clients.unreached(cable.neighbour, "tcp", "192.0.2.1", 8080)
        assert clients.reached(cable.neighbour, "tcp", "192.0.2.1", 8081) == "web"
