"""What the flags of run do, seen from inside the container and in its cgroup."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support import Engine


def _run(engine: Engine, image: str, flags: str, script: str) -> str:
    return engine.dockyard("run", "--rm", *flags.split(), image, "sh", "-c", script, check=True).stdout.strip()


def _cgroup_file(engine: Engine, image: str, flags: str, version_1: str, version_2: str) -> str:
    script = f"cat /sys/fs/cgroup/{version_1} 2>/dev/null || cat /sys/fs/cgroup/{version_2}"
    return _run(engine, image, flags, script)


@pytest.mark.parametrize(
    ("flags", "version_1", "version_2", "wanted"),
    [
        ("--cpu-shares 512", "cpu/cpu.shares", "cpu.weight", ("512", "59")),
        ("--cpu-quota 20000 --cpu-period 50000", "cpu/cpu.cfs_quota_us", "cpu.max", ("20000", "20000 50000")),
        (
            "-m 64m --memory-swap 96m",
            "memory/memory.memsw.limit_in_bytes",
            "memory.swap.max",
            ("100663296", "33554432"),
        ),
        ("--cpuset-cpus 0", "cpuset/cpuset.cpus", "cpuset.cpus", ("0",)),
        ("--cpuset-mems 0", "cpuset/cpuset.mems", "cpuset.mems", ("0",)),
        ("-m 64m --memory-reservation 32m", "memory/memory.soft_limit_in_bytes", "memory.low", ("33554432",)),
        ("--memory-swappiness 7", "memory/memory.swappiness", "memory.stat", ("7",)),
    ],
)
def test_limits(
    engine: Engine, busybox: str, flags: str, version_1: str, version_2: str, wanted: tuple[str, ...]
) -> None:
    if "swappiness" in flags and os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        pytest.skip("version 2 has no swappiness of a group")
    assert _cgroup_file(engine, busybox, flags, version_1, version_2) in wanted


def test_the_killer_can_be_switched_off(engine: Engine, busybox: str) -> None:
    done = engine.dockyard(
        "run", "--rm", "--oom-kill-disable", busybox, "cat", "/sys/fs/cgroup/memory/memory.oom_control"
    )
    assert "no memory limit is set" in done.stderr
    if done.returncode == 0:
        assert "oom_kill_disable 1" in done.stdout


def test_a_block_weight_never_fails(engine: Engine, busybox: str) -> None:
    assert _run(engine, busybox, "--blkio-weight 300", "echo fine") == "fine"


def _block_device() -> str:
    """A disk of this machine with a node in /dev, "" without one."""
    names = sorted(os.listdir("/sys/block")) if os.path.isdir("/sys/block") else []
    return next((f"/dev/{name}" for name in names if Path(f"/dev/{name}").is_block_device()), "")


@pytest.mark.parametrize("what", ["read_bps", "write_bps", "read_iops", "write_iops"])
def test_rates_of_a_device(engine: Engine, busybox: str, what: str) -> None:
    """The limit stands in the group's file, or the container runs and its start says that it has none."""
    device = _block_device()
    if not device:
        pytest.skip("no block device in /dev")
    flags = f"--device-{what.replace('_', '-')} {device}:4096"
    file = f"/sys/fs/cgroup/blkio/blkio.throttle.{what}_device"
    found = _run(engine, busybox, flags, f"cat {file} /sys/fs/cgroup/io.max 2>/dev/null; echo ran")
    assert found.endswith("ran")
    assert "4096" in found or "has no effect" in engine.log


def test_a_folder_of_devices(engine: Engine, busybox: str, tmp_path: Path) -> None:
    """It stands for all nodes below it, and for nothing else."""
    (tmp_path / "below").mkdir()
    os.mknod(tmp_path / "below" / "nought", 0o20666, os.makedev(1, 3))
    (tmp_path / "file").write_text("x")
    found = _run(engine, busybox, f"--device {tmp_path}:/dev/many", "find /dev/many; cat /dev/many/below/nought")
    assert sorted(found.split()) == ["/dev/many", "/dev/many/below", "/dev/many/below/nought"]


def test_device(engine: Engine, busybox: str) -> None:
    """A null device under another name, read only: writing to it is refused, and without the flag it is not there."""
    script = "cat /dev/mine/nought && echo read; echo x > /dev/mine/nought"
    done = engine.dockyard(
        "run",
        "--rm",
        "--device",
        "/dev/kmsg:/dev/mine/nought:m",
        busybox,
        "sh",
        "-c",
        "ls -l /dev/mine/nought; " + script,
    )
    assert re.search(r"c.* 1, +11 ", done.stdout), done
    assert "not permitted" in done.stderr
    assert "read" not in done.stdout


def test_device_cgroup_rule(engine: Engine, busybox: str) -> None:
    """1:6 has no driver: who may open it hears that, who may not hears of the rule."""
    script = "mknod /tmp/k c 1 6 && cat /tmp/k"
    given = engine.dockyard("run", "--rm", "--device-cgroup-rule", "c 1:6 rwm", busybox, "sh", "-c", script)
    assert "No such device" in given.stderr
    without = engine.dockyard("run", "--rm", busybox, "sh", "-c", script)
    assert "not permitted" in without.stderr


