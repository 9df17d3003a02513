"""The engines that are compared. A side is started with folders of its own and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests import images, leaks
from tests.support import CHECKOUT, Engine, run_command, wait_until

IMAGE = "bench/busybox:1"
LAUNCHER = CHECKOUT / ".venv/bin/dockyard"


def all_pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def pss(pids: list[int]) -> int:
    """Proportional set size of the processes together, in kB."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


class Side:
    """An engine with the benchmark's image in it."""

    name: str
    command: list[str]

    def environment(self) -> dict[str, str]:
        raise NotImplementedError

    def engine_pids(self) -> list[int]:
        """The engine's own processes, those for single containers left out."""
        raise NotImplementedError

    def container_pids(self) -> list[int]:
        """The engine's processes that exist once a container."""
        raise NotImplementedError

    def versions(self) -> list[str]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def call(self, *args: str, timeout: float = 120) -> str:
        """Run the side's command line to the end, unmeasured; its output."""
        argv = [*self.command, *args]
        return str(run_command(argv, env=self.environment(), check=True, timeout=timeout).stdout).strip()

    def remove_all(self) -> None:
        """Remove every container, in a few calls."""
        ids = self.call("ps", "-aq").split()
        if ids:
            self.call("rm", "-f", *ids, timeout=300)


class Dockyard(Side):
    name = "Dockyard"

    def __init__(self, base: Path) -> None:
        self.command = [str(LAUNCHER)]
        self.engine = Engine(base, command=self.command)
        self.engine.start()
        self.engine.load(images.busybox_archive(IMAGE))

    def environment(self) -> dict[str, str]:
        return self.engine.environment()

    def _own(self) -> list[int]:
        """The engine's processes in the machine's own pid namespace: containers' processes are not."""
        here = os.readlink("/proc/self/ns/pid")
        found = []
        for pid in leaks.processes(self.engine.folder):
            try:
                if os.readlink(f"/proc/{pid}/ns/pid") == here:
                    found.append(pid)
            except OSError:  # it ended meanwhile
                continue
        return found

    def engine_pids(self) -> list[int]:
        daemon = self.engine.pid
        return [daemon, *(pid for pid in self._own() if leaks.parent(pid) == daemon)]

    def container_pids(self) -> list[int]:
        engine = set(self.engine_pids())
        return [pid for pid in self._own() if pid not in engine]

    def versions(self) -> list[str]:
        version = self.engine.api("GET", "/version").body
        return [f"Dockyard {version['Version']}, API {version['ApiVersion']}"]

    def close(self) -> None:
        self.engine.close()


class Dockerd(Side):
    """A dockerd of our own, without a bridge: the rows use no network."""

    def __init__(self, base: Path) -> None:
        own_client = Path("/usr/bin/docker")
        client = str(own_client) if own_client.exists() else shutil.which("docker")
        assert client is not None, "no docker client"
        self.command = [client]
        self.folder = Path(tempfile.mkdtemp(prefix="d", dir=base))
        self.cgroup = f"dockyard-bench-{os.getpid()}"
        self._socket = self.folder / "d.sock"
        self._log = self.folder / "log"
        self._start()
        self.server = json.loads(self.call("version", "--format", "{{json .Server}}"))
        self.name = f"Docker {self.server['Version']}"
        archive = self.folder / "image.tar"
        archive.write_bytes(images.busybox_archive(IMAGE))
        self.call("load", "-q", "-i", str(archive))

    def _start(self) -> None:
        folders = ["--data-root", f"{self.folder}/root", "--exec-root", f"{self.folder}/exec"]
        options = [
            f"--pidfile={self.folder}/pid",
            f"--host=unix://{self._socket}",
            f"--cgroup-parent=/{self.cgroup}",
        ]
        options += ["--exec-opt=native.cgroupdriver=cgroupfs", "--bridge=none", "--iptables=false"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["dockerd", *folders, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"dockerd left:\n{self._log.read_text()[-3000:]}")
            return run_command([*self.command, "version"], env=self.environment()).returncode == 0

        wait_until(ready, 60, "dockerd answers")

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}
        return {**kept, "DOCKER_HOST": f"unix://{self._socket}", "HOME": str(self.folder)}

    def engine_pids(self) -> list[int]:
        daemon = self.process.pid
        return [daemon, *(pid for pid in all_pids() if leaks.parent(pid) == daemon)]

    def container_pids(self) -> list[int]:
        lines = {pid: command_line(pid) for pid in all_pids()}
        return [pid for pid, line in lines.items() if "containerd-shim" in line and str(self.folder) in line]

    def versions(self) -> list[str]:
        client = self.call("version", "--format", "{{.Client.Version}}")
        parts = ", ".join(f"{part['Name']} {part['Version']}" for part in self.server["Components"])
        driver = self.call("info", "--format", "{{.Driver}}")
        notes = [f"{parts}, storage {driver}", f"docker client {client} ({self.command[0]})"]
        others = (command_line(pid).split() for pid in all_pids() if pid != self.process.pid)
        if any(words and Path(words[0]).name == "dockerd" for words in others):
            notes.append("another dockerd runs here: pages shared with it make Docker's PSS smaller than it is alone")
        return notes

    def close(self) -> None:
        try:
            self.remove_all()
        finally:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self._clean()

    def _clean(self) -> None:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split()[4] for line in lines if str(self.folder) in line.split()[4]]
        for point in reversed(points):
            subprocess.run(["umount", "-l", point], check=False)
        for group in Path("/sys/fs/cgroup").glob(f"**/{self.cgroup}"):
            for path in sorted(group.glob("**/"), reverse=True):
                path.rmdir()
        shutil.rmtree(self.folder)
