"""Published ports in a monitor: the sockets that hold them on the host, and a relay for what NAT does not catch.

NAT takes a packet before it reaches these sockets. What comes through is for an address that NAT cannot translate:
[::1], IPv6 for a container that has none, or every address where the kernel has no nftables. It is relayed to the
container's address from the host's namespace, so that it goes on while no daemon runs.

Made at the first ``Listen``; a container that publishes nothing has nothing of it. One thread, like all of the monitor:
every socket is non-blocking, every buffer and every count has a bound.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from typing import Any

from core.errors import Conflict
from core.runtime.poller import GONE, READ, WRITE, Poller, Timer

#: Bytes that are kept for a side that does not take them; then the other side is not read.
_MAX_BUFFER = 1 << 18
_PIECE = 1 << 16
_MAX_CONNECTIONS = 1000
_MAX_CLIENTS = 1000
_MAX_PER_EVENT = 64
#: When no connection may be added, one that was silent for so long makes room for the next (seconds).
_IDLE = 60.0
#: How exactly that is counted.
_GRAIN = 1.0
#: Seconds without accepting when there are no more descriptors.
_PAUSE = 1.0
#: A UDP client that was silent for so long is forgotten (seconds).
_UDP_IDLE = 90.0
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO = 49
_IPV6_PKTINFO = 50
#: SO_LINGER on, 0 s: the peer sees a reset, as from a port where nobody listens.
_RESET = struct.pack("ii", 1, 0)


class Target:
    """Where a published port leads: the container's address and port; it may change."""

    def __init__(self, address: str, port: int) -> None:
        self.set(address, port)

    def set(self, address: str, port: int) -> None:
        """Lead there from now on."""
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.where = (address, port)


class Ports:
    """All published ports of one container, by their keys."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._listeners: dict[str, TcpListener | UdpListener] = {}
        #: Those under way, the longest silent first.
        self._relays: dict[Relay, None] = {}

    def add(self, ports: list[list[Any]], fds: list[int]) -> None:
        """Take sockets over, one for each port; those that were taken are removed from ``fds``. Raises Conflict."""
        if len(ports) != len(fds):
            raise Conflict(f"{len(ports)} ports came with {len(fds)} sockets")
        for key, protocol, address, port in ports:
            if key in self._listeners:
                raise Conflict(f"port {key} is published already")
            sock = socket.socket(fileno=fds.pop(0))
            sock.setblocking(False)
            kind = UdpListener if protocol == "udp" else TcpListener
            self._listeners[key] = kind(self._poller, sock, Target(address, port), self)

    def remove(self, keys: list[Any]) -> None:
        """Close these ports and what goes through them."""
        for key in keys:
            listener = self._listeners.pop(key, None)
            if listener is not None:
                listener.close()

    def retarget(self, ports: list[list[Any]]) -> None:
        """New connections lead to other addresses."""
        for key, _, address, port in ports:
            listener = self._listeners.get(key)
            if listener is not None:
                listener.target.set(address, port)

    def used(self, relay: Relay) -> None:
        """A connection began, or bytes came through it."""
        self._relays.pop(relay, None)
        self._relays[relay] = None

    def ended(self, relay: Relay) -> None:
        """A connection is over: those that waited for their turn are looked at again."""
        self._relays.pop(relay, None)
        if len(self._relays) == _MAX_CONNECTIONS - 1:
            for listener in self._listeners.values():
                listener.resume()

    def seconds_until_room(self) -> float:
        """0 when a connection may be added, else after how many seconds the longest silent one gives way."""
        if len(self._relays) < _MAX_CONNECTIONS:
            return 0.0
        return max(0.0, next(iter(self._relays)).used + _IDLE - time.monotonic())

    def make_room(self) -> None:
        """For a connection that has come. Whoever opens many and says nothing would keep all others out."""
        if len(self._relays) >= _MAX_CONNECTIONS:
            next(iter(self._relays)).close()

    def close(self) -> None:
        """Close everything: the ports are free."""
        self.remove(list(self._listeners))


class TcpListener:
    """A listening socket; each connection it accepts becomes a :class:`Relay`."""

    def __init__(self, poller: Poller, sock: socket.socket, target: Target, ports: Ports) -> None:
        self._poller = poller
        self._socket = sock
        self.target = target
        self._ports = ports
        self._relays: set[Relay] = set()
        self._timer: Timer | None = None
        self.resume()

    def resume(self) -> None:
        """Accept (again)."""
        self._poller.watch(self._socket.fileno(), READ, self._accept)

    def _accept(self, events: int) -> None:
        for _ in range(_MAX_PER_EVENT):
            left = self._ports.seconds_until_room()
            if left:
                self._pause(left)
                return
            try:
                client, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no more descriptors: poll(2) would tell of it without an end
                self._pause()
                return
            client.setblocking(False)
            self._ports.make_room()
            try:
                server = socket.socket(self.target.family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            except OSError:
                _reset(client)
                self._pause()
                return
            server.setblocking(False)
            code = server.connect_ex(self.target.where)
            if code not in (0, errno.EINPROGRESS):
                _reset(client)
                server.close()
                continue
            relay = Relay(self._poller, client, server, self._ports.used, self._ended)
            self._relays.add(relay)
            self._ports.used(relay)

    def _pause(self, seconds: float = _PAUSE) -> None:
        self._poller.forget(self._socket.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._poller.call_later(seconds, self.resume)

    def _ended(self, relay: Relay) -> None:
        self._relays.discard(relay)
        self._ports.ended(relay)

    def close(self) -> None:
        """Stop listening and end all connections."""
        if self._timer is not None:
            self._timer.cancel()
        self._poller.forget(self._socket.fileno())
        self._socket.close()
        for relay in tuple(self._relays):
            relay.close()


class Side:
    """One of the two sockets of a relay, with what waits to be sent to it."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.waiting = bytearray()
        self.ended = False  # it sends nothing more
        self.shut = False  # it was told that nothing more comes