def test_shared_memory_and_ulimit(engine: Engine, busybox: str) -> None:
    assert _run(engine, busybox, "--shm-size 8m", "df -k /dev/shm | awk 'END{print $2}'") == "8192"
    assert _run(engine, busybox, "--ulimit nofile=100:200", "ulimit -Sn; ulimit -Hn").split() == ["100", "200"]


def test_sysctl(engine: Engine, busybox: str) -> None:
    assert _run(engine, busybox, "--sysctl kernel.msgmax=4242", "cat /proc/sys/kernel/msgmax") == "4242"
    refused = engine.dockyard("run", "--rm", "--ipc", "host", "--sysctl", "kernel.msgmax=4242", busybox, "true")
    assert refused.returncode == 125
    assert "not allowed in host IPC namespace" in refused.stderr
    assert Path("/proc/sys/kernel/msgmax").read_text() != "4242\n"


@pytest.mark.parametrize(
    ("kind", "flag"), [("pid", "--pid"), ("ipc", "--ipc"), ("uts", "--uts"), ("cgroup", "--cgroupns")]
)
def test_namespaces_of_the_host(engine: Engine, busybox: str, kind: str, flag: str) -> None:
    host = os.readlink(f"/proc/self/ns/{kind}")
    assert _run(engine, busybox, f"{flag} host", f"readlink /proc/self/ns/{kind}") == host
    assert _run(engine, busybox, "", f"readlink /proc/self/ns/{kind}") != host


def test_a_container_in_the_hosts_pid_namespace_ends_whole(engine: Engine, busybox: str) -> None:
    """No pid namespace takes its children along: its cgroup does."""
    engine.dockyard(
        "run", "-d", "--name", "free", "--pid", "host", busybox, "sh", "-c", "sleep 4711 & sleep 4712", check=True
    )
    pid = engine.inspect("free")["State"]["Pid"]
    assert engine.dockyard("exec", "free", "readlink", "/proc/self/ns/pid").stdout.strip() == os.readlink(
        "/proc/self/ns/pid"
    )
    engine.dockyard("rm", "-f", "free", check=True)
    assert not os.path.exists(f"/proc/{pid}")
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert b"sleep\x004711\x00" not in commands


def test_the_pid_namespace_of_another_container(engine: Engine, busybox: str) -> None:
    """It sees the other's processes, ends alone, and its own end leaves the other running."""
    engine.dockyard("run", "-d", "--name", "first", busybox, "sleep", "4713", check=True)
    assert "sleep 4713" in _run(engine, busybox, "--pid container:first", "ps")
    engine.dockyard("run", "-d", "--name", "second", "--pid", "container:first", busybox, "sleep", "4714", check=True)
    assert "sleep 4714" in engine.dockyard("exec", "first", "ps").stdout
    assert "sleep 4713" in engine.dockyard("exec", "second", "ps").stdout
    engine.dockyard("rm", "-f", "second", check=True)
    assert "sleep 4714" not in engine.dockyard("exec", "first", "ps").stdout
    engine.dockyard("rm", "-f", "first", check=True)
    late = engine.dockyard("run", "--pid", "container:first", busybox, "true")
    assert "No such container" in late.stderr


def test_no_shared_memory_with_ipc_none(engine: Engine, busybox: str) -> None:
    assert _run(engine, busybox, "--ipc none", "ls -d /dev/shm 2>/dev/null || echo none") == "none"


def test_groups_and_names(engine: Engine, busybox: str) -> None:
    assert "4242" in _run(engine, busybox, "--group-add 4242", "id -G").split()
    assert _run(engine, busybox, "--domainname dock.test", "cat /proc/sys/kernel/domainname") == "dock.test"
    assert _run(engine, busybox, "--oom-score-adj 500", "cat /proc/self/oom_score_adj") == "500"


def test_what_is_only_written_down(engine: Engine, busybox: str) -> None:
    engine.dockyard(
        "create", "--name", "noted", "--expose", "80-81", "--annotation", "a=b", busybox, "true", check=True
    )
    found = engine.inspect("noted")
    assert set(found["Config"]["ExposedPorts"]) == {"80/tcp", "81/tcp"}
    assert found["HostConfig"]["Annotations"] == {"a": "b"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--blkio-weight 5", "Range of blkio weight is from 10 to 1000"),
        ("--memory-swappiness 101", "valid memory swappiness range is 0-100"),
        ("--device-cgroup-rule x", "invalid device cgroup rule format"),
        ("--uts host --hostname x", "conflicting options: hostname and the UTS mode"),
        ("--annotation dev.dockyard.privileged=true", "belongs to the engine"),
        ("--ipc container:x", "not supported"),
        ("--pid container:nobody", "No such container"),
        ("--sysctl kernel.panic=1", "whole machine"),
        ("--expose 80:80", "invalid port format for --expose"),
    ],
)
def test_bad_input(engine: Engine, busybox: str, flags: str, words: str) -> None:
    done = engine.dockyard("run", "--rm", *flags.split(), busybox, "true")
    assert done.returncode == 125
    assert words in done.stderr


def test_a_device_that_is_missing(engine: Engine, busybox: str) -> None:
    done = engine.dockyard("run", "--rm", "--device", "/dev/nosuch", busybox, "true")
    assert done.returncode == 127  # as docker run, which goes by these words
    assert 'custom device "/dev/nosuch": no such file or directory' in done.stderr
