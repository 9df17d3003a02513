"""What a monitor makes before its container's program can start: bundle, cgroup, init, log, overlay.

Each function raises :class:`~core.errors.StartFailed` that names the step. The order is the monitor's: init exists as
early as possible, so that daemon and init do their own first steps while log and overlay are made.
"""

from __future__ import annotations

import os
import socket
from typing import Any, NamedTuple

from core import oci
from core.errors import DockyardError, StartFailed
from core.linux import cgroups, mounts, syscalls
from core.runtime import init, protocol
from core.runtime.child import Pipes, make
from core.runtime.execs import read_filter
from core.runtime.init import CLONE_FLAGS, Plan
from core.runtime.logs import LogWriter, Warn
from core.runtime.poller import Poller
from core.runtime.program import Program, Stdio
from core.runtime.resolver import Resolver

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
            return protocol.from_json(file.read(_MAX_DOCUMENT).strip())
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
        if entry["type"] == "pid":
            continue  # only for the next child: see make_init
        if entry["type"] == "mount" or not flag:
            text = f"joining a {entry['type']} namespace is not supported"
            raise StartFailed(text, step="namespaces", path=path)
        try:
            joined.append((os.open(path, os.O_RDONLY | os.O_CLOEXEC), flag))
        except OSError as error:
            text = f"join the {entry['type']} namespace: {error.strerror}"
            raise StartFailed(text, step="namespaces", path=path) from error
    return joined


class PidNamespace:
    """The pid namespace that the spec joins is that of the children made in this block (pid_namespaces(7)).

    Only the children's: the monitor itself stays where it is, and goes back for what it makes later.
    """

    def __init__(self, spec: oci.Spec) -> None:
        entries = spec["linux"].get("namespaces", [])
        self._path = next((entry.get("path", "") for entry in entries if entry["type"] == "pid"), "")

    def __enter__(self) -> None:
        if self._path:
            _choose_pid_namespace(self._path)

    def __exit__(self, *exception: object) -> None:
        if self._path:
            _choose_pid_namespace("/proc/self/ns/pid")


def _choose_pid_namespace(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(fd, syscalls.CLONE_NEWPID)
        finally:
            os.close(fd)
    except OSError as error:
        text = f"join the pid namespace: {error.strerror}"
        raise StartFailed(text, step="namespaces", path=path) from error


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


def make_stdio(config: protocol.MonitorConfig) -> tuple[Stdio, Pipes | None]:
    """What the program is connected by: pipes, or the terminal that init opens."""
    if config["tty"]:
        rows, columns = (config["console_size"] or [0, 0])[:2]
        return Stdio(-1, -1, -1, True, rows, columns), None
    pipes = Pipes(stdin=config["open_stdin"], stdout=True, stderr=True)
    return pipes.child, pipes


def make_init(bundle: Bundle, group: cgroups.Cgroup, stdio: Stdio, oom_score: int) -> tuple[int, int, socket.socket]:
    """Init, which waits for its start: (pid, pidfd, our end of its handshake)."""
    plan = make_plan(bundle, group, stdio, oom_score)
    try:
        with PidNamespace(bundle.spec):
            return make(clone_flags(bundle.spec), group.clone_fd(), lambda report: init.run(plan, report))
    except OSError as error:
        raise StartFailed(f"make the namespaces: {error.strerror}", step="namespaces") from error
    finally:
        protocol.close_all([fd for fd, _ in plan.joined])


def make_resolver(poller: Poller, run_fd: int, pid: int) -> Resolver:
    """The resolver in the network namespace of init; init waits, and so is there."""
    path = f"/proc/{pid}/ns/net"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return Resolver(poller, run_fd, fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise StartFailed(f"open the container's resolver: {error.strerror}", step="network", path=path) from error


def open_log(config: protocol.MonitorConfig, warn: Warn) -> LogWriter | None:
    """The container's log, None when none is kept."""
    log = config["log"]
    if log is None:
        return None
    try:
        return LogWriter(log["folder"], log["max_size"], log["max_files"], warn)
    except OSError as error:
        text = f"open the container's log: {error.strerror}"
        raise StartFailed(text, step="log", path=log["folder"]) from error