class Relay:
    """A connection, both directions; the end of one is passed on, and the other goes on (RFC 9293, half-close)."""

    def __init__(self, poller: Poller, client: socket.socket, server: socket.socket, tell: Any, ended: Any) -> None:
        self._poller = poller
        self._tell = tell
        self._ended = ended
        self.used = time.monotonic()
        self._client = Side(client)
        self._server = Side(server)
        self._connected = False
        self._closed = False
        poller.watch(server.fileno(), WRITE, self._connecting)
        poller.watch(client.fileno(), 0, lambda events: self._failed())

    def _connecting(self, events: int) -> None:
        code = self._server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._failed()
            return
        self._connected = True
        for side in (self._client, self._server):
            side.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch()

    def _watch(self) -> None:
        for side, other in ((self._client, self._server), (self._server, self._client)):
            wanted = WRITE if side.waiting else 0
            if not side.ended and len(other.waiting) < _MAX_BUFFER:
                wanted |= READ
            if side.ended and side.shut and not wanted:
                self._poller.forget(side.socket.fileno())
            else:
                handler = self._client_event if side is self._client else self._server_event
                self._poller.watch(side.socket.fileno(), wanted, handler)

    def _client_event(self, events: int) -> None:
        self._event(events, self._client, self._server)

    def _server_event(self, events: int) -> None:
        self._event(events, self._server, self._client)

    def _event(self, events: int, side: Side, other: Side) -> None:
        if self._closed:
            return
        now = time.monotonic()
        if now - self.used > _GRAIN:
            self.used = now
            self._tell(self)
        try:
            if events & GONE and side.ended:
                raise ConnectionResetError  # it takes nothing any more
            if events & WRITE:
                self._send(side)
            if events & (READ | GONE) and not side.ended:
                self._read(side, other)
        except OSError:
            self._failed()
            return
        for one in (side, other):
            self._pass_end(one, other if one is side else side)
        if all(one.ended and one.shut for one in (side, other)):
            self.close()
        else:
            self._watch()

    def _read(self, side: Side, other: Side) -> None:
        try:
            data = side.socket.recv(_PIECE)
        except BlockingIOError:
            return
        if not data:
            side.ended = True
            return
        other.waiting += data
        self._send(other)

    @staticmethod
    def _send(side: Side) -> None:
        if side.waiting:
            try:
                del side.waiting[: side.socket.send(side.waiting)]
            except BlockingIOError:
                return

    @staticmethod
    def _pass_end(side: Side, other: Side) -> None:
        if other.ended and not side.waiting and not side.shut:
            side.shut = True
            try:
                side.socket.shutdown(socket.SHUT_WR)
            except OSError:
                side.ended = True

    def _failed(self) -> None:
        if not self._closed:
            for side in (self._client, self._server):
                side.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()

    def close(self) -> None:
        """End both sides."""
        if self._closed:
            return
        self._closed = True
        for side in (self._client, self._server):
            self._poller.forget(side.socket.fileno())
            side.socket.close()
        self._ended(self)


