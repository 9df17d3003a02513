"""Other processes in running containers: ``exec``.

The monitor is their parent, so they and their streams outlive the daemon. What the daemon keeps of them is in
memory only; a new daemon learns of those that the monitors know.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.container import etc, specgen
from core.container.config import MAX_STRINGS
from core.container.merge import environment, merge_environment
from core.container.status import Container, Status
from core.container.store import ContainerStore
from core.container.supervisor import Supervisor, event_attributes
from core.errors import Conflict, DockyardError, InvalidArgument, NotFound, StartFailed
from core.events import EventBus
from core.runtime import protocol

KEEP_ENDED = 500


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A checked exec request (``POST /containers/{id}/exec``)."""

    command: tuple[str, ...]
    tty: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    privileged: bool = False
    detach_keys: bytes | None = None
    console_size: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Exec:
    """One exec. ``exit_code`` is None until it ended."""

    id: str
    container_id: str
    request: ExecRequest
    running: bool = False
    pid: int = 0
    exit_code: int | None = None
    error: str = ""
    seen: bool = field(default=False)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


def parse_exec(body: Any, detach_keys: Callable[[str], bytes]) -> ExecRequest:
    """Check an exec request's JSON body; ``detach_keys`` turns Docker's notation into bytes."""
    if not isinstance(body, dict):
        raise InvalidArgument("the request's body must be a JSON object")
    command, env = body.get("Cmd"), body.get("Env") or []
    if isinstance(command, str):
        command = [command]
    for name, value in (("Cmd", command), ("Env", env)):
        if (
            not isinstance(value, list)
            or len(value) > MAX_STRINGS
            or not all(isinstance(v, str) and "\0" not in v for v in value)
        ):
            raise InvalidArgument("No exec command specified" if name == "Cmd" else "Env must be a list of strings")
    if not command:
        raise InvalidArgument("No exec command specified")
    for name in ("User", "WorkingDir", "DetachKeys"):
        if not isinstance(body.get(name) or "", str) or "\0" in (body.get(name) or ""):
            raise InvalidArgument(f"{name} must be a string without NUL bytes")
    directory = body.get("WorkingDir") or ""
    if directory and not directory.startswith("/"):
        raise InvalidArgument(f"the working directory '{directory}' is invalid, it needs to be an absolute path")
    keys = body.get("DetachKeys")
    size = body.get("ConsoleSize") or [0, 0]
    return ExecRequest(
        command=tuple(command),
        tty=bool(body.get("Tty")),
        stdin=bool(body.get("AttachStdin")),
        stdout=bool(body.get("AttachStdout")),
        stderr=bool(body.get("AttachStderr")),
        env=tuple(env),
        user=body.get("User") or "",
        working_dir=directory,
        privileged=bool(body.get("Privileged")),
        detach_keys=detach_keys(keys) if keys else None,
        console_size=console_size(size),
    )


def console_size(value: Any) -> tuple[int, int]:
    """``[rows, columns]`` checked."""
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(n, int) and 0 <= n <= 0xFFFF for n in value)
    ):
        raise InvalidArgument("ConsoleSize must be [height, width]")
    return (value[0], value[1])


