"""A process that a monitor made, seen from the monitor: pid 1 or an exec, from its birth to its exit code."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from core.linux import syscalls
from core.runtime import handshake, protocol
from core.runtime.handshake import Report
from core.runtime.poller import READ, Poller
from core.runtime.program import Stdio
from core.runtime.session import STDERR, STDIN, STDOUT
from core.runtime.streams import Streams, enlarge_pipe


class Ended:
    """How a process ended. ``code`` is Docker's: 128 + signal when killed."""

    def __init__(self, info: Any) -> None:
        killed = info.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
        self.signal: int = info.si_status if killed else 0
        self.code: int = 128 + info.si_status if killed else info.si_status
        self.dumped: bool = info.si_code == os.CLD_DUMPED


class Pipes:
    """The pipes of one program without a terminal. ``child`` goes to it, ``ours`` (0, 1, 2 → fd) to the streams."""

    def __init__(self, *, stdin: bool, stdout: bool, stderr: bool) -> None:
        self.ours: dict[int, int] = {}
        theirs = {}
        for number, wanted in ((STDIN, stdin), (STDOUT, stdout), (STDERR, stderr)):
            if not wanted:
                continue
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            if number == STDIN:
                self.ours[number], theirs[number] = write_end, read_end
            else:
                enlarge_pipe(read_end)
                self.ours[number], theirs[number] = read_end, write_end
        self._theirs = tuple(theirs.values())
        self.child = Stdio(theirs.get(STDIN, -1), theirs.get(STDOUT, -1), theirs.get(STDERR, -1), tty=False)

    def close_theirs(self) -> None:
        """The child has its own copies: ours would keep it from ever seeing an end."""
        protocol.close_all(list(self._theirs))


def connect(streams: Streams, ours: dict[int, int]) -> None:
    """Hand our ends of a program's pipes to its streams."""
    for number, fd in ours.items():
        if number == STDIN:
            streams.set_input(fd)
        else:
            streams.add_output(fd, number)


class Listener:
    """Who is told what becomes of a child. All are called from the monitor's loop."""

    def warned(self, message: str) -> None:
        """Something was adjusted on the way."""

    def console(self, master: int) -> None:
        """The child's terminal; owned by the callee."""

    def started(self) -> None:
        """execve happened."""

    def failed(self, step: str, path: str, message: str, number: int, code: int) -> None:
        """execve will not happen; the child is ending."""

    def ended(self, how: Ended) -> None:
        """It is gone. Comes last, always once."""


def make(flags: int, cgroup_fd: int | None, run: Callable[[Report], NoReturn]) -> tuple[int, int, socket.socket]:
    """A new process that does ``run`` and never returns: (pid, pidfd, our end of its handshake). Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid, pidfd = syscalls.clone3(flags, cgroup_fd=cgroup_fd)
    except BaseException:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        ours.close()
        report = Report(theirs)
        handshake.guarded(report, lambda: run(report))
    theirs.close()
    return pid, pidfd, ours


class Child:
    """One child, from what :func:`make` gave; owns pidfd and socket.

    ``guide``: it makes another process for us, says ``born``, and ends; that one is the child from then on. It may be
    killed in between. So both are in a process group of the guide's, the other one waits there for its start, and what
    is left of the group is ended with the guide: a zombie nobody reaps would keep the container from ending.
    """

    def __init__(
        self, poller: Poller, listener: Listener, pid: int, pidfd: int, sock: socket.socket, *, guide: bool = False
    ) -> None:
        self._guides = guide
        self._poller = poller
        self._listener = listener
        self._ready = False
        self._settled = False
        self.pid = pid
        self.pidfd = pidfd
        self.how: Ended | None = None
        sock.setblocking(False)
        self._socket = sock
        poller.watch(sock.fileno(), READ, self._said)
        poller.watch(pidfd, READ, self._gone)

    def start(self, overlay_fd: int) -> None:
        """Let it go on."""
        try:
            handshake.start(self._socket, overlay_fd)
        except OSError:
            return  # it has ended: the loop will tell

    def kill(self, number: int) -> None:
        """Send it a signal. Raises ProcessLookupError when it has ended."""
        if self.how is not None:
            raise ProcessLookupError(self.pid)
        syscalls.pidfd_send_signal(self.pidfd, number)

    def reap(self) -> bool:
        """Take its end when it has ended, without waiting; True when it is gone."""
        if self.how is None:
            self._gone(0)
        return self.how is not None

    def _said(self, events: int = 0) -> None:
        """What the child says until its execve. Its end is told after everything that it said."""
        while not self._settled:
            try:
                received = handshake.receive(self._socket)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # it ended without reading its start byte; what it said before is still there (unix(7))
            except OSError:
                received = None
            if received is None:
                if self._ready or self.how is not None:
                    self._settle()
                else:  # it died on the way: its pidfd tells by what, in a moment
                    self._poller.forget(self._socket.fileno())
                return
            message, fds = received
            self._take(message, fds)

    def _take(self, message: list[Any], fds: list[int]) -> None:
        kind = message[0]
        if kind == handshake.WARNED:
            self._listener.warned(message[1])
        elif kind == handshake.CONSOLE and fds:
            self._listener.console(fds[0])
        elif kind == handshake.BORN and fds:
            self._follow(message[1], fds[0])
        elif kind == handshake.READY:
            self._ready = True
        elif kind == handshake.FAILED:
            self._close_socket()
            self._listener.failed(*message[1:])

    def _follow(self, pid: int, pidfd: int) -> None:
        """The process that we made hands over to one that it made for us, and ends."""
        guide = self.pidfd
        self._guides = False
        self._poller.forget(guide)
        self.pid, self.pidfd = pid, pidfd
        self._poller.watch(pidfd, READ, self._gone)
        self._poller.watch(guide, READ, lambda events: self._guide_gone(guide))
        self.start(-1)

    def _guide_gone(self, guide: int) -> None:
        os.waitid(os.P_PIDFD, guide, os.WEXITED)
        self._poller.forget(guide)
        os.close(guide)

    def _kill_group(self) -> None:
        """End what a dead guide may have made. It is not reaped yet: nobody else can have its number."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # it never came to a group of its own

    def _reap_group(self) -> None:
        try:
            os.waitid(os.P_PGID, self.pid, os.WEXITED)
        except ChildProcessError:
            return  # it had made nothing

    def _settle(self) -> None:
        """End of file: the program runs, or the child died without a word."""
        self._close_socket()
        if self._ready:
            self._listener.started()
            return
        how = self.how
        by = f" by signal {how.signal}" if how is not None and how.signal else ""
        text = f"the process was killed{by} before it reached its program"
        self._listener.failed("", "", text, 0, 128)

    def _close_socket(self) -> None:
        self._settled = True
        self._poller.forget(self._socket.fileno())
        self._socket.close()

    def _gone(self, events: int) -> None:
        if self.how is None and not self._settled:
            self._said()  # perhaps another process is the child by now
        if self.how is not None:
            return
        info = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if info is None:
            return
        if self._guides:
            self._kill_group()
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        if self._guides:
            self._reap_group()
        self._poller.forget(self.pidfd)
        os.close(self.pidfd)
        self.how = Ended(info)
        if not self._settled:
            self._said()
        if not self._settled:  # something else still holds its end: it cannot speak for the dead any more
            self._settle()
        self._listener.ended(self.how)
