"""An engine without containers' processes behind the real API server: it records what it is asked."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from core.api.call import Engine
from core.api.server import serve
from core.container.config import CreateRequest
from core.container.execs import Exec, ExecRequest
from core.container.naming import new_id
from core.container.status import Container, Status
from core.container.store import ContainerStore
from core.container.volumes import VolumeService
from core.container.waiting import Waiters, WaitHandle
from core.db import Database
from core.errors import Conflict, DockyardError, NotFound
from core.events import EventBus
from core.image.registry.credentials import Credentials
from core.image.registry.progress import Progress
from core.image.registry.search import Found
from core.network.service import NetworkService
from core.volumes.store import VolumeStore
from tests.container.records import make_container
from tests.support import Answer, api_request

IMAGE_ID = "sha256:" + "ab" * 32


class FakeContainers:
    """The service's surface. ``calls`` lists what was asked; ``fail`` maps a verb to the error it raises."""

    def __init__(self, folder: Path) -> None:
        self.db = Database(":memory:")
        self.store = ContainerStore(self.db)
        self.waiters = Waiters()
        self.calls: list[tuple[Any, ...]] = []
        self.fail: dict[str, DockyardError] = {}
        self.attached: list[tuple[socket.socket, dict[str, Any]]] = []
        self._folder = folder

    def _called(self, verb: str, *arguments: Any) -> None:
        self.calls.append((verb, *arguments))
        if verb in self.fail:
            raise self.fail[verb]

    def get(self, ref: str) -> Container:
        return self.store.get(ref)

    def folder(self, container: Container) -> str:
        return str(self._folder / container.short)

    def log_folder(self, container: Container) -> str:
        return str(self._folder / container.short / "log")

    def wait_handle(self, ref: str, condition: str = "") -> WaitHandle:
        return self.waiters.add(self.store.get(ref), condition)

    async def create(self, request: CreateRequest) -> tuple[Container, list[str]]:
        self._called("create", request)
        container = make_container(id=new_id(), name=request.name or "made", image=request.config["Image"])
        self.store.insert(container)
        return container, ["a warning"]

    async def start(self, ref: str) -> Container:
        container = self.store.get(ref)
        self._called("start", container.id)
        self.store.update(container.id, status=Status.STARTING)
        return self.store.update(container.id, status=Status.RUNNING, started_at=time.time_ns(), pid=1)

    def end(self, ref: str, code: int = 0) -> None:
        """The container's process ends."""
        container = self.store.update(
            self.store.get(ref).id, status=Status.EXITED, exit_code=code, finished_at=time.time_ns()
        )
        self.waiters.ended(container)

    async def stop(self, ref: str, timeout: int | None = None, signal_name: str = "") -> None:
        self._called("stop", self.store.get(ref).name, timeout, signal_name)

    async def restart(self, ref: str, timeout: int | None = None, signal_name: str = "") -> None:
        self._called("restart", self.store.get(ref).name, timeout, signal_name)

    async def kill(self, ref: str, signal_name: str = "KILL") -> None:
        self._called("kill", self.store.get(ref).name, signal_name)

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        container = self.store.get(ref)
        self._called("remove", container.name, force)
        self.store.delete(container.id)
        self.waiters.removed(container)

    async def resize(self, ref: str, rows: int, columns: int) -> None:
        self._called("resize", self.store.get(ref).name, rows, columns)

    def stats(self, ref: str) -> dict[str, Any]:
        self._called("stats", self.store.get(ref).name)
        usage = {"total_usage": 1000 * sum(call[0] == "stats" for call in self.calls)}
        return {"cpu_stats": {"cpu_usage": usage, "online_cpus": 2}, "memory_stats": {"usage": 5, "limit": 9}}

    async def attach(self, ref: str, sock: socket.socket, **wanted: Any) -> None:
        self._called("attach", self.store.get(ref).name)
        self.attached.append((sock, wanted))


