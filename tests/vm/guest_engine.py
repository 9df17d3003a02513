"""The whole engine on version 2 and under systemd: the command line, the daemon, a container and its limits."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.linux.cgroup_files import read_file
from tests.support import Engine, wait_until
from tests.vm.guest import check


def _start(engine: Engine) -> None:
    engine.start(ready=False)
    engine.wait_ready(120)


@contextmanager
def _engine() -> Iterator[Engine]:
    base = Path(tempfile.mkdtemp(prefix="dk", dir="/tmp"))
    engine = Engine(base)
    try:
        _start(engine)
        yield engine
    finally:
        engine.close()
        shutil.rmtree(base)


@check("plain", "systemd", seconds=240)
def a_container_runs_within_its_limits() -> None:
    with _engine() as engine:
        image = engine.busybox()
        limits = ("-m", "32m", "--memory-swap", "32m", "--pids-limit", "20", "--cpus", "0.5")
        engine.dockyard("run", "-d", "--name", "box", *limits, image, "sleep", "1000", check=True, timeout=120)
        pid = engine.inspect("box")["State"]["Pid"]
        group = read_file(f"/proc/{pid}/cgroup").strip().removeprefix("0::")
        folder = f"/sys/fs/cgroup{group}"
        assert read_file(f"{folder}/memory.max").strip() == str(32 << 20)
        assert read_file(f"{folder}/memory.swap.max").strip() == "0"
        assert read_file(f"{folder}/pids.max").strip() == "20"
        assert read_file(f"{folder}/cpu.max").split() == ["50000", "100000"]
        done = engine.dockyard("exec", "box", "cat", "/proc/self/cgroup", check=True, timeout=60)
        assert done.stdout.strip() == "0::/"
        assert engine.dockyard("exec", "box", "sh", "-c", ": </dev/full", timeout=60).returncode == 0
        assert engine.dockyard("exec", "box", "sh", "-c", "mknod /dev/x b 254 0 && : </dev/x").returncode != 0
        engine.dockyard("rm", "-f", "box", check=True, timeout=60)
        wait_until(lambda: not os.path.exists(folder), 30, "its group is gone")
        _runs_out_of_memory(engine, image)


def _runs_out_of_memory(engine: Engine, image: str) -> None:
    limits = ("-m", "16m", "--memory-swap", "16m")
    done = engine.dockyard("run", "--name", "hungry", *limits, image, "tail", "/dev/zero", timeout=120)
    assert done.returncode == 128 + signal.SIGKILL, (done.returncode, done.stderr)
    state = engine.inspect("hungry")["State"]
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137), state


@check("plain", seconds=240)
def the_other_limits_are_written() -> None:
    """Weights, sets, devices and the host's namespaces, each read where the kernel keeps it."""
    with _engine() as engine:
        image = engine.busybox()
        limits = "-m 64m --memory-swap 96m --memory-reservation 32m --cpu-shares 512 --cpuset-cpus 0 --blkio-weight 300"
        given = [*limits.split(), "--device-cgroup-rule", "c 1:6 rwm", "--device", "/dev/null:/dev/mine:r"]
        given += ["--sysctl", "kernel.msgmax=4242", "--uts", "host", "--memory-swappiness", "7", "--oom-kill-disable"]
        engine.dockyard("run", "-d", "--name", "box", *given, image, "sleep", "1000", check=True, timeout=120)
        pid = engine.inspect("box")["State"]["Pid"]
        folder = f"/sys/fs/cgroup{read_file(f'/proc/{pid}/cgroup').strip().removeprefix('0::')}"
        wanted = {"memory.swap.max": 32 << 20, "memory.low": 32 << 20, "cpu.weight": 59, "cpuset.cpus": 0}
        assert {name: int(read_file(f"{folder}/{name}")) for name in wanted} == wanted
        assert os.readlink(f"/proc/{pid}/ns/uts") == os.readlink("/proc/self/ns/uts")
        script = (
            "cat /proc/sys/kernel/msgmax /dev/mine; mknod /tmp/k c 1 6; cat /tmp/k; mknod /tmp/m b 254 0; cat /tmp/m"
        )
        done = engine.dockyard("exec", "box", "sh", "-c", script, timeout=60)
        assert done.stdout.strip() == "4242", done
        assert "/tmp/k': No such device" in done.stderr, done
        assert "/tmp/m': Operation not permitted" in done.stderr, done


