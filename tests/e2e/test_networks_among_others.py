"""Networks among others: other firewalls, other engines, a flushed rule set, a dead daemon, and very many of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.network import boxes, clients, firewalls, lan, servers
from tests.network.boxes import serve, start, within
from tests.network.dockerd import Dockerd, ours
from tests.network.lan import Lan
from tests.network.state import State, state
from tests.support import Engine, wait_until

BOTH = ("-p", "8080:80", "-p", "8080:80/udp")


def reached(engine: Engine, source: str, address: str, port: int = 80, *, timeout: float = 5) -> str:
    """Who answers a container by TCP."""
    with within(engine, source) as inside:
        return clients.reached(inside, "tcp", address, port, timeout=timeout)


def troubles(engine: Engine, cable: Lan) -> list[str]:
    """What does not work of: a published port everywhere, a neighbour, the world. Needs :func:`settle`'s containers."""
    asked = [(engine.netns, "127.0.0.1"), (engine.netns, "::1"), (engine.netns, lan.HOST), (cable.neighbour, lan.HOST)]
    failed = [
        f"{protocol} {address}"
        for protocol in ("tcp", "udp")
        for space, address in asked
        if clients.reached(space, protocol, address, 8080, timeout=1) != "web"
    ]
    address = boxes.address(engine, "web", "app")
    wanted = {"itself": lan.HOST, "neighbour": address, "gateway": boxes.gateway(engine, "peer", "app")}
    ways = (("web", "itself", 8080), ("peer", "neighbour", 80), ("peer", "gateway", 8080))
    failed += [way for source, way, port in ways if reached(engine, source, wanted[way], port, timeout=1) != "web"]
    with servers.echo(cable.neighbour, "tcp:7"):
        if not reached(engine, "peer", lan.OUTSIDE, 7, timeout=1):
            failed.append("the world")
    with within(engine, "stranger") as stranger:
        if not clients.unreached(stranger, "tcp", address, 80):
            failed.append("a stranger gets in")
    cable.route(f"{address}/32")
    if not clients.unreached(cable.neighbour, "tcp", address, 80):
        failed.append("the neighbour gets in")
    return failed


def _all_works(engine: Engine, cable: Lan) -> None:
    """Within ten seconds."""
    found = ["not asked"]

    def works() -> bool:
        found[:] = troubles(engine, cable)
        return not found

    try:
        wait_until(works, 10)
    except AssertionError:
        pytest.fail(f"does not work: {', '.join(found)}")


def settle(engine: Engine) -> None:
    """``web`` with a published port and ``peer`` on network ``app``, and a ``stranger`` on another."""
    for name in ("app", "other"):
        boxes.network(engine, name)
    serve(engine, "web", "--network", "app", *BOTH)
    start(engine, "peer", "--network", "app")
    start(engine, "stranger", "--network", "other")


# --- the rules of others -------------------------------------------------------------------------------


@ours
def test_a_flushed_rule_set_comes_back(engine: Engine, lan: Lan) -> None:
    """As a firewall's reload does it. Docker needs a restart."""
    settle(engine)
    before = state(engine.netns)
    assert troubles(engine, lan) == []
    for _ in range(2):
        engine.netns.nft("flush ruleset")
        # The rules alone: an interface of an earlier test's container goes when the kernel comes to it.
        wait_until(
            lambda: not _left_out(engine, before), 10, f"the rules are there again: {_left_out(engine, before)[:3]}"
        )
        assert troubles(engine, lan) == []
        assert before.rules == state(engine.netns).rules


def _left_out(engine: Engine, before: State) -> list[str]:
    return sorted(before.rules - state(engine.netns).rules)


@ours
def test_a_rule_set_flushed_while_the_daemon_was_dead(own_engine: Engine) -> None:
    with Lan(own_engine.netns) as cable:
        settle(own_engine)
        own_engine.kill()
        own_engine.netns.nft("flush ruleset")
        own_engine.start()
        _all_works(own_engine, cable)


@ours
@pytest.mark.parametrize("order", ["before", "after"])
def test_beside_the_rules_of_dockerd(engine: Engine, lan: Lan, order: str) -> None:
    """Its FORWARD policy is drop; ours are let through by DOCKER-USER, which is made for that. The rest stays."""
    if order == "before":
        firewalls.load(engine.netns, "dockerd")
    text = firewalls.text(engine.netns, "dockerd") if order == "before" else ""
    try:
        settle(engine)
        if order == "after":
            firewalls.load(engine.netns, "dockerd")
            wait_until(lambda: "dockyard" in firewalls.text(engine.netns, "dockerd"), 10, "our accepts are there")
            text = ""
        _all_works(engine, lan)
        engine.remove_containers()
        engine.remove_networks()
        if text:
            kept = [line for line in firewalls.text(engine.netns, "dockerd").splitlines() if "dockyard" not in line]
            assert kept == text.splitlines()
    finally:
        firewalls.unload(engine.netns, "dockerd")


