"""Control groups. The vocabulary is that of version 2; version 1 and hybrid systems are a translation of it.

:func:`core.linux.cgroup_limits.plan` is pure: OCI resources in, writes out (``memory.max`` = ``67108864``). On a
version 1 system :mod:`core.linux.cgroups_v1` turns those into writes for its controllers. :class:`Cgroup` is one
container's group in all hierarchies: made, entered, watched, frozen, killed and removed as one. On a hybrid system the
cgroup2 leg has no controllers that matter, but clone3 starts a process in it and ``cgroup.kill`` ends all of it.

Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ of the kernel; cgroups(7).
"""

from __future__ import annotations

import errno
import os
import signal
import time
from typing import Any, NamedTuple

from core import oci
from core.errors import Conflict, Exhausted, Forbidden, KernelError, Unavailable, Unsupported
from core.linux import bpf, cgroups_v1
from core.linux.cgroup_files import pause, read_file, remove_tree, value_of, wait_event, write_file
from core.linux.cgroup_limits import Write, plan
from core.linux.inotify import IN_MODIFY, Inotify

#: The controllers an engine uses, and what their lack costs.
CONTROLLERS = {
    "cpu": "--cpus and --cpu-shares have no effect",
    "memory": "--memory has no effect, and memory use is not shown",
    "pids": "--pids-limit has no effect",
    "devices": "containers may open every device they can make a node for",
    "freezer": "containers cannot be paused",
    "cpuset": "--cpuset-cpus has no effect",
    "io": "--blkio-weight has no effect, and block I/O is not shown",
}
#: Files that some kernels lack although the controller is there: version → (controller, files, name, cost).
_OPTIONAL_FILES = {
    1: (
        ("memory", ("memory.memsw.limit_in_bytes",), "swap accounting", "--memory-swap has no effect"),
        ("blkio", ("blkio.weight", "blkio.bfq.weight"), "blkio weight", "--blkio-weight has no effect"),
    ),
    2: (
        ("unified", ("memory.swap.max",), "swap accounting", "--memory-swap has no effect"),
        ("unified", ("io.weight", "io.bfq.weight"), "blkio weight", "--blkio-weight has no effect"),
    ),
}
#: Where the BFQ scheduler's own file takes the number as Docker gives it, 10…1000.
_INSTEAD = {"io.weight": "io.bfq.weight", "blkio.weight": "blkio.bfq.weight"}
_REMOVE_SECONDS = 5.0
_FREEZE_SECONDS = 10.0


class Hierarchy(NamedTuple):
    """What is mounted. ``mounts``: controller → mount point on version 1; ``unified``: the cgroup2 mount, or ""."""

    version: int
    mounts: dict[str, str]
    unified: str
    controllers: list[str]

    @property
    def missing(self) -> list[tuple[str, str]]:
        """(controller, what its lack costs)."""
        return [(name, cost) for name, cost in CONTROLLERS.items() if name not in self.controllers]


class Placement(NamedTuple):
    """Where an engine's containers live: ``parents`` maps a version 1 controller, or ``unified``, to a folder.

    ``scope`` is the systemd scope that owns those folders, "" without systemd. JSON-able.
    """

    version: int
    parents: dict[str, str]
    scope: str = ""

    def to_json(self) -> dict[str, Any]:
        """The placement as a JSON object."""
        return self._asdict()

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Placement:
        """The placement that ``to_json`` wrote."""
        return cls(document["version"], document["parents"], document["scope"])


