"""Interfaces, addresses and routes: the requests of rtnetlink(7) that give a container its network.

The hot path of every start. One message makes a veth pair with one end in the container and the other a port of a
bridge; one batch inside configures the rest. The numbers are those of linux/rtnetlink.h, if_link.h and if_addr.h.
Each function returns one request for :meth:`core.linux.netlink.Netlink.run`.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import NamedTuple

from core.linux.netlink import RTM_NEWLINK, Netlink, attribute, attributes, nested

Address = IPv4Address | IPv6Address

_RTM_DELLINK = 17
_RTM_GETLINK = 18
_RTM_SETLINK = 19
_RTM_NEWADDR = 20
_RTM_DELADDR = 21
_RTM_NEWROUTE = 24
_RTM_DELROUTE = 25
_RTM_GETROUTE = 26
_RT_TABLE_LOCAL = 255
_RTA_DST = 1
_F_REPLACE = 0x100
_F_EXCL = 0x200
_F_CREATE = 0x400
_IFF_UP = 1

_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINK = 5
_IFLA_MASTER = 10
_IFLA_PROTINFO = 12
_IFLA_LINKINFO = 18
_IFLA_AF_SPEC = 26
_IFLA_GROUP = 27
_IFLA_NET_NS_FD = 28
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_VETH_INFO_PEER = 1
_IFLA_INET6_ADDR_GEN_MODE = 8
_IFLA_MACVLAN_MODE = 1
_IFLA_IPVLAN_MODE = 1
_IFLA_IPVLAN_FLAGS = 2
_IFLA_BRPORT_MODE = 4
_IFLA_BRPORT_ISOLATED = 33

_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_BROADCAST = 4
_IFA_F_NODAD = 2
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RT_TABLE_MAIN = 254
_RTPROT_BOOT = 3
_RT_SCOPE_LINK = 253
_RTN_UNICAST = 1

#: Requests in one packet.
_BATCH = 200

#: The kind of interface → its mode's name → the kernel's number (linux/if_link.h).
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("I", value))


def _name(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def _info(index: int = 0, flags: int = 0, change: int = 0, family: int = socket.AF_UNSPEC) -> bytes:
    """struct ifinfomsg"""
    return struct.pack("BxHiII", family, 0, index, flags, change)


def veth(netlink: Netlink, name: str, master: int, peer: str, namespace: int, mac: str, *, mtu: int = 0) -> bytes:
    """A veth pair: ``name`` here, up, a port of bridge ``master``; ``peer`` in the namespace ``namespace`` (an fd).

    The peer cannot come up in the same message (ENOTCONN): its namespace's own batch does that.
    """
    inner = _info() + _name(_IFLA_IFNAME, peer) + _number(_IFLA_NET_NS_FD, namespace) + _hardware(mac)
    outer = _name(_IFLA_IFNAME, name) + _number(_IFLA_MASTER, master)
    if mtu:
        inner += _number(_IFLA_MTU, mtu)
        outer += _number(_IFLA_MTU, mtu)
    kind = nested(
        _IFLA_LINKINFO,
        attribute(_IFLA_INFO_KIND, b"veth\0"),
        nested(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, inner)),
    )
    return netlink.request(RTM_NEWLINK, _F_CREATE | _F_EXCL, _info(0, _IFF_UP, _IFF_UP) + outer + kind)


def sub_interface(
    netlink: Netlink, kind: str, parent: int, peer: str, namespace: int, mac: str, mode: int, *,
    mtu: int = 0, flags: int = 0,
) -> bytes:  # fmt: skip
    """A ``macvlan`` or ``ipvlan`` on interface ``parent``, made in the namespace as ``peer``.

    An ipvlan has its parent's hardware address: ``mac`` is left out for it.
    """
    body = _name(_IFLA_IFNAME, peer) + _number(_IFLA_LINK, parent) + _number(_IFLA_NET_NS_FD, namespace)
    if mtu:
        body += _number(_IFLA_MTU, mtu)
    if kind == "macvlan":
        body += _hardware(mac)
        data = _number(_IFLA_MACVLAN_MODE, mode)
    else:
        data = attribute(_IFLA_IPVLAN_MODE, struct.pack("H", mode)) + attribute(
            _IFLA_IPVLAN_FLAGS, struct.pack("H", flags)
        )
    info = nested(_IFLA_LINKINFO, _name(_IFLA_INFO_KIND, kind), nested(_IFLA_INFO_DATA, data))
    return netlink.request(RTM_NEWLINK, _F_CREATE | _F_EXCL, _info() + body + info)


def _hardware(mac: str) -> bytes:
    return attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))) if mac else b""


def without_link_local(netlink: Netlink, index: int) -> bytes:
    """Before it comes up: no fe80 address appears by itself, so that an IPv4 network has no IPv6 at all.

    A message of its own: the kernel does not look at this when it makes an interface.
    """
    mode = nested(socket.AF_INET6, attribute(_IFLA_INET6_ADDR_GEN_MODE, b"\1"))
    return netlink.request(RTM_NEWLINK, 0, _info(index) + nested(_IFLA_AF_SPEC, mode))


def up(netlink: Netlink, index: int) -> bytes:
    """Bring an interface up."""
    return netlink.request(RTM_NEWLINK, 0, _info(index, _IFF_UP, _IFF_UP))


def enslave(netlink: Netlink, index: int, master: int) -> bytes:
    """Make an interface a port of bridge ``master`` and bring it up."""
    return netlink.request(RTM_NEWLINK, 0, _info(index, _IFF_UP, _IFF_UP) + _number(_IFLA_MASTER, master))


def delete(netlink: Netlink, index: int) -> bytes:
    """Remove an interface. The kernel takes up to 20 ms for a veth: a namespace's end does it for nothing."""
    return netlink.request(_RTM_DELLINK, 0, _info(index))


