"""pause, unpause, rename, update, restart policies and container prune, with real containers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.linux import cgroups
from tests.support import Engine, wait_until

COUNTING = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"


def run(engine: Engine, name: str, *command: str, flags: tuple[str, ...] = ()) -> None:
    engine.busybox()
    engine.dockyard("run", "-d", "--name", name, "--network", "none", *flags, "busybox:test", *command, check=True)


def state(engine: Engine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.inspect(name)["State"]
    return found


def group_file(engine: Engine, name: str, v1: str, v2: str) -> str:
    """The content of a limit's file of a running container, of whichever version this machine has."""
    found = cgroups.detect()
    pid = state(engine, name)["Pid"]
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        wanted = v1.partition(".")[0]
        if found.version == 1 and wanted in controllers.split(","):
            return Path(found.mounts[wanted] + path, v1).read_text().strip()
        if found.version == 2 and controllers == "":
            return Path(found.unified + path, v2).read_text().strip()
    raise AssertionError(f"no group of {v1}")


# --- pause -----------------------------------------------------------------------------------------


def test_a_paused_container_stands_still_and_goes_on(engine: Engine) -> None:
    run(engine, "box", "sh", "-c", COUNTING)
    assert engine.dockyard("pause", "box", check=True).stdout == "box\n"
    assert state(engine, "box")["Status"] == "paused"
    assert state(engine, "box")["Paused"] is True
    assert state(engine, "box")["Running"] is True
    assert "(Paused)" in engine.dockyard("ps", "--format", "{{.Status}}", check=True).stdout
    assert engine.api("GET", "/info").body["ContainersPaused"] == 1
    log = engine.dockyard("logs", "box", check=True).stdout
    assert engine.dockyard("logs", "box", check=True).stdout == log
    assert engine.dockyard("unpause", "box", check=True).stdout == "box\n"
    wait_until(lambda: len(engine.dockyard("logs", "box").stdout) > len(log), 10, "it counts on")
    assert state(engine, "box")["Status"] == "running"


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        (("pause", "box"), "is already paused"),
        (("exec", "box", "true"), "is paused, unpause the container before exec"),
        (("attach", "box"), "cannot attach to a paused container, unpause it first"),
        (("start", "box"), "cannot start a paused container, try unpause instead"),
        (("rm", "box"), "container is paused"),
    ],
)
def test_what_a_paused_container_refuses(engine: Engine, verb: tuple[str, ...], message: str) -> None:
    run(engine, "box", "sleep", "1000")
    engine.dockyard("pause", "box", check=True)
    done = engine.dockyard(*verb)
    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.parametrize("verb", [("kill", "box"), ("stop", "-t", "0", "box"), ("rm", "-f", "box")])
def test_a_paused_container_can_be_ended(engine: Engine, verb: tuple[str, ...]) -> None:
    run(engine, "box", "sleep", "1000")
    engine.dockyard("pause", "box", check=True)
    engine.dockyard(*verb, check=True)
    if verb[0] == "rm":
        assert engine.containers() == []
    else:
        assert engine.wait_state("box", "exited")["State"]["ExitCode"] == 137


