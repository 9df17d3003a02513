"""The daemon dies between the record of a container's health and its event, and while it ends an unhealthy one."""

from __future__ import annotations

import pytest

from tests.faults.test_daemon_death import armed, assert_clean, create
from tests.support import Engine, wait_until

CHECK = {"Test": ["CMD-SHELL", "test ! -e /mark/bad"], "Interval": 50_000_000, "Retries": 1}
HOST = {
    "NetworkMode": "none", "Init": True, "Tmpfs": {"/mark": ""},
    "Annotations": {"dockyard.restart-unhealthy": "true"},
}  # fmt: skip


@pytest.mark.parametrize("point", ["health:1", "stop:1", "stop:2", "stop:3", "restart:1", "restart:2", "restart:3"])
def test_restart_of_an_unhealthy_container(own_engine: Engine, point: str) -> None:
    own_engine.busybox()
    command = ["sh", "-c", "echo run; test -e /first || { touch /first /mark/bad; }; exec sleep 1000"]
    assert create(own_engine, Cmd=command, Healthcheck=CHECK, HostConfig=HOST) == 201
    armed(own_engine, point)
    assert own_engine.api("POST", "/containers/box/start").status == 204
    assert own_engine.wait_exit(30) == -9
    own_engine.start()
    wait_until(
        lambda: own_engine.inspect("box")["State"].get("Health", {}).get("Status") == "healthy",
        30,
        f"it runs again, healthy: {point}",
    )
    assert own_engine.dockyard("logs", "box").stdout.count("run") == 2
    assert own_engine.inspect("box")["RestartCount"] == 1
    own_engine.remove_containers()
    assert_clean(own_engine)
