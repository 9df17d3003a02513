"""Health checks of real containers: states, events, probes that hang, flood or cannot start."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import Engine, wait_until

#: Healthy as long as the file is there.
PROBE = "cat /ok"


def run(engine: Engine, *flags: str, command: str = "echo fine > /ok; sleep 1000") -> None:
    engine.busybox()
    fast = ("--health-interval", "50ms", "--health-retries", "2")
    engine.dockyard("run", "-d", "--name", "box", *fast, *flags, "busybox:test", "sh", "-c", command, check=True)


def health(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = engine.inspect("box")["State"]["Health"]
    return found


def becomes(engine: Engine, status: str) -> dict[str, Any]:
    return wait_until(lambda: health(engine)["Status"] == status and health(engine), 20, f"it becomes {status}")


def test_a_container_gets_well_ill_and_well_again(engine: Engine) -> None:
    run(engine, "--health-cmd", PROBE)
    found = becomes(engine, "healthy")
    assert found["FailingStreak"] == 0
    assert found["Log"][-1]["Output"] == "fine\n"
    assert "(healthy)" in engine.dockyard("ps", "--format", "{{.Status}}").stdout
    assert engine.dockyard("ps", "-q", "--filter", "health=healthy").stdout
    assert not engine.dockyard("ps", "-q", "--filter", "health=unhealthy").stdout
    engine.dockyard("exec", "box", "rm", "/ok", check=True)
    found = becomes(engine, "unhealthy")
    assert found["FailingStreak"] >= 2
    assert "No such file" in found["Log"][-1]["Output"]
    assert "(unhealthy)" in engine.docker("ps", "--format", "{{.Status}}").stdout
    explained = engine.dockyard("ps", "--format", "{{.Reason}}").stdout
    assert "probes failed in a row, the last with exit code 1: cat: can't open '/ok'" in explained
    engine.dockyard("exec", "box", "sh", "-c", "echo fine > /ok", check=True)
    becomes(engine, "healthy")
    assert len(health(engine)["Log"]) <= 5
    events = engine.dockyard("events", "--since", "1m", "--until", "0s", "--filter", "container=box").stdout
    words = [line.split("health_status: ")[1].split()[0] for line in events.splitlines() if "health_status" in line]
    assert words[:3] == ["healthy", "unhealthy", "healthy"]


def test_a_probe_that_hangs_is_killed(engine: Engine) -> None:
    run(engine, "--health-cmd", "echo waiting; sleep 600", "--health-timeout", "100ms")
    found = becomes(engine, "unhealthy")
    assert found["Log"][-1]["ExitCode"] == -1
    assert found["Log"][-1]["Output"].startswith("Health check exceeded timeout (100ms)")


def test_a_probe_that_floods(engine: Engine) -> None:
    run(engine, "--health-cmd", "head -c 3000000 /dev/zero | tr '\\0' x")
    found = becomes(engine, "healthy")
    assert found["Log"][-1]["Output"] == "x" * 4096 + "..."


def test_a_probe_that_cannot_start(engine: Engine) -> None:
    engine.busybox()
    body = {
        "Image": "busybox:test", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"},
        "Healthcheck": {"Test": ["CMD", "/no/such/program"], "Interval": 50_000_000, "Retries": 1},
    }  # fmt: skip
    assert engine.api("POST", "/containers/create?name=box", body).status == 201
    assert engine.api("POST", "/containers/box/start").status == 204
    found = becomes(engine, "unhealthy")
    assert "no such file" in found["Log"][-1]["Output"].lower()


def test_the_start_period(engine: Engine) -> None:
    run(
        engine, "--health-cmd", PROBE, "--health-start-period", "1h", "--health-start-interval", "20ms",
        command="sleep 1000",
    )  # fmt: skip
    wait_until(lambda: len(health(engine)["Log"]) >= 4, 20, "some probes failed")
    assert (health(engine)["Status"], health(engine)["FailingStreak"]) == ("starting", 0)
    assert "(health: starting)" in engine.dockyard("ps", "--format", "{{.Status}}").stdout
    engine.dockyard("exec", "box", "sh", "-c", "echo fine > /ok", check=True)
    becomes(engine, "healthy")


def test_no_probes_while_it_is_paused(engine: Engine) -> None:
    run(engine, "--health-cmd", PROBE)
    becomes(engine, "healthy")
    engine.dockyard("pause", "box", check=True)
    log = health(engine)["Log"]
    assert "(Paused)" in engine.dockyard("ps", "--format", "{{.Status}}").stdout
    assert health(engine)["Log"] == log
    engine.dockyard("unpause", "box", check=True)
    becomes(engine, "healthy")


def test_a_check_of_the_image_and_how_it_is_switched_off(engine: Engine) -> None:
    engine.busybox()
    engine.dockyard("create", "--name", "maker", "busybox:test", "true", check=True)
    change = "HEALTHCHECK --interval=50ms CMD true"
    engine.dockyard("commit", "-c", change, "maker", "checked:1", check=True)
    engine.dockyard("run", "-d", "--name", "box", "checked:1", "sleep", "1000", check=True)
    becomes(engine, "healthy")
    engine.dockyard("rm", "-f", "box", check=True)
    engine.dockyard("run", "-d", "--name", "box", "--no-healthcheck", "checked:1", "sleep", "1000", check=True)
    assert "Health" not in engine.inspect("box")["State"]
    engine.remove_containers()
    engine.dockyard("rmi", "checked:1", check=True)


def test_restart_unhealthy(engine: Engine) -> None:
    run(
        engine, "--health-cmd", PROBE, "--restart-unhealthy", "--restart", "on-failure:1", "--stop-timeout", "0",
        command="sleep 1000",
    )  # fmt: skip
    found = wait_until(lambda: engine.inspect("box")["RestartCount"] == 1 and engine.inspect("box"), 20, "it restarts")
    assert found["HostConfig"]["Annotations"]["dockyard.restart-unhealthy"] == "true"
    becomes(engine, "unhealthy")
    assert engine.inspect("box")["RestartCount"] == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--no-healthcheck", "--health-cmd", "true"), "--no-healthcheck conflicts with --health-* options"),
        (("--health-interval", "-1s"), "--health-interval cannot be negative"),
        (("--health-retries", "-1"), "--health-retries cannot be negative"),
        (("--health-timeout", "1us"), "Timeout in Healthcheck cannot be less than 1ms"),
        (("--health-interval", "often"), "invalid duration"),
        (("--rm", "--restart-unhealthy"), "cannot specify both --restart-unhealthy and --rm"),
    ],
)
def test_what_is_refused(engine: Engine, flags: tuple[str, ...], message: str) -> None:
    engine.busybox()
    done = engine.dockyard("run", *flags, "busybox:test", "true")
    assert done.returncode == 125
    assert message in done.stderr


def test_the_docker_client_sees_the_same(engine: Engine) -> None:
    engine.busybox()
    flags = ("--health-cmd", "echo out", "--health-interval", "50ms")
    assert engine.docker("run", "-d", "--name", "box", *flags, "busybox:test", "sleep", "1000").returncode == 0
    becomes(engine, "healthy")
    found = json.loads(engine.docker("inspect", "-f", "{{json .State.Health}}", "box").stdout)
    assert found["Log"][-1]["Output"] == "out\n"


def test_the_probes_go_on_after_the_daemons_death(own_engine: Engine) -> None:
    run(own_engine, "--health-cmd", PROBE)
    becomes(own_engine, "healthy")
    own_engine.kill()
    own_engine.start()
    assert health(own_engine)["Status"] == "healthy"
    own_engine.dockyard("exec", "box", "rm", "/ok", check=True)
    becomes(own_engine, "unhealthy")
    own_engine.remove_containers()


def test_a_deaf_first_process_is_explained(engine: Engine) -> None:
    engine.busybox()
    engine.dockyard("run", "-d", "--name", "box", "busybox:test", "sleep", "1000", check=True)
    engine.dockyard("stop", "-t", "0", "box", check=True)
    reason = engine.dockyard("ps", "-a", "--format", "{{.Reason}}").stdout
    assert "its first process ignores SIGTERM: run it with --init, or give --stop-signal one that it handles" in reason
