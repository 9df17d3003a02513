"""A monitor's connections with daemons: requests in, replies and events out, never waiting for the other side."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable

from core.runtime import protocol
from core.runtime.poller import GONE, READ, WRITE, Poller

SOCKET_NAME = "monitor.sock"
MAX_CONNECTIONS = 8
#: Messages for a daemon that does not read; with more it is cut off, and finds the state when it comes again.
_MAX_WAITING = 4096
_MAX_PER_EVENT = 64
_PEERCRED = struct.Struct("iII")

Dispatch = Callable[["Connection", protocol.Message, list[int]], None]


class Connection:
    """One daemon. ``dispatch`` gets each message with its fds.

    ``ended`` is called when the daemon says nothing more, and when the connection is ``closed``. A daemon that only
    closes its own direction waits to see the monitor leave: the connection stays open until then.
    """

    def __init__(
        self, poller: Poller, sock: socket.socket, dispatch: Dispatch, ended: Callable[[Connection], None]
    ) -> None:
        self._poller = poller
        self._socket = sock
        self._dispatch = dispatch
        self._ended = ended
        self._waiting: list[bytes] = []
        self._silent = False
        self.closed = False
        sock.setblocking(False)
        poller.watch(sock.fileno(), READ, self._event)

    def send(self, message: protocol.Message) -> None:
        """Send ``message``, or keep it until the socket takes it."""
        if self.closed:
            return
        self._waiting.append(protocol.encode(message))
        self._flush()

    def _flush(self) -> None:
        while self._waiting:
            try:
                self._socket.send(self._waiting[0], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            del self._waiting[0]
        if len(self._waiting) > _MAX_WAITING:
            self.close()
            return
        self._watch()

    def _watch(self) -> None:
        events = (0 if self._silent else READ) | (WRITE if self._waiting else 0)
        self._poller.watch(self._socket.fileno(), events, self._event)

    def _event(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        for _ in range(_MAX_PER_EVENT):
            if self.closed:
                return
            if self._silent:
                if events & GONE:
                    self.close()
                return
            try:
                received = protocol.receive(self._socket)
            except BlockingIOError:
                return
            except (protocol.ProtocolError, OSError):
                self.close()
                return
            if received is None:
                self._silent = True
                self._ended(self)
                if not self.closed:
                    self._watch()
                return
            self._dispatch(self, *received)

    def close(self) -> None:
        """End the connection."""
        if self.closed:
            return
        self.closed = True
        self._poller.forget(self._socket.fileno())
        self._socket.close()
        self._ended(self)


class Listener:
    """``monitor.sock`` in the run folder ``run_fd``: other daemons come here."""

    def __init__(self, poller: Poller, run_fd: int, accepted: Callable[[socket.socket], None]) -> None:
        self._poller = poller
        self._run_fd = run_fd
        self._accepted = accepted
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            # By the folder's fd: a socket's path ends at 107 bytes, however long the real one is.
            self._socket.bind(f"/proc/self/fd/{run_fd}/{SOCKET_NAME}")
        finally:
            os.umask(before)
        self._socket.listen(MAX_CONNECTIONS)
        self._socket.setblocking(False)
        poller.watch(self._socket.fileno(), READ, self._event)

    def _event(self, events: int) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError:
            return
        _, uid, _ = _PEERCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
        if uid not in (0, os.geteuid()):
            sock.close()
            return
        self._accepted(sock)

    def close(self) -> None:
        """Stop listening and remove the name."""
        self._poller.forget(self._socket.fileno())
        self._socket.close()
        try:
            os.unlink(SOCKET_NAME, dir_fd=self._run_fd)
        except FileNotFoundError:
            pass
