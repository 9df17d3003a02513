"""The first half of a start, in a process of its own: bundle, cgroup, init, overlay.

The monitor lives as long as its container and should be small. What a start touches of the interpreter's memory is
copied in the process that touches it; so the monitor forks a starter, which makes init as *its sibling*
(CLONE_PARENT: init is the monitor's child), hands over what the monitor must hold, and is gone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import Any, NamedTuple, NoReturn, TypedDict

from core import oci
from core.errors import DockyardError, StartFailed
from core.linux import cgroups, mounts, process, syscalls
from core.runtime import handshake, init, protocol
from core.runtime.child import Pipes, make
from core.runtime.execs import read_filter
from core.runtime.handshake import Report
from core.runtime.init import CLONE_FLAGS, Plan
from core.runtime.poller import READ, Poller
from core.runtime.program import Program, Stdio

_MAX_DOCUMENT = 16 << 20


class Bundle(NamedTuple):
    """``config.json`` and ``dockyard.json`` of one container."""

    spec: oci.Spec
    config: protocol.MonitorConfig


def read(path: str) -> Bundle:
    """The documents in the folder ``path``. Raises StartFailed when they are missing or damaged."""
    spec: oci.Spec = _load(f"{path}/config.json")
    config: protocol.MonitorConfig = _load(f"{path}/dockyard.json")
    missing = protocol.MonitorConfig.__required_keys__ - config.keys()
    if missing:
        raise StartFailed(f"dockyard.json lacks {', '.join(sorted(missing))}", path=f"{path}/dockyard.json")
    spec["linux"].pop("seccomp", None)  # large, and compiled already: its filter is at config["seccomp"]
    return Bundle(spec, config)


def _load(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            return json.loads(file.read(_MAX_DOCUMENT))
    except OSError as error:
        raise StartFailed(f"bundle: {error.strerror}", path=path) from error
    except ValueError as error:
        raise StartFailed(f"bundle: {error}", path=path) from error


def clone_flags(spec: oci.Spec) -> int:
    """The namespaces that clone3 makes: those of the spec that have no path."""
    flags = 0
    for entry in spec["linux"].get("namespaces", []):
        if not entry.get("path"):
            flags |= CLONE_FLAGS.get(entry["type"], 0)
    return flags


def open_joined(spec: oci.Spec) -> list[tuple[int, int]]:
    """The namespaces that are joined, opened while their paths mean the host's: (fd, clone flag)."""
    joined = []
    for entry in spec["linux"].get("namespaces", []):
        path = entry.get("path", "")
        if not path:
            continue
        flag = CLONE_FLAGS.get(entry["type"], 0)
        if entry["type"] in ("mount", "pid") or not flag:
            text = f"joining a {entry['type']} namespace is not supported"
            raise StartFailed(text, step="namespaces", path=path)
        try:
            joined.append((os.open(path, os.O_RDONLY | os.O_CLOEXEC), flag))
        except OSError as error:
            text = f"join the {entry['type']} namespace: {error.strerror}"
            raise StartFailed(text, step="namespaces", path=path) from error
    return joined


def make_overlay(config: protocol.MonitorConfig) -> int:
    """The root's overlay as a detached mount, -1 when init has to make it itself."""
    piece = config["rootfs"][0]
    if mounts.overlay_method() != "fsopen" or piece.get("ephemeral"):
        return -1
    try:
        return mounts.overlay_detached(piece)
    except OSError as error:
        path = str(error.filename or "")
        raise StartFailed(f"root file system: {error.strerror}", step="rootfs", path=path) from error


def make_plan(bundle: Bundle, cgroup: cgroups.Cgroup, stdio: Stdio, oom_score: int) -> Plan:
    """Everything init needs of the host, read now."""
    spec, config = bundle
    try:
        seccomp = read_filter(config["seccomp"])
    except OSError as error:
        text = f"seccomp filter: {error.strerror}"
        raise StartFailed(text, step="seccomp", path=config["seccomp"]) from error
    return Plan(
        spec=spec,
        program=Program(spec["process"], config["user"], config["set_home"], stdio, seccomp),
        pieces=config["rootfs"],
        scratch_size=config["scratch_size"],
        joined=open_joined(spec),
        cgroup=cgroup,
        reaper=config["init"],
        oom_score=spec["process"].get("oomScoreAdj", oom_score),
    )


def make_cgroup(bundle: Bundle) -> tuple[cgroups.Cgroup, list[str]]:
    """The container's cgroup with its limits, and warnings."""
    spec, config = bundle
    placement = cgroups.Placement.from_json(config["cgroup"])
    try:
        return cgroups.create(placement, config["id"], spec["linux"].get("resources", {}))
    except DockyardError as error:
        raise StartFailed(str(error), step="cgroup") from error
    except OSError as error:
        path = str(error.filename or "")
        raise StartFailed(f"make the cgroup: {error.strerror}", step="cgroup", path=path) from error


class Facts(TypedDict):
    """What the monitor keeps of the bundle."""

    tty: bool
    open_stdin: bool
    stdin_once: bool
    log: protocol.LogConfig | None
    memory_limit: int
    namespaces: list[oci.Namespace]
    oom_score: int
    cgroup_version: int
    cgroup_folders: dict[str, str]


