"""A machine without nftables: published ports go through the monitor's relay, and what is lost is said."""

from __future__ import annotations

from collections.abc import Callable

from tests.network import boxes, clients
from tests.network.boxes import serve, start
from tests.network.dockerd import ours
from tests.support import Engine


@ours
def test_ports_are_served_and_the_loss_is_told(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(env={"DOCKYARD_NFTABLES": "none"})
    serve(engine, "web", "-p", "8080:80", "-p", "8080:80/udp")
    for protocol in ("tcp", "udp"):
        for address in ("127.0.0.1", "::1"):
            assert clients.reached(engine.netns, protocol, address, 8080) == "web"
    assert "127.0.0.11" not in boxes.read(engine, "web", "/etc/resolv.conf")
    assert any("no nftables" in warning for warning in engine.api("GET", "/info").body["Warnings"])
    assert "no nftables" in engine.api("POST", "/networks/create", {"Name": "app"}).body["Warning"]
    start(engine, "other", "--network", "app")
    engine.kill()
    assert clients.reached(engine.netns, "tcp", "127.0.0.1", 8080) == "web"
    engine.start()
    assert clients.reached(engine.netns, "tcp", "::1", 8080) == "web"
