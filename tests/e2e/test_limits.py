"""Limits bite, and the container's record says so."""

from __future__ import annotations

from tests.support import Engine, wait_until


def test_memory(engine: Engine, busybox: str) -> None:
    # tail keeps its last "line" in memory: /dev/zero has no end of line.
    done = engine.dockyard("run", "--name", "hog", "-m", "16m", busybox, "tail", "/dev/zero", timeout=60)
    assert done.returncode == 137
    found = engine.inspect("hog")
    assert found["State"]["OOMKilled"] is True
    assert found["DockyardExplain"] == "killed by the kernel: out of memory, its limit was 16 MiB"
    out = engine.dockyard(
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "container=hog",
        "--format",
        "{{.Action}}",
        check=True,
    )
    assert "oom" in out.stdout.split()


def test_pids(engine: Engine, busybox: str) -> None:
    script = "i=0; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); done; echo all"
    done = engine.dockyard("run", "--rm", "--pids-limit", "10", busybox, "sh", "-c", script)
    assert "all" not in done.stdout
    assert "fork" in done.stderr


def test_cpus(engine: Engine, busybox: str) -> None:
    engine.dockyard(
        "run", "-d", "--name", "spin", "--cpus", "0.2", busybox, "sh", "-c", "while :; do :; done", check=True
    )

    def throttled() -> int:
        script = "cat /sys/fs/cgroup/cpu/cpu.stat /sys/fs/cgroup/cpu.stat 2>/dev/null | grep nr_throttled"
        out = engine.dockyard("exec", "spin", "sh", "-c", script).stdout
        return int(out.split()[1]) if out else 0

    wait_until(lambda: throttled() > 3, 15, "the quota throttles")


def test_devices(engine: Engine, busybox: str) -> None:
    script = "mknod /tmp/k c 1 2 && cat /tmp/k; mknod /tmp/z c 1 5 && head -c 1 /tmp/z | wc -c"
    done = engine.dockyard("run", "--rm", busybox, "sh", "-c", script)
    assert "not permitted" in done.stderr
    assert done.stdout.strip() == "1"


def test_limits_do_not_outlive_the_container(engine: Engine, busybox: str) -> None:
    engine.dockyard("run", "--rm", "-m", "32m", busybox, "true", check=True)
    assert engine.containers() == []


def test_a_ulimit_beyond_reach_is_clamped_and_said(engine: Engine, busybox: str) -> None:
    body = {
        "Image": busybox,
        "Cmd": ["sh", "-c", "ulimit -n"],
        "HostConfig": {"NetworkMode": "none", "Ulimits": [{"Name": "nofile", "Soft": 10**9, "Hard": 10**9}]},
    }
    created = engine.api("POST", "/containers/create?name=limits", body)
    assert created.status == 201, created
    assert engine.api("POST", "/containers/limits/start").status == 204
    engine.wait_state("limits", "exited")
    assert int(engine.dockyard("logs", "limits", check=True).stdout) >= 1024
    assert "nofile" in engine.log.lower()
