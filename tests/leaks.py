"""What a run left behind on the machine: processes, mounts, network, cgroups, folders.

``snapshot()`` before, ``leftovers(base, before)`` after: a list of sentences, empty when clean. ``base`` is
the folder that all of the run's engines live below. What other programs do on the machine meanwhile is not
counted: processes and mounts count when they point into ``base``, cgroups when they are new and nobody else's
process is in them. Engines of tests have network namespaces of their own: on the machine's own network nothing of
them may ever appear, and what they leave in theirs is told by ``tests.network.state``.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support import MARK

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
_NETNS = Path("/run/netns")
_INTERFACES = Path("/sys/class/net")
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))


class Snapshot(NamedTuple):
    """Names that exist; the mounts of this process's mount namespace are lines of mountinfo."""

    namespaces: frozenset[str]
    interfaces: frozenset[str]
    tables: frozenset[str]
    cgroups: frozenset[Path]
    mounts: frozenset[str]
    temporary: frozenset[Path]


def snapshot() -> Snapshot:
    return Snapshot(
        frozenset(_names(_NETNS)),
        frozenset(_names(_INTERFACES)),
        frozenset(_tables()),
        frozenset(_cgroups()),
        frozenset((_PROC / "self/mountinfo").read_text().splitlines()),
        frozenset(_temporary()),
    )


def _names(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []


def _tables() -> Iterator[str]:
    """nftables tables of engines in the machine's own network namespace: ``ip dockyard…``."""
    try:
        done = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return
    for line in done.stdout.splitlines():
        _, family, name = line.split()
        if name.startswith("dockyard"):
            yield f"{family} {name}"


def _temporary() -> Iterator[Path]:
    for place in _TEMPORARY:
        yield from place.glob("dockyard*")


def _cgroups() -> Iterator[Path]:
    """Folders named dockyard* in every hierarchy, at most two levels below its root."""
    for pattern in ("dockyard*", "*/dockyard*", "*/*/dockyard*"):
        yield from (path for path in _CGROUP.glob(pattern) if path.is_dir())


def _read(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it ended meanwhile, or is a kernel thread
        return ""


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def processes(base: Path) -> dict[int, str]:
    """Processes that belong to ``base`` (pid → command line), this one and its ancestors left out.

    The engine's zygote and monitors have an empty environment and "/" as their folder: what gives them away is a
    descriptor (the daemon's log, the container's log) or their parent.
    """
    spared = set(_ancestors(os.getpid()))
    own_mounts = _link(_PROC / "self/ns/mnt")
    every = {int(name) for name in os.listdir(_PROC) if name.isdigit()} - spared
    found = {pid for pid in every if _points_into(base, _PROC / str(pid), own_mounts)}
    parents = {pid: parent(pid) for pid in every}
    while grown := {pid for pid in every - found if parents[pid] in found}:
        found |= grown
    return {
        pid: _read(_PROC / str(pid) / "cmdline").strip() or _read(_PROC / str(pid) / "comm").strip() for pid in found
    }


def _points_into(base: Path, folder: Path, own_mounts: str) -> bool:
    path = str(base)
    if path in _read(folder / "cmdline") or f"{MARK}={path}" in _read(folder / "environ"):
        return True
    if any(path in _link(folder / link) for link in ("cwd", "exe", "root")):
        return True
    try:
        descriptors = os.listdir(folder / "fd")
    except OSError:  # it ended meanwhile
        return False
    if any(path in _link(folder / "fd" / name) for name in descriptors):
        return True
    # A container's process shows nothing of ours but its root, which lies in base.
    return _link(folder / "ns/mnt") not in ("", own_mounts) and path in _read(folder / "mountinfo")


def parent(pid: int) -> int:
    """The parent's pid, 0 when there is none or the process has ended."""
    stat = _read(_PROC / str(pid) / "stat")
    return int(stat.rpartition(")")[2].split()[1]) if stat else 0


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        pid = parent(pid)


def _foreign_processes(cgroup: Path, base: Path) -> bool:
    """Whether a process that is not of this run is in the cgroup or below it."""
    ours = processes(base)
    for folder in (cgroup, *cgroup.glob("**/")):
        pids = [int(word) for word in _read(folder / "cgroup.procs").split()]
        if any(pid not in ours for pid in pids):
            return True
    return False


def _foreign_engines(base: Path) -> set[str]:
    """Cgroup names of engines that run on this machine and are none of this run's (``core.engine``)."""
    names = {"dockyard-main"}
    for name in os.listdir(_PROC):
        words = _read(_PROC / name / "cmdline").split(" ") if name.isdigit() else []
        if "--root" in words[:-1] and (root := words[words.index("--root") + 1]) and not root.startswith(f"{base}/"):
            names.add(f"dockyard-{hashlib.sha256(os.path.realpath(root).encode()).hexdigest()[:8]}")
    return names


def _of_another_run(cgroup: str) -> bool:
    """Tests of the cgroups themselves name theirs by the pid of their run: ``dockyard-test1234``."""
    pid = re.search(r"\d+$", cgroup)
    return pid is not None and int(pid[0]) != os.getpid() and (_PROC / pid[0]).exists()


def leftovers(base: Path, before: Snapshot) -> list[str]:
    """What is there now and was not ``before``, a sentence each; ``base`` itself may exist but be empty."""
    now = snapshot()
    foreign = _foreign_engines(base)
    found = [f"process {pid}: {command}" for pid, command in processes(base).items()]
    new_mounts = sorted(now.mounts - before.mounts)
    found += [
        f"mount: {line}"
        for line in new_mounts
        if any(place in line for place in (str(base), str(_NETNS), "/run/dockyard"))
    ]
    found += [f"network namespace: {name}" for name in sorted(now.namespaces - before.namespaces)]
    found += [f"network interface: {name}" for name in sorted(now.interfaces - before.interfaces)]
    found += [f"table of nftables: {t}" for t in sorted(now.tables - before.tables) if t.split()[1] not in foreign]
    found += [
        f"cgroup: {path}"
        for path in sorted(now.cgroups - before.cgroups)
        if path.name not in foreign
        and not _of_another_run(path.name)
        and path.exists()
        and not _foreign_processes(path, base)
    ]
    found += [f"folder: {path}" for path in sorted(now.temporary - before.temporary)]
    if base.exists():
        found += [f"folder: {path}" for path in sorted(base.iterdir())]
    return found


def kill_leftovers(base: Path) -> None:
    """Kill the run's remaining processes so that one failure does not disturb the next run."""
    for pid in processes(base):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