def test_a_paused_container_restarts(engine: Engine) -> None:
    run(engine, "box", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.02; done")
    engine.dockyard("pause", "box", check=True)
    engine.dockyard("restart", "box", check=True)
    assert state(engine, "box")["Status"] == "running"


def test_pause_of_what_does_not_run(engine: Engine) -> None:
    engine.busybox()
    engine.dockyard("create", "--name", "box", "busybox:test", "true", check=True)
    done = engine.dockyard("pause", "box")
    assert done.returncode == 1
    assert "is not running" in done.stderr
    done = engine.dockyard("unpause", "box", "missing")
    assert "is not paused" in done.stderr
    assert "No such container: missing" in done.stderr


# --- rename ----------------------------------------------------------------------------------------


def test_rename(engine: Engine) -> None:
    run(engine, "box", "sleep", "1000")
    assert engine.dockyard("rename", "box", "crate", check=True).stdout == ""
    assert engine.inspect("crate")["Name"] == "/crate"
    assert "No such container" in engine.dockyard("stop", "box").stderr
    run(engine, "box", "sleep", "1000")
    done = engine.dockyard("rename", "box", "crate")
    assert done.returncode == 1
    assert 'The container name "/crate" is already in use by container' in done.stderr
    assert engine.inspect("box")["Name"] == "/box"


@pytest.mark.parametrize(
    ("new", "message"),
    [("box", "same name"), ("a/b", "Invalid container name (a/b)"), (" ", "may be empty"), ("-x", "unknown shorthand")],
)
def test_bad_names(engine: Engine, new: str, message: str) -> None:
    run(engine, "box", "sleep", "1000")
    done = engine.dockyard("rename", "box", new)
    assert done.returncode != 0
    assert message in done.stderr


def test_what_joined_a_renamed_container_still_finds_it(engine: Engine) -> None:
    run(engine, "box", "sleep", "1000")
    engine.dockyard("create", "--name", "guest", "--network", "container:box", "busybox:test", "true", check=True)
    engine.dockyard("rename", "box", "crate", check=True)
    engine.dockyard("start", "-a", "guest", check=True)
    assert engine.inspect("guest")["HostConfig"]["NetworkMode"] == f"container:{engine.inspect('crate')['Id']}"


# --- update ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "v1", "v2"),
    [
        (
            ("--memory", "64m", "--memory-swap", "64m"),
            ("memory.limit_in_bytes", "67108864"),
            ("memory.max", "67108864"),
        ),
        (("--cpus", "0.5"), ("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000")),
        (("--cpu-shares", "512"), ("cpu.shares", "512"), ("cpu.weight", "59")),
        (("--pids-limit", "77"), ("pids.max", "77"), ("pids.max", "77")),
        (("--cpuset-cpus", "0"), ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    ],
)
def test_limits_of_a_running_container_change(
    engine: Engine, flags: tuple[str, ...], v1: tuple[str, str], v2: tuple[str, str]
) -> None:
    run(engine, "box", "sleep", "1000")
    assert engine.dockyard("update", *flags, "box", check=True).stdout == "box\n"
    expected = v1[1] if cgroups.detect().version == 1 else v2[1]
    assert group_file(engine, "box", v1[0], v2[0]) == expected
    engine.dockyard("restart", "-t", "0", "box", check=True)
    assert group_file(engine, "box", v1[0], v2[0]) == expected


def test_an_unlimited_number_of_processes(engine: Engine) -> None:
    run(engine, "box", "sleep", "1000", flags=("--pids-limit", "50"))
    engine.dockyard("update", "--pids-limit", "-1", "box", check=True)
    assert group_file(engine, "box", "pids.max", "pids.max") == "max"


def test_a_limit_below_the_use_is_refused_and_changes_nothing(engine: Engine) -> None:
    fill = "dd if=/dev/zero of=/m/f bs=1M count=40 2>/dev/null; echo full; sleep 1000"
    run(engine, "box", "sh", "-c", fill, flags=("--memory", "100m", "--tmpfs", "/m", "--cpu-shares", "100"))
    wait_until(lambda: engine.dockyard("logs", "box").stdout == "full\n", 20, "the memory is used")
    before = engine.inspect("box")["HostConfig"]
    done = engine.dockyard("update", "--cpu-shares", "300", "--memory", "20m", "--memory-swap", "20m", "box")
    assert done.returncode == 1
    assert "below what the container uses" in done.stderr
    assert engine.inspect("box")["HostConfig"] == before
    assert group_file(engine, "box", "memory.limit_in_bytes", "memory.max") == str(100 << 20)
    assert state(engine, "box")["Running"] is True


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "you must provide one or more flags when using this command"),
        (("--memory", "1m"), "Minimum memory limit allowed is 6MB"),
        (("--cpus", "x"), "--cpus"),
        (("--restart", "sometimes"), "unknown policy 'sometimes'"),
        (("--restart", "always:3"), "maximum retry count can only be used with 'on-failure'"),
        (("--blkio-weight", "5"), "Range of blkio weight is from 10 to 1000"),
        (("--cpu-period", "5"), "CPU cfs period can not be less than 1ms"),
        (("--memory-swap", "100m"), "you should always set the Memory limit"),
        (("--kernel-memory", "100m"), "kernel-memory"),
    ],
)
def test_updates_out_of_range(engine: Engine, flags: tuple[str, ...], message: str) -> None:
    run(engine, "box", "sleep", "1000")
    done = engine.dockyard("update", *flags, "box")
    assert done.returncode != 0
    assert message in done.stderr


