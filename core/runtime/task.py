"""A running container, seen from the daemon: the connection to its monitor, as asyncio likes it."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from core.errors import DockyardError, InvalidArgument, StartFailed, Unavailable, from_kind
from core.runtime import protocol

#: Seconds. A start may wait for a slow disk or a network file system; a reply never waits for anything.
START_DEADLINE = 120.0
REPLY_DEADLINE = 30.0
LEAVE_DEADLINE = 10.0
_MAX_PER_EVENT = 64


class Channel:
    """One SOCK_SEQPACKET connection on the loop: messages in by callback, out in order.

    ``received`` gets each message, ``ended`` is called once when the other side is gone (or spoke nonsense).
    """

    def __init__(
        self, sock: socket.socket, received: Callable[[protocol.Message], None], ended: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._received = received
        self._ended = ended
        self._waiting: deque[tuple[protocol.Message, Sequence[socket.socket]]] = deque()
        self.closed = False
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    def send(self, message: protocol.Message, *passed: socket.socket) -> None:
        """Send ``message``; ``passed`` go with it and are closed here once they are on their way."""
        if self.closed:
            for sock in passed:
                sock.close()
            raise Unavailable("the connection has ended")
        self._waiting.append((message, passed))
        self._flush()

    def _flush(self) -> None:
        while self._waiting:
            message, passed = self._waiting[0]
            try:
                protocol.send(self._socket, message, tuple(sock.fileno() for sock in passed))
            except BlockingIOError:
                self._loop.add_writer(self._socket.fileno(), self._flush)
                return
            except OSError:
                # What the other side said before it went is still there to be read: the reader finds the end.
                self._forget_waiting()
                break
            self._waiting.popleft()
            for sock in passed:
                sock.close()
        self._loop.remove_writer(self._socket.fileno())

    def _forget_waiting(self) -> None:
        for _, passed in self._waiting:
            for sock in passed:
                sock.close()
        self._waiting.clear()

    def _readable(self) -> None:
        for _ in range(_MAX_PER_EVENT):
            if self.closed:
                return
            try:
                received = protocol.receive(self._socket)
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionResetError:
                continue  # it left with something of ours unread; what it said is still there (unix(7))
            except (protocol.ProtocolError, OSError):
                received = None
            if received is None:
                self.close()
                self._ended()
                return
            message, fds = received
            protocol.close_all(fds)
            self._received(message)

    def finish_sending(self) -> None:
        """The other side sees the end; its own messages still come."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        """End the connection; ``ended`` is not called."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._forget_waiting()
        self._socket.close()


