"""A container without an engine: all steps of core.linux in a forked child, for tests and for timing.

``Sandbox(folder, rootfs)`` has a spec to change; ``run(program)`` starts it and returns exit code and output.
``python -m tests.linux.sandbox`` times each step of ``/bin/true`` in a busybox root.
"""

from __future__ import annotations

import io
import json
import os
import socket
import statistics
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from core import oci
from core.errors import StartFailed
from core.linux import console, devices, mounts, netlink, privileges, rootfs, seccomp, syscalls
from core.linux.mounts import RootfsMount
from tests import images

DEFAULT_CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
]  # fmt: skip
MASKED = [
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
]  # fmt: skip
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

NAMESPACES = (
    syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWCGROUP
)  # fmt: skip


def default_mounts() -> list[oci.Mount]:
    """Docker's default mounts."""
    safe = ["nosuid", "noexec", "nodev"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    dev = ["nosuid", "strictatime", "mode=755", "size=65536k"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": safe},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": dev},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": pts},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*safe, "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*safe, "ro"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": safe},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*safe, "mode=1777", "size=65536k"]},
    ]


def capability_sets(names: list[str]) -> oci.Capabilities:
    """``names`` in the sets that Docker fills."""
    return {"bounding": names, "effective": names, "permitted": names}


class Result(NamedTuple):
    """``code`` as the shell counts (128 + signal), all that was written, and ``error`` when it did not start."""

    code: int
    output: str
    error: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()


class Sandbox:
    """One container: a lower folder, upper and work, and a spec that a test may change before ``run``."""

    def __init__(self, folder: Path, lower: Path) -> None:
        for name in ("upper", "work", "root"):
            (folder / name).mkdir()
        self.folder = folder
        self.pieces: list[RootfsMount] = [
            {"target": "/", "lower": [str(lower)], "upper": f"{folder}/upper", "work": f"{folder}/work"}
        ]
        self.scratch_size = 0
        self.seccomp: bytes | None = None
        self.terminal = False
        self.inside: Callable[[], None] | None = None  # called in the child right after pivot_root
        self.before: Callable[[], None] | None = None  # called in the child before its first mount
        self.meanwhile: Callable[[], Any] | None = None  # called in the parent while it runs; its result is ``noted``
        self.noted: Any = None
        self.spec: oci.Spec = {
            "ociVersion": "1.2.0",
            "process": {
                "user": {"uid": 0, "gid": 0, "additionalGids": []},
                "args": [],
                "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "cwd": "/",
                "capabilities": capability_sets(DEFAULT_CAPABILITIES),
            },
            "root": {"path": f"{folder}/root", "readonly": False},
            "hostname": "sandbox",
            "mounts": default_mounts(),
            "linux": {"namespaces": [], "maskedPaths": MASKED, "readonlyPaths": READONLY},
        }

    def run(self, *args: str, timings: list[tuple[str, int]] | None = None) -> Result:
        """Start ``args`` and wait for its end. A start that fails gives ``error`` with step, path and message."""
        if args:
            self.spec["process"]["args"] = list(args)
        if self.seccomp is None:
            self.seccomp = default_filter()
        overlay = None
        if mounts.overlay_method() == "fsopen" and not self.pieces[0].get("ephemeral"):
            overlay = mounts.overlay_detached(self.pieces[0])
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        say_read, say_write = os.pipe2(os.O_CLOEXEC)
        theirs, self._ours = socket.socketpair()
        pid, pidfd = syscalls.clone3(NAMESPACES)
        if pid == 0:
            self._child(overlay, out_write, say_write, timings is not None)
        for fd in (out_write, say_write, pidfd, *([] if overlay is None else [overlay])):
            os.close(fd)
        if self.meanwhile is not None:
            self.noted = self.meanwhile()
        self._ours.close()
        said = _drain(say_read)
        output = _drain(out_read) + _drain_master(theirs)
        _, status = os.waitpid(pid, 0)
        lines = [json.loads(line) for line in said.splitlines()]
        if timings is not None:
            timings += [(line["step"], line["ns"]) for line in lines if "ns" in line]
        error = next((line for line in lines if "message" in line), None)
        warnings = tuple(line["warning"] for line in lines if "warning" in line)
        return Result(_code(status), output.decode(errors="replace"), error, warnings)

    def _child(self, overlay: int | None, out: int, say: int, timed: bool) -> None:
        try:
            self._enter(overlay, out, say, timed)
        except StartFailed as error:
            cause = error.__cause__
            code = cause.errno if isinstance(cause, OSError) else 0
            _say(say, step=error.step, path=error.path, message=str(error), errno=code)
        except BaseException:  # noqa: BLE001 - whatever it is, the parent must be told before the child leaves
            _say(say, step="", path="", message=traceback.format_exc(), errno=0)
        os._exit(127)

    def _enter(self, overlay: int | None, out: int, say: int, timed: bool) -> None:
        clock = [time.perf_counter_ns()]

        def lap(step: str) -> None:
            if timed:
                now = time.perf_counter_ns()
                _say(say, step=step, ns=now - clock[0])
                clock[0] = time.perf_counter_ns()

        spec = self.spec
        if self.before is not None:
            self.before()
        sources = rootfs.open_sources(spec["mounts"])
        rootfs.make_private()
        lap("private")
        root_fd = rootfs.mount_root(self.pieces, overlay, spec["root"]["path"], self.scratch_size)
        lap("root")
        warnings = rootfs.mount_all(spec["mounts"], root_fd, sources)
        lap("mounts")
        devices.make_devices(spec, root_fd)
        lap("devices")
        rootfs.pivot(root_fd)
        lap("pivot")
        if self.inside is not None:
            self.inside()
        slave = self._console() if self.terminal else -1
        rootfs.write_sysctls(spec["linux"].get("sysctl", {}))
        rootfs.mask(spec["linux"].get("maskedPaths", []))
        lap("mask")
        rootfs.readonly(spec["linux"].get("readonlyPaths", []))
        lap("readonly")
        if spec["root"].get("readonly"):
            rootfs.readonly_root()
        rootfs.set_propagation(spec["linux"].get("rootfsPropagation", ""))
        syscalls.sethostname(spec.get("hostname", ""))
        netlink.loopback_up()
        lap("network")
        rootfs.enter_cwd(spec["process"]["cwd"], create=True)
        warnings += privileges.apply_rlimits(spec["process"].get("rlimits", []))
        self._streams(out, slave)
        syscalls.close_range(3, flags=syscalls.CLOSE_RANGE_CLOEXEC)
        warnings += privileges.become(spec["process"], self.seccomp or b"")
        lap("become")
        for warning in warnings:
            _say(say, warning=warning)
        environment = dict(pair.split("=", 1) for pair in spec["process"]["env"])
        args = spec["process"]["args"]
        os.execvpe(args[0], args, environment)

    def _console(self) -> int:
        """The slave; the master goes to the parent."""
        master, slave = console.open_console(24, 80)
        console.bind_console(slave)
        socket.send_fds(self._ours, [b"m"], [master])
        os.close(master)
        return slave

    def _streams(self, out: int, slave: int) -> None:
        os.setsid()
        if slave >= 0:
            console.take_terminal(slave)
            return
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        for source, number in ((null, 0), (out, 1), (out, 2)):
            os.dup2(source, number)


