"""The daemon dies at each step of attaching, connecting, and of making and removing networks: nothing may be left."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from tests.faults.test_daemon_death import armed, assert_clean, dying_request
from tests.network import boxes, clients
from tests.network.state import State, state
from tests.support import Engine, wait_until

PORTS = {"80/tcp": [{"HostPort": "8080"}], "80/udp": [{"HostPort": "8080"}], "81/tcp": [{"HostIp": "::1"}]}


@pytest.fixture
def engine_and_state(make_engine: Callable[..., Engine]) -> tuple[Engine, State]:
    """With network ``app``; what its host holds when nothing is attached but everything has been once."""
    engine = make_engine()
    image = engine.busybox()
    boxes.network(engine, "app", "--ipv6")
    for network in ("bridge", "app"):
        engine.dockyard("run", "--rm", "--network", network, "-p", "8079:80", image, "true", check=True)
    wait_until(lambda: not any(" veth" in link for link in state(engine.netns).links), 10, "no veth is left")
    return engine, state(engine.netns)


def create(engine: Engine, name: str = "box", network: str = "app") -> None:
    body = {
        "Image": "busybox:test",
        "Cmd": ["sleep", "1000"],
        "HostConfig": {"NetworkMode": network, "PortBindings": PORTS},
        "NetworkingConfig": {"EndpointsConfig": {network: {} if network == "bridge" else {"Aliases": ["crate"]}}},
    }
    assert engine.api("POST", f"/containers/create?name={name}", body).status == 201


def rows(engine: Engine, table: str) -> list[Any]:
    """What the database holds."""
    with closing(sqlite3.connect(f"file:{engine.root}/dockyard.db?mode=ro", uri=True)) as database:
        return database.execute(f"SELECT * FROM {table}").fetchall()


def nothing_is_attached(engine: Engine, before: State) -> None:
    """No veth, no rule, no row of an address or a port, no socket, and the host as it was."""

    def left() -> list[str]:
        return [*before.added(state(engine.netns)), *rows(engine, "addresses"), *rows(engine, "published")]

    wait_until(lambda: not left(), 10, f"nothing is left ({left()})")
    assert before.missing(state(engine.netns)) == []


def works(engine: Engine, name: str = "box", network: str = "app") -> None:
    """It is reached: by its name, its address and its port."""
    address = boxes.address(engine, name, network)
    engine.dockyard("exec", "-d", name, "nc", "-ll", "-p", "80", "-e", "echo", "here", check=True)
    boxes.start(engine, "client", "--network", network)
    with boxes.within(engine, "client") as client:
        assert clients.addresses(client, name) == [address]
        if network != "bridge":  # which has no aliases
            assert clients.addresses(client, "crate") == [address]
    for host, port in (("127.0.0.1", 8080), ("::1", 8080), (address, 80)):
        wait_until(partial(_says_here, engine, host, port), 10, f"it answers at {host}")
    engine.dockyard("rm", "-f", "client", check=True)


def _says_here(engine: Engine, host: str, port: int) -> bool:
    try:
        with clients.connect(engine.netns, "tcp", host, port, timeout=2) as connection:
            return connection.recv(100) == b"here\n"
    except OSError:
        return False


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("network", ["app", "bridge"])
def test_attach(engine_and_state: tuple[Engine, State], network: str, step: int) -> None:
    engine, before = engine_and_state
    create(engine, network=network)
    armed(engine, f"attach:{step}")
    dying_request(engine, "POST", "/containers/box/start")
    engine.start()
    assert engine.inspect("box")["State"]["Status"] == "created"
    nothing_is_attached(engine, before)
    assert engine.api("POST", "/containers/box/start").status == 204
    works(engine, network=network)
    engine.remove_containers()
    assert_clean(engine)
    nothing_is_attached(engine, before)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_connect(engine_and_state: tuple[Engine, State], step: int) -> None:
    """The intent is written first: the next daemon brings it to its end, or the container is not on the network."""
    engine, before = engine_and_state
    create(engine, network="bridge")
    assert engine.api("POST", "/containers/box/start").status == 204
    armed(engine, f"connect:{step}")
    body = {"Container": "box", "EndpointConfig": {"Aliases": ["crate"]}}
    dying_request(engine, "POST", "/networks/app/connect", body)
    engine.start()
    if "app" in engine.inspect("box")["NetworkSettings"]["Networks"]:
        assert engine.api("POST", "/networks/app/disconnect", {"Container": "box"}).status == 200
    assert engine.api("POST", "/networks/app/connect", body).status == 200
    works(engine)
    engine.remove_containers()
    assert_clean(engine)
    nothing_is_attached(engine, before)


@pytest.mark.parametrize("step", [1, 2])
def test_disconnect(engine_and_state: tuple[Engine, State], step: int) -> None:
    engine, before = engine_and_state
    create(engine, network="app")
    assert engine.api("POST", "/containers/box/start").status == 204
    armed(engine, f"disconnect:{step}")
    dying_request(engine, "POST", "/networks/app/disconnect", {"Container": "box"})
    engine.start()
    if "app" in engine.inspect("box")["NetworkSettings"]["Networks"]:
        assert engine.api("POST", "/networks/app/disconnect", {"Container": "box"}).status == 200
    wait_until(lambda: not any(" veth" in link for link in state(engine.netns).links), 10, "its veth is gone")
    body = {"Container": "box", "EndpointConfig": {"Aliases": ["crate"]}}
    assert engine.api("POST", "/networks/app/connect", body).status == 200
    works(engine)
    engine.remove_containers()
    assert_clean(engine)
    nothing_is_attached(engine, before)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_network_create(engine_and_state: tuple[Engine, State], step: int) -> None:
    engine, before = engine_and_state
    armed(engine, f"network-create:{step}")
    dying_request(engine, "POST", "/networks/create", {"Name": "new"})
    engine.start()
    if "new" in names(engine):
        create(engine, network="new")
        assert engine.api("POST", "/containers/box/start").status == 204
        works(engine, network="new")
        engine.remove_containers()
        assert engine.api("DELETE", "/networks/new").status == 204
    nothing_is_attached(engine, before)
    assert engine.api("POST", "/networks/create", {"Name": "new"}).status == 201


@pytest.mark.parametrize("point", ["network-remove:1", "network-remove:2", "network-prune:1"])
def test_network_remove(engine_and_state: tuple[Engine, State], point: str) -> None:
    engine, before = engine_and_state
    create(engine, network="app")  # keeps that network from being pruned
    assert engine.api("POST", "/containers/box/start").status == 204
    for name in ("old", "older"):
        assert engine.api("POST", "/networks/create", {"Name": name}).status == 201
    armed(engine, point)
    if "prune" in point:
        dying_request(engine, "POST", "/networks/prune")
    else:
        dying_request(engine, "DELETE", "/networks/old")
    engine.start()
    works(engine)
    engine.remove_containers()
    for name in set(names(engine)) & {"old", "older"}:
        assert engine.api("DELETE", f"/networks/{name}").status == 204
    assert_clean(engine)
    nothing_is_attached(engine, before)


def names(engine: Engine) -> list[str]:
    return [network["Name"] for network in engine.api("GET", "/networks").body]


def test_a_monitor_that_is_killed_leaves_no_port(engine_and_state: tuple[Engine, State]) -> None:
    """It holds the sockets and answers for names: with it the container goes, and with that all that it had."""
    engine, before = engine_and_state
    create(engine)
    assert engine.api("POST", "/containers/box/start").status == 204
    pid = engine.inspect("box")["State"]["Pid"]
    with open(f"/proc/{pid}/stat") as file:
        monitor = file.read().rpartition(")")[2].split()[1]
    engine.netns.run(["kill", "-9", monitor])
    wait_until(lambda: engine.api("POST", "/containers/box/kill").status in (204, 409), 10, "the engine answers")
    engine.wait_state("box", "exited")
    nothing_is_attached(engine, before)
    assert engine.api("POST", "/containers/box/start").status == 204
    works(engine)
    engine.remove_containers()
    nothing_is_attached(engine, before)