def detect(mountinfo: str = "") -> Hierarchy:
    """What this machine has, from /proc/self/mountinfo (or its text)."""
    mounts: dict[str, str] = {}
    unified = ""
    for line in (mountinfo or read_file("/proc/self/mountinfo")).splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind:
            continue
        point = fields[4].encode().decode("unicode_escape") if "\\" in fields[4] else fields[4]
        if kind[0] == "cgroup2" and not unified:
            unified = point
        elif kind[0] == "cgroup":
            for option in kind[-1].split(","):
                if option in cgroups_v1.CONTROLLERS:
                    mounts.setdefault(option, point)
    if mounts:
        found = [cgroups_v1.V2_NAMES.get(name, name) for name in mounts]
        return Hierarchy(1, mounts, unified, [name for name in CONTROLLERS if name in found])
    available = read_file(os.path.join(unified, "cgroup.controllers")).split() if unified else []
    # The freezer is part of every version 2 group, and devices are a BPF program.
    return Hierarchy(2, {}, unified, [n for n in CONTROLLERS if n in (*available, "freezer", "devices")])


def lacks(placement: Placement) -> list[tuple[str, str]]:
    """(what this machine lacks, what that costs), for the engine's start message; ask when the folders are there."""
    found = detect()
    lines = found.missing
    for name, files, what, cost in _OPTIONAL_FILES[found.version]:
        folder = placement.parents.get(name, "")
        controllers = read_file(os.path.join(folder, "cgroup.controllers")).split() if found.version == 2 else [name]
        if folder and files[0].partition(".")[0] in controllers and not _first(folder, files):
            lines.append((what, cost))
    return lines


def _first(folder: str, files: tuple[str, ...]) -> str:
    return next((file for file in files if os.path.exists(os.path.join(folder, file))), "")


class Usage(NamedTuple):
    """Bytes, nanoseconds and counts; 0 where the controller is missing."""

    memory: int
    memory_limit: int
    memory_inactive_file: int
    cpu_ns: int
    cpu_user_ns: int
    cpu_system_ns: int
    pids: int
    pids_limit: int
    memory_peak: int = 0


