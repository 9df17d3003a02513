"""Control groups. The vocabulary is that of version 2; version 1 and hybrid systems are a translation of it.

``plan`` is pure: OCI resources in, a list of :class:`Write` out (``memory.max`` = ``67108864``). On a version 1 system
:mod:`core.linux.cgroups_v1` turns those into writes for its controllers. :class:`Cgroup` is one container's group in
all hierarchies: made, entered, watched, frozen, killed and removed as one.

Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ of the kernel; runtime-spec config-linux.md; the
conversions are those of runc (libcontainer/cgroups).
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from typing import Any, NamedTuple

from core import oci
from core.errors import Exhausted, Forbidden, KernelError
from core.linux import bpf, cgroups_v1
from core.linux.cgroups_v1 import Write
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

    def container_path(self, container_id: str) -> str:
        """``linux.cgroupsPath`` of a container: its folder below the mount point."""
        return f"/{os.path.basename(next(iter(self.parents.values()), 'dockyard'))}/{container_id}"

    def enter_monitors(self) -> None:
        """Move the calling process to where monitors live. Version 1 has no such place: they stay where they are."""
        if self.version == 2:
            _write(os.path.join(self.parents["unified"], "monitors", "cgroup.procs"), "0")

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Placement:
        """The placement that ``to_json`` wrote."""
        return cls(document["version"], document["parents"], document["scope"])


def detect(mountinfo: str = "") -> Hierarchy:
    """What this machine has, from /proc/self/mountinfo (or its text)."""
    mounts: dict[str, str] = {}
    unified = ""
    for line in (mountinfo or _read("/proc/self/mountinfo")).splitlines():
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
    available = _read(os.path.join(unified, "cgroup.controllers")).split() if unified else []
    # The freezer is part of every version 2 group, and devices are a BPF program.
    return Hierarchy(2, {}, unified, [n for n in CONTROLLERS if n in (*available, "freezer", "devices")])


def plan(resources: oci.Resources) -> list[Write]:
    """OCI resources as writes to version 2 files; devices are not among them (they are a program)."""
    memory, cpu = resources.get("memory", {}), resources.get("cpu", {})
    writes = _memory(memory)
    shares = cpu.get("shares", 0)
    if shares:
        writes.append(Write("cpu.weight", str(cgroups_v1.weight_from_shares(shares)), "--cpu-shares"))
    quota, period = cpu.get("quota", 0), cpu.get("period", 0)
    if quota or period:
        writes.append(Write("cpu.max", f"{quota if quota > 0 else 'max'} {period or 100_000}", "--cpus"))
    for key in ("cpus", "mems"):
        value = str(cpu.get(key, ""))
        if value:
            writes.append(Write(f"cpuset.{key}", value, f"--cpuset-{key}"))
    pids = resources.get("pids", {"limit": 0})["limit"]
    if pids:
        writes.append(Write("pids.max", str(pids) if pids > 0 else "max", "--pids-limit"))
    weight = resources.get("blockIO", {}).get("weight", 0)
    if weight:
        writes.append(Write("io.weight", str(cgroups_v1.io_weight(weight)), "--blkio-weight", optional=True))
    writes += [Write(file, value, file) for file, value in resources.get("unified", {}).items()]
    return writes


def _memory(memory: oci.Memory) -> list[Write]:
    writes = []
    limit, swap, reservation = memory.get("limit", 0), memory.get("swap", 0), memory.get("reservation", 0)
    if limit:
        writes.append(Write("memory.max", str(limit) if limit > 0 else "max", "--memory"))
    if swap:
        # OCI counts memory and swap together, version 2 counts swap alone.
        value = "max" if swap < 0 else str(max(0, swap - max(limit, 0)))
        writes.append(Write("memory.swap.max", value, "--memory-swap", optional=True))
    if reservation:
        writes.append(Write("memory.low", str(reservation), "--memory-reservation"))
    return writes


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


class Cgroup:
    """One container's group in every hierarchy. ``folders`` maps controllers (or ``unified``) to folders."""

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
        for name, folder in self.folders.items():
            if name != "unified":
                _write(os.path.join(folder, "tasks"), "0")

    def attach(self, pid: int) -> None:
        """Move another process in."""
        for folder in self.folders.values():
            _write(os.path.join(folder, "cgroup.procs"), str(pid))

    # --- what runs in it ---------------------------------------------------------------------------

    def pids(self) -> list[int]:
        """Every process in the group and below it, as this pid namespace numbers them."""
        found: set[int] = set()
        for folder, _, _ in os.walk(self._any("pids", "freezer", "unified")):
            found.update(int(pid) for pid in _read(os.path.join(folder, "cgroup.procs")).split())
        return sorted(found)

    def kill_all(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to every process. SIGKILL misses none, not even children of a process that forks meanwhile.

        A frozen version 1 group keeps a SIGKILL pending, so it is thawed.
        """
        if number != signal.SIGKILL:
            self._signal(number)
            return
        killer = os.path.join(self.folders.get("unified", ""), "cgroup.kill")
        if "unified" in self.folders and os.path.exists(killer):
            _write(killer, "1")
            self.thaw()
            return
        self._try_freeze()
        self._signal(number)
        self.thaw()

    def _signal(self, number: int) -> None:
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def _try_freeze(self) -> None:
        try:
            self.freeze()
        except (OSError, TimeoutError, KeyError):
            # Without a freezer a process may fork past the loop once; pid 1's end takes its pid namespace with it.
            return

    def freeze(self) -> None:
        """Stop every process, and return when all are. TimeoutError when one does not, KeyError without a freezer."""
        if self.version == 1:
            self._freeze_v1()
            return
        folder = self.folders["unified"]
        fd = os.open(os.path.join(folder, "cgroup.events"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            _write(os.path.join(folder, "cgroup.freeze"), "1")
            self._wait_event(fd, "frozen 1", _FREEZE_SECONDS)
        finally:
            os.close(fd)

    def _freeze_v1(self) -> None:
        file = os.path.join(self.folders["freezer"], "freezer.state")
        deadline = time.monotonic() + _FREEZE_SECONDS
        # FREEZING stays when a task forked meanwhile; writing again takes it along (freezer-subsystem.txt).
        while True:
            _write(file, "FROZEN")
            if _read(file).strip() == "FROZEN":
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{file} stays {_read(file).strip()}")

    def thaw(self) -> None:
        """Let everything go on; nothing happens to a group that is not frozen."""
        file, value = ("freezer.state", "THAWED") if self.version == 1 else ("cgroup.freeze", "0")
        folder = self.folders.get("freezer" if self.version == 1 else "unified", "")
        path = os.path.join(folder, file)
        if folder and os.path.exists(path):
            _write(path, value)

    def is_frozen(self) -> bool:
        """Whether every process is stopped."""
        if self.version == 1:
            return _read(os.path.join(self.folders.get("freezer", ""), "freezer.state")).strip() == "FROZEN"
        return "frozen 1" in _read(os.path.join(self.folders["unified"], "cgroup.events"))

    @staticmethod
    def _wait_event(fd: int, wanted: str, seconds: float) -> None:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        deadline = time.monotonic() + seconds
        while wanted not in os.pread(fd, 4096, 0).decode():
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TimeoutError(f"the group did not become '{wanted}' within {seconds:.0f} s")

    # --- memory ------------------------------------------------------------------------------------

    def oom_kills(self) -> int:
        """How many processes the kernel killed for memory. (memory.failcnt reads 0 after a kill.)"""
        if self.version == 1:
            return _value(_read(os.path.join(self.folders.get("memory", ""), "memory.oom_control")), "oom_kill")
        return _value(_read(os.path.join(self.folders["unified"], "memory.events")), "oom_kill")

    def oom_watch(self) -> int:
        """A file descriptor that becomes readable at an out-of-memory kill; the caller closes it, -1 without one."""
        try:
            if self.version == 1:
                return cgroups_v1.oom_eventfd(self.folders["memory"])
            watch = Inotify()
            watch.add(os.path.join(self.folders["unified"], "memory.events"), IN_MODIFY)
            return watch.fd
        except (OSError, KeyError):
            return -1

    # --- figures -----------------------------------------------------------------------------------

    def usage(self) -> Usage:
        """What the group uses now."""
        if self.version == 1:
            return Usage(*cgroups_v1.usage(self.folders))
        folder = self.folders["unified"]

        def number(name: str) -> int:
            text = _read(os.path.join(folder, name)).strip()
            return int(text) if text.isdecimal() else 0

        cpu = _read(os.path.join(folder, "cpu.stat"))
        stat = _read(os.path.join(folder, "memory.stat"))
        return Usage(
            number("memory.current"),
            number("memory.max"),
            _value(stat, "inactive_file"),
            _value(cpu, "usage_usec") * 1000,
            _value(cpu, "user_usec") * 1000,
            _value(cpu, "system_usec") * 1000,
            number("pids.current"),
            number("pids.max"),
        )

    # --- limits ------------------------------------------------------------------------------------

    def apply(self, resources: oci.Resources) -> list[str]:
        """Write all limits. Returns what was adjusted or left out; raises a typed error for a limit that is refused."""
        warnings = []
        writes = plan(resources)
        if self.version == 1:
            cgroups_v1.inherit_cpuset(self.folders)
            writes = cgroups_v1.translate(writes)
        for write in writes:
            problem = self._apply_one(write)
            if problem:
                warnings.append(problem)
        rules = resources.get("devices")
        if rules is not None:
            warnings += self._apply_devices(rules)
        return warnings

    def _apply_one(self, write: Write) -> str:
        controller = write.file.partition(".")[0]
        folder = self.folders.get("unified" if self.version == 2 else controller)
        if folder is None:
            return f"{write.flag} has no effect: the {controller} controller is not available"
        path = os.path.join(folder, write.file)
        try:
            _write(path, write.value)
        except FileNotFoundError:
            return f"{write.flag} has no effect: this kernel has no {write.file}"
        except OSError as error:
            if write.optional:
                return f"{write.flag} has no effect: {path}: {os.strerror(error.errno or 0)}"
            raise _refused(write, path, error) from error
        return ""

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

    def remove(self) -> None:
        """Remove the group and what the container made below it. Its processes have ended, or are about to.

        A group that stays busy for :data:`_REMOVE_SECONDS` is left; the next sweep finds it.
        """
        if self._clone_fd is not None:
            os.close(self._clone_fd)
            self._clone_fd = None
        for folder in self.folders.values():
            _remove_tree(folder)

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
        for folder in folders.values():
            _make(folder)
        return group, group.apply(resources)
    except BaseException:
        group.remove()
        raise


def reopen(placement: Placement, container_id: str) -> Cgroup:
    """The group of a container that exists already (as far as it does)."""
    folders = folders_of(placement, container_id, cpuset=True)
    return Cgroup(placement.version, {name: path for name, path in folders.items() if os.path.isdir(path)})


def _make(folder: str) -> None:
    try:
        os.mkdir(folder, 0o755)
    except FileExistsError:
        return
    except FileNotFoundError:
        # Somebody removed the engine's own folder while nothing ran in it.
        os.makedirs(folder, 0o755, exist_ok=True)
    except PermissionError as error:
        raise Forbidden(f"cannot make the cgroup {folder}", hint="the engine needs root") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Exhausted(f"cannot make the cgroup {folder}: the kernel's limit of cgroups is reached") from error
        raise KernelError("mkdir", folder, error.errno or 0) from error


def _remove_tree(folder: str) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        deadline = time.monotonic() + _REMOVE_SECONDS
        while True:
            try:
                os.rmdir(parent)
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    break
                # A dying task leaves its group a moment after its parent saw its end; the kernel tells nobody on v1.
                select.select([], [], [], 0.001)
                continue
            break


def _refused(write: Write, path: str, error: OSError) -> KernelError:
    hint = f"the kernel refused {write.value!r} for {write.flag}"
    if error.errno == errno.EBUSY:
        hint = f"{write.flag} is below what the container uses already"
    return KernelError("write", path, error.errno or 0, hint=hint)


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return (file.read() or b"").decode()
    except OSError:
        return ""


def _value(text: str, key: str) -> int:
    """The number behind ``key`` in a flat-keyed file."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.isdecimal():
            return int(value)
    return 0