@ours
@pytest.mark.parametrize("program", ["ufw", "firewalld"])
def test_beside_a_firewall(engine: Engine, lan: Lan, program: str) -> None:
    """What it drops is told with the line that helps, a published port says that it goes around; nothing is touched."""
    firewalls.load(engine.netns, program)
    text = firewalls.text(engine.netns, program)
    try:
        boxes.network(engine, "app")
        image = engine.busybox()
        # The engine looks a moment after the last change: a reload makes many.
        wait_until(lambda: program in engine.dockyard("create", *BOTH, image, check=True).stderr, 10, "it is noticed")
        done = engine.dockyard("run", "-d", "--network", "app", *BOTH, image, "sleep", "1000", check=True)
        assert program in done.stderr
        assert "127.0.0.1" in done.stderr
        assert firewalls.text(engine.netns, program) == text
        quiet = engine.dockyard("run", "--rm", "-p", "127.0.0.1:9000:80", image, "true", check=True)
        assert "go around" not in quiet.stderr
    finally:
        firewalls.unload(engine.netns, program)


@ours
def test_the_line_that_is_told_for_ufw_helps(engine: Engine, lan: Lan) -> None:
    """``ufw route allow in on BRIDGE`` and ``out on BRIDGE`` are these two rules."""
    firewalls.load(engine.netns, "ufw")
    try:
        settle(engine)
        for name in ("app", "other"):
            bridge = _bridge(engine, name)
            for key in ("iifname", "oifname"):
                engine.netns.nft(f'add rule ip filter ufw-user-forward {key} "{bridge}" counter accept')
        # ufw also guards the host's own ports: what the proxy serves to the LAN, and to containers, is its to judge.
        assert [trouble for trouble in troubles(engine, lan) if trouble != "gateway"] == []
    finally:
        firewalls.unload(engine.netns, "ufw")


def _bridge(engine: Engine, network: str) -> str:
    """The name of a network's bridge: the interface that has its gateway's address."""
    start(engine, f"probe-{network}", "--network", network)
    gateway = boxes.gateway(engine, f"probe-{network}", network)
    lines = engine.netns.ip("-o", "address", "show").splitlines()
    return next(line.split()[1] for line in lines if f" {gateway}/" in line)


# --- the daemon, and its bridges -----------------------------------------------------------------------


@ours
def test_ports_outlive_the_daemon(own_engine: Engine) -> None:
    with Lan(own_engine.netns) as cable:
        settle(own_engine)
        before = state(own_engine.netns)
        own_engine.kill()
        addresses = [(own_engine.netns, "127.0.0.1"), (own_engine.netns, "::1"), (cable.neighbour, lan.HOST)]
        for protocol in ("tcp", "udp"):
            for space, address in addresses:
                assert clients.reached(space, protocol, address, 8080) == "web"
        own_engine.start()
        assert troubles(own_engine, cable) == []
        after = state(own_engine.netns)
        assert (before.added(after), before.missing(after)) == ([], [])
        own_engine.stop()
        assert clients.reached(cable.neighbour, "tcp", lan.HOST, 8080) == "web"
        own_engine.start()
        assert troubles(own_engine, cable) == []


@ours
def test_a_container_that_ended_while_the_daemon_was_dead(own_engine: Engine) -> None:
    """Its port is free again, and no rule leads to its address."""
    settle(own_engine)
    own_engine.dockyard("network", "create", "empty", check=True)
    serve(own_engine, "gone", "--network", "empty", "-p", "8090:80")
    pid = own_engine.inspect("gone")["State"]["Pid"]
    own_engine.kill()
    own_engine.netns.run(["kill", "-9", str(pid)])
    own_engine.start()
    own_engine.wait_state("gone", "exited")
    wait_until(lambda: not any("8090" in rule for rule in state(own_engine.netns).rules), 10, "no rule is left")
    with servers.echo(own_engine.netns, "tcp:8090"):
        assert clients.ask(own_engine.netns, "tcp", "127.0.0.1", 8090)["own"] == ["127.0.0.1", 8090]