class UdpListener:
    """A bound socket; each client has a socket of its own towards the container, so that answers find their way."""

    def __init__(self, poller: Poller, sock: socket.socket, target: Target, ports: Ports) -> None:
        self._poller = poller
        self._socket = sock
        self.target = target
        #: Client and the address it wrote to → its socket, and when it was last used; the oldest first.
        self._clients: dict[tuple[Any, bytes], tuple[socket.socket, float]] = {}
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self.resume()

    def resume(self) -> None:
        """Receive (again)."""
        self._poller.watch(self._socket.fileno(), READ, self._from_client)

    def _from_client(self, events: int) -> None:
        for _ in range(_MAX_PER_EVENT):
            try:
                data, control, _, client = self._socket.recvmsg(_PIECE, 128)
            except OSError:
                return  # nothing, or an error that a reply of ours caused (ICMP)
            local = _local(control)
            try:
                self._server(client, local).send(data)
            except OSError:
                continue  # lost, as a datagram may be

    def _server(self, client: Any, local: bytes) -> socket.socket:
        now = time.monotonic()
        key = (client, local)
        known = self._clients.pop(key, None)
        if known is None:
            self._expire(now)
            server = socket.socket(self.target.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            server.setblocking(False)
            try:
                server.connect(self.target.where)
            except OSError:
                server.close()
                raise
            self._poller.watch(server.fileno(), READ, lambda e: self._from_server(server, client, local))
        else:
            server = known[0]
        self._clients[key] = (server, now)
        return server

    def _from_server(self, server: socket.socket, client: Any, local: bytes) -> None:
        for _ in range(_MAX_PER_EVENT):
            try:
                data = server.recv(_PIECE)
            except OSError:
                return
            try:
                self._socket.sendmsg([data], _control(self._socket, local), 0, client)
            except OSError:
                continue

    def _expire(self, now: float) -> None:
        for key, (server, used) in tuple(self._clients.items()):
            if now - used < _UDP_IDLE and len(self._clients) < _MAX_CLIENTS:
                return
            self._forget(server)
            del self._clients[key]

    def _forget(self, server: socket.socket) -> None:
        self._poller.forget(server.fileno())
        server.close()

    def close(self) -> None:
        """Stop receiving and forget all clients."""
        for server, _ in self._clients.values():
            self._forget(server)
        self._clients.clear()
        self._poller.forget(self._socket.fileno())
        self._socket.close()


def _local(control: list[Any]) -> bytes:
    """The local address of a datagram (struct in_pktinfo, in6_pktinfo; ip(7), ipv6(7)), b"" when it is not told."""
    for level, kind, data in control:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            return bytes(data[4:8])  # ipi_spec_dst
        if level == socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO:
            return bytes(data[:16])
    return b""


def _control(sock: socket.socket, local: bytes) -> list[Any]:
    """Send from the address that the client wrote to, not from the one that the route would choose."""
    if len(local) == 4:
        return [(socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=I4s4s", 0, local, bytes(4)))]
    if len(local) == 16:
        return [(socket.IPPROTO_IPV6, _IPV6_PKTINFO, local + bytes(4))]
    return []


def _reset(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    finally:
        sock.close()
