"""Forgetting tracked flows (ctnetlink): a UDP flow goes on to where its first packet went, whatever the rules say now.

linux/netfilter/nfnetlink_conntrack.h; the filter is CTA_FILTER of Linux 5.8.
"""

from __future__ import annotations

import socket
import struct

from core.linux.netlink import Netlink, attribute, nested

_NETLINK_NETFILTER = 12
_DELETE = (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE
_CTA_TUPLE_ORIG = 1
_CTA_FILTER = 25
_CTA_FILTER_ORIG_FLAGS = 1
_CTA_TUPLE_PROTO = 2
_CTA_PROTO_NUM = 1
_CTA_PROTO_DST_PORT = 3
#: enum ctattr_filter bits (linux/netfilter/nf_conntrack_netlink.c): protocol number and destination port.
_FILTER_PROTO_NUM = 1 << 3
_FILTER_DST_PORT = 1 << 5


def forget_udp(ports: list[int]) -> None:
    """Drop the tracked UDP flows to these ports of this host, of both IP versions. Raises OSError."""
    with Netlink(_NETLINK_NETFILTER) as netlink:
        for port in ports:
            for family in (socket.AF_INET, socket.AF_INET6):
                try:
                    netlink.run([netlink.request(_DELETE, 0, struct.pack(">BBH", family, 0, 0) + _filter(port))])
                except FileNotFoundError:
                    continue  # there was none


def _filter(port: int) -> bytes:
    protocol = attribute(_CTA_PROTO_NUM, bytes([socket.IPPROTO_UDP]))
    protocol += attribute(_CTA_PROTO_DST_PORT, struct.pack(">H", port))
    flags = struct.pack("=I", _FILTER_PROTO_NUM | _FILTER_DST_PORT)
    return nested(_CTA_TUPLE_ORIG, nested(_CTA_TUPLE_PROTO, protocol)) + nested(
        _CTA_FILTER, attribute(_CTA_FILTER_ORIG_FLAGS, flags)
    )
