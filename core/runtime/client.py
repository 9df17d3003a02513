"""The daemon's side of the runtime: starts the zygote, asks it for monitors, finds monitors again.

Points at which a test may kill the daemon, and what is left then::

    spawn() sent      the monitor makes its things, sees the end of its first connection, removes them
    Created received  the same: init waits and is killed
    start() sent      the container runs; the next daemon adopts it by ``monitor.sock``
    Started received  the same
    Exited received   ``exit.json`` tells the next daemon
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import socket
import sys
from typing import Any

import core
from core.errors import NotFound, Unavailable, from_os_error
from core.linux import cgroups, placement
from core.runtime import exitrecord, protocol
from core.runtime.control import SOCKET_NAME
from core.runtime.task import LEAVE_DEADLINE, Channel, Task

log = logging.getLogger("dockyard.runtime")

ADOPT_DEADLINE = 5.0
_ZYGOTE_FD = 3
_CODE = "import sys; sys.path.insert(0, {root!r}); from core.runtime.zygote import main; main({fd})"
#: The only variables the zygote knows: a container must never see the daemon's.
#: Groups that are remembered.
_KNOWN = 1000
_PASSED_VARIABLES = ("DOCKYARD_OVERLAY",)


class _Zygote:
    """One zygote process and the connection to it."""

    def __init__(self) -> None:
        #: seq → why no monitor came.
        self.failures: dict[int, str] = {}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid = self._launch(theirs.fileno())
        except OSError as error:
            ours.close()
            raise from_os_error(error, "start the zygote") from error
        finally:
            theirs.close()
        self._pidfd = os.pidfd_open(self.pid)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pidfd, self._ended)
        self.exited = asyncio.Event()
        self._channel = Channel(ours, self._received, self._lost)

    @staticmethod
    def _launch(fd: int) -> int:
        root = os.path.dirname(os.path.dirname(os.path.abspath(core.__file__)))
        code = _CODE.format(root=root, fd=_ZYGOTE_FD)
        environment = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ}
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", code],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, fd, _ZYGOTE_FD),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE],
        )

    @property
    def alive(self) -> bool:
        return not self._channel.closed

    def spawn(self, seq: int, bundle: str, theirs: socket.socket) -> None:
        """Ask for a monitor; ``theirs`` is closed here. Where none comes, the other end of it sees the end."""
        self._channel.send(protocol.SpawnMonitor(seq, bundle), theirs)

    def _received(self, message: protocol.Message) -> None:
        if isinstance(message, protocol.Ready) and message.warning:
            log.warning("zygote: %s", message.warning)
        elif isinstance(message, protocol.Failed):
            log.error("zygote: %s", message.error)
            self.failures[message.seq] = message.error

    def _lost(self) -> None:
        log.warning("the zygote (pid %d) has ended", self.pid)

    def _ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        os.close(self._pidfd)
        self.exited.set()

    async def close(self) -> None:
        """It leaves when the connection ends."""
        self._channel.close()
        try:
            async with asyncio.timeout(LEAVE_DEADLINE):
                await self.exited.wait()
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            await self.exited.wait()


class Runtime:
    """Makes and finds tasks. ``root`` and ``run`` are the engine's folders, ``where`` is where cgroups go."""

    def __init__(self, root: str, run: str, where: cgroups.Placement) -> None:
        self._root = root
        self._run = run
        self._placement = where
        self._zygote: _Zygote | None = None
        self._sequence = itertools.count(1)
        self._starting = asyncio.Lock()
        self._leaving: dict[str, Task] = {}
        self._known: dict[str, tuple[int, cgroups.Cgroup]] = {}

    async def start(self) -> None:
        """Start the zygote. It is started again when it died, by the next ``spawn``."""
        await self._living_zygote()

    async def _living_zygote(self) -> _Zygote:
        async with self._starting:
            if self._zygote is None or not self._zygote.alive:
                zygote = _Zygote()
                # By D-Bus where systemd owns the cgroups; before its first fork, so that monitors are born there.
                try:
                    self._placement = await asyncio.to_thread(placement.adopt_zygote, self._placement, zygote.pid)
                except BaseException:
                    await zygote.close()
                    raise
                self._zygote = zygote
            return self._zygote

    async def close(self) -> None:
        """End the zygote; monitors and containers live on."""
        if self._zygote is not None:
            await self._zygote.close()
            self._zygote = None

    def run_dir(self, short: str) -> str:
        """The folder of the container with the short id ``short``."""
        return os.path.join(self._run, "c", short)

    def placement_json(self) -> dict[str, Any]:
        """The placement, for a bundle."""
        return self._placement._asdict()

    def cgroups_path(self, container_id: str) -> str:
        """``linux.cgroupsPath`` of a container: below the mount point of each hierarchy."""
        parent = next(iter(self._placement.parents.values()), "")
        slice_ = "/system.slice" if self._placement.scope else ""
        return f"{slice_}/{os.path.basename(parent)}/{container_id}"

    def cgroup(self, container_id: str) -> cgroups.Cgroup:
        """The group of a container, as far as it exists."""
        return cgroups.reopen(self._placement, container_id)

    def known_cgroup(self, container_id: str, pid: int) -> cgroups.Cgroup:
        """As :meth:`cgroup`, looked for once for each first process ``pid``: for those who ask every second."""
        known = self._known.get(container_id)
        if known is None or known[0] != pid:
            if len(self._known) > _KNOWN:
                self._known.clear()
            known = self._known[container_id] = (pid, self.cgroup(container_id))
        return known[1]

    def with_cpuset(self, container_id: str) -> cgroups.Cgroup:
        """The group of a running container, with a cpuset where version 1 made it without; it moves processes."""
        return cgroups.add_cpuset(self._placement, container_id)

    async def spawn(self, bundle: str) -> Task:
        """Make a monitor and its init for ``bundle`` (a run folder); init waits for ``Task.start``.

        Raises StartFailed or Unavailable; then nothing is left.
        """
        await self.previous_gone(bundle)
        zygote = await self._living_zygote()
        seq = next(self._sequence)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        task = Task(bundle, ours, self._task_gone)
        self._leaving[bundle] = task
        try:
            zygote.spawn(seq, bundle, theirs)
            await task.known()
        except BaseException as error:
            await task.close()
            if isinstance(error, Unavailable) and seq in zygote.failures:
                raise Unavailable(zygote.failures.pop(seq)) from error
            raise
        return task

    def _task_gone(self, task: Task) -> None:
        if self._leaving.get(task.run_dir) is task:
            del self._leaving[task.run_dir]

    async def previous_gone(self, run_dir: str) -> None:
        """A container's last monitor may still be busy with its cgroup, which the next one wants to make."""
        previous = self._leaving.get(run_dir)
        if previous is None:
            return
        try:
            async with asyncio.timeout(LEAVE_DEADLINE):
                await previous.gone.wait()
        except TimeoutError:
            raise Unavailable(f"the previous monitor of {run_dir} has not left") from None

    async def adopt(self, run_dir: str) -> Task:
        """Connect with the living monitor of ``run_dir``. NotFound when there is no socket, Unavailable when mute."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            folder = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # By the folder's fd: a socket's path ends at 107 bytes, however long the real one is.
                sock.setblocking(False)
                sock.connect(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
            finally:
                os.close(folder)
        except FileNotFoundError:
            sock.close()
            raise NotFound(f"no monitor in {run_dir}") from None
        except OSError as error:
            sock.close()
            raise Unavailable(f"the monitor in {run_dir} does not answer: {error.strerror}") from error
        task = Task(run_dir, sock, self._task_gone)
        self._leaving[run_dir] = task
        try:
            await task.known(ADOPT_DEADLINE)
        except BaseException:
            await task.close()
            raise
        return task


def read_exit(run_dir: str) -> protocol.Exited | None:
    """How the container whose run folder is ``run_dir`` ended; None when nothing is recorded."""
    return exitrecord.read(run_dir)


__all__ = ["Runtime", "Task", "read_exit"]
