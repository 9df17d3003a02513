"""Networks as people use them: who reaches whom, by which addresses, and what is refused."""

from __future__ import annotations

import itertools
import json
import subprocess
from functools import partial

import pytest

from tests.network import boxes, clients, dns, servers
from tests.network.boxes import serve, start, within
from tests.network.dockerd import DOCKER, ours
from tests.network.lan import Lan
from tests.network.namespace import NetNs
from tests.network.state import state
from tests.support import Engine, wait_until

TCP_AND_UDP = pytest.mark.parametrize("protocol", ["tcp", "udp"])


def reached(engine: Engine, source: str, protocol: str, address: str, port: int = 80) -> str:
    """Who answers a container."""
    with within(engine, source) as inside:
        return clients.reached(inside, protocol, address, port)


def unreached(engine: Engine, source: str, protocol: str, address: str, port: int = 80) -> bool:
    with within(engine, source) as inside:
        return clients.unreached(inside, protocol, address, port)


# --- who reaches whom ----------------------------------------------------------------------------------


@TCP_AND_UDP
def test_neighbours_and_strangers(engine: Engine, protocol: str) -> None:
    """Containers of one network reach one another on any port; those of two networks do not."""
    for name in ("app", "other"):
        boxes.network(engine, name)
    places = {"box-a": "app", "box-b": "app", "box-c": "other", "box-d": "bridge"}
    for name, network in places.items():
        serve(engine, name, "--network", network)
    found = {name: boxes.address(engine, name, network) for name, network in places.items()}
    for source, target in itertools.permutations(places, 2):
        if places[source] == places[target]:
            assert reached(engine, source, protocol, found[target]) == target
        else:
            assert unreached(engine, source, protocol, found[target]), f"{source} reaches {target}"
    for name, address in found.items():
        assert clients.reached(engine.netns, protocol, address, 80) == name
    done = engine.dockyard("exec", "box-a", "ping", "-c", "1", "-W", "1", found["box-c"])
    assert done.returncode == 1
    engine.dockyard("exec", "box-a", "ping", "-c", "1", found["box-b"], check=True)


@TCP_AND_UDP
def test_the_world_sees_the_host(engine: Engine, lan: Lan, protocol: str) -> None:
    boxes.network(engine, "app")
    with servers.echo(lan.neighbour, "tcp:7", "udp:7"):
        for network in ("bridge", "app"):
            start(engine, f"box-{network}", "--network", network)
            with within(engine, f"box-{network}") as inside:
                for address in ("192.0.2.2", "198.51.100.7"):
                    assert clients.ask(inside, protocol, address, 7)["peer"][0] == "192.0.2.1"
    done = engine.dockyard("run", "--rm", engine.busybox(), "ping", "-c", "1", "198.51.100.7", check=True)
    assert "1 packets received" in done.stdout


def test_without_masquerade_the_world_sees_the_container(engine: Engine, lan: Lan) -> None:
    made = boxes.network(engine, "open", "-o", "com.docker.network.bridge.enable_ip_masquerade=false")
    lan.route(made["IPAM"]["Config"][0]["Subnet"])
    start(engine, "box", "--network", "open")
    with servers.echo(lan.neighbour, "tcp:7"), within(engine, "box") as inside:
        assert clients.ask(inside, "tcp", "192.0.2.2", 7)["peer"][0] == boxes.address(engine, "box", "open")


@TCP_AND_UDP
def test_an_internal_network(engine: Engine, lan: Lan, protocol: str) -> None:
    """Its containers reach one another and nothing else, and nobody from outside reaches them."""
    made = boxes.network(engine, "inner", "--internal")
    assert made["Internal"] is True
    lan.route(made["IPAM"]["Config"][0]["Subnet"])
    for name in ("box-a", "box-b"):
        serve(engine, name, "--network", "inner")
    serve(engine, "box-c")
    address = boxes.address(engine, "box-b", "inner")
    with servers.echo(lan.neighbour, "tcp:7", "udp:7"):
        assert reached(engine, "box-a", protocol, address) == "box-b"
        for target, port in (("192.0.2.2", 7), ("198.51.100.7", 7), (boxes.address(engine, "box-c"), 80)):
            assert unreached(engine, "box-a", protocol, target, port)
        assert unreached(engine, "box-c", protocol, address)
        assert clients.unreached(lan.neighbour, protocol, address, 80)