@ours
@pytest.mark.parametrize("running", [False, True])
def test_a_bridge_deleted_by_hand_is_made_again(engine: Engine, lan: Lan, running: bool) -> None:
    settle(engine)
    bridge = _bridge(engine, "app")
    if not running:
        engine.dockyard("rm", "-f", "web", "peer", "probe-app", check=True)
    engine.netns.ip("link", "delete", bridge)
    if not running:
        serve(engine, "web", "--network", "app", *BOTH)
        start(engine, "peer", "--network", "app")
    else:
        start(engine, "newcomer", "--network", "app")
        assert reached(engine, "newcomer", boxes.address(engine, "web", "app")) == "web"
    _all_works(engine, lan)


@ours
def test_every_network_is_there_after_a_restart(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    boxes.network(engine, "app", "--subnet", "10.77.0.0/24", "--ipv6", "--label", "a=b", "-o", "x=y")
    wanted = engine.api("GET", "/networks/app").body
    engine.restart()
    assert engine.api("GET", "/networks/app").body == wanted


# --- many ----------------------------------------------------------------------------------------------


@ours
@pytest.mark.timeout(900)
def test_a_thousand_networks(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    engine.dockyard("run", "--rm", engine.busybox(), "true", check=True)
    wait_until(lambda: not any(" veth on " in link for link in state(engine.netns).links), 10, "its veth is gone")
    before = state(engine.netns)
    for number in range(1000):
        answer = engine.api("POST", "/networks/create", {"Name": f"net{number}"})
        assert answer.status == 201, answer
    for number in (0, 999):
        for side in "ab":
            serve(engine, f"{side}{number}", "--network", f"net{number}")
    for number in (0, 999):
        assert reached(engine, f"a{number}", boxes.address(engine, f"b{number}", f"net{number}"))
        other = 999 - number
        assert not reached(
            engine, f"a{number}", boxes.address(engine, f"b{other}", f"net{other}"), timeout=clients.QUIET
        )
    assert len(engine.dockyard("network", "ls", "-q", check=True).stdout.split()) == 1003
    engine.remove_containers()
    assert len(engine.api("POST", "/networks/prune", timeout=300).body["NetworksDeleted"]) == 1000
    wait_until(lambda: before.added(state(engine.netns)) == [], 30, "nothing is left of them")


# --- side by side --------------------------------------------------------------------------------------


@ours
@pytest.mark.parametrize("kind", [Engine, Dockerd])
def test_two_engines_on_one_host(make_engine: Callable[..., Engine], kind: type[Engine]) -> None:
    if kind is Dockerd and shutil.which("dockerd") is None:
        pytest.skip("dockerd is not installed")
    first = make_engine()
    second = make_engine(kind=kind, netns=first.netns)
    with Lan(first.netns) as cable:
        _side_by_side(first, second, cable)


def _side_by_side(first: Engine, second: Engine, cable: Lan) -> None:
    engines = {"first": first, "second": second}
    ports = {"first": 8081, "second": 8082}
    for name, engine in engines.items():
        port = ports[name]
        boxes.network(engine, "app")
        serve(engine, name, "--network", "app", "-p", f"{port}:80", "-p", f"{port}:80/udp")
        serve(engine, "hidden", "--network", "app")
        start(engine, "peer", "--network", "app")
    subnets = [boxes.address(engine, "peer", "app").rsplit(".", 1)[0] for engine in engines.values()]
    assert len(set(subnets)) == 2
    taken = second.dockyard("run", "-d", "-p", "8081:80", second.busybox(), "true")
    assert taken.returncode == 125

    def all_is_well() -> None:
        with servers.echo(cable.neighbour, "tcp:7"):
            for name, engine in engines.items():
                port = ports[name]
                for protocol in ("tcp", "udp"):
                    for space in (first.netns, cable.neighbour):
                        assert clients.reached(space, protocol, "192.0.2.1", port) == name
                    assert clients.reached(first.netns, protocol, "127.0.0.1", port) == name
                assert reached(engine, "peer", boxes.address(engine, name, "app")) == name
                assert reached(engine, "peer", "192.0.2.2", 7)

    all_is_well()
    first.restart()
    all_is_well()
    with within(first, "peer") as inside:
        # Not the published one: Docker's rules let everybody to its own address, too.
        assert clients.unreached(inside, "tcp", boxes.address(second, "hidden", "app"), 80)
    # One leaves, the other stays as it is.
    first.remove_containers()
    first.remove_networks()
    del engines["first"]
    all_is_well()
