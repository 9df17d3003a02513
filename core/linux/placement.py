"""Where monitors and containers live in the cgroup tree; decided by the daemon before the zygote forks.

Without systemd: a folder ``/dockyard-<engine>`` in every hierarchy. With systemd as pid 1: a transient, delegated scope
``dockyard-<engine>.scope`` of its own, never below the daemon's service: a service with containers below it does
not start again once stopped (219/CGROUP), and a daemon that was started from an SSH session would take its
containers with it. In version 2 processes may only live in leaves: the zygote and the monitors are in ``monitors``.
"""

from __future__ import annotations

import os
import time

from core.errors import Unavailable
from core.linux import cgroups
from core.linux.cgroups import Hierarchy, Placement

_V2_CONTROLLERS = ("cpu", "memory", "pids", "cpuset", "io")
_SCOPE_SECONDS = 10.0


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
    placement = Placement(found.version, _parents(found, f"dockyard-{engine}"))
    _make_parents(placement)
    return placement


def _parents(found: Hierarchy, name: str) -> dict[str, str]:
    parents = {controller: os.path.join(mount, name) for controller, mount in found.mounts.items()}
    if found.unified:
        parents["unified"] = os.path.join(found.unified, name)
    return parents


def _make_parents(placement: Placement) -> None:
    for folder in placement.parents.values():
        os.makedirs(folder, 0o755, exist_ok=True)
    if placement.version == 2:
        os.makedirs(os.path.join(placement.parents["unified"], "monitors"), exist_ok=True)
        delegate(os.path.dirname(placement.parents["unified"]))
        delegate(placement.parents["unified"])


def delegate(folder: str) -> None:
    """Switch on, for the children of ``folder``, every controller that it has itself."""
    try:
        with open(os.path.join(folder, "cgroup.controllers"), encoding="ascii") as file:
            available = file.read().split()
    except FileNotFoundError:
        return
    for controller in _V2_CONTROLLERS:
        if controller in available:
            try:
                with open(os.path.join(folder, "cgroup.subtree_control"), "w", encoding="ascii") as file:
                    file.write(f"+{controller}")
            except OSError:
                # A controller that version 1 holds, or whose processes are not in leaves; detect() tells the cost.
                continue


def adopt_zygote(placement: Placement, pid: int) -> Placement:
    """Put the zygote where it belongs, before it forks. Returns the placement with its folders known."""
    if placement.scope:
        return _into_scope(placement, pid)
    if placement.version == 2:
        with open(
            os.path.join(placement.parents["unified"], "monitors", "cgroup.procs"), "w", encoding="ascii"
        ) as file:
            file.write(str(pid))
    return placement


def _into_scope(placement: Placement, pid: int) -> Placement:
    found = cgroups.detect()
    folder = _scope_folder(found, placement.scope)
    if not folder:
        _start_scope(placement.scope, pid)
        folder = _wait_for_scope(found, placement.scope)
    relative = os.path.relpath(folder, _systemd_root(found))
    placed = Placement(found.version, _parents(found, relative), placement.scope)
    if found.version == 1:
        for parent in placed.parents.values():
            os.makedirs(parent, exist_ok=True)
    if found.unified:
        monitors = os.path.join(placed.parents["unified"], "monitors")
        os.makedirs(monitors, exist_ok=True)
        with open(os.path.join(monitors, "cgroup.procs"), "w", encoding="ascii") as file:
            file.write(str(pid))
        delegate(placed.parents["unified"])
    return placed


def _systemd_root(found: Hierarchy) -> str:
    """Where systemd's own tree is mounted: the unified hierarchy, or on pure version 1 its named one."""
    return found.unified or "/sys/fs/cgroup/systemd"


def _scope_folder(found: Hierarchy, scope: str) -> str:
    folder = os.path.join(_systemd_root(found), "system.slice", scope)
    return folder if os.path.isdir(folder) else ""


def _wait_for_scope(found: Hierarchy, scope: str) -> str:
    deadline = time.monotonic() + _SCOPE_SECONDS
    while not (folder := _scope_folder(found, scope)):
        if time.monotonic() > deadline:
            raise Unavailable(f"systemd did not make {scope} within {_SCOPE_SECONDS:.0f} s")
        time.sleep(0.01)
    return folder


def _start_scope(scope: str, pid: int) -> None:
    """StartTransientUnit with Delegate=yes (org.freedesktop.systemd1(5)); returns when the job was taken."""
    from jeepney import DBusAddress, DBusErrorResponse, new_method_call
    from jeepney.io.blocking import open_dbus_connection

    manager = DBusAddress("/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager")
    properties = [
        ("Description", ("s", "Containers of Dockyard")),
        ("Delegate", ("b", True)),
        ("PIDs", ("au", [pid])),
        ("CollectMode", ("s", "inactive-or-failed")),
    ]
    call = new_method_call(manager, "StartTransientUnit", "ssa(sv)a(sa(sv))", (scope, "replace", properties, []))
    try:
        with open_dbus_connection(bus="SYSTEM") as connection:
            connection.send_and_get_reply(call, timeout=_SCOPE_SECONDS)
    except (DBusErrorResponse, OSError, TimeoutError) as error:
        raise Unavailable(f"systemd did not make {scope}: {error}", hint="is dbus running?") from error


def release(placement: Placement, seconds: float = 2.0) -> None:
    """Remove the engine's own folders once nothing is in them; a monitor that is just leaving is waited for."""
    deadline = time.monotonic() + seconds
    for parent in set(placement.parents.values()):
        for folder in (os.path.join(parent, "monitors"), parent):
            while not _try_rmdir(folder) and time.monotonic() < deadline:
                time.sleep(0.01)


def _try_rmdir(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
