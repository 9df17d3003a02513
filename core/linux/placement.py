"""Where monitors and containers live in the cgroup tree; decided by the daemon before the zygote forks.

Without systemd: a folder ``/dockyard-<engine>`` in every hierarchy. With systemd as pid 1: a transient, delegated scope
``dockyard-<engine>.scope`` of its own, never below the daemon's service: a service with containers below it does
not start again once stopped (219/CGROUP), and a daemon that was started from an SSH session would take its
containers with it. The scope belongs to nobody but the processes in it: it ends when the last one has left, and the
next daemon's zygote joins it while there are any. In version 2 processes may only live in leaves: the zygote and the
monitors are in ``monitors``, each container has a folder beside it.

systemd is asked by D-Bus (org.freedesktop.systemd1(5)): over the system bus, or, where no bus daemon runs, over the
socket that systemctl uses (root only). Nothing here is in the zygote's closure.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from itertools import count
from typing import Any, ClassVar

from core.errors import Unavailable, Unsupported
from core.linux import cgroups
from core.linux.cgroup_files import read_file, remove_folder, write_file
from core.linux.cgroups import Hierarchy, Placement

_V2_CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "io")
_SYSTEMD_SECONDS = 15.0
_GREETING_SECONDS = 0.1
#: A scope may end between the answer that it exists and the attempt to join it.
_TRIES = 5
_UNLIMITED = 2**64 - 1


def has_systemd() -> bool:
    """Whether systemd is pid 1 (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def prepare(engine: str) -> Placement:
    """The placement of the engine called ``engine``; its folders exist afterwards, unless systemd makes them.

    With systemd they come with the first process: see :func:`adopt_zygote`.
    """
    found = cgroups.detect()
    scope = f"dockyard-{engine}.scope" if has_systemd() else ""
    if scope:
        return Placement(found.version, {}, scope)
    if not (found.mounts or found.unified):
        raise Unsupported(
            "no cgroups are mounted below /sys/fs/cgroup, as it is inside `ip netns exec`",
            hint="start the engine outside, or mount them: mount -t cgroup2 none /sys/fs/cgroup",
        )
    placement = Placement(found.version, _parents(found, f"dockyard-{engine}"))
    _make_parents(placement)
    return placement


def _parents(found: Hierarchy, name: str) -> dict[str, str]:
    parents = {controller: os.path.join(mount, name) for controller, mount in found.mounts.items()}
    if found.unified:
        parents["unified"] = os.path.join(found.unified, name)
    return parents


def _make_parents(placement: Placement) -> None:
    for name, folder in placement.parents.items():
        os.makedirs(folder, 0o755, exist_ok=True)
        if name == "memory" and read_file(os.path.join(folder, "memory.use_hierarchy")).strip() == "0":
            # Before Linux 5.11 a group's limit does not hold for the groups below it, unless this is set first.
            write_file(os.path.join(folder, "memory.use_hierarchy"), "1")
    if placement.version == 2:
        _make_monitors(placement)
        delegate(os.path.dirname(placement.parents["unified"]))
        delegate(placement.parents["unified"])


def _monitors(placement: Placement) -> str:
    return os.path.join(placement.parents["unified"], "monitors")


def _make_monitors(placement: Placement) -> None:
    """An empty one is made anew: in a group that was killed once some kernels kill what it starts elsewhere.

    (They compare the count of kills of the caller's group with that of the group that clone3 starts the child in.)
    """
    remove_folder(_monitors(placement), 0)
    os.makedirs(_monitors(placement), exist_ok=True)


def delegate(folder: str) -> None:
    """Switch on, for the children of ``folder``, every controller that it has itself."""
    available = read_file(os.path.join(folder, "cgroup.controllers")).split()
    for controller in _V2_CONTROLLERS:
        if controller in available:
            try:
                write_file(os.path.join(folder, "cgroup.subtree_control"), f"+{controller}")
            except OSError:
                # A controller that version 1 holds, or whose processes are not in leaves (an engine in a container):
                # each limit that is missed by it is a warning at the container's start.
                continue


def adopt_zygote(placement: Placement, pid: int) -> Placement:
    """Put the zygote where it belongs, before it forks. Returns the placement with its folders known.

    Raises Unavailable when systemd does not make the scope.
    """
    if placement.scope:
        return _into_scope(placement.scope, pid)
    if placement.version == 2:
        _make_parents(placement)
        write_file(os.path.join(_monitors(placement), "cgroup.procs"), str(pid))
    return placement


def _into_scope(scope: str, pid: int) -> Placement:
    found = cgroups.detect()
    try:
        with ExitStack() as stack:
            manager = _Manager(stack)
            placed = _join(manager, found, scope, pid)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"systemd did not make {scope}: {error}", hint="does systemctl status answer?") from error
    if found.version == 1:
        _make_parents(placed)
    if found.unified:
        delegate(placed.parents["unified"])
    return placed


