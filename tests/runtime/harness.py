"""Containers through the runtime's client alone: no API, no database, no image.

``Bench`` has a busybox root file system and makes bundles; ``Box`` is one container with its task, its events and,
when asked for, an attached client. What a test does not ask for is Docker's default.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import struct
import tarfile
from pathlib import Path
from typing import Any

from core import oci
from core.errors import Conflict, NotFound, Unavailable
from core.linux import cgroups, placement, seccomp
from core.runtime import logs, protocol
from core.runtime.client import Runtime, Task
from tests import images
from tests.linux.sandbox import DEFAULT_CAPABILITIES as DEFAULT_CAPABILITIES  # re-exported: tests replace it
from tests.linux.sandbox import MASKED, READONLY, default_mounts

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEADLINE = 20.0


class Stock:
    """What all benches share: a busybox root file system and the default seccomp filter, compiled."""

    def __init__(self, folder: Path) -> None:
        self.rootfs = folder / "rootfs"
        with tarfile.open(fileobj=io.BytesIO(images.busybox_rootfs())) as tar:
            tar.extractall(self.rootfs, filter="fully_trusted")
        self.filter = folder / "seccomp.bpf"
        profile = seccomp.default_profile(DEFAULT_CAPABILITIES)
        self.filter.write_bytes(seccomp.compile_filter(profile, os.uname().machine))


class Bench:
    """A runtime with its folders below ``folder``."""

    def __init__(self, folder: Path, where: cgroups.Placement, stock: Stock | None = None) -> None:
        self.folder = folder
        stock = stock or Stock(folder)
        self.rootfs, self.filter = stock.rootfs, stock.filter
        self.placement = where
        self.runtime = Runtime(str(folder / "root"), str(folder / "run"), where)
        self._count = 0
        self.boxes: list[Box] = []

    def box(self, *args: str, **config: Any) -> Box:
        """A container that will run ``args``; ``config`` are fields of MonitorConfig."""
        self._count += 1
        box = Box(self, f"{self._count:012x}", list(args), config)
        self.boxes.append(box)
        return box

    async def run(self, *args: str, **config: Any) -> Box:
        """Start one and wait for its end."""
        box = self.box(*args, **config)
        await box.start()
        await box.ended()
        return box

    async def close(self) -> None:
        """Kill what runs, wait until all monitors have left, end the zygote."""
        for box in self.boxes:
            await box.close()
        await self._end_others()
        await self.runtime.close()

    async def _end_others(self) -> None:
        """Containers of a daemon that a failed test left behind."""
        for run_dir in self.folder.glob("run/c/*"):
            try:
                task = await self.runtime.adopt(str(run_dir))
                await task.signal(9)
            except (Conflict, NotFound, Unavailable):
                continue
            async with asyncio.timeout(DEADLINE):
                await task.gone.wait()


class Client:
    """One end of a stream whose other end the monitor has."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()

    async def read(self, size: int = 65536) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self._loop.sock_recv(self.socket, size)

    async def read_all(self) -> bytes:
        """Everything to the end."""
        data = bytearray()
        while chunk := await self.read(1 << 20):
            data += chunk
        return bytes(data)

    async def read_until(self, wanted: bytes) -> bytes:
        """Everything up to the first time ``wanted`` was seen."""
        data = b""
        while wanted not in data:
            chunk = await self.read()
            if not chunk:
                raise AssertionError(f"the stream ended without {wanted!r}: {data!r}")
            data += chunk
        return data

    async def write(self, data: bytes) -> None:
        async with asyncio.timeout(DEADLINE):
            await self._loop.sock_sendall(self.socket, data)

    def end_input(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()


class Box:
    """One container."""

    def __init__(self, bench: Bench, short: str, args: list[str], config: dict[str, Any]) -> None:
        self.bench = bench
        self.id = short.ljust(64, "0")
        self.run_dir = Path(bench.runtime.run_dir(short))
        self.folder = bench.folder / "containers" / short
        self.log_folder = self.folder / "log"
        self.task: Task | None = None
        self.exited: protocol.Exited | None = None
        self.seen: list[Any] = []
        self._ended = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None
        self.environment = [PATH, "HOSTNAME=box"]
        self.spec = self._spec(args)
        self.config: dict[str, Any] = {
            "id": self.id, "name": f"box{short}", "run_dir": str(self.run_dir),
            "rootfs": [{
                "target": "/", "lower": [str(bench.rootfs)],
                "upper": f"{self.folder}/upper", "work": f"{self.folder}/work",
            }],
            "scratch_size": 0,
            "log": {"folder": str(self.log_folder), "max_size": 10_000_000, "max_files": 10},
            "tty": False, "open_stdin": False, "stdin_once": False, "console_size": [0, 0], "init": False,
            "user": "", "set_home": True, "cgroup": bench.runtime.placement_json(), "seccomp": str(bench.filter),
            "stop_signal": 15,
            "resolver": False,
        } | config  # fmt: skip

    def _spec(self, args: list[str]) -> oci.Spec:
        kinds = ("mount", "uts", "ipc", "pid", "cgroup", "network")
        return {
            "ociVersion": "1.2.0",
            "process": self.process(args),
            "root": {"path": f"{self.run_dir}/rootfs", "readonly": False},
            "hostname": "box",
            "mounts": default_mounts(),
            "linux": {
                "namespaces": [{"type": kind} for kind in kinds],
                "cgroupsPath": self.bench.runtime.cgroups_path(self.id),
                "resources": {},
                "maskedPaths": MASKED,
                "readonlyPaths": READONLY,
            },
        }

    def process(self, args: list[str]) -> oci.Process:
        return {
            "user": {"uid": 0, "gid": 0, "additionalGids": []},
            "args": args,
            "env": list(self.environment),
            "cwd": "/",
            "capabilities": {
                "bounding": DEFAULT_CAPABILITIES,
                "effective": DEFAULT_CAPABILITIES,
                "permitted": DEFAULT_CAPABILITIES,
            },
        }

    def write(self) -> None:
        """The bundle and the folders of the snapshot."""
        for path in (self.run_dir / "rootfs", self.folder / "upper", self.folder / "work"):
            path.mkdir(parents=True, exist_ok=True)
        (self.run_dir / "config.json").write_text(json.dumps(self.spec))
        (self.run_dir / "dockyard.json").write_text(json.dumps(self.config))

    async def spawn(self) -> Task:
        self.write()
        self.use(await self.bench.runtime.spawn(str(self.run_dir)))
        assert self.task is not None
        return self.task

    def use(self, task: Task) -> None:
        """Follow the events of ``task`` from now on."""
        self.task = task
        self._follower = asyncio.create_task(self._follow(task))

    async def _follow(self, task: Task) -> None:
        async for message in task.events:
            self.seen.append(message)
            if isinstance(message, protocol.Exited):
                self.exited = message
                self._ended.set()

    async def start(self) -> Task:
        task = await self.spawn()
        await task.start()
        return task

    async def attach(self, **wanted: Any) -> Client:
        """A new client of its streams; output only unless ``stdin=True``."""
        assert self.task is not None
        ours, theirs = socket.socketpair()
        try:
            await self.task.attach(theirs, **({"stdin": False, "stdout": True, "stderr": True} | wanted))
        except BaseException:
            ours.close()
            raise
        return Client(ours)

    async def ended(self, timeout: float = DEADLINE) -> protocol.Exited:
        """Until it has ended."""
        async with asyncio.timeout(timeout):
            await self._ended.wait()
        assert self.exited is not None
        return self.exited

    async def run_exec(self, *args: str, attached: bool = True, **fields: Any) -> tuple[str, Client | None]:
        """Start an exec: its id and its client."""
        assert self.task is not None
        exec_id = os.urandom(8).hex()
        process = self.process(list(args)) | fields.pop("process", {})
        config: Any = {
            "exec_id": exec_id, "process": process, "user": "", "set_home": True, "tty": False, "stdin": attached,
            "stdout": attached, "stderr": attached, "console_size": [0, 0], "detach_keys": "", "preread": "",
            "seccomp": str(self.bench.filter),
        } | fields  # fmt: skip
        if not attached:
            await self.task.exec(config, None)
            return exec_id, None
        ours, theirs = socket.socketpair()
        try:
            await self.task.exec(config, theirs)
        except BaseException:
            ours.close()
            raise
        return exec_id, Client(ours)

    async def message(self, kind: type, **fields: Any) -> Any:
        """The first event of ``kind`` with these fields."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for one in self.seen:
                    if isinstance(one, kind) and all(getattr(one, k) == v for k, v in fields.items()):
                        return one
                await asyncio.sleep(0)

    def logged(self, stream: int = 0) -> bytes:
        """What is in the log, of one stream or of both in order."""
        data = b""
        for path in sorted(self.log_folder.glob("*.log")):
            raw = path.read_bytes()
            at = logs.FILE_HEADER.size
            while at < len(raw):
                kind, _, _, length, _ = logs.FRAME.unpack_from(raw, at)
                at += logs.FRAME.size
                if stream in (0, kind):
                    data += raw[at : at + length]
                at += length
        return data

    def cgroups(self) -> list[Path]:
        """What is left of its cgroups."""
        folders = (Path(parent) / self.id for parent in self.bench.placement.parents.values())
        return [folder for folder in folders if folder.exists()]

    async def close(self) -> None:
        if self.task is None:
            return
        if self.exited is None and not self.task.gone.is_set():
            if self.task.phase in ("running", "starting"):
                try:
                    await self.task.signal(9)
                except (Conflict, NotFound, Unavailable):
                    pass  # it was about to end anyway
            else:
                await self.task.close()
        async with asyncio.timeout(DEADLINE):
            await self.task.gone.wait()
        if self._follower is not None:
            await self._follower


def unframe(data: bytes) -> dict[int, bytes]:
    """Docker's stdcopy stream, sorted by its stream numbers."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        stream, length = struct.unpack_from(">BxxxI", data, at)
        found[stream] = found.get(stream, b"") + data[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def prepare_placement() -> cgroups.Placement:
    """The cgroups of this run; a daemon that it starts uses the same."""
    return placement.prepare(os.environ.setdefault("DOCKYARD_RUNTIME_TESTS", f"rt{os.getpid()}"))
