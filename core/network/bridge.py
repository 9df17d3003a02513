"""The host's side of networks, by pyroute2: bridges, parent interfaces, what is routed where, forwarding.

All of it is done when a network is made, repaired or removed, never on a start's way: pyroute2 costs 0.1 s and 10 MB
when it is first used. Every function blocks and is called in a thread.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

from core.errors import Conflict, DockyardError, InvalidArgument, Unsupported
from core.linux import links
from core.linux.netlink import Netlink
from core.network.model import Address, Network, Prefix

_SYSCTL = "/proc/sys/net"
_SIOCGIFADDR = 0x8915
#: Who made the parent interface of a macvlan: removed with the network.
_OURS = "dockyard"


def exists(device: str) -> bool:
    """Whether the host has an interface of this name. Cheap, and without pyroute2."""
    try:
        socket.if_nametoindex(device)
    except OSError:
        return False
    return True


def has_address(device: str, address: Address) -> bool:
    """Whether an interface has this IPv4 address (netdevice(7), SIOCGIFADDR). Cheap, and without pyroute2."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            answer = fcntl.ioctl(control, _SIOCGIFADDR, struct.pack("256s", device.encode()))
        except OSError:
            return False
    return answer[20:24] == address.packed


def make(network: Network) -> None:
    """Make the bridge of ``network``, or repair it: up, with its addresses. Raises Conflict, Unsupported."""
    addresses = [(s.gateway, s.prefix.prefixlen) for s in network.subnets if s.gateway is not None]
    with _route() as route:
        try:
            _make_bridge(route, network, addresses)
        except Exception as error:
            raise _as_ours(error, f"make the bridge {network.device}") from error
    _settings(network)


def _make_bridge(route: Any, network: Network, addresses: Sequence[tuple[Address | None, int]]) -> None:
    index = _index(network.device)
    if index:
        kind = _kind(route.link("get", index=index)[0])
        if kind != "bridge":
            raise Conflict(
                f"interface {network.device} exists and is no bridge ({kind or 'a device'})",
                hint="choose another com.docker.network.bridge.name",
            )
    else:
        mtu = {"mtu": network.mtu} if network.mtu else {}
        route.link("add", ifname=network.device, kind="bridge", **mtu)
        index = _index(network.device)
    # Before it comes up, and so before its first address: no router may tell it anything.
    _write(f"ipv6/conf/{network.device}/accept_ra", "0")
    for address, length in addresses:
        flags = {"flags": 2} if address is not None and address.version == 6 else {}  # IFA_F_NODAD
        route.addr("replace", index=index, address=str(address), prefixlen=length, **flags)
    route.link("set", index=index, state="up")


def _index(device: str) -> int:
    """An interface's number, 0 when there is none: pyroute2 would list all interfaces for it."""
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0


def _settings(network: Network) -> None:
    """Packets from 127.0.0.1 may leave for the bridge (a published port); a rule drops those that claim to come so."""
    if network.ipv4:
        _write(f"ipv4/conf/{network.device}/route_localnet", "1")


def remove(device: str) -> None:
    """Remove an interface of ours; none is no error."""
    index = _index(device)
    if not index:
        return
    with _route() as route:
        try:
            route.link("del", index=index)
        except Exception as error:
            raise _as_ours(error, f"remove the interface {device}") from error


def remove_all(devices: Sequence[str]) -> None:
    """Remove many interfaces of ours at once; those that are gone are no error."""
    indexes = [index for index in map(_index, devices) if index]
    if indexes:
        try:
            with Netlink() as netlink:
                links.delete_all(netlink, indexes)
        except OSError as error:
            raise _as_ours(error, "remove the bridges") from error


def make_parent(network: Network) -> None:
    """See that the parent of a macvlan or ipvlan is there and up.

    A VLAN ``eth0.10`` is made from eth0; without a parent one that leads nowhere is made (``--internal``).
    """
    with _route() as route:
        try:
            if not _index(network.device):
                _make_parent(route, network)
                route.link("set", index=_index(network.device), ifalias=_OURS)
            route.link("set", index=_index(network.device), state="up")
        except Exception as error:
            raise _as_ours(error, f"the parent interface {network.device}") from error