class ExecService:
    """The execs of all containers."""

    def __init__(
        self,
        store: ContainerStore,
        supervisor: Supervisor,
        events: EventBus,
        seccomp: Callable[[dict[str, Any]], str],
    ) -> None:
        """``seccomp`` gives the path of the compiled filter for a HostConfig."""
        self._store = store
        self._supervisor = supervisor
        self._events = events
        self._seccomp = seccomp
        self._execs: OrderedDict[str, Exec] = OrderedDict()
        supervisor.execs = self

    def create(self, ref: str, request: ExecRequest) -> str:
        """Note what should run; nothing runs yet. Conflict when the container does not run."""
        container = self._running(ref)
        found = Exec(new_exec_id(), container.id, request)
        self._execs[found.id] = found
        self._forget_old()
        self._publish(container, found, "exec_create")
        return found.id

    async def start(
        self,
        exec_id: str,
        sock: socket.socket | None,
        *,
        tty: bool | None = None,
        size: tuple[int, int] | None = None,
        preread: bytes = b"",
    ) -> None:
        """Run it, its streams on ``sock`` (the monitor owns that from now on), or on nothing when detached.

        Raises StartFailed when the program was not reached, Conflict when it was started before.
        """
        found = self.get(exec_id)
        if found.running or found.seen:
            raise Conflict(f"exec {exec_id} has been started already")
        found.seen = True
        try:
            container = self._running(found.container_id)
            task = self._supervisor.task(container)
            config = self._config(container, found, sock is not None, tty, size or found.request.console_size, preread)
            found.running = True
            await task.exec(config, sock)
        except DockyardError as error:
            found.running = False
            found.error = str(error)
            found.exit_code = error.exit_code if isinstance(error, StartFailed) else 126
            found.ended.set()
            raise
        self._publish(container, found, "exec_start")

    async def resize(self, exec_id: str, rows: int, columns: int) -> None:
        """The client's terminal has a new size."""
        found = self.get(exec_id)
        if not found.running:
            raise Conflict(f"exec {exec_id} is not running")
        console_size([rows, columns])
        await self._supervisor.task(self._running(found.container_id)).resize(rows, columns, found.id)

    async def ended(self, exec_id: str) -> int:
        """Wait for its end; the exit code."""
        found = self.get(exec_id)
        await found.ended.wait()
        return 0 if found.exit_code is None else found.exit_code

    async def kill(self, exec_id: str) -> None:
        """SIGKILL for its process; nothing when it has ended."""
        found = self.get(exec_id)
        if found.running:
            container = self._store.get(found.container_id)
            await self._supervisor.task(container).signal(signal.SIGKILL, exec_id=exec_id)

    def get(self, exec_id: str) -> Exec:
        """The exec of this id."""
        try:
            return self._execs[exec_id]
        except KeyError:
            raise NotFound(f"No such exec instance: {exec_id}") from None

    def of(self, container_id: str) -> list[str]:
        """Ids of the execs that run in one container."""
        return [e.id for e in self._execs.values() if e.container_id == container_id and e.running]

    def inspect(self, exec_id: str) -> dict[str, Any]:
        """The answer of ``GET /exec/{id}/json``."""
        found = self.get(exec_id)
        request = found.request
        process: dict[str, Any] = {
            "tty": request.tty,
            "entrypoint": request.command[0] if request.command else "",
            "arguments": list(request.command[1:]),
            "privileged": request.privileged,
        }
        if request.user:
            process["user"] = request.user
        keys = request.detach_keys
        return {
            "ID": found.id,
            "Running": found.running,
            "ExitCode": found.exit_code,
            "ProcessConfig": process,
            "OpenStdin": request.stdin,
            "OpenStdout": request.stdout,
            "OpenStderr": request.stderr,
            "CanRemove": not found.running and found.seen,
            "ContainerID": found.container_id,
            "DetachKeys": keys.decode("latin-1") if keys else "",
            "Pid": found.pid,
        }

    # --- what the supervisor says ------------------------------------------------------------------

    def exec_event(self, container: Container, message: Any) -> None:
        """An exec started, failed or ended."""
        found = self._execs.get(getattr(message, "exec_id", ""))
        if found is None:
            return
        if isinstance(message, protocol.ExecStarted):
            found.running, found.pid = True, message.pid
        elif isinstance(message, protocol.ExecFailed):
            found.running, found.exit_code = False, message.exit_code
            found.ended.set()
        elif isinstance(message, protocol.ExecExited):
            found.running, found.exit_code = False, message.exit_code
            found.ended.set()
            self._publish(container, found, "exec_die", {"exitCode": str(message.exit_code)})

    def adopt(self, container: Container, execs: list[list[Any]]) -> None:
        """Remember the execs that a monitor knew when it was adopted."""
        for exec_id, pid, running, exit_code in execs:
            found = Exec(exec_id, container.id, ExecRequest(()), bool(running), pid, None if running else exit_code)
            found.seen = True
            self._execs[exec_id] = found

    def container_ended(self, container: Container) -> None:
        """The pid namespace is gone, and every exec with it."""
        for found in self._execs.values():
            if found.container_id == container.id and found.running:
                found.running, found.exit_code = False, 137
                found.ended.set()

    # --- helpers -----------------------------------------------------------------------------------

    def _running(self, ref: str) -> Container:
        container = self._store.get(ref)
        if container.restarting:
            raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
        if container.status is Status.PAUSED:
            raise Conflict(f"Container {ref} is paused, unpause the container before exec")
        if container.status is not Status.RUNNING:
            raise Conflict(f"container {container.id} is not running")
        return container

    def _config(
        self,
        container: Container,
        found: Exec,
        attached: bool,
        tty: bool | None,
        size: tuple[int, int],
        preread: bytes,
    ) -> protocol.ExecConfig:
        request = found.request
        host = container.host_config
        privileged = request.privileged or host["Privileged"]
        process = specgen.base_process(host, privileged=privileged)
        env = environment(container.config | {"Tty": request.tty}, etc.hostname(container))
        process["args"] = list(request.command)
        process["env"] = merge_environment(env, list(request.env))
        process["cwd"] = request.working_dir or container.config["WorkingDir"] or "/"
        process["terminal"] = request.tty if tty is None else tty
        keys = specgen.DETACH_KEYS if request.detach_keys is None else request.detach_keys
        return {
            "exec_id": found.id,
            "process": dict(process),
            "user": request.user or container.config["User"],
            "set_home": not any(v.startswith("HOME=") for v in process["env"]),
            "tty": process["terminal"],
            "stdin": attached and request.stdin,
            "stdout": attached and request.stdout,
            "stderr": attached and request.stderr,
            "console_size": list(size),
            "detach_keys": base64.b64encode(keys).decode(),
            "preread": base64.b64encode(preread).decode(),
            "seccomp": "" if request.privileged else self._seccomp(host),
        }

    def _publish(self, container: Container, found: Exec, action: str, more: dict[str, str] | None = None) -> None:
        words = " ".join(found.request.command)
        name = action if action == "exec_die" else f"{action}: {words}"
        self._events.publish(
            "container", name, container.id, event_attributes(container) | {"execID": found.id} | (more or {})
        )

    def _forget_old(self) -> None:
        ended = [e.id for e in self._execs.values() if e.seen and not e.running]
        for exec_id in ended[: max(0, len(ended) - KEEP_ENDED)]:
            del self._execs[exec_id]


def new_exec_id() -> str:
    """A new exec id: 64 hexadecimal digits."""
    return os.urandom(32).hex()
