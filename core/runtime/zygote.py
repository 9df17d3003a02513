"""The fork server: a small process with one thread, from which every monitor is forked.

Started by the client with a socket, and put into its cgroup by it, it protects itself (``process.protect_self``), seals
its imports, freezes what it has loaded so that forks share it, and then only forks. When the daemon is gone it leaves;
its monitors live on.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import traceback
from typing import NoReturn

from core.linux import process
from core.runtime import protocol
from core.runtime.monitor import Monitor

CRASH_NAME = "monitor.err"
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE)


def main(fd: int) -> NoReturn:
    """Serve on the SOCK_SEQPACKET socket ``fd``, to the end of the connection."""
    warning = process.protect_self()
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    oom_score = max(0, _oom_score())
    process.seal_imports()
    gc.collect()
    gc.freeze()
    gc.disable()
    protocol.send(sock, protocol.Ready(os.getpid(), warning))
    serve(sock, oom_score)


def _oom_score() -> int:
    """What containers get when nothing else was asked for: never the protection of a daemon."""
    with open("/proc/self/oom_score_adj", "rb") as file:
        return int(file.read())


def serve(sock: socket.socket, oom_score: int) -> NoReturn:
    """Fork a monitor for each request until the daemon is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # monitors are reaped by the kernel
    while True:
        try:
            received = protocol.receive(sock)
        except (protocol.ProtocolError, ConnectionError):
            received = None
        if received is None:
            os._exit(0)
        message, fds = received
        if not isinstance(message, protocol.SpawnMonitor) or len(fds) != 1:
            protocol.close_all(fds)
            continue
        try:
            pid = os.fork()
        except OSError as error:
            protocol.close_all(fds)
            protocol.send(sock, protocol.Failed(message.seq, f"fork a monitor: {error.strerror}"))
            continue
        if pid == 0:
            sock.close()
            _monitor(message.bundle, fds[0], oom_score)
        protocol.close_all(fds)
        protocol.send(sock, protocol.Spawned(message.seq, pid))


def _monitor(path: str, fd: int, oom_score: int) -> NoReturn:
    """The forked monitor, to its end. It holds nothing of the daemon's: no terminal, no pipe of its log."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.close(null)
        os.chdir("/")
        _set_name("dockyard-mon")
        Monitor(path, socket.socket(fileno=fd), oom_score).run()
    except BaseException as error:  # noqa: BLE001 - a forked child must never return into its parent's code
        _crashed(path, error)
        os._exit(1)
    os._exit(0)


def _set_name(name: str) -> None:
    fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, name.encode())
    finally:
        os.close(fd)


def _crashed(path: str, error: BaseException) -> None:
    """A mistake of ours: leave its traceback in the bundle, where a person can find it."""
    try:
        with open(f"{path}/{CRASH_NAME}", "w", encoding="utf-8") as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        pass
