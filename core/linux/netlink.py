"""rtnetlink(7) by hand, as much as a container's own init needs: a socket, batches of requests, acknowledgements."""

from __future__ import annotations

import os
import socket
import struct

RTM_NEWLINK = 16
_NLM_F_REQUEST = 1
_NLM_F_ACK = 4
_NLMSG_ERROR = 2
_IFF_UP = 1
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10


class Netlink:
    """A route socket of the network namespace that the process is in *now*; it stays there when the process leaves."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        # Errors then quote the request's header alone.
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, kind: int, flags: int, body: bytes) -> bytes:
        """One message (struct nlmsghdr and ``body``) that asks to be acknowledged."""
        self._sequence += 1
        header = struct.pack("IHHII", 16 + len(body), kind, flags | _NLM_F_REQUEST | _NLM_F_ACK, self._sequence, 0)
        return header + body

    def run(self, requests: list[bytes]) -> None:
        """Send all and wait for all acknowledgements. Raises OSError for the first that was refused."""
        self._socket.send(b"".join(requests))
        waiting = len(requests)
        while waiting:
            data = self._socket.recv(65536)
            offset = 0
            while offset < len(data):
                length, kind = struct.unpack_from("IH", data, offset)
                if kind == _NLMSG_ERROR:
                    code = -struct.unpack_from("i", data, offset + 16)[0]
                    if code:
                        raise OSError(code, os.strerror(code), "netlink")
                    waiting -= 1
                offset += (length + 3) & ~3


def link_up(netlink: Netlink, index: int) -> bytes:
    """The request that brings interface ``index`` up (struct ifinfomsg)."""
    return netlink.request(RTM_NEWLINK, 0, struct.pack("BxHiII", socket.AF_UNSPEC, 0, index, _IFF_UP, _IFF_UP))


def loopback_up() -> None:
    """Bring up ``lo``, interface 1 of every network namespace; the kernel gives it 127.0.0.1 and ::1 itself."""
    with Netlink() as netlink:
        netlink.run([link_up(netlink, 1)])