def test_without_icc_containers_are_alone(engine: Engine) -> None:
    boxes.network(engine, "alone", "-o", "com.docker.network.bridge.enable_icc=false")
    for name in ("box-a", "box-b"):
        serve(engine, name, "--network", "alone")
    address = boxes.address(engine, "box-b", "alone")
    assert unreached(engine, "box-a", "tcp", address)
    assert clients.reached(engine.netns, "tcp", address, 80) == "box-b"


def test_host_networking(engine: Engine, lan: Lan) -> None:
    serve(engine, "web", "--network", "host", ports=("tcp:8088", "udp:8088"))
    for protocol in ("tcp", "udp"):
        assert clients.reached(engine.netns, protocol, "127.0.0.1", 8088)
        assert clients.ask(lan.neighbour, protocol, "192.0.2.1", 8088)["peer"][0] == "192.0.2.2"
    assert boxes.endpoint(engine, "web", "host")["IPAddress"] == ""
    ignored = engine.dockyard("run", "--rm", "--network", "host", "-p", "8080:80", engine.busybox(), "true")
    assert ignored.returncode == 0
    assert "discarded" in ignored.stderr or DOCKER


def test_the_network_of_another_container(engine: Engine) -> None:
    boxes.network(engine, "app")
    serve(engine, "owner", "--network", "app", "-p", "8080:81", ports=("tcp:80",))
    serve(engine, "guest", "--network", "container:owner", ports=("tcp:81",))
    with within(engine, "owner") as owner, within(engine, "guest") as guest:
        assert owner.name == guest.name
        for port in (80, 81):
            assert clients.reached(guest, "tcp", "127.0.0.1", port)
    assert clients.reached(engine.netns, "tcp", "127.0.0.1", 8080)
    refused = engine.dockyard("run", "--network", "container:owner", "-p", "1:1", engine.busybox(), "true")
    assert refused.returncode == 125
    assert "conflicting options" in refused.stderr
    refused = engine.dockyard("network", "connect", "app", "guest")
    assert refused.returncode == 1


# --- connect and disconnect ----------------------------------------------------------------------------


