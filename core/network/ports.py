"""Published ports: what ``-p`` and ``-P`` ask for, and the sockets that hold those ports on the host.

A bound socket holds each port for as long as the container runs, so that nobody else's server gets it. The daemon binds
it and hands it to the container's monitor, which serves what still arrives there (:mod:`core.runtime.proxy`): all that
NAT does not catch, [::1] above all.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from core.errors import Conflict, DockyardError, Exhausted, InvalidArgument, from_os_error
from core.network.model import Published

PROTOCOLS = ("tcp", "udp", "sctp")
_ANY = ("0.0.0.0", "::")
_TRIES = 20
_LISTENING = "0A"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One published port as it was asked for. ``first`` 0: any port; else one from ``first`` to ``last``."""

    port: int
    protocol: str
    host_ip: str
    first: int
    last: int


def parse_port(text: str) -> tuple[int, str]:
    """``80/tcp`` → (80, "tcp"). Raises InvalidArgument."""
    number, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise InvalidArgument(f"invalid port {text!r}: protocol must be tcp, udp or sctp")
    if not (number.isascii() and number.isdecimal()) or len(number) > 5 or not 0 < int(number) <= 65535:
        raise InvalidArgument(f"invalid port {text!r}: a port is a number from 1 to 65535")
    return int(number), protocol


def _host_ports(text: str) -> tuple[int, int]:
    """``8080`` or ``8080-8090``; "" and 0 are any port."""
    first, dash, last = text.partition("-")
    for piece in (first, last) if dash else (first,):
        if piece and (not (piece.isascii() and piece.isdecimal()) or len(piece) > 5 or int(piece) > 65535):
            raise InvalidArgument(f"invalid port specification: {text!r}: a port is a number from 1 to 65535")
    if dash and not (first and last and 0 < int(first) <= int(last)):
        raise InvalidArgument(f"invalid port range {text!r}", hint="write FIRST-LAST, the smaller one first")
    return (int(first), int(last)) if dash else (int(first or 0), int(first or 0))


