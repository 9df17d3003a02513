"""A network namespace that the tests made, or one that they look into."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from core.linux import syscalls

T = TypeVar("T")

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_FORWARDING = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")
_OWN = "/proc/thread-self/ns/net"


def _in_a_thread(work: Callable[[], T]) -> T:
    """The result of ``work``, done in a thread that ends with it: only that thread changes its namespace."""
    results: list[T] = []
    failures: list[BaseException] = []

    def target() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _up(name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", name.encode(), 0)
        _, flags = struct.unpack_from("16sh", fcntl.ioctl(control, _SIOCGIFFLAGS, request))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", name.encode(), flags | _IFF_UP))


def _make() -> int:
    syscalls.unshare(syscalls.CLONE_NEWNET)
    _up("lo")
    for name in _FORWARDING:
        # A new one has what the host has (ip-sysctl.rst, devconf_inherit_init_net), and dockerd's policy hangs on it.
        if os.path.exists(name):
            Path(name).write_text("0")
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


class NetNs:
    """A network namespace, held by the descriptor ``fd`` of this process: it ends with ``close`` and its processes.

    ``/sys/class/net`` inside still shows the namespace that /sys was mounted from; ``/proc/sys/net`` is its own.
    """

    def __init__(self) -> None:
        """A new one, with ``lo`` up; it forwards nothing."""
        self.fd = _in_a_thread(_make)

    @classmethod
    def of(cls, pid: int) -> NetNs:
        """That of a process."""
        return cls._opened(f"/proc/{pid}/ns/net")

    @classmethod
    def own(cls) -> NetNs:
        """That of this process."""
        return cls._opened(_OWN)

    @classmethod
    def _opened(cls, path: str) -> NetNs:
        made = cls.__new__(cls)
        made.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return made

    def __enter__(self) -> NetNs:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; again is no harm."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @property
    def path(self) -> str:
        """A path that ``nsenter --net=`` and the like take, while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @property
    def name(self) -> str:
        """``net:[4026531840]``, as ``readlink /proc/self/ns/net`` says it inside."""
        return f"net:[{os.fstat(self.fd).st_ino}]"

    def inside(self, work: Callable[[], T]) -> T:
        """The result of ``work``, done in it; what it opens or starts (sockets, processes) stays in it."""

        def entered() -> T:
            syscalls.setns(self.fd, syscalls.CLONE_NEWNET)
            return work()

        return _in_a_thread(entered)

    def run(self, argv: Sequence[str | Path], *, check: bool = True, **options: Any) -> str:
        """Run a command in it to the end; its standard output. With ``check`` a failure is told with both outputs."""
        options = {"capture_output": True, "text": True, "timeout": 60, "stdin": subprocess.DEVNULL, **options}
        if "input" in options:
            del options["stdin"]
        done = self.inside(lambda: subprocess.run(argv, check=False, **options))
        if check and done.returncode:
            raise AssertionError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return str(done.stdout)

    def ip(self, *words: str) -> str:
        """``ip`` of iproute2 in it."""
        return self.run(["ip", *words])

    def nft(self, rules: str) -> None:
        """Load lines of nft(8), all or none."""
        self.run(["nft", "-f", "-"], input=rules)

    def sysctl(self, name: str, value: str | None = None) -> str:
        """Read ``net.…``, after setting it when ``value`` is given."""
        path = Path("/proc/sys", *name.split("."))

        def access() -> str:
            if value is not None:
                path.write_text(value)
            return path.read_text().strip()

        return self.inside(access)
