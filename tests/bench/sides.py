"""The engines that are compared. A side is started with folders of its own and leaves nothing behind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from tests import images, leaks
from tests.network.dockerd import Dockerd
from tests.support import CHECKOUT, Engine, run_command

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
    """An engine with the benchmark's image in it, on a host (a network namespace) of its own."""

    name: str
    command: list[str]
    engine: Engine

    def environment(self) -> dict[str, str]:
        """That of its clients."""
        return self.engine.environment()

    def engine_pids(self) -> list[int]:
        """The engine's own processes, those for single containers left out."""
        raise NotImplementedError

    def container_pids(self) -> list[int]:
        """The engine's processes that exist once a container."""
        raise NotImplementedError

    def versions(self) -> list[str]:
        raise NotImplementedError

    def close(self) -> None:
        self.engine.close()

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


class Docker(Side):
    """A dockerd of our own."""

    def __init__(self, base: Path) -> None:
        self.engine = Dockerd(base)
        self.command = self.engine.command
        self.engine.start()
        self.server = json.loads(self.call("version", "--format", "{{json .Server}}"))
        self.name = f"Docker {self.server['Version']}"
        self.engine.load(images.busybox_archive(IMAGE))

    def engine_pids(self) -> list[int]:
        daemon = self.engine.pid
        # Not the proxies of its ports: those exist once a port.
        children = (pid for pid in all_pids() if leaks.parent(pid) == daemon)
        return [daemon, *(pid for pid in children if "docker-proxy" not in command_line(pid))]

    def container_pids(self) -> list[int]:
        lines = {pid: command_line(pid) for pid in all_pids()}
        return [pid for pid, line in lines.items() if "containerd-shim" in line and str(self.engine.folder) in line]

    def versions(self) -> list[str]:
        client = self.call("version", "--format", "{{.Client.Version}}")
        parts = ", ".join(f"{part['Name']} {part['Version']}" for part in self.server["Components"])
        driver = self.call("info", "--format", "{{.Driver}}")
        notes = [f"{parts}, storage {driver}", f"docker client {client} ({self.command[0]})"]
        others = (command_line(pid).split() for pid in all_pids() if pid != self.engine.pid)
        if any(words and Path(words[0]).name == "dockerd" for words in others):
            notes.append("another dockerd runs here: pages shared with it make Docker's PSS smaller than it is alone")
        return notes
