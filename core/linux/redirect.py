"""One address and port led to another port of the same address, in the network namespace that the process is in.

The two rules that lead a container's port 53 to its resolver, as nf_tables messages (linux/netfilter/nf_tables.h). By
hand, because this happens at every start: libnftables takes ten times as long, and select(2) in it ends a process that
has more than 1024 files open.
"""

from __future__ import annotations

import socket
import struct

from core.linux.netlink import Netlink, attribute, nested

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEWTABLE, _NEWCHAIN, _NEWRULE = 0, 3, 6
_CREATE, _APPEND = 0x400, 0x800
_HOOK_OUTPUT = 3
_PRIORITY_DSTNAT = -100
_ACCEPT = 1
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_META_L4PROTO = 16
_NAT_DNAT = 1
_TABLE, _CHAIN = b"dockyard-resolver\0", b"output\0"


def redirect(address: str, port: int, target: int) -> None:
    """Lead UDP and TCP from here to ``address:port`` on to ``address:target``. Raises OSError."""
    host = socket.inet_aton(address)
    with Netlink(_NETLINK_NETFILTER) as netlink:
        requests = [
            _message(netlink, _NEWTABLE, _CREATE, attribute(1, _TABLE)),
            _message(netlink, _NEWCHAIN, _CREATE, _chain()),
        ]
        for protocol in (socket.IPPROTO_UDP, socket.IPPROTO_TCP):
            rule = _rule(protocol, host, port, target)
            requests.append(_message(netlink, _NEWRULE, _CREATE | _APPEND, rule))
        # A transaction is what lies between the two; nobody acknowledges them.
        netlink.run(requests, begin=_mark(_BATCH_BEGIN), end=_mark(_BATCH_END))


def _mark(kind: int) -> bytes:
    return struct.pack("IHHII", 20, kind, 1, 0, 0) + struct.pack(">BBH", 0, 0, _SUBSYSTEM)


def _message(netlink: Netlink, kind: int, flags: int, body: bytes) -> bytes:
    header = struct.pack(">BBH", socket.AF_INET, 0, 0)
    return netlink.request(_SUBSYSTEM << 8 | kind, flags, header + body)


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">i", value))


def _chain() -> bytes:
    """``type nat hook output priority dstnat; policy accept``"""
    hook = nested(4, _number(1, _HOOK_OUTPUT), _number(2, _PRIORITY_DSTNAT))
    return attribute(1, _TABLE) + attribute(3, _CHAIN) + hook + _number(5, _ACCEPT) + attribute(7, b"nat\0")


def _rule(protocol: int, host: bytes, port: int, target: int) -> bytes:
    """``ip daddr HOST meta l4proto PROTOCOL th dport PORT dnat to HOST:TARGET``"""
    expressions = (
        _expression(b"payload", _number(1, 1), _number(2, _NETWORK_HEADER), _number(3, 16), _number(4, 4)),
        _equals(host),
        _expression(b"meta", _number(2, _META_L4PROTO), _number(1, 1)),
        _equals(bytes([protocol])),
        _expression(b"payload", _number(1, 1), _number(2, _TRANSPORT_HEADER), _number(3, 2), _number(4, 2)),
        _equals(struct.pack(">H", port)),
        _expression(b"immediate", _number(1, 1), nested(2, attribute(1, host))),
        _expression(b"immediate", _number(1, 2), nested(2, attribute(1, struct.pack(">H", target)))),
        _expression(b"nat", _number(1, _NAT_DNAT), _number(2, socket.AF_INET), _number(3, 1), _number(5, 2)),
    )
    return attribute(1, _TABLE) + attribute(2, _CHAIN) + nested(4, *expressions)


def _equals(value: bytes) -> bytes:
    """Register 1 is ``value``, else the rule ends here."""
    return _expression(b"cmp", _number(1, 1), _number(2, 0), nested(3, attribute(1, value)))


def _expression(name: bytes, *attributes: bytes) -> bytes:
    return nested(1, attribute(1, name + b"\0"), nested(2, *attributes))
