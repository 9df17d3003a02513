"""Pid 1 of a container on its way from clone3 to execve: the numbered steps of :class:`~protocol.Step`.

Before ``Start`` it enters its cgroup and its namespaces and waits; the daemon meanwhile attaches clients and network.
Everything it needs of the host was read by the monitor before: after ``pivot`` the host is gone, and what is found
under any path belongs to the container.
"""

from __future__ import annotations

import os
from typing import NamedTuple, NoReturn

from core import oci
from core.errors import StartFailed
from core.linux import cgroups, devices, netlink, privileges, rootfs, syscalls
from core.linux.mounts import RootfsMount
from core.runtime import reaper
from core.runtime.handshake import Report
from core.runtime.program import Program, connect, default_signals, enter, execute, name_process, open_terminal

#: The namespaces that clone3 makes. A cgroup namespace is made after its cgroup was entered: that becomes its root.
CLONE_FLAGS = {
    "mount": syscalls.CLONE_NEWNS,
    "uts": syscalls.CLONE_NEWUTS,
    "ipc": syscalls.CLONE_NEWIPC,
    "pid": syscalls.CLONE_NEWPID,
    "network": syscalls.CLONE_NEWNET,
}


class Plan(NamedTuple):
    """All that init needs. ``joined`` are (fd of a namespace, its clone flag)."""

    spec: oci.Spec
    program: Program
    pieces: list[RootfsMount]
    scratch_size: int
    joined: list[tuple[int, int]]
    cgroup: cgroups.Cgroup
    reaper: bool
    oom_score: int


def run(plan: Plan, report: Report) -> NoReturn:
    """All steps; raises StartFailed."""
    namespaces = {entry["type"]: entry.get("path", "") for entry in plan.spec["linux"].get("namespaces", [])}
    default_signals()
    os.umask(0o022)
    if plan.reaper:
        name_process("dockyard-init")
    _enter_cgroup(plan, namespaces)
    _name(plan, namespaces)
    overlay_fd = report.wait_for_start()
    report.warn(privileges.set_oom_score(plan.oom_score))
    report.warn(_build_root(plan, overlay_fd, own_cgroup="cgroup" in namespaces))
    slave = _furnish(plan, report)
    program = enter(plan.program, report, create_cwd=True)
    if plan.spec["root"].get("readonly"):
        rootfs.readonly_root()
    if plan.reaper:
        reaper.run(program, slave, report)
    connect(program.stdio, slave, program.process["user"]["uid"])
    execute(program, report)


def _enter_cgroup(plan: Plan, namespaces: dict[str, str]) -> None:
    try:
        plan.cgroup.enter_self()
        if namespaces.get("cgroup", "-") == "":
            syscalls.unshare(syscalls.CLONE_NEWCGROUP)
    except OSError as error:
        raise StartFailed(f"enter the cgroup: {error.strerror}", step="cgroup", path=str(error.filename)) from error


def _name(plan: Plan, namespaces: dict[str, str]) -> None:
    """Join namespaces, bring up a new network's loopback, give a new uts namespace its names."""
    step = "namespaces"
    try:
        for fd, flag in plan.joined:
            syscalls.setns(fd, flag)
        step = "network"
        if namespaces.get("network", "-") == "":
            netlink.loopback_up()
        step = "hostname"
        if namespaces.get("uts", "-") == "":
            syscalls.sethostname(plan.spec.get("hostname", ""))
            syscalls.setdomainname(plan.spec.get("domainname", ""))
    except OSError as error:
        raise StartFailed(f"{error.filename or step}: {error.strerror}", step=step) from error


def _build_root(plan: Plan, overlay_fd: int, *, own_cgroup: bool) -> list[str]:
    """Everything up to pivot_root; returns warnings."""
    spec = plan.spec
    sources = rootfs.open_sources(spec["mounts"])
    rootfs.make_private()
    overlay = overlay_fd if overlay_fd >= 0 else None  # None: init mounts it itself
    root_fd = rootfs.mount_root(plan.pieces, overlay, spec["root"]["path"], plan.scratch_size)
    warnings = rootfs.mount_all(spec["mounts"], root_fd, sources, cgroup_namespace=own_cgroup)
    devices.make_devices(spec, root_fd)
    rootfs.pivot(root_fd)
    return warnings


def _furnish(plan: Plan, report: Report) -> int:
    """What is done inside the new root; the terminal's slave, or -1."""
    linux = plan.spec["linux"]
    slave = open_terminal(plan.program.stdio, report, bind=True)
    rootfs.write_sysctls(linux.get("sysctl", {}))
    rootfs.mask(linux.get("maskedPaths", []))
    rootfs.readonly(linux.get("readonlyPaths", []))
    rootfs.set_propagation(linux.get("rootfsPropagation", ""))
    return slave
