"""rtnetlink(7) by hand, as much as a container's own init needs: a socket, batches of requests, acknowledgements."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

RTM_NEWLINK = 16
_NESTED = 0x8000
_NLM_F_REQUEST = 1
_NLM_F_ACK = 4
_NLM_F_DUMP = 0x300
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_DUMP_SIZE = 1 << 18
_IFF_UP = 1
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NLM_F_ACK_TLVS = 0x200
_NLMSGERR_ATTR_MSG = 1


class Netlink:
    """A route socket of the network namespace that the process is in *now*; it stays there when the process leaves."""

    def __init__(self, protocol: int = 0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        # Errors then quote the request's header alone, and say in words what was wrong with it.
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def request(self, kind: int, flags: int, body: bytes) -> bytes:
        """One message (struct nlmsghdr and ``body``) that asks to be acknowledged."""
        self._sequence += 1
        header = struct.pack("IHHII", 16 + len(body), kind, flags | _NLM_F_REQUEST | _NLM_F_ACK, self._sequence, 0)
        return header + body

    def run(self, requests: list[bytes], *, begin: bytes = b"", end: bytes = b"") -> None:
        """Send all and wait for all acknowledgements. Raises OSError for the first that was refused.

        ``begin`` and ``end`` are messages around them that are not acknowledged.
        """
        if not requests:
            return
        self._socket.send(begin + b"".join(requests) + end)
        waiting = len(requests)
        refused: OSError | None = None
        while waiting:
            data = self._socket.recv(65536)
            offset = 0
            while offset < len(data):
                length, kind, flags = struct.unpack_from("IHH", data, offset)
                if kind == _NLMSG_ERROR:
                    code = -struct.unpack_from("i", data, offset + 16)[0]
                    if code and refused is None:
                        words = _words(data[offset + 36 : offset + length]) if flags & _NLM_F_ACK_TLVS else ""
                        refused = OSError(code, words or os.strerror(code), "netlink")
                    waiting -= 1
                offset += (length + 3) & ~3
        if refused is not None:
            raise refused

    def dump(self, kind: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        """Ask for a list of things: (type, what follows struct nlmsghdr) of each. Raises OSError."""
        self._sequence += 1
        header = struct.pack("IHHII", 16 + len(body), kind, _NLM_F_REQUEST | _NLM_F_DUMP, self._sequence, 0)
        self._socket.send(header + body)
        while True:
            data = self._socket.recv(_DUMP_SIZE)
            offset = 0
            while offset + 16 <= len(data):
                length, found = struct.unpack_from("IH", data, offset)
                if found == _NLMSG_DONE:
                    return
                if found == _NLMSG_ERROR:
                    code = -struct.unpack_from("i", data, offset + 16)[0]
                    raise OSError(code, os.strerror(code), "netlink")
                yield found, data[offset + 16 : offset + length]
                offset += (length + 3) & ~3


def attribute(kind: int, data: bytes) -> bytes:
    """One struct nlattr, padded."""
    length = 4 + len(data)
    return struct.pack("HH", length, kind) + data + bytes(-length & 3)


def nested(kind: int, *inner: bytes) -> bytes:
    """One that holds others."""
    return attribute(kind | _NESTED, b"".join(inner))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each struct nlattr in ``data``."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, offset)
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += max(4, (length + 3) & ~3)


def _words(data: bytes) -> str:
    """The kernel's own text in an extended acknowledgement."""
    for kind, value in attributes(data):
        if kind == _NLMSGERR_ATTR_MSG:
            return value.rstrip(b"\0").decode(errors="replace")
    return ""


def link_up(netlink: Netlink, index: int) -> bytes:
    """The request that brings interface ``index`` up (struct ifinfomsg)."""
    return netlink.request(RTM_NEWLINK, 0, struct.pack("BxHiII", socket.AF_UNSPEC, 0, index, _IFF_UP, _IFF_UP))


def loopback_up() -> None:
    """Bring up ``lo``, interface 1 of every network namespace; the kernel gives it 127.0.0.1 and ::1 itself."""
    with Netlink() as netlink:
        netlink.run([link_up(netlink, 1)])