def _join(manager: _Manager, found: Hierarchy, scope: str, pid: int) -> Placement:
    """Make the scope with the zygote as its first process, or join the one that an earlier daemon's monitors hold."""
    for _ in range(_TRIES):
        try:
            manager.start_scope(scope, pid)
        except FileExistsError:
            try:
                placed = _placed(found, scope, manager.folder(scope))
                # On version 2 the scope itself takes no process any more: it has handed its controllers down.
                manager.attach(scope, "/monitors" if found.version == 2 else "", pid)
            except FileNotFoundError:
                continue  # it ended meanwhile
        else:
            placed = _placed(found, scope, manager.folder(scope))
        if found.unified:
            write_file(os.path.join(_monitors(placed), "cgroup.procs"), str(pid))
        return placed
    raise TimeoutError("it ends again and again")


def _placed(found: Hierarchy, scope: str, relative: str) -> Placement:
    placed = Placement(found.version, _parents(found, relative.strip("/")), scope)
    if found.unified:
        _make_monitors(placed)
    return placed


def release(placement: Placement, seconds: float = 2.0) -> None:
    """Remove the engine's own folders once nothing is in them; a monitor that is just leaving is waited for."""
    deadline = time.monotonic() + seconds
    for parent in dict.fromkeys(placement.parents.values()):
        for folder in (os.path.join(parent, "monitors"), parent):
            remove_folder(folder, deadline - time.monotonic())


