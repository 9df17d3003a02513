"""The whole engine on version 2 and under systemd: the command line, the daemon, a container and its limits."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.linux.cgroup_files import read_file
from tests.support import Engine
from tests.vm.guest import check


@contextmanager
def _engine() -> Iterator[Engine]:
    base = Path(tempfile.mkdtemp(prefix="dk", dir="/tmp"))
    engine = Engine(base)
    try:
        engine.start(ready=False)
        engine.wait_ready(120)
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
        assert not os.path.exists(folder)
