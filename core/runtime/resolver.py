"""A container's resolver at 127.0.0.11: its neighbours' names from tables, everything else from the host's servers.

It is part of the monitor, and so answers while no daemon runs. Its sockets are in the container's network namespace on
a high port, and a rule there leads port 53 to it: a socket on port 53 itself would make the container's own bind of
0.0.0.0:53 fail.

What it does not know it asks of others: from the host's namespace, where also a stub on 127.0.0.53 answers, or, with
servers of the person's own (``--dns``), from the container's. Each question goes out under a number and a port of its
own. On internal networks nobody outside is asked: an unknown name does not exist there. (moby says SERVFAIL, which
musl's resolver takes for a reason to wait and ask again.)
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from core.linux import netlink, netns
from core.linux.redirect import redirect
from core.runtime import dns
from core.runtime.dns import Malformed, Query
from core.runtime.names import Names
from core.runtime.poller import READ, WRITE, Poller, Timer

ADDRESS = "127.0.0.11"
PORT = 61053
_DNS = 53
#: Questions that wait for others, and TCP connections of the container; more are refused or wait.
_MAX_WAITING = 512
_MAX_CONNECTIONS = 64
_MAX_PER_EVENT = 64
#: Seconds until the next server is asked; until a silent TCP connection is closed.
_PATIENCE = 2.0
_IDLE = 10.0
_LARGEST = 65535

Reply = Callable[[bytes], object]


class Resolver:
    """``run_fd`` is the container's run folder, ``ns_fd`` its network namespace (kept open here, as a copy).

    Raises OSError when the sockets cannot be made.
    """

    def __init__(self, poller: Poller, run_fd: int, ns_fd: int, resolv_conf: str = "/etc/resolv.conf") -> None:
        self._poller = poller
        self._ns_fd = os.dup(ns_fd)
        self._names = Names(run_fd, resolv_conf)
        self._questions: set[Question] = set()
        self._connections: set[Connection] = set()
        self._turn = 0
        self._udp, self._tcp = netns.inside(ns_fd, _open)
        poller.watch(self._udp.fileno(), READ, self._datagrams)
        self._listen()

    def close(self) -> None:
        """Close everything."""
        for question in tuple(self._questions):
            question.close()
        for connection in tuple(self._connections):
            connection.close()
        for sock in (self._udp, self._tcp):
            self._poller.forget(sock.fileno())
            sock.close()
        os.close(self._ns_fd)

    # --- the container's side --------------------------------------------------------------------------

    def _datagrams(self, events: int) -> None:
        for _ in range(_MAX_PER_EVENT):
            try:
                packet, client = self._udp.recvfrom(dns.MAX_QUESTION + 1)
            except OSError:
                return
            self.handle(packet, self._reply_to(client), stream=False)

    def _reply_to(self, client: tuple[str, int]) -> Reply:
        return lambda packet: self._send(packet, client)

    def _send(self, packet: bytes, client: tuple[str, int]) -> None:
        try:
            self._udp.sendto(packet, client)
        except OSError:
            return  # lost, as a datagram may be

    def _accept(self, events: int) -> None:
        for _ in range(_MAX_PER_EVENT):
            if len(self._connections) >= _MAX_CONNECTIONS:
                self._poller.forget(self._tcp.fileno())
                return
            try:
                sock, _ = self._tcp.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no more descriptors: the next one who leaves makes room
                self._poller.forget(self._tcp.fileno())
                self._poller.call_later(_PATIENCE, self._listen)
                return
            self._connections.add(Connection(self._poller, sock, self.handle, self._left))

    def _left(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._listen()

    def _listen(self) -> None:
        if self._tcp.fileno() >= 0:
            self._poller.watch(self._tcp.fileno(), READ, self._accept)

    def handle(self, packet: bytes, reply: Reply, *, stream: bool) -> None:
        """Answer one message by ``reply``, now or when others have answered; ``stream``: it came over TCP."""
        try:
            query = dns.parse(packet)
        except Malformed as error:
            if error.reply:
                reply(error.reply)
            return
        limit = _LARGEST if stream else query.size
        local = self._local(query)
        if local is not None:
            reply(dns.answer(query, dns.NOERROR, local, limit))
            return
        upstream = self._names.upstream()
        if upstream is None:
            reply(dns.answer(query, dns.NXDOMAIN, [], limit))
            return
        servers, from_host = upstream
        failed = dns.answer(query, dns.SERVFAIL, [], limit)
        if not servers or len(self._questions) >= _MAX_WAITING:
            reply(failed)
            return
        question = Question(self, query, packet, servers, from_host, stream, reply, failed)
        self._questions.add(question)
        question.ask()

    def _local(self, query: Query) -> list[tuple[int, bytes]] | None:
        """What the tables have for a question; None when it is not theirs to answer."""
        if query.kind == dns.PTR:
            address = dns.reverse_address(query.name)
            name = self._names.name_of(address) if address else ""
            if name:
                return _naming(dns.PTR, b"", name)
        elif query.kind == dns.SRV:
            service = self._service(query.name)
            if service is not None:
                return service
        addresses = self._names.addresses(query.name) if query.name else None
        if addresses is None:
            return None
        found = [record for record in dns.address_records(addresses) if query.kind in (record[0], dns.ANY)]
        # Several answers: another one is first each time.
        self._turn += 1
        first = self._turn % len(found) if found else 0
        return found[first:] + found[:first]

    def _service(self, name: str) -> list[tuple[int, bytes]] | None:
        """``_80._tcp.web``: the port as it is named."""
        service, _, rest = name.partition(".")
        protocol, _, host = rest.partition(".")
        port = service.removeprefix("_")
        if protocol.lower() not in ("_tcp", "_udp") or not port.isdecimal() or int(port) > 65535:
            return None
        if self._names.addresses(host) is None:
            return None
        return _naming(dns.SRV, bytes(4) + int(port).to_bytes(2, "big"), host)

    # --- the others' side ------------------------------------------------------------------------------

    def answered(self, question: Question) -> None:
        """A question is settled."""
        self._questions.discard(question)

    def socket_to(self, server: str, *, stream: bool, from_host: bool) -> socket.socket:
        """A socket towards ``server``, connecting. Raises OSError."""

        def make() -> socket.socket:
            return _connecting(server, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)

        return make() if from_host else netns.inside(self._ns_fd, make)

    @property
    def poller(self) -> Poller:
        """The monitor's loop."""
        return self._poller