class FakeExecs:
    """Execs whose streams stay in the test's hands."""

    def __init__(self, store: ContainerStore) -> None:
        self._store = store
        self.execs: dict[str, Exec] = {}
        self.started: list[tuple[str, socket.socket | None, dict[str, Any]]] = []
        self.failure: DockyardError | None = None

    def create(self, ref: str, request: ExecRequest) -> str:
        container = self._store.get(ref)
        if container.status is not Status.RUNNING:
            raise Conflict(f"container {container.id} is not running")
        found = Exec(f"{len(self.execs):064x}", container.id, request)
        self.execs[found.id] = found
        return found.id

    def get(self, exec_id: str) -> Exec:
        try:
            return self.execs[exec_id]
        except KeyError:
            raise NotFound(f"No such exec instance: {exec_id}") from None

    def of(self, container_id: str) -> list[str]:
        return [e.id for e in self.execs.values() if e.container_id == container_id and e.running]

    async def start(self, exec_id: str, sock: socket.socket | None, **options: Any) -> None:
        if self.failure is not None:
            if sock is not None:
                sock.close()  # handed over, whatever comes of it
            raise self.failure
        self.get(exec_id).running = True
        self.started.append((exec_id, sock, options))

    async def resize(self, exec_id: str, rows: int, columns: int) -> None:
        self.get(exec_id)

    def inspect(self, exec_id: str) -> dict[str, Any]:
        return {"ID": exec_id, "Running": self.get(exec_id).running, "ExitCode": None}


@dataclass
class FakeImage:
    """The members of an image that the API reads."""

    id: str = IMAGE_ID
    config: dict[str, Any] = field(default_factory=lambda: {"os": "linux", "config": {"Cmd": ["sh"]}})
    layers: tuple[str, ...] = ("sha256:" + "cd" * 32,)
    size: int = 4_000_000
    created: int = 1_700_000_000_000_000_000
    tags: tuple[str, ...] = ("registry.example:5000/team/app:1",)
    digests: tuple[str, ...] = ()
    architecture: str = "amd64"
    parent: str = ""
    tagged: int = 0
    protected: bool = False


class FakeLayers:
    """The sizes of the layers of these images."""

    def __init__(self, images: list[FakeImage]) -> None:
        self.images = images

    def sizes(self) -> dict[str, int]:
        return {layer: image.size for image in self.images for layer in image.layers}


class FakeImages:
    """One image; uploads are read and kept."""

    def __init__(self) -> None:
        self.images = [FakeImage()]
        self.layers = FakeLayers(self.images)
        self.uploads: list[bytes] = []
        self.imported: list[tuple[Any, ...]] = []
        self.failure: DockyardError | None = None

    def get(self, ref: str) -> FakeImage:
        for image in self.images:
            if ref in (*image.tags, image.id):
                return image
        raise NotFound(f"No such image: {ref if ':' in ref else ref + ':latest'}")

    def all(self) -> list[FakeImage]:
        return list(self.images)

    def children(self, image_id: str) -> list[FakeImage]:
        return []

    def tag(self, ref: str, target: str) -> None:
        image = self.get(ref)
        image.tags = (*image.tags, target)

    async def remove(self, ref: str, *, force: bool, prune: bool) -> Sequence[dict[str, str]]:
        self.images.remove(self.get(ref))
        return [{"Untagged": ref}]

    async def load(self, source: AsyncIterator[bytes], progress: Callable[[str], None]) -> Sequence[str]:
        self.uploads.append(b"".join([chunk async for chunk in source]))
        if self.failure is not None:
            raise self.failure
        return ["Loaded image: app:1"]

    async def import_rootfs(self, source: AsyncIterator[bytes], *arguments: Any) -> FakeImage:
        self.uploads.append(b"".join([chunk async for chunk in source]))
        self.imported.append(arguments)
        return self.images[0]


