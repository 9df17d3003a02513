"""The other processes of a container, made by its monitor: ``exec``.

The child enters the container's namespaces by itself; the monitor only chooses the pid namespace that its next children
are born in, and so stays their parent and can wait for them. The container sees them there, and because they are not
dumpable it can take nothing from them.

With CAP_SYS_PTRACE it could: their root and descriptors (/proc/PID/root and fd), their memory and rights. There two
processes of ours lead to one. The first, the *guide*, is born outside, enters everything and gives up all rights; only
then it forks the program's process, which is born inside with nothing left to take. CLONE_PARENT makes the monitor its
parent. Not everywhere: the second fork costs milliseconds, and a clone(2) that the seccomp profile may refuse.
"""

from __future__ import annotations

import base64
import errno
import gc
import os
from collections.abc import Callable
from typing import Any, NoReturn, cast

from core import oci
from core.errors import Conflict, DockyardError, InvalidArgument, NotFound, StartFailed, from_os_error
from core.linux import cgroups, console, privileges, process, syscalls
from core.runtime import protocol
from core.runtime.child import Child, Ended, Listener, Pipes, make
from core.runtime.child import connect as connect_streams
from core.runtime.handshake import Report
from core.runtime.poller import Poller
from core.runtime.program import Program, Stdio, connect_pipes, default_signals, enter, launch, open_terminal
from core.runtime.session import Slots
from core.runtime.streams import Buffer, Streams

#: Ended execs that a later daemon still hears of.
KEEP_ENDED = 64
_MAX_EXECS = 1024
_NAMESPACES = {
    "mount": syscalls.CLONE_NEWNS,
    "uts": syscalls.CLONE_NEWUTS,
    "ipc": syscalls.CLONE_NEWIPC,
    "network": syscalls.CLONE_NEWNET,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}


class Home:
    """What execs need of their container, put together by the monitor. ``pid_fd`` is the pidfd of its pid 1."""

    def __init__(
        self,
        poller: Poller,
        buffer: Buffer,
        slots: Slots,
        cgroup: cgroups.Cgroup,
        tell: Callable[[protocol.Message], None],
        namespaces: list[oci.Namespace],
        oom_score: int,
        *,
        guided: bool,
    ) -> None:
        """``guided``: a process of the container may have CAP_SYS_PTRACE."""
        self.poller = poller
        self.buffer = buffer
        self.slots = slots
        self.cgroup = cgroup
        self.tell = tell
        self.pid_fd = -1
        self.namespaces = namespaces
        self.oom_score = oom_score
        self.guided = guided
        self._inside = False

    def enter_pid_namespace(self) -> None:
        """From now on this monitor's children are born in the container's pid namespace."""
        if not self._inside and any(entry["type"] == "pid" for entry in self.namespaces):
            syscalls.setns(self.pid_fd, syscalls.CLONE_NEWPID)
            self._inside = True


class Exec(Listener):
    """One exec. Raises OSError or StartFailed when its process cannot even be made."""

    def __init__(
        self, home: Home, config: protocol.ExecConfig, client: int | None, seccomp: bytes, ended: Callable[[Exec], None]
    ) -> None:
        self.id = config["exec_id"]
        self.exit_code = 0
        self.running = False
        self._home = home
        self._ended = ended
        self._failed = False
        self._streams = Streams(home.poller, home.buffer, home.slots, tty=config["tty"])
        self._streams.close_with_client = True
        rows, columns = (config["console_size"] or [0, 0])[:2]
        pipes = None
        stdio = Stdio(-1, -1, -1, True, rows, columns)
        attached = client is not None
        if not config["tty"]:
            pipes = Pipes(
                stdin=attached and config["stdin"],
                stdout=attached and config["stdout"],
                stderr=attached and config["stderr"],
            )
            stdio = pipes.child
        if attached and config["stdin"]:
            self._streams.expect_input()
        if client is not None:
            self._streams.attach(
                client,
                stdin=config["stdin"],
                stdout=config["stdout"],
                stderr=config["stderr"],
                detach_keys=base64.b64decode(config["detach_keys"]),
                preread=base64.b64decode(config["preread"]),
            )
        program = Program(cast(oci.Process, config["process"]), config["user"], config["set_home"], stdio, seccomp)
        try:
            if not home.guided:
                home.enter_pid_namespace()
            made = make(0, home.cgroup.clone_fd(), lambda report: _run(home, program, report))
        except BaseException as error:
            self._tell_clients(str(error))
            self._streams.finish()
            raise
        finally:
            if pipes is not None:
                pipes.close_theirs()
        self.child = Child(home.poller, self, *made, guide=home.guided)
        if pipes is not None:
            connect_streams(self._streams, pipes.ours)

    @property
    def state(self) -> list[Any]:
        """As in :class:`protocol.State`."""
        return [self.id, self.child.pid, self.running, self.exit_code]

    def resize(self, rows: int, columns: int) -> None:
        """New size of its terminal."""
        self._streams.resize(rows, columns)

    def warned(self, message: str) -> None:
        self._home.tell(protocol.Warned(message))

    def console(self, master: int) -> None:
        self._streams.set_terminal(master)

    def started(self) -> None:
        self.running = True
        self._home.tell(protocol.ExecStarted(self.id, self.child.pid))

    def failed(self, step: str, path: str, message: str, number: int, code: int) -> None:
        self._failed = True
        self.exit_code = code
        self._tell_clients(message)
        self._home.tell(protocol.ExecFailed(self.id, step, path, message, number, code))

    def _tell_clients(self, message: str) -> None:
        """Why it did not start, as dockerd does. Not left to the daemon: the streams end right after this."""
        self._streams.tell(f"{message}\r\n".encode("utf-8", "replace"))

    def ended(self, how: Ended) -> None:
        self.running = False
        self._streams.drain()
        if not self._failed:
            self.exit_code = how.code
            # Before the streams end: Docker's client asks for the exit code as soon as they have.
            self._home.tell(protocol.ExecExited(self.id, how.code))
        self._streams.finish()
        self._ended(self)

    @property
    def flushing(self) -> int:
        """Clients that have not got everything yet."""
        return self._streams.attached

    @property
    def waiting(self) -> int:
        """Bytes that its clients have not taken yet."""
        return self._streams.waiting


