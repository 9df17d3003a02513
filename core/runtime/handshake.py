"""Between a monitor and the child it made, until the child's execve: one SOCK_SEQPACKET pair.

The child's end is close-on-exec, so its end of file means that the program runs, provided ``ready`` was said before;
without it the child died on the way. The parent's end of file tells a child that waits for its start that nobody
will ever start it.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from core.errors import StartFailed
from core.linux import syscalls
from core.runtime import protocol

BORN = "born"  # pid, with its pidfd: that process goes on in this one's place, with this socket
READY = "ready"  # nothing can go wrong any more but execve itself
WARNED = "warned"  # text
CONSOLE = "console"  # with the terminal's master
FAILED = "failed"  # step, path, message, errno, exit code

_START = b"s"
_MAX_PACKET = 65536
_MAX_FDS = 1
_MAX_TEXT = 8192


class Report:
    """The child's end."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def wait_for_start(self) -> int:
        """Until the monitor says so: the overlay's fd, -1 for none. When it is gone instead, this process ends."""
        data, fds, _ = protocol.receive_packet(self._socket, 1, 1)
        if data != _START:
            os._exit(128)
        return fds[0] if fds else -1

    def warn(self, messages: list[str]) -> None:
        """Pass on what was adjusted."""
        for message in messages:
            self._say(WARNED, message[:_MAX_TEXT])

    def console(self, master: int) -> None:
        """Hand over the terminal."""
        self._say(CONSOLE, fds=(master,))

    def born(self, pid: int, pidfd: int) -> None:
        """Another child of the monitor's goes on; this process is about to end."""
        self._say(BORN, pid, fds=(pidfd,))

    def ready(self) -> None:
        """execve is next."""
        self._say(READY)

    def fail(self, error: BaseException) -> NoReturn:
        """Say why, and end."""
        if isinstance(error, StartFailed):
            cause = error.__cause__
            number = (cause.errno or 0) if isinstance(cause, OSError) else 0
            self._say(FAILED, error.step, error.path, str(error)[:_MAX_TEXT], number, error.exit_code)
        else:
            number = (error.errno or 0) if isinstance(error, OSError) else 0
            text = "".join(traceback.format_exception(error)) if number == 0 else str(error)
            self._say(FAILED, "", "", text[-_MAX_TEXT:], number, 128)
        os._exit(1)

    def _say(self, kind: str, *fields: Any, fds: tuple[int, ...] = ()) -> None:
        try:
            say(self._socket, kind, *fields, fds=fds)
        except OSError:
            os._exit(128)  # the monitor is gone: nobody would ever know of this process

    def keep_only(self) -> None:
        """Close every fd but 0, 1, 2 and this one."""
        number = fcntl.fcntl(self._socket.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
        os.dup2(number, 3, inheritable=False)
        self._socket.detach()
        syscalls.close_range(4)
        self._socket = socket.socket(fileno=3)

    def close(self) -> None:
        """Close this end without execve (a reaper stays)."""
        self._socket.close()


def say(sock: socket.socket, kind: str, *fields: Any, fds: tuple[int, ...] = ()) -> None:
    """Send one message with its fds, which stay open here."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([protocol.to_json([kind, *fields]).encode()], ancillary, socket.MSG_NOSIGNAL)


def start(sock: socket.socket, overlay_fd: int) -> None:
    """The parent's side of :meth:`Report.wait_for_start`."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [overlay_fd]))] if overlay_fd >= 0 else []
    sock.sendmsg([_START], ancillary, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket) -> tuple[list[Any], list[int]] | None:
    """The parent's side: the next message and its fds, None at the end. BlockingIOError when there is none now."""
    data, fds, _ = protocol.receive_packet(sock, _MAX_PACKET, _MAX_FDS)
    if not data:
        return None
    message: list[Any] = protocol.from_json(data)
    return message, fds


def guarded(report: Report, run: Callable[[], object]) -> NoReturn:
    """Run a child's steps; whatever they raise is reported, and the child never returns into its parent's code."""
    try:
        run()
    except BaseException as error:  # noqa: BLE001 - a forked child must never return into its parent's code
        report.fail(error)
    os._exit(128)