class Cgroup:
    """One container's group in every hierarchy. ``folders`` maps controllers (or ``unified``) to folders.

    Controllers that are mounted together (``cpu,cpuacct``) have the same folder.
    """

    def __init__(self, version: int, folders: dict[str, str]) -> None:
        self.version = version
        self.folders = folders
        self._clone_fd: int | None = None

    # --- going in ----------------------------------------------------------------------------------

    def clone_fd(self) -> int | None:
        """The unified folder, for clone3's CLONE_INTO_CGROUP; None where there is no cgroup2."""
        if self._clone_fd is None and "unified" in self.folders:
            self._clone_fd = os.open(self.folders["unified"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._clone_fd

    def enter_self(self) -> None:
        """Move the calling, single-threaded process in: ``0`` into ``tasks``.

        Writing a pid to ``cgroup.procs`` instead costs 5 to 20 ms on version 1: it waits for an RCU grace period.
        """
        for folder in self._distinct(unified=False):
            write_file(os.path.join(folder, "tasks"), "0")

    def attach(self, pid: int) -> None:
        """Move another process in."""
        for folder in self._distinct():
            write_file(os.path.join(folder, "cgroup.procs"), str(pid))

    def _distinct(self, *, unified: bool = True) -> list[str]:
        return list(dict.fromkeys(path for name, path in self.folders.items() if unified or name != "unified"))

    # --- what runs in it ---------------------------------------------------------------------------

    def pids(self) -> list[int]:
        """Every process in the group and below it, as this pid namespace numbers them."""
        found: set[int] = set()
        for folder, _, _ in os.walk(self._any("pids", "freezer", "unified", *self.folders)):
            found.update(int(pid) for pid in read_file(os.path.join(folder, "cgroup.procs")).split())
        return sorted(found)

    def kill_all(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to every process. SIGKILL misses none, not even children of a process that forks meanwhile.

        A frozen version 1 group keeps a SIGKILL pending, so it is thawed. A group that got SIGKILL is used up: some
        kernels (seen: 6.1.192, 6.18) also kill whatever clone3 starts in it afterwards, because they compare its count
        of kills with that of the caller's group. :func:`create` makes it anew.
        """
        if number != signal.SIGKILL:
            self._signal(number)
            return
        if self._kill_at_once():
            self.thaw()
            return
        self._try_freeze()
        self._signal(number)
        self.thaw()

    def _kill_at_once(self) -> bool:
        """cgroup.kill (Linux 5.14) of version 2, or of a hybrid's cgroup2 leg."""
        if "unified" not in self.folders:
            return False
        try:
            write_file(os.path.join(self.folders["unified"], "cgroup.kill"), "1")
        except FileNotFoundError:
            # A group that is gone has nothing left to kill; an older kernel has no such file.
            return False
        return True

    def _signal(self, number: int) -> None:
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def _try_freeze(self) -> None:
        try:
            self.freeze()
        except (OSError, Unsupported, Unavailable):
            # Without a freezer a process may fork past the loop once; pid 1's end takes its pid namespace with it.
            return

    def freeze(self) -> None:
        """Stop every process, and return when all are.

        Raises Unavailable when one does not stop within :data:`_FREEZE_SECONDS` (it waits for a device or a network
        file system; then everything goes on), Unsupported without a freezer.
        """
        try:
            if self.version == 1:
                self._freeze_v1()
            else:
                self._freeze_v2()
        except TimeoutError as error:
            self.thaw()
            text = f"not all processes stopped within {_FREEZE_SECONDS:.0f} s"
            raise Unavailable(text, hint="one of them waits in the kernel, for a device or a network file") from error

    def _freeze_v2(self) -> None:
        folder = self.folders["unified"]
        fd = os.open(os.path.join(folder, "cgroup.events"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            write_file(os.path.join(folder, "cgroup.freeze"), "1")
            wait_event(fd, "frozen 1", _FREEZE_SECONDS)
        finally:
            os.close(fd)

    def _freeze_v1(self) -> None:
        if "freezer" not in self.folders:
            raise Unsupported("containers cannot be paused: this machine has no freezer controller")
        file = os.path.join(self.folders["freezer"], "freezer.state")
        deadline = time.monotonic() + _FREEZE_SECONDS
        # FREEZING stays when a task forked meanwhile; writing again takes it along (freezer-subsystem.txt).
        while True:
            write_file(file, "FROZEN")
            if read_file(file).strip() == "FROZEN":
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{file} stays {read_file(file).strip()}")
            pause()

    def thaw(self) -> None:
        """Let everything go on; nothing happens to a group that is not frozen."""
        file, value = ("freezer.state", "THAWED") if self.version == 1 else ("cgroup.freeze", "0")
        folder = self.folders.get("freezer" if self.version == 1 else "unified", "")
        path = os.path.join(folder, file)
        if folder and os.path.exists(path):
            write_file(path, value)

    def is_frozen(self) -> bool:
        """Whether every process is stopped."""
        if self.version == 1:
            return read_file(os.path.join(self.folders.get("freezer", ""), "freezer.state")).strip() == "FROZEN"
        return "frozen 1" in read_file(os.path.join(self.folders["unified"], "cgroup.events"))

    # --- memory ------------------------------------------------------------------------------------

    def oom_kills(self) -> int:
        """How many processes the kernel killed for memory. (memory.failcnt reads 0 after a kill.)"""
        if self.version == 1:
            return value_of(read_file(os.path.join(self.folders.get("memory", ""), "memory.oom_control")), "oom_kill")
        return value_of(read_file(os.path.join(self.folders["unified"], "memory.events")), "oom_kill")

    def oom_watch(self) -> int:
        """A file descriptor that becomes readable at an out-of-memory kill; the caller closes it, -1 without one."""
        try:
            if self.version == 1:
                return cgroups_v1.oom_eventfd(self.folders["memory"])
            watch = Inotify()
            watch.add(os.path.join(self.folders["unified"], "memory.events"), IN_MODIFY)
            fd: int = watch.fd
            return fd
        except (OSError, KeyError):
            return -1

    # --- figures -----------------------------------------------------------------------------------

    def usage(self) -> Usage:
        """What the group uses now."""
        if self.version == 1:
            return Usage(*cgroups_v1.usage(self.folders))
        folder = self.folders["unified"]

        def number(name: str) -> int:
            text = read_file(os.path.join(folder, name)).strip()
            return int(text) if text.isdecimal() else 0

        cpu = read_file(os.path.join(folder, "cpu.stat"))
        stat = read_file(os.path.join(folder, "memory.stat"))
        return Usage(
            number("memory.current"),
            number("memory.max"),
            value_of(stat, "inactive_file"),
            value_of(cpu, "usage_usec") * 1000,
            value_of(cpu, "user_usec") * 1000,
            value_of(cpu, "system_usec") * 1000,
            number("pids.current"),
            number("pids.max"),
            number("memory.peak"),
        )

    # --- limits ------------------------------------------------------------------------------------

    def apply(self, resources: oci.Resources) -> list[str]:
        """Write all limits of a new group. Returns what was left out.

        Raises InvalidArgument for limits that contradict each other, KernelError for one that the kernel refuses.
        """
        warnings = [problem for each in self._writes(resources) if (problem := self._apply_one(each))]
        rules = resources.get("devices")
        if rules is not None:
            warnings += self._apply_devices(rules)
        return warnings

    def change(self, resources: oci.Resources) -> list[str]:
        """As :meth:`apply`, of a group in use and without devices: all of the limits, or none when one is refused."""
        writes = self._writes(resources)
        before = [(path, read_file(path).strip()) for each in writes if (path := self._path(each))]
        try:
            return [problem for each in writes if (problem := self._apply_one(each))]
        except KernelError:
            # Backwards: version 1 has an order for memory and swap.
            for path, value in reversed(before):
                write_file(path, value)
            raise

    def _writes(self, resources: oci.Resources) -> list[Write]:
        writes = plan(resources)
        if self.version == 2:
            return writes
        cgroups_v1.inherit_cpuset(self.folders)
        return cgroups_v1.translate(writes, self.usage().memory_limit if resources.get("memory") else 0)

    def _path(self, write: Write) -> str:
        """Where it goes; "" where there is no such file."""
        folder = self.folders.get("unified" if self.version == 2 else write.file.partition(".")[0], "")
        path = os.path.join(folder, write.file)
        return path if folder and os.path.exists(path) else ""

    def _apply_one(self, write: Write) -> str:
        controller = write.file.partition(".")[0]
        folder = self.folders.get("unified" if self.version == 2 else controller)
        if folder is None:
            return f"{write.flag} has no effect: the {controller} controller is not available"
        path = os.path.join(folder, write.file)
        try:
            write_file(path, write.value)
        except FileNotFoundError:
            return self._without(write, controller, folder)
        except OSError as error:
            if write.optional:
                return f"{write.flag} has no effect: {path}: {os.strerror(error.errno or 0)}"
            raise _refused(write, path, error) from error
        return ""

    def _without(self, write: Write, controller: str, folder: str) -> str:
        """A file that is not there: another may do the same; else the warning that says why."""
        instead = os.path.join(folder, _INSTEAD.get(write.file, "-"))
        if os.path.exists(instead):
            write_file(instead, write.given or write.value)
            return ""
        offered = read_file(os.path.join(folder, "cgroup.controllers")).split() if self.version == 2 else [controller]
        if controller not in offered:
            return f"{write.flag} has no effect: the {controller} controller is not switched on for {folder}"
        return f"{write.flag} has no effect: this kernel has no {write.file}"

    def _apply_devices(self, rules: list[oci.DeviceRule]) -> list[str]:
        try:
            if self.version == 1:
                return cgroups_v1.apply_devices(self.folders.get("devices", ""), rules)
            fd = os.open(self.folders["unified"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                bpf.attach_device_filter(fd, rules)
            finally:
                os.close(fd)
        except OSError as error:
            raise KernelError(
                "set the container's devices", self._any("devices", "unified"), error.errno or 0
            ) from error
        return []

    # --- the end -----------------------------------------------------------------------------------

    def remove(self) -> list[str]:
        """Remove the group and what the container made below it. Its processes have ended, or are about to.

        Returns the folders that stayed: those where a process is still alive after :data:`_REMOVE_SECONDS`.
        """
        if self._clone_fd is not None:
            os.close(self._clone_fd)
            self._clone_fd = None
        deadline = time.monotonic() + _REMOVE_SECONDS
        return [folder for folder in self._distinct() if not remove_tree(folder, deadline)]

    def _any(self, *names: str) -> str:
        return next((self.folders[name] for name in names if name in self.folders), "")


def folders_of(placement: Placement, container_id: str, *, cpuset: bool = False) -> dict[str, str]:
    """Where a container's group lies. Version 1's cpuset is left alone unless it is asked for."""
    return {
        name: os.path.join(parent, container_id)
        for name, parent in placement.parents.items()
        if name != "cpuset" or cpuset
    }


def create(placement: Placement, container_id: str, resources: oci.Resources) -> tuple[Cgroup, list[str]]:
    """Make a container's group with its limits. Returns it and warnings; nothing is left behind on an error."""
    cpu = resources.get("cpu", {})
    folders = folders_of(placement, container_id, cpuset=bool(cpu.get("cpus") or cpu.get("mems")))
    group = Cgroup(placement.version, folders)
    try:
        for folder in dict.fromkeys(folders.values()):
            _make(folder)
        return group, group.apply(resources)
    except BaseException:
        group.remove()
        raise


def reopen(placement: Placement, container_id: str) -> Cgroup:
    """The group of a container that exists already (as far as it does)."""
    folders = folders_of(placement, container_id, cpuset=True)
    return Cgroup(placement.version, {name: path for name, path in folders.items() if os.path.isdir(path)})


def add_cpuset(placement: Placement, container_id: str) -> Cgroup:
    """The group of a running container, where its version 1 cpuset is made if it has none (nothing to do on 2)."""
    group = reopen(placement, container_id)
    parent = placement.parents.get("cpuset")
    if placement.version == 2 or parent is None or "cpuset" in group.folders:
        return group
    folder = os.path.join(parent, container_id)
    _make(folder)
    whole = Cgroup(placement.version, {**group.folders, "cpuset": folder})
    cgroups_v1.inherit_cpuset(whole.folders)
    inside: set[int] = set()
    # Again until none is new: a process may fork outside while its parent moves.
    while found := set(group.pids()) - inside:
        for pid in found:
            try:
                write_file(os.path.join(folder, "cgroup.procs"), str(pid))
            except ProcessLookupError:
                continue
        inside |= found
    return whole


def _make(folder: str) -> None:
    try:
        os.mkdir(folder, 0o755)
    except FileExistsError as error:
        # Left by an earlier run that was killed: its counters (OOM kills) must not become this one's.
        if not remove_tree(folder, time.monotonic() + _REMOVE_SECONDS):
            raise Conflict(f"processes of an earlier run are still in the cgroup {folder}") from error
        _make(folder)
    except FileNotFoundError:
        # Somebody removed the engine's own folder while nothing ran in it.
        os.makedirs(folder, 0o755, exist_ok=True)
    except PermissionError as error:
        raise Forbidden(f"cannot make the cgroup {folder}", hint="the engine needs root") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Exhausted(f"cannot make the cgroup {folder}: the kernel's limit of cgroups is reached") from error
        raise KernelError("mkdir", folder, error.errno or 0) from error


def _refused(write: Write, path: str, error: OSError) -> KernelError:
    hint = f"the kernel refused {write.value!r} for {write.flag}"
    if error.errno == errno.EBUSY:
        hint = f"{write.flag} is below what the container uses already"
    elif error.errno == errno.EINVAL and write.file == "memory.limit_in_bytes":
        hint = f"{write.value} is above the limit of memory and swap together: give --memory-swap as well"
    return KernelError("write", path, error.errno or 0, hint=hint)