def _run(home: Home, program: Program, report: Report) -> NoReturn:
    default_signals()
    if home.guided:
        os.setpgid(0, 0)  # what belongs together, should it be killed halfway
    flags = 0
    for entry in home.namespaces:
        flags |= _NAMESPACES.get(entry["type"], 0)
        if home.guided and entry["type"] == "pid":
            flags |= syscalls.CLONE_NEWPID  # for the next fork only (pid_namespaces(7))
    report.warn(privileges.set_oom_score(home.oom_score))
    try:
        home.cgroup.enter_self()
        syscalls.setns(home.pid_fd, flags)
        os.chdir("/")
    except OSError as error:
        text = f"enter the container: {error.strerror}"
        raise StartFailed(text, step="namespaces", path=str(error.filename or "")) from error
    slave = open_terminal(program.stdio, report, bind=False)
    program = enter(program, report, create_cwd=False)
    uid = program.process["user"]["uid"]
    if slave >= 0:
        os.fchown(slave, uid, -1)
        for number in (0, 1, 2):
            os.dup2(slave, number)
    else:
        connect_pipes(program.stdio, uid)
    report.keep_only()
    report.warn(privileges.become(program.process, program.seccomp))
    process.hide_self()
    if home.guided:
        _hand_over(report)
    os.setsid()
    if slave >= 0:
        console.take_terminal(0)
    launch(program.process, report)


def _hand_over(report: Report) -> None:
    """Go on as the process that is born inside."""
    try:
        pid, pidfd = syscalls.clone_sibling()
    except OSError as error:
        hint = "the container has ended" if error.errno == errno.ENOMEM else ""
        if error.errno in (errno.EPERM, errno.ENOSYS):
            hint = "its seccomp profile refuses clone(2), which an exec needs"
        raise StartFailed(f"make a process in the container: {error.strerror}", step="namespaces", hint=hint) from error
    if pid:
        report.born(pid, pidfd)
        os._exit(0)
    report.wait_for_start()


def read_filter(path: str) -> bytes:
    """The compiled seccomp filter at ``path``; b"" for none."""
    if not path:
        return b""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


class Execs:
    """All execs of one container."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._all: dict[str, Exec] = {}

    def start(self, message: protocol.Exec, client: int | None) -> None:
        """Begin one; what becomes of it is told by events. Owns ``client``. Raises DockyardError."""
        try:
            self._check(message.exec_id)
            config = _read_config(message.path)
            if config["exec_id"] != message.exec_id:
                raise InvalidArgument(f"{message.path} is not for exec {message.exec_id}")
            seccomp = read_filter(config["seccomp"])
            client_fd, client = client, None
            self._all[message.exec_id] = Exec(self.home, config, client_fd, seccomp, self._exec_ended)
        except OSError as error:
            raise from_os_error(error, "start a process in the container") from error
        finally:
            if client is not None:
                os.close(client)

    def _check(self, exec_id: str) -> None:
        if exec_id in self._all:
            raise Conflict(f"exec {exec_id} exists already")
        if sum(one.child.how is None for one in self._all.values()) >= _MAX_EXECS:
            raise Conflict(f"{_MAX_EXECS} execs run in this container already")

    def get(self, exec_id: str) -> Exec:
        """The one of this id. Raises NotFound."""
        try:
            return self._all[exec_id]
        except KeyError:
            raise NotFound(f"No such exec instance: {exec_id}") from None

    def state(self) -> list[list[Any]]:
        """As in :class:`protocol.State`."""
        return [one.state for one in self._all.values()]

    def reap_all(self) -> None:
        """The container has ended, and with its pid namespace every exec: take their ends now."""
        for one in tuple(self._all.values()):
            one.child.reap()

    @property
    def flushing(self) -> int:
        """Clients of ended execs that have not got everything yet."""
        return sum(one.flushing for one in self._all.values())

    @property
    def waiting(self) -> int:
        """Bytes that clients have not taken yet."""
        return sum(one.waiting for one in self._all.values())

    def _exec_ended(self, one: Exec) -> None:
        ended = [key for key, value in self._all.items() if value.child.how is not None and not value.flushing]
        for key in ended[:-KEEP_ENDED]:
            del self._all[key]
        gc.collect()  # the zygote switched it off; what is frozen is not looked at, so this is quick


def _read_config(path: str) -> protocol.ExecConfig:
    with open(path, "rb") as file:
        try:
            config: protocol.ExecConfig = protocol.from_json(file.read().strip())
        except ValueError as error:
            raise InvalidArgument(f"{path}: {error}") from error
    missing = protocol.ExecConfig.__required_keys__ - config.keys()
    if missing:
        raise InvalidArgument(f"{path} lacks {', '.join(sorted(missing))}")
    return config


def as_reply(seq: int, error: DockyardError) -> protocol.Reply:
    """``error`` as the answer to request ``seq``."""
    return protocol.Reply(seq, error.kind, str(error))