class FakeRegistries:
    """Tells what it was asked for; ``messages`` are sent before ``failure`` is raised."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.messages: list[str] = []
        self.failure: BaseException | None = None
        self.blocks = False
        self.cancelled = asyncio.Event()

    async def _work(self, progress: Progress) -> None:
        for text in self.messages:
            progress.message(text)
        if self.blocks:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if self.failure is not None:
            raise self.failure

    async def pull(self, name: str, tag: str, platform: str, who: Credentials, progress: Progress) -> None:
        self.asked.append(("pull", name, tag, platform, who))
        await self._work(progress)

    async def push(self, name: str, tag: str, who: Credentials, progress: Progress) -> None:
        self.asked.append(("push", name, tag, who))
        await self._work(progress)

    async def login(self, server: str, who: Credentials) -> None:
        self.asked.append(("login", server, who))
        if self.failure is not None:
            raise self.failure

    async def distribution(self, name: str, who: Credentials) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        self.asked.append(("distribution", name, who))
        return {"mediaType": "m", "digest": IMAGE_ID, "size": 7}, [{"architecture": "amd64", "os": "linux"}]

    async def manifests(self, name: str, who: Credentials, every: bool) -> dict[str, Any]:
        self.asked.append(("manifests", name, who, every))
        return {"Ref": name, "Descriptor": {}, "Raw": "{}"}

    async def search(self, term: str, limit: int, who: Credentials) -> list[Found]:
        self.asked.append(("search", term, limit))
        return [Found("busybox", "small", 3000, True), Found("team/box", "", 1, False)]


class FakeEngine:
    """Everything the API asks an engine for."""

    def __init__(self, folder: Path) -> None:
        self.containers = FakeContainers(folder)
        self.execs = FakeExecs(self.containers.store)
        self.images = FakeImages()
        self.registries = FakeRegistries()
        self.events = EventBus()
        store = VolumeStore(self.containers.db, str(folder), lambda path: shutil.rmtree(path, ignore_errors=True))
        self.volumes = VolumeService(store, self.containers.store, self.events, str(folder))
        self.networks = NetworkService(self.containers.db, str(folder), "test", self.events)
        self.networks.populate()
        self.warnings = ["a kernel feature is missing"]
        self.configuration = SimpleNamespace(name="test", root="/r", run="/n", socket_path="/n/d.sock")

    def version(self) -> dict[str, Any]:
        return {"Version": "0.1.0", "ApiVersion": "1.51", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}

    def info(self) -> dict[str, Any]:
        return {"ID": "test", "Containers": 0, "ServerVersion": "0.1.0", "OSType": "linux"}

    def add(self, name: str, *, running: bool = False, tty: bool = False) -> Container:
        """A container of this name; its log folder exists."""
        container = make_container(id=new_id(), name=name)
        container.config["Tty"] = tty
        container.config["OpenStdin"] = True
        self.containers.store.insert(container)
        os.makedirs(self.containers.log_folder(container))
        if running:
            self.containers.store.update(container.id, status=Status.STARTING)
            return self.containers.store.update(container.id, status=Status.RUNNING, started_at=time.time_ns())
        return container


@dataclass
class Served:
    """A served fake engine and its clients."""

    engine: FakeEngine
    path: Path

    async def ask(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        return await asyncio.to_thread(api_request, self.path, method, target, body, headers=headers)

    async def open(self, head: str, body: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw connection on which a request has been sent."""
        reader, writer = await asyncio.open_unix_connection(str(self.path), limit=1 << 24)
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        await writer.drain()
        return reader, writer


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers (names in lower case) of an answer."""
    async with asyncio.timeout(10):
        raw = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = raw.strip().split("\r\n")
    return int(first.split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """The next chunk of a chunked body; empty at its end."""
    async with asyncio.timeout(10):
        size = int(await reader.readline(), 16)
        return (await reader.readexactly(size + 2))[:-2]


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    """A fake engine, served on a socket in ``folder``."""
    engine = FakeEngine(folder)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = folder / "d.sock"
    sock.bind(str(path))
    sock.listen(128)
    sock.setblocking(False)
    async with serve(cast(Engine, engine), sock):
        yield Served(engine, path)
    engine.containers.waiters.close()
    engine.containers.db.close()