def default_filter(capabilities: list[str] | None = None) -> bytes:
    """The default profile, compiled for this machine."""
    profile = seccomp.default_profile(DEFAULT_CAPABILITIES if capabilities is None else capabilities)
    return seccomp.compile_filter(profile, os.uname().machine)


def unpack_busybox(folder: Path) -> Path:
    """A busybox root file system in ``folder``."""
    with tarfile.open(fileobj=io.BytesIO(images.busybox_rootfs())) as tar:
        tar.extractall(folder, filter="fully_trusted")
    return folder


def _say(fd: int, **fields: Any) -> None:
    os.write(fd, json.dumps(fields).encode() + b"\n")


def _drain(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


def _drain_master(sock: socket.socket) -> bytes:
    """Everything that comes from a terminal whose master was sent; its end is EIO."""
    with sock:
        _, fds, _, _ = socket.recv_fds(sock, 1, 1)
    if not fds:
        return b""
    data = b""
    try:
        while True:
            data += os.read(fds[0], 4096)
    except OSError:
        return data
    finally:
        os.close(fds[0])


def _code(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def main(count: int) -> None:
    """Print the median of each step in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="lx", dir="/tmp") as name:
        lower = unpack_busybox(Path(name) / "lower")
        steps: dict[str, list[float]] = {}
        for index in range(count):
            folder = Path(name) / str(index)
            folder.mkdir()
            sandbox = Sandbox(folder, lower)
            timings: list[tuple[str, int]] = []
            sandbox.seccomp = default_filter()
            begun = time.perf_counter_ns()
            result = sandbox.run("/bin/true", timings=timings)
            assert result.code == 0, result
            for step, ns in [*timings, ("in all, with clone3 and wait", time.perf_counter_ns() - begun)]:
                steps.setdefault(step, []).append(ns / 1e6)
        for step, values in steps.items():
            print(f"{step:30} {statistics.median(values):7.3f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
