"""The real ``docker`` client against this engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

import pytest

from tests.support import Engine, wait_until
from tests.terminal import Pty

pytestmark = pytest.mark.skipif(shutil.which("docker") is None, reason="no docker client on the PATH")


def test_run_rm(engine: Engine, busybox: str) -> None:
    done = engine.docker("run", "--rm", "-e", "A=b", busybox, "sh", "-c", "echo $A; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "b\n")
    assert "err" in done.stderr
    wait_until(lambda: engine.containers() == [], 5, "removed")


def test_run_i(engine: Engine, busybox: str) -> None:
    data = "x" * 300_000
    assert engine.docker("run", "--rm", "-i", busybox, "wc", "-c", input=data, check=True).stdout.strip() == "300000"


def test_the_life_of_a_container(engine: Engine, busybox: str) -> None:
    created = engine.docker(
        "run", "-d", "--name", "box", busybox, "sh", "-c", "echo up; sleep 1000", check=True
    ).stdout.strip()
    assert "box" in engine.docker("ps", check=True).stdout
    assert engine.docker("exec", "box", "sh", "-c", "exit 5").returncode == 5
    assert json.loads(engine.docker("inspect", "box", check=True).stdout)[0]["Id"] == created
    assert engine.docker("logs", "box", check=True).stdout == "up\n"
    engine.docker("stop", "-t", "0", "box", check=True)
    assert "Exited (137)" in engine.docker("ps", "-a", check=True).stdout
    engine.docker("start", "box", check=True)
    engine.docker("kill", "box", check=True)
    assert engine.docker("wait", "box", check=True).stdout == "137\n"
    engine.docker("rm", "box", check=True)


@pytest.mark.parametrize(("command", "code"), [("nope", 127), ("/etc/passwd", 126)])
def test_programs_that_do_not_start(engine: Engine, busybox: str, command: str, code: int) -> None:
    assert engine.docker("run", "--rm", busybox, command).returncode == code


def test_exec_it(engine: Engine, busybox: str) -> None:
    engine.docker("run", "-d", "--name", "box", busybox, "sleep", "1000", check=True)
    with Pty(["docker", "exec", "-it", "box", "sh"], env=engine.environment(), rows=31, cols=97) as shell:
        shell.expect("#")
        shell.send("stty size\r")
        shell.expect("31 97")
        shell.send("exit 4\r")
        assert shell.wait() == 4


def test_run_it_and_detach(engine: Engine, busybox: str) -> None:
    with Pty(["docker", "run", "-it", "--name", "box", busybox, "sh"], env=engine.environment()) as shell:
        shell.expect("#")
        shell.send(b"\x10\x11")
        shell.wait()
    assert engine.inspect("box")["State"]["Running"] is True


def test_logs_follow(engine: Engine, busybox: str) -> None:
    engine.docker(
        "run",
        "-d",
        "--name",
        "box",
        busybox,
        "sh",
        "-c",
        "echo one; while ! [ -e /go ]; do sleep 0.05; done; echo two",
        check=True,
    )
    follower = subprocess.Popen(["docker", "logs", "-f", "box"], env=engine.environment(), stdout=subprocess.PIPE)
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"one\n"
    engine.docker("exec", "box", "touch", "/go", check=True)
    rest, _ = follower.communicate(timeout=20)
    assert rest == b"two\n"


def test_events(engine: Engine, busybox: str) -> None:
    engine.docker("run", "--rm", "--name", "eventful", busybox, "true", check=True)
    wait_until(lambda: engine.containers() == [], 5, "removed")
    # The client asks in whole seconds: "0s" would leave out what happened in this one.
    until = str(int(time.time()) + 1)
    out = engine.docker(
        "events",
        "--since",
        "1h",
        "--until",
        until,
        "--filter",
        "container=eventful",
        "--format",
        "{{.Action}}",
        check=True,
    )
    assert out.stdout.split() == ["create", "attach", "start", "die", "destroy"]


def test_version_info_images(engine: Engine, busybox: str) -> None:
    assert (
        json.loads(engine.docker("version", "--format", "{{json .Server}}", check=True).stdout)["ApiVersion"] == "1.51"
    )
    assert engine.docker("info", "--format", "{{.ServerVersion}}", check=True).stdout.strip()
    assert "busybox" in engine.docker("images", check=True).stdout


@pytest.mark.parametrize("version", ["1.24", "1.41", "1.51"])
def test_older_clients(engine: Engine, busybox: str, version: str) -> None:
    done = engine.docker("run", "--rm", busybox, "echo", "hi", env={"DOCKER_API_VERSION": version}, check=True)
    assert done.stdout == "hi\n"


def test_binds_make_their_source_as_docker_does(engine: Engine, busybox: str) -> None:
    source = os.path.join(engine.folder, "made-by-bind")
    engine.docker("run", "--rm", "-v", f"{source}:/x", busybox, "touch", "/x/y", check=True)
    assert os.path.exists(os.path.join(source, "y"))
    refused = engine.docker("run", "--rm", "--mount", f"type=bind,src={source}/no,dst=/x", busybox, "true")
    assert refused.returncode == 125
    assert "bind source path does not exist" in refused.stderr


@pytest.mark.parametrize(
    ("flags", "script", "wanted"),
    [
        ("--device /dev/null:/dev/mine:rw", "echo x >/dev/mine && ls /dev/mine", "/dev/mine"),
        ("--sysctl kernel.msgmax=4343", "cat /proc/sys/kernel/msgmax", "4343"),
        ("--shm-size 8m", "df -k /dev/shm | awk 'END{print $2}'", "8192"),
        ("--ulimit nofile=99:99", "ulimit -n", "99"),
        ("--pid host --uts host --ipc none --cgroupns host", "ls -d /dev/shm 2>/dev/null || echo none", "none"),
        ("--blkio-weight 300 --expose 80 --annotation a=b --userns host --volume-driver local", "echo fine", "fine"),
        ("-m 64m --memory-swap -1 --memory-reservation 32m --cpu-shares 512", "echo fine", "fine"),
    ],
)
def test_flags(engine: Engine, busybox: str, flags: str, script: str, wanted: str) -> None:
    """The members that docker's own command line makes of them have the same effect."""
    done = engine.docker("run", "--rm", "--network", "none", *flags.split(), busybox, "sh", "-c", script)
    assert done.stdout.strip() == wanted, done