@check("plain", "systemd", seconds=240)
def a_running_container_is_paused_updated_and_measured() -> None:
    """What version 1 is asserted to do by the end-to-end tests, read from version 2's files."""
    with _engine() as engine:
        image = engine.busybox()
        script = "while :; do :; done"
        engine.dockyard("run", "-d", "--name", "box", image, "sh", "-c", script, check=True, timeout=120)
        pid = engine.inspect("box")["State"]["Pid"]
        folder = f"/sys/fs/cgroup{read_file(f'/proc/{pid}/cgroup').strip().removeprefix('0::')}"
        changes = "--memory 64m --memory-swap 96m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --pids-limit 77"
        engine.dockyard("update", *changes.split(), "--cpuset-cpus", "0", "box", check=True, timeout=60)
        wanted = {"memory.max": 64 << 20, "memory.swap.max": 32 << 20, "memory.low": 32 << 20, "cpu.weight": 59}
        wanted |= {"pids.max": 77, "cpuset.cpus": 0}
        assert {name: int(read_file(f"{folder}/{name}")) for name in wanted} == wanted
        assert read_file(f"{folder}/cpu.max").split() == ["50000", "100000"]
        wait_until(lambda: _figures(engine)["cpu_stats"]["throttling_data"]["throttled_periods"], 60, "it is throttled")
        assert _figures(engine)["memory_stats"]["limit"] == 64 << 20
        assert "inactive_file" in _figures(engine)["memory_stats"]["stats"]
        engine.dockyard("pause", "box", check=True, timeout=60)
        assert "frozen 1" in read_file(f"{folder}/cgroup.events")
        assert engine.inspect("box")["State"]["Status"] == "paused"
        engine.kill()
        _start(engine)
        assert engine.inspect("box")["State"]["Status"] == "paused"
        engine.dockyard("unpause", "box", check=True, timeout=60)
        assert "frozen 0" in read_file(f"{folder}/cgroup.events")
        engine.dockyard("pause", "box", check=True, timeout=60)
        engine.dockyard("rm", "-f", "box", check=True, timeout=60)
        _a_limit_below_the_use(engine, image)


def _figures(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = engine.api("GET", "/containers/box/stats?stream=0&one-shot=1").body
    return found


def _a_limit_below_the_use(engine: Engine, image: str) -> None:
    """Version 2's kernel would take it and kill."""
    fill = "dd if=/dev/zero of=/m/f bs=1M count=40 2>/dev/null; echo full; sleep 1000"
    flags = ("-m", "100m", "--tmpfs", "/m")
    engine.dockyard("run", "-d", "--name", "box", *flags, image, "sh", "-c", fill, check=True, timeout=60)
    wait_until(lambda: engine.dockyard("logs", "box").stdout == "full\n", 60, "the memory is used")
    done = engine.dockyard("update", "--memory", "20m", "--memory-swap", "20m", "box")
    assert "below what the container uses" in done.stderr, done
    assert engine.inspect("box")["State"]["Running"] is True
    assert engine.inspect("box")["HostConfig"]["Memory"] == 100 << 20


@check("systemd", seconds=300)
def a_container_outlives_the_service_of_its_daemon() -> None:
    with _engine() as engine:
        image = engine.busybox()
        engine.stop(60)
        settings = [f"--setenv={name}={value}" for name, value in engine.environment().items() if name.startswith("DO")]
        folders = ["--root", str(engine.root), "--run", str(engine.run), "--socket", str(engine.socket)]
        command = [
            "systemd-run",
            "--quiet",
            "--collect",
            "--unit=engine",
            *settings,
            *engine.command,
            "serve",
            *folders,
        ]

        def begin() -> None:
            subprocess.run(command, check=True)
            wait_until(engine.answers, 120, "the daemon answers")

        def stop() -> None:
            subprocess.run(["systemctl", "stop", "engine.service"], check=True)
            assert not engine.answers()

        begin()
        engine.dockyard("run", "-d", "--name", "box", image, "sleep", "1000", check=True, timeout=120)
        pid = engine.inspect("box")["State"]["Pid"]
        assert "/system.slice/dockyard-" in read_file(f"/proc/{pid}/cgroup")
        stop()
        assert read_file(f"/proc/{pid}/comm").strip() == "sleep"
        begin()
        state = engine.inspect("box")["State"]
        assert (state["Status"], state["Pid"]) == ("running", pid), state
        assert engine.dockyard("exec", "box", "true", timeout=60).returncode == 0
        # A container that the second daemon starts lies beside the first one's, in the same scope.
        engine.dockyard("run", "-d", "--name", "next", image, "sleep", "1000", check=True, timeout=120)
        groups = [read_file(f"/proc/{engine.inspect(name)['State']['Pid']}/cgroup") for name in ("box", "next")]
        assert groups[0].rpartition("/")[0] == groups[1].rpartition("/")[0], groups
        stop()
        _start(engine)