def test_the_policy_of_a_container_that_is_down(engine: Engine) -> None:
    engine.busybox()
    engine.dockyard("create", "--name", "box", "busybox:test", "true", check=True)
    engine.dockyard("update", "--restart", "on-failure:3", "box", check=True)
    policy = engine.inspect("box")["HostConfig"]["RestartPolicy"]
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 3}


def test_conflicting_updates(engine: Engine) -> None:
    run(engine, "box", "sleep", "1000", flags=("--cpus", "1"))
    done = engine.dockyard("update", "--cpu-quota", "50000", "box")
    assert "CPU Quota cannot be updated as NanoCPUs has already been set" in done.stderr
    run(engine, "gone", "sleep", "1000", flags=("--rm",))
    done = engine.dockyard("update", "--restart", "always", "gone")
    assert "Restart policy cannot be updated because AutoRemove is enabled" in done.stderr


# --- restart policies ------------------------------------------------------------------------------


def test_on_failure_gives_up_after_its_number(engine: Engine) -> None:
    run(engine, "box", "sh", "-c", "echo run; exit 5", flags=("--restart", "on-failure:2"))
    wait_until(lambda: engine.dockyard("logs", "box").stdout.count("run") == 3, 20, "three runs")
    found = engine.wait_state("box", "exited")
    assert found["RestartCount"] == 2
    assert found["State"]["ExitCode"] == 5


def test_on_failure_leaves_a_success_alone(engine: Engine) -> None:
    run(engine, "box", "true", flags=("--restart", "on-failure"))
    assert engine.wait_state("box", "exited")["RestartCount"] == 0


def test_a_loop_is_shown_as_a_loop_and_can_be_stopped(engine: Engine) -> None:
    run(engine, "box", "false", flags=("--restart", "always"))
    wait_until(lambda: engine.inspect("box")["RestartCount"] >= 3, 20, "three restarts")
    found = wait_until(lambda: state(engine, "box")["Restarting"] and engine.inspect("box"), 20, "it waits")
    assert found["State"]["Running"] is True
    listed = wait_until(lambda: [c for c in engine.containers() if c["State"] == "restarting"], 20, "ps shows the wait")
    assert listed[0]["Status"].startswith("Restarting (1) ")
    wait_until(lambda: state(engine, "box")["Restarting"], 20, "it waits again")
    engine.dockyard("stop", "-t", "0", "box", check=True)
    assert engine.wait_state("box", "exited")["State"]["Restarting"] is False


def test_rm_of_a_waiting_container_needs_force(engine: Engine) -> None:
    run(engine, "box", "false", flags=("--restart", "always"))
    wait_until(lambda: engine.inspect("box")["RestartCount"] >= 5, 30, "its waits are long")
    wait_until(lambda: state(engine, "box")["Restarting"], 20, "it waits")
    assert "container is restarting" in engine.dockyard("rm", "box").stderr
    engine.dockyard("rm", "-f", "box", check=True)
    assert engine.containers() == []


def test_run_ends_with_the_first_end_as_docker_does(engine: Engine) -> None:
    engine.busybox()
    flags = ("--name", "box", "--restart", "on-failure:1")
    done = engine.dockyard("run", *flags, "busybox:test", "sh", "-c", "echo run; exit 7")
    assert (done.returncode, done.stdout) == (7, "run\n")
    wait_until(lambda: engine.dockyard("logs", "box").stdout == "run\nrun\n", 20, "the policy starts it again")