def test_pause_rename_update_restart_prune(engine: Engine, busybox: str) -> None:
    engine.docker("run", "-d", "--name", "box", "--network", "none", busybox, "sleep", "1000", check=True)
    done = engine.docker("pause", "box", "missing")
    assert (done.returncode, done.stdout) == (1, "box\n")
    assert "No such container: missing" in done.stderr
    assert "(Paused)" in engine.docker("ps", check=True).stdout
    assert "Container box is paused, unpause the container before exec" in engine.docker("exec", "box", "true").stderr
    engine.docker("kill", "-s", "HUP", "box", check=True)
    assert engine.inspect("box")["State"]["Status"] == "running"
    engine.docker("restart", "-t", "0", "box", check=True)
    engine.docker("container", "rename", "box", "crate", check=True)
    assert engine.docker("rename", "crate", "crate").returncode == 1
    limits = ("--memory", "64m", "--memory-swap", "64m", "--pids-limit", "50", "--restart", "on-failure:2")
    assert engine.docker("update", *limits, "crate", check=True).stdout == "crate\n"
    engine.docker("update", "--pids-limit", "-1", "crate", check=True)
    host = engine.inspect("crate")["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (64 << 20, 64 << 20, 0)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    engine.docker("stop", "-t", "0", "crate", check=True)
    gone = engine.inspect("crate")["Id"]
    done = engine.docker("container", "prune", "-f", check=True)
    assert done.stdout.startswith(f"Deleted Containers:\n{gone}\n\nTotal reclaimed space: ")
    assert engine.containers() == []