class _Manager:
    """systemd's manager object over D-Bus; the connection is closed with ``stack``.

    Raises OSError: FileExistsError for a unit that exists, FileNotFoundError for one that does not (or is not active),
    and TimeoutError.
    """

    _PATH, _NAME = "/org/freedesktop/systemd1", "org.freedesktop.systemd1"
    _SYSTEM_BUS, _PRIVATE = "/run/dbus/system_bus_socket", "/run/systemd/private"
    _ERRORS: ClassVar[dict[str, type[OSError]]] = {
        "org.freedesktop.systemd1.UnitExists": FileExistsError,
        "org.freedesktop.systemd1.NoSuchUnit": FileNotFoundError,
        "org.freedesktop.systemd1.UnitInactive": FileNotFoundError,
        "org.freedesktop.systemd1.ScopeNotRunning": FileNotFoundError,
        "org.freedesktop.DBus.Error.UnknownObject": FileNotFoundError,
    }

    def __init__(self, stack: ExitStack) -> None:
        from jeepney import Parser

        self._parser = Parser()
        self._serials = count(1)
        self._results: dict[str, str] = {}
        self._deadline = time.monotonic() + _SYSTEMD_SECONDS
        try:
            self._sock = self._connect(self._SYSTEM_BUS)
            stack.callback(self._sock.close)
            bus = ("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
            self._call(*bus, "Hello")
            self._call(*bus, "AddMatch", "s", f"type='signal',sender='{self._NAME}',member='JobRemoved'")
        except (FileNotFoundError, ConnectionRefusedError):
            self._sock = self._connect(self._PRIVATE)
            stack.callback(self._sock.close)
            self._greet()
        self._manager("Subscribe")

    def _connect(self, path: str) -> Any:
        from jeepney.io.blocking import prep_socket

        return prep_socket(path, timeout=_SYSTEMD_SECONDS)

    def _greet(self) -> None:
        """Ask until it answers: what arrives together with the end of the authentication, systemd keeps in its buffer
        until more arrives (seen with 252, one time in ten)."""
        while True:
            self._send(self._PATH, self._NAME, "org.freedesktop.DBus.Peer", "Ping", "", ())
            try:
                self._receive(min(time.monotonic() + _GREETING_SECONDS, self._deadline))
            except TimeoutError:
                if time.monotonic() > self._deadline:
                    raise
            else:
                return

    def start_scope(self, scope: str, pid: int) -> None:
        """Make the scope with ``pid`` in it; returns when it is there."""
        properties = [
            ("Description", ("s", "Containers of Dockyard")),
            ("Delegate", ("b", True)),
            ("PIDs", ("au", [pid])),
            ("CollectMode", ("s", "inactive-or-failed")),
            # The default, 15 % of the system's processes, would be shared by all containers.
            ("TasksMax", ("t", _UNLIMITED)),
        ]
        (job,) = self._manager("StartTransientUnit", "ssa(sv)a(sa(sv))", scope, "fail", properties, [])
        while job not in self._results:
            self._receive(self._deadline)
        if self._results[job] != "done":
            raise OSError(f"its job ended as {self._results[job]}")

    def attach(self, scope: str, below: str, pid: int) -> None:
        """Move a process into the scope, or a folder of it."""
        self._manager("AttachProcessesToUnit", "ssau", scope, below, [pid])

    def folder(self, scope: str) -> str:
        """The scope's folder below each hierarchy's mount point."""
        (unit,) = self._manager("GetUnit", "s", scope)
        properties = "org.freedesktop.DBus.Properties"
        (value,) = self._call(unit, self._NAME, properties, "Get", "ss", f"{self._NAME}.Scope", "ControlGroup")
        if not value[1]:
            raise FileNotFoundError(f"{scope} has no cgroup")
        return str(value[1])

    def _manager(self, member: str, signature: str = "", *body: Any) -> tuple[Any, ...]:
        return self._call(self._PATH, self._NAME, f"{self._NAME}.Manager", member, signature, *body)

    def _call(
        self, path: str, name: str, interface: str, member: str, signature: str = "", *body: Any
    ) -> tuple[Any, ...]:
        from jeepney import HeaderFields, MessageType

        serial = self._send(path, name, interface, member, signature, body)
        while True:
            answer = self._receive(self._deadline)
            if answer.header.fields.get(HeaderFields.reply_serial) != serial:
                continue
            if answer.header.message_type is MessageType.error:
                error = str(answer.header.fields.get(HeaderFields.error_name))
                kind = self._ERRORS.get(error, OSError)
                raise kind(f"{member}: {answer.body[0] if answer.body else error}")
            return tuple(answer.body)

    def _send(self, path: str, name: str, interface: str, member: str, signature: str, body: tuple[Any, ...]) -> int:
        from jeepney import DBusAddress, new_method_call

        message = new_method_call(DBusAddress(path, name, interface), member, signature or None, body)
        serial = next(self._serials)
        self._sock.sendall(message.serialise(serial=serial))
        return serial

    def _receive(self, deadline: float) -> Any:
        """The next message; a job's end is kept."""
        from jeepney import HeaderFields

        while (message := self._parser.get_next_message()) is None:
            self._sock.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self._sock.recv(65536)
            if not data:
                raise ConnectionResetError("systemd closed the connection")
            self._parser.add_data(data)
        if message.header.fields.get(HeaderFields.member) == "JobRemoved":
            _, job, _, result = message.body
            self._results[job] = result
        return message