def delete_all(netlink: Netlink, indexes: Sequence[int]) -> None:
    """Remove interfaces in one go: the kernel waits once for a group of them, else for each. Raises OSError."""
    taken = {
        struct.unpack("I", value)[0]
        for kind, data in netlink.dump(_RTM_GETLINK, _info())
        if kind == RTM_NEWLINK
        for attribute, value in attributes(data[16:])
        if attribute == _IFLA_GROUP
    }
    group = next(number for number in iter(lambda: int.from_bytes(os.urandom(4), "big") >> 1, 0) if number not in taken)
    for first in range(0, len(indexes), _BATCH):
        piece = indexes[first : first + _BATCH]
        netlink.run([netlink.request(RTM_NEWLINK, 0, _info(index) + _number(_IFLA_GROUP, group)) for index in piece])
    netlink.run([netlink.request(_RTM_DELLINK, 0, _info() + _number(_IFLA_GROUP, group))])


def bridge_port(netlink: Netlink, index: int, *, hairpin: bool | None = None, isolated: bool | None = None) -> bytes:
    """``hairpin``: frames may leave by the port they came from. ``isolated``: they reach no other isolated port."""
    flags = b""
    if hairpin is not None:
        flags += attribute(_IFLA_BRPORT_MODE, bytes([hairpin]))
    if isolated is not None:
        flags += attribute(_IFLA_BRPORT_ISOLATED, bytes([isolated]))
    return netlink.request(_RTM_SETLINK, 0, _info(index, family=socket.AF_BRIDGE) + nested(_IFLA_PROTINFO, flags))


def address(netlink: Netlink, index: int, value: Address, prefix: int, *, remove: bool = False) -> bytes:
    """Give an interface an address; IPv6 without the second that duplicate address detection takes."""
    packed, family = value.packed, _family(value)
    flags = 0 if value.version == 4 else _IFA_F_NODAD
    body = struct.pack("BBBBi", family, prefix, flags, 0, index) + attribute(_IFA_LOCAL, packed)
    body += attribute(_IFA_ADDRESS, packed)
    if value.version == 4 and prefix < 31:
        host_bits = (1 << (32 - prefix)) - 1
        body += attribute(_IFA_BROADCAST, (int(value) | host_bits).to_bytes(4, "big"))
    if remove:
        return netlink.request(_RTM_DELADDR, 0, body)
    return netlink.request(_RTM_NEWADDR, _F_CREATE | _F_REPLACE, body)


def default_route(
    netlink: Netlink, index: int, gateway: Address | None, version: int, *, remove: bool = False
) -> bytes:
    """The default route of IP ``version``, by ``gateway``; None: everything is on the link (ipvlan l3)."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    scope = 0 if gateway is not None or version == 6 else _RT_SCOPE_LINK
    body = struct.pack("BBBBBBBBI", family, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, scope, _RTN_UNICAST, 0)
    if gateway is not None:
        body += attribute(_RTA_GATEWAY, gateway.packed)
    body += _number(_RTA_OIF, index)
    if remove:
        return netlink.request(_RTM_DELROUTE, 0, body)
    return netlink.request(_RTM_NEWROUTE, _F_CREATE | _F_REPLACE, body)


class Route(NamedTuple):
    """One route: where to, and by which interface (its number, 0 for several)."""

    prefix: IPv4Network | IPv6Network
    interface: int


def routes(netlink: Netlink) -> Iterator[Route]:
    """The unicast routes of all tables, without the local table's and the default ones. Raises OSError."""
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind, data in netlink.dump(_RTM_GETROUTE, struct.pack("BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)):
            _, length, _, _, table, _, _, type_ = struct.unpack_from("BBBBBBBB", data)
            if kind != _RTM_NEWROUTE or not length or table == _RT_TABLE_LOCAL or type_ != _RTN_UNICAST:
                continue
            found = dict(attributes(data[12:]))
            target, interface = found.get(_RTA_DST), found.get(_RTA_OIF)
            if target is not None:
                number = struct.unpack("I", interface)[0] if interface else 0
                yield Route(ip_network((target, length), strict=False), number)


def _family(value: Address) -> int:
    return socket.AF_INET if value.version == 4 else socket.AF_INET6