def facts(bundle: Bundle, oom_score: int) -> Facts:
    """See :class:`Facts`."""
    spec, config = bundle
    resources = spec["linux"].get("resources", {})
    cpu = resources.get("cpu", {})
    placement = cgroups.Placement.from_json(config["cgroup"])
    cpuset = bool(cpu.get("cpus") or cpu.get("mems"))
    return {
        "tty": config["tty"],
        "open_stdin": config["open_stdin"],
        "stdin_once": config["stdin_once"],
        "log": config["log"],
        "memory_limit": resources.get("memory", {}).get("limit", 0),
        "namespaces": spec["linux"].get("namespaces", []),
        "oom_score": spec["process"].get("oomScoreAdj", oom_score),
        "cgroup_version": placement.version,
        "cgroup_folders": cgroups.folders_of(placement, config["id"], cpuset=cpuset),
    }


# --- the starter's own side --------------------------------------------------------------------------

FACTS = "facts"
MADE = "made"  # pid, start time, which of 0, 1, 2 there are; fds: pidfd, handshake, those pipes
OVERLAY = "overlay"  # fds: the overlay, when there is one


def run(path: str, oom_score: int, report: Report) -> NoReturn:
    """Make everything, tell the monitor, end. Raises StartFailed."""
    bundle = read(path)
    report.tell(FACTS, facts(bundle, oom_score))
    group, warnings = make_cgroup(bundle)
    report.warn(warnings)
    spec, config = bundle
    pipes = None
    rows, columns = (config["console_size"] or [0, 0])[:2]
    stdio = Stdio(-1, -1, -1, True, rows, columns)
    if not config["tty"]:
        pipes = Pipes(stdin=config["open_stdin"], stdout=True, stderr=True)
        stdio = pipes.child
    plan = make_plan(bundle, group, stdio, oom_score)
    flags = clone_flags(spec) | syscalls.CLONE_PARENT
    try:
        pid, pidfd, sock = make(flags, group.clone_fd(), lambda report: init.run(plan, report))
    except OSError as error:
        raise StartFailed(f"make the namespaces: {error.strerror}", step="namespaces") from error
    ours = {} if pipes is None else pipes.ours
    begun = process.start_time(pid)
    report.tell(MADE, pid, begun, list(ours), fds=(pidfd, sock.fileno(), *ours.values()))
    overlay_fd = make_overlay(config)
    report.tell(OVERLAY, fds=(overlay_fd,) if overlay_fd >= 0 else ())
    os._exit(0)


# --- the monitor's side ------------------------------------------------------------------------------


class Owner:
    """Who is told what the starter made: the monitor."""

    def learned(self, known: Facts) -> None:
        """The bundle was read."""

    def warned(self, message: str) -> None:
        """Something was adjusted."""

    def made(self, pid: int, begun: int, pidfd: int, sock: socket.socket, pipes: dict[int, int]) -> None:
        """Init exists and waits."""

    def furnished(self, overlay_fd: int) -> None:
        """Nothing is missing any more for it to go on; -1: it makes its root itself."""

    def failed(self, step: str, path: str, message: str, number: int, code: int) -> None:
        """It could not be done."""

    def starter_ended(self) -> None:
        """The starter is gone; comes last."""


class Starter:
    """The starter, seen from the monitor. Raises OSError when it cannot be forked."""

    def __init__(self, poller: Poller, owner: Owner, path: str, oom_score: int) -> None:
        self._poller = poller
        self._owner = owner
        self._pid, self._pidfd, self._socket = make(0, None, lambda report: run(path, oom_score, report))
        self._socket.setblocking(False)
        self.gone = False
        poller.watch(self._socket.fileno(), READ, self._said)
        poller.watch(self._pidfd, READ, self._ended)

    def kill(self) -> None:
        """Nobody wants it any more."""
        if not self.gone:
            syscalls.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _said(self, events: int) -> None:
        while not self.gone:
            try:
                received = handshake.receive(self._socket)
            except OSError:  # nothing more now; its end is told by the pidfd, as init has a copy of the socket
                return
            if received is None:
                self._poller.forget(self._socket.fileno())
                return
            self._take(*received)

    def _take(self, message: list[Any], fds: list[int]) -> None:
        kind = message[0]
        if kind == FACTS:
            self._owner.learned(message[1])
        elif kind == MADE:
            pipes = dict(zip(message[3], fds[2:], strict=True))
            self._owner.made(message[1], message[2], fds[0], socket.socket(fileno=fds[1]), pipes)
        elif kind == OVERLAY:
            self._owner.furnished(fds[0] if fds else -1)
        elif kind == handshake.WARNED:
            self._owner.warned(message[1])
        elif kind == handshake.FAILED:
            self._owner.failed(*message[1:])

    def _ended(self, events: int) -> None:
        if self.gone or os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG) is None:
            return
        self._said(0)
        self.gone = True
        self._poller.forget(self._pidfd)
        self._poller.forget(self._socket.fileno())
        os.close(self._pidfd)
        self._socket.close()
        self._owner.starter_ended()
