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
import struct
import traceback
from typing import NoReturn

from core.linux import mounts, process, syscalls
from core.runtime import protocol
from core.runtime.monitor import Monitor
from core.runtime.program import name_process

CRASH_NAME = "monitor.err"
_SIGCHLD = int(signal.SIGCHLD)
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE)


def main(fd: int) -> NoReturn:
    """Serve on the SOCK_SEQPACKET socket ``fd``, to the end of the connection."""
    warning = process.protect_self()
    syscalls.close_range(fd + 1)  # the daemon may itself have inherited something
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    for number in range(1, 65):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            syscalls.default_signal(number)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    oom_score = max(0, _oom_score())
    mounts.overlay_method()  # asked of the kernel once, for all monitors
    process.seal_imports()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        protocol.send(sock, protocol.Ready(os.getpid(), warning))
    except ConnectionError:
        os._exit(0)  # the daemon has given up its start, and has said why
    serve(sock, oom_score)


def _oom_score() -> int:
    """What containers get when nothing else was asked for: never the protection of a daemon."""
    with open("/proc/self/oom_score_adj", "rb") as file:
        return int(file.read())


def serve(sock: socket.socket, oom_score: int) -> NoReturn:
    """Fork a monitor for each request until the daemon is gone.

    Between two forks as little as possible is touched: every page that is written here after a fork leaves its old
    copy to that child alone, for as long as the container lives. So it is the child that reads the request.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # monitors are reaped by the kernel
    room = socket.CMSG_SPACE(struct.calcsize("i"))
    flags = int(socket.MSG_CMSG_CLOEXEC)
    while True:
        try:
            packet, ancillary, _, _ = sock.recvmsg(protocol.MAX_PACKET, room, flags)
        except ConnectionError:
            os._exit(0)
        if not packet:
            os._exit(0)
        fd = struct.unpack_from("i", ancillary[0][2])[0] if ancillary else -1
        try:
            pid = os.fork()
        except OSError as error:
            _refuse(sock, packet, error)
            pid = -1
        if pid == 0:
            sock.close()
            _monitor(packet, fd, oom_score)
        if fd >= 0:
            os.close(fd)


def _refuse(sock: socket.socket, packet: bytes, error: OSError) -> None:
    try:
        message = protocol.decode(packet)
    except protocol.ProtocolError:
        return
    if isinstance(message, protocol.SpawnMonitor):
        protocol.send(sock, protocol.Failed(message.seq, f"fork a monitor: {error.strerror}"))


def _monitor(packet: bytes, fd: int, oom_score: int) -> NoReturn:
    """The forked monitor, to its end. It holds nothing of the daemon's: no terminal, no pipe of its log."""
    path = ""
    syscalls.default_signal(_SIGCHLD)
    try:
        os.setsid()
        message = protocol.decode(packet)
        if not isinstance(message, protocol.SpawnMonitor) or fd < 0:
            os._exit(1)
        path = message.bundle
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.close(null)
        os.chdir("/")
        name_process("dockyard-mon")
        Monitor(path, socket.socket(fileno=fd), oom_score).run()
    except BaseException as error:  # noqa: BLE001 - a forked child must never return into its parent's code
        _crashed(path, error)
        os._exit(1)
    os._exit(0)


def _crashed(path: str, error: BaseException) -> None:
    """A mistake of ours: leave its traceback in the bundle, where a person can find it."""
    if not path:
        return
    try:
        with open(f"{path}/{CRASH_NAME}", "w", encoding="utf-8") as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        pass