def parse_bindings(value: Any) -> dict[str, list[dict[str, str]]]:
    """``HostConfig.PortBindings``, checked and in Docker's own form. Raises InvalidArgument."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument("HostConfig.PortBindings must be an object")
    found: dict[str, list[dict[str, str]]] = {}
    for key, bindings in value.items():
        port, protocol = parse_port(key)
        if bindings is not None and not isinstance(bindings, list):
            raise InvalidArgument(f"HostConfig.PortBindings.{key} must be a list")
        # Docker's meaning of an empty list: some port of the host.
        items: list[Any] = bindings or [{}]
        found[f"{port}/{protocol}"] = [_binding(key, item) for item in items]
    return found


def _binding(key: str, item: Any) -> dict[str, str]:
    if not isinstance(item, dict) or not all(isinstance(v, str) for v in item.values()):
        raise InvalidArgument(f"HostConfig.PortBindings.{key} must hold objects of HostIp and HostPort")
    host_ip, host_port = item.get("HostIp", ""), item.get("HostPort", "")
    if host_ip:
        try:
            parsed = ip_address(host_ip.strip("[]"))
            if getattr(parsed, "scope_id", None):
                raise ValueError("a scope")
            host_ip = str(parsed)
        except ValueError:
            raise InvalidArgument(f"invalid IP address: {host_ip}", hint="publish on an address of this host") from None
    _host_ports(host_port)
    return {"HostIp": host_ip, "HostPort": host_port}


def wanted(bindings: Mapping[str, list[dict[str, str]]], exposed: Iterable[str], *, publish_all: bool) -> list[Wanted]:
    """What a container publishes when it starts."""
    found = []
    for key, items in bindings.items():
        port, protocol = parse_port(key)
        for item in items:
            first, last = _host_ports(item["HostPort"])
            found.append(Wanted(port, protocol, item["HostIp"], first, last))
    if publish_all:
        for key in exposed:
            port, protocol = parse_port(key)
            if f"{port}/{protocol}" not in bindings:
                found.append(Wanted(port, protocol, "", 0, 0))
    # Fixed ports first: a random one must not take what another binding names.
    return sorted(found, key=lambda item: (item.first == 0, item.last - item.first))


def take(
    container: str, wishes: Iterable[Wanted], default_ip: str, whose: Callable[[Published], str]
) -> list[tuple[Published, socket.socket | None]]:
    """Bind the ports of a container; what was bound is closed again when one of them is not to be had.

    ``default_ip`` is where a port goes that names no address, "" for all addresses. ``whose`` names the container of
    ours that has a port, "" for none. The socket is None for sctp on a kernel without it. Raises Conflict, naming who
    has the port.
    """
    taken: list[tuple[Published, socket.socket | None]] = []
    everywhere = _ANY if os.path.exists("/proc/net/if_inet6") else _ANY[:1]
    try:
        for wish in wishes:
            chosen = wish.host_ip or default_ip
            taken += _take_one(container, wish, (chosen,) if chosen else everywhere, whose)
    except BaseException:
        release(sock for _, sock in taken)
        raise
    return taken


def release(sockets: Iterable[socket.socket | None]) -> None:
    """Let go of ports."""
    for sock in sockets:
        if sock is not None:
            sock.close()


def _take_one(
    container: str, wish: Wanted, addresses: Sequence[str], whose: Callable[[Published], str]
) -> list[tuple[Published, socket.socket | None]]:
    """One wish: on all addresses that is a socket of each IP version, on the same port."""
    candidates = range(wish.first, wish.last + 1) if wish.first else [0] * _TRIES
    problem: Published | None = None
    for candidate in candidates:
        found: list[tuple[Published, socket.socket | None]] = []
        asked, port = addresses[0], candidate
        try:
            for asked in addresses:
                sock, port = _bind(wish.protocol, asked, port)
                found.append((Published(container, wish.protocol, asked, port, wish.port), sock))
        except OSError as error:
            release(sock for _, sock in found)
            if error.errno != errno.EADDRINUSE:
                raise _refused(Published(container, wish.protocol, asked, port, wish.port), error) from error
            problem = Published(container, wish.protocol, asked, port, wish.port)
            continue
        return found
    assert problem is not None
    raise Conflict(
        f"cannot publish port {wish.port}/{wish.protocol}: Bind for {problem.text} failed: port is already allocated"
        f"{_holder(problem, whose)}",
        hint="choose another port of the host, or stop what uses it",
    )


def _bind(protocol: str, host_ip: str, port: int) -> tuple[socket.socket | None, int]:
    """A socket on the port, and the port that it got."""
    family = socket.AF_INET6 if ":" in host_ip else socket.AF_INET
    if protocol == "sctp":
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, socket.IPPROTO_SCTP)
        except OSError:
            if not port:
                raise InvalidArgument("a random sctp port needs sctp in the host's kernel") from None
            return None, port
    else:
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if protocol == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of its predecessor may linger
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host_ip, port))
        if protocol != "udp":
            sock.listen(512)
        return sock, port or int(sock.getsockname()[1])
    except BaseException:
        sock.close()
        raise


def _refused(port: Published, error: OSError) -> DockyardError:
    if error.errno == errno.EADDRNOTAVAIL:
        return InvalidArgument(f"cannot publish on {port.text}: this host has no such address")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return Exhausted(
            f"cannot publish {port.text}: a port takes a file for each IP version, and the engine may open {limit}",
            hint="raise LimitNOFILE of its service (systemctl edit dockyard), or publish fewer ports",
        )
    return from_os_error(error, f"publish {port.text}")


def _holder(port: Published, whose: Callable[[Published], str]) -> str:
    """`` by container web``, `` by nginx (pid 812)``, or nothing that can be found out."""
    name = whose(port)
    if name:
        return f" by container {name}"
    found = _process_on(port.protocol, port.host_port)
    return f" by {found}" if found else ""


def _process_on(protocol: str, number: int) -> str:
    inodes = _inodes_on(protocol, number)
    if not inodes:
        return ""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") in inodes:
                    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                        return f"{file.read().strip()} (pid {pid})"
        except OSError:
            continue  # it ended meanwhile
    return ""


def _inodes_on(protocol: str, number: int) -> set[str]:
    """The sockets bound to a port, as the links in /proc/PID/fd name them (proc(5), net/tcp)."""
    found = set()
    for name in (protocol, f"{protocol}6"):
        try:
            with open(f"/proc/thread-self/net/{name}", encoding="ascii") as file:
                lines = file.readlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            bound = int(columns[1].rpartition(":")[2], 16) == number
            if bound and (protocol == "udp" or columns[3] == _LISTENING):
                found.add(f"socket:[{columns[9]}]")
    return found