def test_policy_and_rm_exclude_each_other(engine: Engine) -> None:
    engine.busybox()
    done = engine.dockyard("run", "--rm", "--restart", "always", "busybox:test", "true")
    assert done.returncode == 125
    assert "conflicting options: cannot specify both --restart and --rm" in done.stderr


@pytest.mark.parametrize(
    ("policy", "stopped", "expected"),
    [
        ("always", False, "running"),
        ("always", True, "running"),
        ("unless-stopped", False, "running"),
        ("unless-stopped", True, "exited"),
        ("on-failure", True, "exited"),
        ("no", True, "exited"),
    ],
)
def test_policies_when_the_engine_starts(own_engine: Engine, policy: str, stopped: bool, expected: str) -> None:
    run(own_engine, "box", "sleep", "1000", flags=("--restart", policy))
    if stopped:
        own_engine.dockyard("stop", "-t", "0", "box", check=True)
    own_engine.kill()
    own_engine.start()
    assert own_engine.wait_state("box", expected)
    own_engine.remove_containers()


def test_kill_keeps_it_down_and_another_end_does_not(engine: Engine) -> None:
    run(engine, "box", "sleep", "1000", flags=("--restart", "unless-stopped"))
    engine.dockyard("exec", "box", "kill", "-9", "1")
    engine.dockyard("exec", "box", "true")
    engine.dockyard("kill", "box", check=True)
    assert engine.wait_state("box", "exited")["State"]["ExitCode"] == 137
    assert engine.inspect("box")["State"]["Restarting"] is False


# --- container prune -------------------------------------------------------------------------------


def test_prune_removes_what_is_down(engine: Engine) -> None:
    run(engine, "up", "sleep", "1000")
    run(engine, "down", "sh", "-c", "head -c 5000 /dev/zero > /f", flags=("--label", "a=b"))
    engine.wait_state("down", "exited")
    down = engine.inspect("down")["Id"]
    asked = engine.dockyard("container", "prune", input="n\n")
    assert asked.returncode == 0
    assert asked.stdout.startswith("WARNING! This will remove all stopped containers.\n")
    kept = engine.dockyard("container", "prune", "-f", "--filter", "label!=a", check=True)
    assert kept.stdout == "Total reclaimed space: 0B\n"
    kept = engine.dockyard("container", "prune", "-f", "--filter", "until=1h", check=True)
    assert kept.stdout == "Total reclaimed space: 0B\n"
    done = engine.dockyard("container", "prune", "-f", "--filter", "label=a", check=True)
    assert done.stdout == f"Deleted Containers:\n{down}\n\nTotal reclaimed space: 5kB\n"
    assert [c["Names"] for c in engine.containers()] == [["/up"]]
    assert "invalid filter 'x'" in engine.dockyard("container", "prune", "-f", "--filter", "x=y").stderr


# --- Docker's client -------------------------------------------------------------------------------


def test_the_docker_client_does_each(engine: Engine) -> None:
    run(engine, "box", "sleep", "1000")
    for verb in (("pause", "box"), ("unpause", "box"), ("rename", "box", "crate"), ("restart", "-t", "0", "crate")):
        assert engine.docker(*verb).returncode == 0, verb
    done = engine.docker("update", "--memory", "64m", "--memory-swap", "64m", "--restart", "always", "crate")
    assert (done.returncode, done.stdout) == (0, "crate\n")
    host = json.loads(engine.docker("inspect", "crate").stdout)[0]["HostConfig"]
    assert host["Memory"] == 64 << 20
    assert host["RestartPolicy"]["Name"] == "always"
    assert engine.docker("stop", "-t", "0", "crate").returncode == 0
    assert "Deleted Containers:" in engine.docker("container", "prune", "-f").stdout