class Question:
    """One question on its way through the servers."""

    def __init__(
        self,
        resolver: Resolver,
        query: Query,
        packet: bytes,
        servers: list[str],
        from_host: bool,
        stream: bool,
        reply: Reply,
        failed: bytes,
    ) -> None:
        self._resolver = resolver
        self._query = query
        self._packet = packet
        self._servers = servers
        self._from_host = from_host
        self._stream = stream
        self._reply = reply
        self._last = failed
        self._socket: socket.socket | None = None
        self._timer: Timer | None = None
        self._number = 0
        self._received = bytearray()

    def ask(self) -> None:
        """Ask the next server; with none left the last answer is the answer."""
        while self._servers:
            server = self._servers.pop(0)
            self._number = int.from_bytes(os.urandom(2), "big")
            self._received.clear()
            try:
                self._socket = self._resolver.socket_to(server, stream=self._stream, from_host=self._from_host)
                if not self._stream:
                    self._socket.send(dns.with_id(self._packet, self._number))
            except OSError:
                self._drop()
                continue
            self._resolver.poller.watch(self._socket.fileno(), WRITE if self._stream else READ, self._ready)
            self._timer = self._resolver.poller.call_later(_PATIENCE, self._next)
            return
        self._settle(self._last)

    def _next(self) -> None:
        self._drop()
        self.ask()

    def _ready(self, events: int) -> None:
        if self._socket is None:
            return
        try:
            packet = self._exchange(self._socket, events) if self._stream else self._socket.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there
            self._next()
            return
        if not packet or not dns.answers(packet, self._number, self._query.question):
            return
        packet = dns.with_id(packet, self._query.id)
        if dns.code(packet) in (dns.NOERROR, dns.NXDOMAIN):
            self._settle(packet)
            return
        self._last = packet
        self._next()

    def _exchange(self, sock: socket.socket, events: int) -> bytes:
        """Over TCP: send when it is connected, then read until one message is whole (RFC 7766)."""
        if events & WRITE:
            sock.send(len(self._packet).to_bytes(2, "big") + dns.with_id(self._packet, self._number))
            self._resolver.poller.watch(sock.fileno(), READ, self._ready)
            return b""
        data = sock.recv(_LARGEST)
        if not data:
            raise ConnectionResetError
        self._received += data
        length = int.from_bytes(self._received[:2], "big")
        return bytes(self._received[2 : 2 + length]) if len(self._received) >= 2 + length > 2 else b""

    def _settle(self, packet: bytes) -> None:
        self.close()
        self._reply(packet)

    def _drop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._resolver.poller.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Forget it; nobody is answered."""
        self._drop()
        self._resolver.answered(self)


class Connection:
    """A TCP connection of the container: messages with their length before them (RFC 1035, 4.2.2).

    A client that has no more to ask may say so and still wait for its answers.
    """

    def __init__(
        self,
        poller: Poller,
        sock: socket.socket,
        handle: Callable[..., None],
        left: Callable[[Connection], None],
    ) -> None:
        self._poller = poller
        self._socket = sock
        self._handle = handle
        self._left = left
        self._received = bytearray()
        self._waiting = bytearray()
        self._unanswered = 0
        self._ended = False
        self._closed = False
        sock.setblocking(False)
        self._timer = poller.call_later(_IDLE, self.close)
        poller.watch(sock.fileno(), READ, self._event)

    def _event(self, events: int) -> None:
        if self._closed:
            return
        try:
            if events & WRITE:
                self._flush()
            else:
                self._read()
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _read(self) -> None:
        # A little at a time: the monitor has more to do than to answer who asks much at once.
        data = self._socket.recv(dns.MAX_QUESTION)
        if not data:
            if self._ended:
                self.close()
                return
            self._ended = True
            self._flush()
            return
        self._timer.cancel()
        self._timer = self._poller.call_later(_IDLE, self.close)
        self._received += data
        while len(self._received) >= 2:
            length = int.from_bytes(self._received[:2], "big")
            if len(self._received) < 2 + length:
                break
            packet = bytes(self._received[2 : 2 + length])
            del self._received[: 2 + length]
            self._unanswered += 1
            self._handle(packet, self._reply, stream=True)
            if self._closed:
                return

    def _reply(self, packet: bytes) -> None:
        if self._closed:
            return
        if len(self._waiting) > _LARGEST:
            self.close()  # it asks and does not read
            return
        self._unanswered -= 1
        self._waiting += len(packet).to_bytes(2, "big") + packet
        try:
            self._flush()
        except OSError:
            self.close()

    def _flush(self) -> None:
        try:
            if self._waiting:
                del self._waiting[: self._socket.send(self._waiting)]
        except BlockingIOError:
            pass
        if self._ended and not self._waiting and not self._unanswered:
            self.close()
            return
        wanted = WRITE if self._waiting else 0 if self._ended else READ
        self._poller.watch(self._socket.fileno(), wanted, self._event)

    def close(self) -> None:
        """End it."""
        if self._closed:
            return
        self._closed = True
        self._timer.cancel()
        self._poller.forget(self._socket.fileno())
        self._socket.close()
        self._left(self)


def _naming(kind: int, data: bytes, name: str) -> list[tuple[int, bytes]]:
    """A record whose data end with a name; none for a name that DNS cannot say."""
    encoded = dns.encode_name(name)
    return [(kind, data + encoded)] if encoded else []


def _connecting(server: str, kind: int) -> socket.socket:
    """A socket on its way to ``server``, an address with its zone, if any, by name or number. Raises OSError."""
    host, _, zone = server.partition("%")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    scope = 0
    if zone:  # of a link-local address; a number as systemd-resolved writes it
        scope = int(zone) if zone.isdecimal() and len(zone) < 10 else socket.if_nametoindex(zone)
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        sock.connect((host, _DNS, 0, scope) if family == socket.AF_INET6 else (host, _DNS))
    except BlockingIOError:
        pass
    except BaseException:
        sock.close()
        raise
    return sock


def _open() -> tuple[socket.socket, socket.socket]:
    """The two sockets, in the namespace that this is called in.

    With the loopback down an address of it is nobody's: a socket bound to it (IP_FREEBIND) answers from 127.0.0.1.
    """
    netlink.loopback_up()
    redirect(ADDRESS, _DNS, PORT)
    kind = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | kind)
    try:
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | kind)
        try:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for sock in (udp, tcp):
                sock.bind((ADDRESS, PORT))
            tcp.listen(_MAX_CONNECTIONS)
        except BaseException:
            tcp.close()
            raise
    except BaseException:
        udp.close()
        raise
    return udp, tcp
