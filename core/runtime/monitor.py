"""One container's keeper: makes it, owns its streams, log, execs and end, and outlives the daemon.

Its life::

    created   init exists and waits. The first connection is the lease: its end of file kills what was made.
    starting  Start has come; the daemon is not needed any more. failed: init did not reach the program.
    running   the daemon may come and go; nothing here depends on it.
    exited    output drained → exit.json → Exited said → then what is slow: fsync, overlay, cgroup.

One thread, one loop (:mod:`core.runtime.poller`); nothing waits for a daemon or a client.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import time

from core import oci
from core.errors import Conflict, DockyardError, NotFound, StartFailed, from_os_error
from core.linux import cgroups, process
from core.runtime import birth, exitrecord, protocol
from core.runtime.child import Child, Ended, Listener, connect
from core.runtime.control import MAX_CONNECTIONS, Connection
from core.runtime.control import Listener as ControlListener
from core.runtime.execs import Execs, Home, as_reply
from core.runtime.logs import LogWriter
from core.runtime.poller import READ, Poller
from core.runtime.proxy import Ports
from core.runtime.resolver import Resolver
from core.runtime.session import Slots
from core.runtime.streams import Buffer, Streams

#: A client that takes nothing for so long after the end is left.
_LINGER_MS = 10 * 60 * 1000
_LINGER_STEP_MS = 5000
_OOM_LOOKS = 25
_OOM_LOOK_MS = 20


class Monitor(Listener):
    """See the module. ``path`` is the bundle, ``first`` the connection that is the birth lease."""

    def __init__(self, path: str, first: socket.socket, oom_score: int) -> None:
        self._poller = Poller()
        self._phase = "created"
        self._connections: list[Connection] = []
        self._leaving = False
        self._child: Child | None = None
        self._start_time = 0
        self._overlay_fd = self._oom_fd = -1
        self._own_pids = True
        self._oom_told = self._oom_looks = self._memory_limit = 0
        self._log: LogWriter | None = None
        self._cgroup: cgroups.Cgroup | None = None
        self._streams: Streams | None = None
        self._execs: Execs | None = None
        self._listener: ControlListener | None = None
        self._exited: protocol.Exited | None = None
        self._run_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._slots = Slots()
        self._ports: Ports | None = None
        self._resolver: Resolver | None = None
        self._lease = Connection(self._poller, first, self._dispatch, self._connection_ended)
        self._connections.append(self._lease)
        try:
            self._make(birth.read(path), oom_score)
        except StartFailed as error:
            cause = error.__cause__
            number = (cause.errno or 0) if isinstance(cause, OSError) else 0
            self.failed(error.step, error.path, str(error), number, error.exit_code)
            self._abandon()
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            self.failed("", str(error.filename or ""), f"{error.strerror}{where}", error.errno or 0, 128)
            self._abandon()

    def _make(self, bundle: birth.Bundle, oom_score: int) -> None:
        """Everything up to the point where only ``Start`` is missing. Raises StartFailed or OSError."""
        spec, config = bundle
        resources = spec["linux"].get("resources", {})
        self._memory_limit = resources.get("memory", {}).get("limit", 0)
        self._cgroup, warnings = birth.make_cgroup(bundle)
        for warning in warnings:
            self.warned(warning)
        self._make_streams(spec, config, oom_score)
        # Before Created is said: a daemon that sent Start on it and died must find this monitor when it is back.
        self._listener = ControlListener(self._poller, self._run_fd, self._accept)
        self._make_init(bundle, oom_score)
        # Init enters its cgroup and the daemon attaches clients while the rest is made.
        self._log = birth.open_log(config, self.warned)
        if self._streams is not None:
            self._streams.log = self._log
        self._watch_oom(self._cgroup)
        self._overlay_fd = birth.make_overlay(config)

    def _make_streams(self, spec: oci.Spec, config: protocol.MonitorConfig, oom_score: int) -> None:
        assert self._cgroup is not None
        buffer = Buffer()
        self._streams = Streams(self._poller, buffer, self._slots, tty=config["tty"])
        self._streams.close_with_client = config["stdin_once"]
        if config["open_stdin"]:
            self._streams.expect_input()
        namespaces = spec["linux"].get("namespaces", [])
        self._own_pids = any(entry["type"] == "pid" and not entry.get("path") for entry in namespaces)
        oom_score = spec["process"].get("oomScoreAdj", oom_score)
        guided = "CAP_SYS_PTRACE" in spec["process"].get("capabilities", {}).get("bounding", ())
        home = Home(
            self._poller, buffer, self._slots, self._cgroup, self._tell, namespaces, oom_score, guided=guided
        )  # fmt: skip
        self._execs = Execs(home)

    def _make_init(self, bundle: birth.Bundle, oom_score: int) -> None:
        assert self._cgroup is not None
        assert self._streams is not None
        assert self._execs is not None
        stdio, pipes = birth.make_stdio(bundle.config)
        try:
            made = birth.make_init(bundle, self._cgroup, stdio, oom_score)
        finally:
            if pipes is not None:
                pipes.close_theirs()
        self._child = Child(self._poller, self, *made)
        self._start_time = process.start_time(self._child.pid)
        self._tell(protocol.Created(os.getpid(), self._child.pid, self._start_time))
        if pipes is not None:
            connect(self._streams, pipes.ours)
        self._execs.home.pid_fd = os.dup(self._child.pidfd)
        if bundle.config["resolver"]:
            self._resolver = birth.make_resolver(self._poller, self._run_fd, self._child.pid)

    # --- the loop --------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until the container has ended and everybody has everything."""
        while not self._leaving:
            if not self._oom_looks:
                self._poller.run_once()
            elif not self._poller.run_once(_OOM_LOOK_MS):
                self._oom_looks -= 1
                self._tell_oom()
        self._clean_up()
        self._linger()

    def _tell(self, message: protocol.Message) -> None:
        for connection in tuple(self._connections):
            connection.send(message)

    def _accept(self, sock: socket.socket) -> None:
        if len(self._connections) >= MAX_CONNECTIONS or self._phase == "failed":
            sock.close()
            return
        connection = Connection(self._poller, sock, self._dispatch, self._connection_ended)
        self._connections.append(connection)
        pid = self._child.pid if self._child is not None else 0
        execs = self._execs.state() if self._execs is not None else []
        connection.send(protocol.State(self._phase, os.getpid(), pid, self._start_time, execs))
        if self._exited is not None:
            connection.send(self._exited)

    def _connection_ended(self, connection: Connection) -> None:
        if connection.closed and connection in self._connections:
            self._connections.remove(connection)
        if connection is self._lease and self._phase == "created":
            self._phase = "failed"
            self._abandon()

    def _abandon(self) -> None:
        """Kill what was made; leave when it is gone."""
        if self._child is not None and self._child.how is None:
            self._child.kill(signal.SIGKILL)
        else:
            self._leaving = True

    # --- requests --------------------------------------------------------------------------------------

    def _dispatch(self, connection: Connection, message: protocol.Message, fds: list[int]) -> None:
        seq = getattr(message, "seq", 0)
        try:
            self._handle(message, fds)
        except DockyardError as error:
            connection.send(as_reply(seq, error))
        except ProcessLookupError:
            connection.send(as_reply(seq, NotFound("the process has ended")))
        except OSError as error:
            connection.send(as_reply(seq, from_os_error(error, type(message).__name__.lower())))
        else:
            connection.send(protocol.Reply(seq))
        finally:
            protocol.close_all(fds)

    def _handle(self, message: protocol.Message, fds: list[int]) -> None:
        """Do one request. What is taken of ``fds`` is removed from the list."""
        if self._child is None or self._streams is None or self._execs is None or self._phase in ("exited", "failed"):
            raise Conflict("the container has ended")
        if isinstance(message, protocol.Start):
            self._start(self._child)
        elif isinstance(message, protocol.Signal):
            self._signal(self._child, self._execs, message)
        elif isinstance(message, protocol.Resize):
            target = self._execs.get(message.exec_id) if message.exec_id else self._streams
            target.resize(message.rows, message.columns)
        elif isinstance(message, protocol.Attach):
            _attach(self._streams, message, fds)
        elif isinstance(message, protocol.Exec):
            self._check_exec()
            self._execs.start(message, fds.pop(0) if fds else None)
        elif isinstance(message, protocol.CloseStdin):
            self._streams.close_input()
        elif isinstance(message, protocol.Listen | protocol.Unlisten | protocol.Retarget):
            self._publish(message, fds)
        else:
            raise Conflict(f"a monitor does not take {type(message).__name__}")

    def _publish(self, message: protocol.Listen | protocol.Unlisten | protocol.Retarget, fds: list[int]) -> None:
        if self._ports is None:
            self._ports = Ports(self._poller)
        if isinstance(message, protocol.Listen):
            self._ports.add(message.ports, fds)
        elif isinstance(message, protocol.Unlisten):
            self._ports.remove(message.keys)
        else:
            self._ports.retarget(message.ports)

    def _check_exec(self) -> None:
        if self._phase != "running":
            raise Conflict("the container is not running")
        if self._cgroup is not None and self._cgroup.is_frozen():
            raise Conflict("the container is paused", hint="unpause it first")

    def _start(self, child: Child) -> None:
        if self._phase != "created":
            raise Conflict("the container was started already")
        self._phase = "starting"
        child.start(self._overlay_fd)

    def _signal(self, child: Child, execs: Execs, message: protocol.Signal) -> None:
        if message.exec_id:
            execs.get(message.exec_id).child.kill(message.signal)
        elif message.all:
            assert self._cgroup is not None
            self._cgroup.kill_all(message.signal)
        else:
            child.kill(message.signal)
            if message.signal == signal.SIGKILL and self._cgroup is not None:
                self._cgroup.thaw()  # a frozen group of version 1 would keep it pending

    # --- memory ----------------------------------------------------------------------------------------

    def _watch_oom(self, group: cgroups.Cgroup) -> None:
        self._oom_fd = group.oom_watch()
        if self._oom_fd >= 0:
            os.set_blocking(self._oom_fd, False)
            self._poller.watch(self._oom_fd, READ, self._oom_event)

    def _oom_event(self, events: int) -> None:
        try:
            os.read(self._oom_fd, 4096)
        except BlockingIOError:
            return
        # Version 1 wakes us when the memory has run out, a moment before it has chosen whom to kill.
        self._oom_looks = _OOM_LOOKS
        self._tell_oom()

    def _tell_oom(self) -> int:
        """Say so when the kernel has killed since the last time; how often in all."""
        kills = self._cgroup.oom_kills() if self._cgroup is not None else 0
        if kills > self._oom_told:
            self._oom_told = kills
            self._oom_looks = 0
            self._tell(protocol.Oom(kills))
        return kills

    # --- what init says --------------------------------------------------------------------------------

    def warned(self, message: str) -> None:
        self._tell(protocol.Warned(message))

    def console(self, master: int) -> None:
        assert self._streams is not None
        self._streams.set_terminal(master)

    def started(self) -> None:
        assert self._child is not None
        self._phase = "running"
        self._tell(protocol.Started(self._child.pid, time.time_ns()))

    def failed(self, step: str, path: str, message: str, number: int, code: int) -> None:
        if self._phase == "failed":
            return  # what follows from the first failure explains nothing
        self._phase = "failed"
        self._tell(protocol.StartFailed(step, path, message, number, code))

    def ended(self, how: Ended) -> None:
        """Pid 1 is gone, and with it all of its pid namespace; without one of its own the rest is killed."""
        if self._cgroup is not None and not self._own_pids:
            self._cgroup.kill_all()
        if self._execs is not None:
            self._execs.reap_all()
        if self._streams is not None:
            self._streams.drain()
        if self._log is not None:
            self._log.close()
        if self._resolver is not None:
            self._resolver.close()
        if self._ports is not None:
            self._ports.close()  # before the end is told: the next start finds its ports free
        if self._phase == "running":
            self._record(how)
        if self._streams is not None:
            self._streams.finish()  # after the report: who sees the end of the streams asks for the exit code
        self._leaving = True

    def _record(self, how: Ended) -> None:
        kills = self._tell_oom()
        exited = protocol.Exited(how.code, how.signal, how.dumped, kills, self._memory_limit, time.time_ns())
        try:
            exitrecord.write(self._run_fd, exited)
        except OSError:
            pass  # the folder is gone or full: who listens is told, who does not finds nothing ("monitor lost")
        self._exited = exited
        self._phase = "exited"
        self._tell(exited)

    # --- the end ---------------------------------------------------------------------------------------

    def _clean_up(self) -> None:
        """All that may take long: it comes after the end was told."""
        if self._exited is not None:
            exitrecord.sync(self._run_fd)
        if self._overlay_fd >= 0:
            os.close(self._overlay_fd)
        if self._cgroup is not None:
            self._cgroup.remove()
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self._connections):
            connection.close()

    def _linger(self) -> None:
        """Stay until slow clients have the rest of the output, as long as they take some of it."""
        idle, before = 0, -1
        while self._slots.used and idle < _LINGER_MS:
            waiting = sum(part.waiting for part in (self._streams, self._execs) if part is not None)
            idle = 0 if waiting != before else idle + _LINGER_STEP_MS
            before = waiting
            self._poller.run_once(_LINGER_STEP_MS)


def _attach(streams: Streams, message: protocol.Attach, fds: list[int]) -> None:
    if not fds:
        raise Conflict("attach came without a socket")
    streams.attach(
        fds.pop(0),
        stdin=message.stdin,
        stdout=message.stdout,
        stderr=message.stderr,
        detach_keys=base64.b64decode(message.detach_keys),
        preread=base64.b64decode(message.preread),
    )