class Task:
    """A container's processes. All awaits have a deadline and raise Unavailable when it is over.

    ``phase`` is ``created``, ``starting``, ``running``, ``failed`` or ``exited``; ``execs`` is what the monitor knew
    when it was adopted: [exec_id, pid, running, exit_code].
    """

    def __init__(self, run_dir: str, sock: socket.socket, on_gone: Callable[[Task], None]) -> None:
        self.run_dir = run_dir
        self._on_gone = on_gone
        self.phase = ""
        self.pid = self.start_time = self.monitor_pid = 0
        self.execs: list[list[Any]] = []
        #: Set when the monitor has left, or was let go of.
        self.gone = asyncio.Event()
        self._channel = Channel(sock, self._received, self._lost)
        self._sequence = itertools.count(1)
        self._replies: dict[int, asyncio.Future[None]] = {}
        self._exec_waiters: dict[str, asyncio.Future[None]] = {}
        self._known: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for future in (self._known, self._running):
            future.add_done_callback(_retrieve)
        self._events: asyncio.Queue[protocol.Message | None] = asyncio.Queue()

    # --- what the monitor says -------------------------------------------------------------------------

    def _received(self, message: protocol.Message) -> None:
        if isinstance(message, protocol.Reply):
            self._answered(message)
        elif isinstance(message, protocol.Created | protocol.State):
            self._met(message)
        elif isinstance(message, protocol.Started):
            self.phase = "running"
            _resolve(self._running)
        elif isinstance(message, protocol.StartFailed):
            self._start_failed(message)
        else:
            if isinstance(message, protocol.Exited):
                self.phase = "exited"
            elif isinstance(message, protocol.ExecStarted):
                _resolve(self._exec_waiters.pop(message.exec_id, None))
            elif isinstance(message, protocol.ExecFailed):
                _resolve(self._exec_waiters.pop(message.exec_id, None), _as_error(message))
            self._events.put_nowait(message)

    def _answered(self, message: protocol.Reply) -> None:
        error = from_kind(message.kind, message.error) if message.error else None
        _resolve(self._replies.pop(message.seq, None), error)

    def _met(self, message: protocol.Created | protocol.State) -> None:
        self.monitor_pid, self.pid, self.start_time = message.monitor_pid, message.pid, message.start_time
        self.phase = "created"
        if isinstance(message, protocol.State):
            self.phase, self.execs = message.phase, message.execs
        _resolve(self._known)

    def _start_failed(self, message: protocol.StartFailed) -> None:
        self.phase = "failed"
        error = _as_error(message)
        _resolve(self._known, error)
        _resolve(self._running, error)

    def _lost(self) -> None:
        self._over("the container's monitor has ended")

    def _over(self, text: str) -> None:
        if not self.gone.is_set():
            self.gone.set()
            self._fail_all(text)
            self._events.put_nowait(None)
            self._on_gone(self)

    def _fail_all(self, text: str) -> None:
        for future in (self._known, self._running, *self._replies.values(), *self._exec_waiters.values()):
            _resolve(future, Unavailable(text))
        self._replies.clear()
        self._exec_waiters.clear()

    @property
    def events(self) -> AsyncIterator[protocol.Message]:
        """Exited, ExecStarted, ExecFailed, ExecExited, Oom and Warned as they come, to the connection's end.

        For one consumer.
        """
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[protocol.Message]:
        while True:
            message = await self._events.get()
            if message is None:
                self._events.put_nowait(None)
                return
            yield message

    # --- requests --------------------------------------------------------------------------------------

    async def known(self, deadline: float = START_DEADLINE) -> None:
        """Until the monitor said who it is: init exists. StartFailed when it could not be made."""
        await _within(deadline, self._known, "the container's monitor does not answer")

    async def start(self) -> None:
        """Let init go on; returns when the program runs. Raises StartFailed."""
        if not self._running.done():
            try:
                await self._request(protocol.Start(next(self._sequence)))
            except DockyardError:
                if not self._running.done():
                    raise  # else the reason why is there, and better
        await _within(START_DEADLINE, self._running, "the container did not start in time")

    async def signal(self, number: int, all: bool = False, exec_id: str = "") -> None:
        """Send a signal to pid 1, to one exec, or with ``all`` to everything in the container."""
        await self._request(protocol.Signal(next(self._sequence), int(number), exec_id, all))

    async def resize(self, rows: int, columns: int, exec_id: str = "") -> None:
        """The new size of the terminal."""
        await self._request(protocol.Resize(next(self._sequence), rows, columns, exec_id))

    async def attach(
        self,
        sock: socket.socket,
        *,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        detach_keys: bytes = b"",
        preread: bytes = b"",
    ) -> None:
        """Hand ``sock``, a client's stream, over to the monitor; it is closed here in any case."""
        keys, early = base64.b64encode(detach_keys).decode(), base64.b64encode(preread).decode()
        message = protocol.Attach(next(self._sequence), stdin, stdout, stderr, keys, early)
        if len(protocol.encode(message)) > protocol.MAX_PACKET:
            sock.close()
            raise InvalidArgument(f"{len(preread)} bytes of input before the stream was handed over are too many")
        await self._request(message, sock)

    async def listen(self, ports: Sequence[list[Any]], sockets: Sequence[socket.socket]) -> None:
        """Hand over the sockets of published ports, see :class:`protocol.Listen`; they are closed here in any case."""
        rest = list(sockets)
        try:
            for first in range(0, len(ports), protocol.MAX_FDS):
                piece, rest = rest[: protocol.MAX_FDS], rest[protocol.MAX_FDS :]
                message = protocol.Listen(next(self._sequence), list(ports[first : first + protocol.MAX_FDS]))
                await self._request(message, *piece)
        finally:
            for sock in rest:
                sock.close()

    async def unlisten(self, keys: Sequence[str]) -> None:
        """Let go of published ports."""
        await self._request(protocol.Unlisten(next(self._sequence), list(keys)))

    async def retarget(self, ports: Sequence[list[Any]]) -> None:
        """Published ports lead to another address."""
        await self._request(protocol.Retarget(next(self._sequence), list(ports)))

    async def exec(self, config: protocol.ExecConfig, sock: socket.socket | None) -> None:
        """Run another program; returns when it runs. ``sock`` as in ``attach``. Raises StartFailed."""
        exec_id = config["exec_id"]
        path = os.path.join(self.run_dir, f"exec-{exec_id}.json")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter.add_done_callback(_retrieve)
        try:
            try:
                _write_private(path, json.dumps(config).encode())
            except OSError as error:
                if sock is not None:
                    sock.close()
                raise Unavailable(f"write {path}: {error.strerror}") from error
            self._exec_waiters[exec_id] = waiter
            await self._request(protocol.Exec(next(self._sequence), exec_id, path), *([sock] if sock else []))
            await _within(START_DEADLINE, waiter, "the process did not start in time")
        finally:
            self._exec_waiters.pop(exec_id, None)
            _unlink(path)

    async def close_stdin(self) -> None:
        """Close the container's standard input."""
        await self._request(protocol.CloseStdin(next(self._sequence)))

    async def close(self) -> None:
        """Let go of the monitor. One that has not got its Start, or has ended, is waited for until it has left."""
        if not self._channel.closed and self.phase not in ("running", "starting"):
            self._channel.finish_sending()
            try:
                async with asyncio.timeout(LEAVE_DEADLINE):
                    await self.gone.wait()
            except TimeoutError:
                pass  # its lease has ended: it leaves as soon as the kernel lets it
        self._channel.close()
        self._over("the connection to the container's monitor was closed")

    async def _request(self, message: Any, *passed: socket.socket) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_retrieve)
        self._replies[message.seq] = future
        try:
            self._channel.send(message, *passed)
            await _within(REPLY_DEADLINE, future, "the container's monitor does not answer")
        finally:
            self._replies.pop(message.seq, None)


def _as_error(message: protocol.StartFailed | protocol.ExecFailed) -> StartFailed:
    return StartFailed(message.message, step=message.step, path=message.path, exit_code=message.exit_code)


def _resolve(future: asyncio.Future[None] | None, error: DockyardError | None = None) -> None:
    if future is None or future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _retrieve(future: asyncio.Future[None]) -> None:
    """A failure that nobody waits for is no news for asyncio's log."""
    if not future.cancelled():
        future.exception()


async def _within(seconds: float, future: asyncio.Future[None], text: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            await asyncio.shield(future)
    except TimeoutError:
        raise Unavailable(text, hint=f"it was waited for {seconds:.0f} s") from None


def _write_private(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
