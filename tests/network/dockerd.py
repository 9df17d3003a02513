"""Docker's own daemon, used as an engine of ``tests.support``: the same tests are held against it.

``DOCKYARD_TEST_SIDE=docker`` gives it to every test that takes the fixture ``engine``: what fails there is a mistake
of the test, or a place where this engine means to differ (those tests are marked ``ours``). ``make bench`` measures
against it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.network.namespace import NetNs
from tests.support import Engine

#: Whether this run holds the tests against Docker.
DOCKER = os.environ.get("DOCKYARD_TEST_SIDE") == "docker"
ours = pytest.mark.skipif(DOCKER, reason="Docker does not have it, or does it another way")


def client() -> str:
    """Debian's docker client, which fits its daemon, else the one on the PATH."""
    own = Path("/usr/bin/docker")
    found = str(own) if own.exists() else shutil.which("docker")
    assert found is not None, "no docker client"
    return found


class Dockerd(Engine):
    """A dockerd with folders and a network namespace of its own. ``dockyard`` calls its client."""

    def __init__(self, base: Path, *, serve_args: Sequence[str] = (), netns: NetNs | None = None) -> None:
        super().__init__(base, serve_args=serve_args, command=[client()], netns=netns)
        self.cgroup = f"dockyard-test-docker-{self.folder.name}-{os.getpid()}"

    def daemon(self) -> list[str]:
        folders = ["--data-root", str(self.root), "--exec-root", str(self.run), "--pidfile", f"{self.folder}/pid"]
        options = [f"--host=unix://{self.socket}", f"--cgroup-parent=/{self.cgroup}"]
        return ["dockerd", *folders, *options, "--exec-opt=native.cgroupdriver=cgroupfs"]

    def start(self, *, env: dict[str, str] | None = None, ready: bool = True) -> Engine:
        self.run.mkdir(exist_ok=True)
        return super().start(env=env, ready=ready)

    def wait_ready(self, timeout: float = 60.0) -> None:
        super().wait_ready(timeout)

    def stop(self, timeout: float = 60.0) -> int:
        return super().stop(timeout)

    def close(self) -> None:
        try:
            super().close()
        except OSError:  # it left mounts below its folder
            lines = Path("/proc/self/mountinfo").read_text().splitlines()
            points = [line.split()[4] for line in lines if str(self.folder) in line.split()[4]]
            for point in reversed(points):
                subprocess.run(["umount", "-l", point], check=False)
            shutil.rmtree(self.folder)
        for group in Path("/sys/fs/cgroup").glob(f"**/{self.cgroup}"):
            for path in sorted(group.glob("**/"), reverse=True):
                path.rmdir()