def interfaces(engine: Engine, name: str) -> dict[str, list[str]]:
    """Interface → IPv4 addresses with prefix, as ``ip`` in the container's namespace tells them."""
    with within(engine, name) as inside:
        found = json.loads(inside.run(["ip", "-j", "-4", "address"]))
    texts = {link["ifname"]: [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"]] for link in found if link}
    return {name: addresses for name, addresses in texts.items() if name != "lo"}


def test_a_running_container_joins_and_leaves(engine: Engine) -> None:
    for name in ("app", "other"):
        boxes.network(engine, name)
    serve(engine, "box", "--network", "app")
    start(engine, "friend", "--network", "other")
    engine.dockyard("network", "connect", "other", "box", check=True)
    second = boxes.address(engine, "box", "other")
    assert len(interfaces(engine, "box")) == 2
    assert interfaces(engine, "box")["eth1"][0].startswith(f"{second}/")
    assert reached(engine, "friend", "tcp", second) == "box"
    again = engine.dockyard("network", "connect", "other", "box")
    assert again.returncode == 1
    assert "already" in again.stderr
    engine.dockyard("network", "disconnect", "other", "box", check=True)
    assert list(interfaces(engine, "box")) == ["eth0"]
    assert unreached(engine, "friend", "tcp", second)
    engine.dockyard("network", "disconnect", "app", "box", check=True)
    assert interfaces(engine, "box") == {}
    assert engine.inspect("box")["NetworkSettings"]["Networks"] == {}
    engine.dockyard("network", "connect", "--ip", "10.77.0.9", _subnet(engine, "10.77.0.0/24"), "box", check=True)
    assert [a for found in interfaces(engine, "box").values() for a in found] == ["10.77.0.9/24"]
    engine.dockyard("restart", "-t", "0", "box", check=True)
    assert [a for found in interfaces(engine, "box").values() for a in found] == ["10.77.0.9/24"]


def _subnet(engine: Engine, subnet: str, *flags: str) -> str:
    """A new network of that subnet; its name."""
    name = "n" + subnet.translate(str.maketrans("./:", "---"))
    boxes.network(engine, name, "--subnet", subnet, *flags)
    return name


def test_the_way_out_stays_when_a_network_is_left(engine: Engine, lan: Lan) -> None:
    for name in ("app", "other", "inner"):
        boxes.network(engine, name, *(["--internal"] if name == "inner" else []))
    start(engine, "box", "--network", "inner")
    with servers.echo(lan.neighbour, "tcp:7"):
        assert unreached(engine, "box", "tcp", "192.0.2.2", 7)
        for name in ("app", "other"):
            engine.dockyard("network", "connect", name, "box", check=True)
            assert reached(engine, "box", "tcp", "192.0.2.2", 7)
        engine.dockyard("network", "disconnect", "app", "box", check=True)
        assert reached(engine, "box", "tcp", "192.0.2.2", 7)
        engine.dockyard("network", "disconnect", "other", "box", check=True)
        assert unreached(engine, "box", "tcp", "192.0.2.2", 7)


def test_a_container_that_does_not_run_joins_and_leaves(engine: Engine, busybox: str) -> None:
    for name in ("app", "other"):
        boxes.network(engine, name)
    engine.dockyard("create", "--name", "box", "--network", "app", busybox, "sleep", "1000", check=True)
    engine.dockyard("network", "connect", "other", "box", check=True)
    engine.dockyard("network", "disconnect", "app", "box", check=True)
    assert list(engine.inspect("box")["NetworkSettings"]["Networks"]) == ["other"]
    engine.dockyard("start", "box", check=True)
    assert len(interfaces(engine, "box")) == 1
    assert boxes.address(engine, "box", "other")


def test_published_ports_of_a_container_that_changes_networks(engine: Engine) -> None:
    """A port leads to an address that the container still has."""
    for name in ("app", "other"):
        boxes.network(engine, name)
    serve(engine, "web", "--network", "app", "-p", "8080:80")
    engine.dockyard("network", "connect", "other", "web", check=True)
    engine.dockyard("network", "disconnect", "app", "web", check=True)
    if not DOCKER:  # Docker publishes on one of the networks alone
        for address in ("127.0.0.1", "::1"):
            wait_until(partial(clients.reached, engine.netns, "tcp", address, 8080), 10, f"by {address}")
    assert clients.reached(engine.netns, "tcp", boxes.address(engine, "web", "other"), 80) == "web"


# --- addresses -----------------------------------------------------------------------------------------


def test_a_chosen_address(engine: Engine) -> None:
    net = _subnet(engine, "10.77.0.0/24", "--gateway", "10.77.0.254", "--ip-range", "10.77.0.128/26")
    start(engine, "box", "--network", net, "--ip", "10.77.0.10", "--mac-address", "02:00:00:00:77:10")
    start(engine, "next", "--network", net)
    assert interfaces(engine, "box") == {"eth0": ["10.77.0.10/24"]}
    assert boxes.address(engine, "next", net).startswith("10.77.0.1")
    assert 128 <= int(boxes.address(engine, "next", net).rpartition(".")[2]) < 192
    assert boxes.gateway(engine, "box", net) == "10.77.0.254"
    assert boxes.endpoint(engine, "box", net)["MacAddress"] == "02:00:00:00:77:10"
    assert boxes.read(engine, "box", "/sys/class/net/eth0/address") == "02:00:00:00:77:10\n"
    engine.dockyard("restart", "-t", "0", "box", check=True)
    assert interfaces(engine, "box") == {"eth0": ["10.77.0.10/24"]}


REFUSED_ADDRESSES = {
    "10.78.0.10": "10.78.0.10",  # outside of the subnet
    "10.77.0.1": "in use",  # the gateway's
    "10.77.0.5": "in use",  # a container's
    "10.77.0": "10.77.0",
    "fd00::1": "",  # no IPv6 there
}


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_an_address_that_is_not_to_be_had(engine: Engine, address: str) -> None:
    net = _subnet(engine, "10.77.0.0/24")
    start(engine, "first", "--network", net, "--ip", "10.77.0.5")
    flag = "--ip6" if ":" in address else "--ip"
    done = engine.dockyard("run", "-d", "--network", net, flag, address, engine.busybox(), "sleep", "1000")
    if DOCKER and ":" in address:  # Docker gives it an address that nothing else has
        return
    assert done.returncode == 125
    assert REFUSED_ADDRESSES[address].lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr


@ours
def test_an_address_on_the_default_bridge_is_refused(engine: Engine, busybox: str) -> None:
    done = engine.dockyard("run", "-d", "--ip", "172.17.0.9", busybox, "true")
    assert done.returncode == 125
    assert "user" in done.stderr


def test_addresses_are_given_again(engine: Engine, busybox: str) -> None:
    """A small network is not used up by containers that come and go."""
    net = _subnet(engine, "10.77.0.0/29")
    for _ in range(10):
        engine.dockyard("run", "--rm", "--network", net, busybox, "true", check=True)
    for number in range(5):
        start(engine, f"box{number}", "--network", net)
    done = engine.dockyard("run", "-d", "--network", net, busybox, "true")
    assert done.returncode == 125
    assert "no available" in done.stderr
    engine.dockyard("rm", "-f", "box3", check=True)
    start(engine, "last", "--network", net)


@pytest.mark.parametrize("subnet", ["10.77.0.0/24", "10.77.0.0/16", "10.77.0.128/25", "192.0.2.0/25", "172.17.0.0/24"])
def test_subnets_that_overlap(engine: Engine, lan: Lan, subnet: str) -> None:
    """One of another network's (it is named), and one that the host itself is in."""
    start(engine, "user-of-the-default")
    _subnet(engine, "10.77.0.0/24")
    done = engine.dockyard("network", "create", "--subnet", subnet, "more")
    if DOCKER and subnet.startswith("192"):
        return
    assert done.returncode == 1
    assert "overlaps" in done.stderr
    if not DOCKER:
        assert ("n10-77" in done.stderr) is subnet.startswith("10.77")
        assert ("lan0" in done.stderr) is subnet.startswith("192")


def test_pools_go_around_what_the_host_routes(engine: Engine) -> None:
    """A VPN that was there first keeps its addresses."""
    engine.netns.ip("link", "add", "vpn0", "type", "veth", "peer", "name", "vpn1")
    engine.netns.ip("link", "set", "vpn0", "up")
    taken = ["172.16.0.0/12", "192.168.0.0/16"]
    if DOCKER:
        taken = ["172.18.0.0/16", "172.19.0.0/16"]
    try:
        for subnet in taken:
            engine.netns.ip("route", "add", subnet, "dev", "vpn0")
        for name in ("one", "two"):
            subnet = boxes.network(engine, name)["IPAM"]["Config"][0]["Subnet"]
            assert not subnet.startswith(("172.18.", "172.19."))
            if not DOCKER:
                assert subnet.startswith("10.")
    finally:
        engine.netns.ip("link", "delete", "vpn0")


# --- IPv6 ----------------------------------------------------------------------------------------------


@TCP_AND_UDP
def test_an_ipv6_network(engine: Engine, lan: Lan, protocol: str) -> None:
    boxes.network(engine, "six", "--ipv6", "--subnet", "fd77::/64")
    boxes.network(engine, "four")
    for name in ("box-a", "box-b"):
        serve(engine, name, "--network", "six")
    serve(engine, "box-c", "--network", "four")
    address = str(boxes.endpoint(engine, "box-b", "six")["GlobalIPv6Address"])
    assert address.startswith("fd77::")
    assert reached(engine, "box-a", protocol, address) == "box-b"
    assert reached(engine, "box-a", protocol, boxes.address(engine, "box-b", "six")) == "box-b"
    with within(engine, "box-a") as inside:
        assert clients.addresses(inside, "box-b", dns.AAAA) == [address]
    assert clients.reached(engine.netns, protocol, address, 80) == "box-b"
    if not DOCKER:
        lan.route("fd77::/64")
        assert clients.unreached(lan.neighbour, protocol, address, 80)
        with within(engine, "box-c") as inside:
            assert "inet6 f" not in inside.ip("address", "show", "dev", "eth0")


@ours
@TCP_AND_UDP
def test_an_ipv6_network_of_its_own_addresses(engine: Engine, lan: Lan, protocol: str) -> None:
    """A unique local prefix by default; the world sees the host; a published port sees who asks."""
    made = boxes.network(engine, "six", "--ipv6")
    prefixes = [config["Subnet"] for config in made["IPAM"]["Config"]]
    assert any(prefix.startswith("fd") and prefix.endswith("/64") for prefix in prefixes)
    serve(engine, "web", "--network", "six", "-p", "8080:80", "-p", "8080:80/udp")
    answer = clients.ask(lan.neighbour, protocol, "2001:db8:1::1", 8080)
    assert (answer["name"], answer["peer"][0]) == ("web", "2001:db8:1::2")
    for address in ("::1", "2001:db8:1::1", "127.0.0.1"):
        assert clients.reached(engine.netns, protocol, address, 8080) == "web"
    with servers.echo(lan.neighbour, "tcp:7", "udp:7"), within(engine, "web") as inside:
        assert clients.ask(inside, protocol, "2001:db8:1::2", 7)["peer"][0] == "2001:db8:1::1"
        assert clients.reached(inside, protocol, "2001:db8:1::1", 8080) == "web"


@ours
def test_forwarding_does_not_end_router_advertisements(own_engine: Engine) -> None:
    """The kernel ignores them on an interface that forwards, unless accept_ra is 2: the host would lose its route."""
    with Lan(own_engine.netns):
        assert own_engine.netns.sysctl("net.ipv6.conf.lan0.accept_ra") == "1"
        boxes.network(own_engine, "six", "--ipv6")
        start(own_engine, "box", "--network", "six")
        if own_engine.netns.sysctl("net.ipv6.conf.lan0.forwarding") == "1":
            assert own_engine.netns.sysctl("net.ipv6.conf.lan0.accept_ra") == "2"


# --- the LAN itself ------------------------------------------------------------------------------------


def known(kind: str) -> bool:
    """Whether the kernel has this kind of interface."""
    with NetNs() as trial:
        trial.ip("link", "add", "name", "one0", "type", "veth", "peer", "name", "two0")
        argv = ["ip", "link", "add", "name", "sub0", "link", "one0", "type", kind]
        return trial.inside(lambda: subprocess.run(argv, capture_output=True, check=False)).returncode == 0


@TCP_AND_UDP
@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_containers_on_the_lan(engine: Engine, lan: Lan, protocol: str, driver: str) -> None:
    if not known(driver):
        pytest.skip(f"this kernel has no {driver}")
    boxes.network(
        engine, "office", "-d", driver, "--subnet", "192.0.2.0/24", "--gateway", "192.0.2.2", "-o", "parent=lan0",
        "--ip-range", "192.0.2.64/26",
    )  # fmt: skip
    serve(engine, "box-a", "--network", "office", "--ip", "192.0.2.50")
    serve(engine, "box-b", "--network", "office")
    assert clients.reached(lan.neighbour, protocol, "192.0.2.50", 80) == "box-a"
    assert reached(engine, "box-b", protocol, "192.0.2.50") == "box-a"
    with servers.echo(lan.neighbour, "tcp:7", "udp:7"), within(engine, "box-a") as inside:
        for address in ("192.0.2.2", "198.51.100.7"):
            assert clients.ask(inside, protocol, address, 7)["peer"][0] == "192.0.2.50"
        assert clients.addresses(inside, "box-b") == [boxes.address(engine, "box-b", "office")]


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_a_parent_that_is_not_there(engine: Engine, driver: str) -> None:
    if DOCKER:
        pytest.skip("Docker makes a dummy interface, or a VLAN by the parent's name")
    done = engine.dockyard("network", "create", "-d", driver, "-o", "parent=nothing9", "office")
    if done.returncode == 0:
        done = engine.dockyard("run", "-d", "--network", "office", engine.busybox(), "true")
        assert done.returncode == 125
    assert "nothing9" in done.stderr or not known(driver)
    assert done.stderr.strip()


# --- networks as objects -------------------------------------------------------------------------------


def test_the_life_of_a_network(engine: Engine) -> None:
    start(engine, "warm")
    before = state(engine.netns)
    made = boxes.network(
        engine, "app", "--label", "a=b", "--subnet", "10.77.0.0/24", "-o", "com.docker.network.bridge.name=brtest0"
    )
    assert (made["Driver"], made["Labels"], made["Scope"]) == ("bridge", {"a": "b"}, "local")
    assert made["IPAM"]["Config"] == [{"Subnet": "10.77.0.0/24"}] or "Gateway" in made["IPAM"]["Config"][0]
    start(engine, "box", "--network", "app")
    assert "link: brtest0 bridge" in before.added(state(engine.netns))
    listed = engine.dockyard("network", "ls", "--filter", "label=a=b", "--format", "{{.Name}}", check=True).stdout
    assert listed == "app\n"
    (found,) = json.loads(engine.dockyard("network", "inspect", "app", check=True).stdout)
    (member,) = found["Containers"].values()
    assert (member["Name"], member["IPv4Address"]) == ("box", f"{boxes.address(engine, 'box', 'app')}/24")
    again = engine.dockyard("network", "create", "app")
    assert again.returncode == 1
    assert "already exists" in again.stderr
    used = engine.dockyard("network", "rm", "app")
    assert used.returncode == 1
    assert "box" in used.stderr or DOCKER
    assert "active endpoints" in used.stderr
    engine.dockyard("rm", "-f", "box", check=True)
    engine.dockyard("network", "rm", made["Id"][:12], check=True)
    wait_until(lambda: before.added(state(engine.netns)) == [], 10, "nothing is left of it")
    gone = engine.dockyard("network", "rm", "app")
    assert gone.returncode == 1


def test_unused_networks_are_pruned(engine: Engine) -> None:
    for name in ("used", "unused"):
        boxes.network(engine, name)
    start(engine, "box", "--network", "used")
    done = engine.dockyard("network", "prune", "-f", check=True)
    assert "unused" in done.stdout.split()
    names = engine.dockyard("network", "ls", "--format", "{{.Name}}", check=True).stdout.split()
    assert sorted(names) == ["bridge", "host", "none", "used"]


WRONG = [
    ("create", "--subnet", "10.77.0.0/33", "x"),
    ("create", "--subnet", "10.77.0.0", "x"),
    ("create", "--subnet", "10.77.0.0/24", "--gateway", "10.78.0.1", "x"),
    ("create", "--subnet", "10.77.0.0/24", "--ip-range", "10.78.0.0/25", "x"),
    ("create", "--gateway", "10.77.0.1", "x"),
    ("create", "-d", "nothing", "x"),
    ("create", "bridge"),
    ("create", "-o", "com.docker.network.bridge.enable_icc=perhaps", "x"),
    ("rm", "bridge"),
    ("rm", "nothing"),
    ("inspect", "nothing"),
    ("connect", "nothing", "box"),
    ("connect", "bridge", "nobody"),
    ("connect", "host", "box"),
    ("connect", "bridge", "box"),
    ("disconnect", "bridge", "nobody"),
    ("disconnect", "app", "box"),
]


@pytest.mark.parametrize("words", [*WRONG, pytest.param(("create", "bad/name"), marks=ours)], ids=" ".join)
def test_what_is_refused(engine: Engine, words: tuple[str, ...]) -> None:
    boxes.network(engine, "app")
    start(engine, "box")
    done = engine.dockyard("network", *words)
    assert done.returncode == 1
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr.lower()
    names = engine.dockyard("network", "ls", "--format", "{{.Name}}", check=True).stdout.split()
    assert sorted(names) == ["app", "bridge", "host", "none"]


def test_an_unknown_network(engine: Engine, busybox: str) -> None:
    done = engine.dockyard("run", "-d", "--name", "box", "--network", "nothing", busybox, "true")
    assert done.returncode == 125
    assert "network nothing not found" in done.stderr


def test_statistics_of_networks(engine: Engine) -> None:
    """Bytes that went through the interface, as ``stats`` shows them."""
    boxes.network(engine, "app")
    serve(engine, "web", "--network", "app")
    address = boxes.address(engine, "web", "app")
    with clients.connect(engine.netns, "tcp", address, 80) as connection:
        for _ in range(10):
            clients.say(connection, "x" * 10_000)
    answer = engine.api("GET", "/containers/web/stats?stream=0&one-shot=1")
    assert answer.body["networks"]["eth0"]["rx_bytes"] > 100_000
    assert answer.body["networks"]["eth0"]["tx_bytes"] > 100_000