def _make_parent(route: Any, network: Network) -> None:
    if not network.options.get("parent"):
        route.link("add", ifname=network.device, kind="dummy")
        return
    base, dot, tag = network.device.rpartition(".")
    above = _index(base) if dot else 0
    if not above or not tag.isdecimal() or not 0 < int(tag) < 4095:
        raise InvalidArgument(
            f"the parent interface {network.device} does not exist on this host",
            hint="name an interface of `ip link`, or a VLAN of one, as in -o parent=eth0.10",
        )
    route.link("add", ifname=network.device, kind="vlan", link=above, vlan_id=int(tag))


def remove_parent(device: str) -> None:
    """Remove a parent interface if this engine made it."""
    index = _index(device)
    if not index:
        return
    with _route() as route:
        if route.link("get", index=index)[0].get("ifalias") == _OURS:
            route.link("del", index=index)


def routes(besides: set[str]) -> list[tuple[Prefix, str]]:
    """What the host routes, with the interface: prefixes of all tables but the local one and the default routes.

    Interfaces in ``besides`` are ours and left out. Not by pyroute2, which takes a second for a thousand of them.
    """
    names = dict(socket.if_nameindex())
    found: list[tuple[Prefix, str]] = []
    with Netlink() as netlink:
        for item in links.routes(netlink):
            device = names.get(item.interface, "")
            if device not in besides and not item.prefix.is_link_local and not item.prefix.is_multicast:
                found.append((item.prefix, device or "a gateway"))
    return found


def forward(version: int, marker: str) -> None:
    """Let the host forward packets of IP ``version``.

    Where it did not before, ``marker`` gets the names of the interfaces that there were: the firewall keeps the host
    from becoming a router between them. IPv6: an interface that listens to routers goes on doing so (accept_ra 2),
    which the kernel ends otherwise as soon as a host forwards (ip-sysctl.rst).
    """
    path = "ipv4/ip_forward" if version == 4 else "ipv6/conf/all/forwarding"
    if _read(path) == "1":
        return
    devices = sorted(name for _, name in socket.if_nameindex() if name != "lo")
    if version == 6:
        for device in [*devices, "default"]:
            if _read(f"ipv6/conf/{device}/accept_ra") == "1":
                _write(f"ipv6/conf/{device}/accept_ra", "2")
    else:
        fd = os.open(f"{marker}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, "\n".join(devices).encode())
        finally:
            os.close(fd)
        os.rename(f"{marker}.new", marker)
    _write(path, "1")


def outside(marker: str) -> list[str]:
    """The interfaces between which this host did not forward before an engine asked for it."""
    try:
        with open(marker, encoding="utf-8") as file:
            return [line for line in file.read(65536).splitlines() if line]
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(f"{_SYSCTL}/{path}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _write(path: str, value: str) -> None:
    if _read(path) == value:
        return
    try:
        with open(f"{_SYSCTL}/{path}", "w", encoding="ascii") as file:
            file.write(value)
    except FileNotFoundError:
        return  # a kernel without IPv6
    except OSError as error:
        raise Unsupported(
            f"cannot set net.{path.replace('/', '.')}: {error.strerror}", hint="networks need a writable /proc/sys"
        ) from error


def _kind(link: Any) -> str:
    info = link.get("linkinfo")
    return str(info.get("kind") or "") if info else ""


def _route() -> Any:
    import pyroute2

    return pyroute2.IPRoute()  # type: ignore[attr-defined,no-untyped-call]


def _as_ours(error: Exception, what: str) -> DockyardError:
    """pyroute2's errors carry an errno in ``code``."""
    if isinstance(error, DockyardError):
        return error
    code = getattr(error, "code", 0) or getattr(error, "errno", 0) or 0
    if code == errno.EOPNOTSUPP:
        return Unsupported(f"{what}: this kernel has no such interfaces", hint="load or build the module")
    if code == errno.EPERM:
        return Unsupported(f"{what}: not permitted", hint="the engine needs CAP_NET_ADMIN")
    return DockyardError(f"{what}: {os.strerror(code) if code else error}")
