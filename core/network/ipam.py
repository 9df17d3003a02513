"""Addresses: which subnet a network gets, which address an endpoint. Pure.

Docker's pools end after thirty networks and collide with VPNs; these give a thousand, and go around whatever the host
routes already.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address

from core.errors import Conflict, Exhausted, InvalidArgument
from core.network.model import Address, Network, Prefix, Subnet

#: The default bridge's, then (range, size of each subnet) in the order in which they are used.
DEFAULT_BRIDGE = IPv4Network("172.17.0.0/16")
POOLS = (
    (IPv4Network("172.18.0.0/15"), 22),
    (IPv4Network("172.20.0.0/14"), 22),
    (IPv4Network("172.24.0.0/13"), 22),
    (IPv4Network("192.168.0.0/16"), 24),
    (IPv4Network("10.192.0.0/10"), 22),
)


class Taken:
    """Prefixes that are in use, of one IP version, for many questions of the kind "is this one free"."""

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        spans = sorted((int(p.network_address), int(p.broadcast_address)) for p in prefixes)
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in spans:
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def overlaps(self, start: int, end: int) -> bool:
        """Whether any address from ``start`` to ``end`` is in use."""
        position = bisect_right(self._starts, end)
        return position > 0 and self._ends[position - 1] >= start


def choose4(taken: Iterable[Prefix], *, first: IPv4Network | None = None) -> IPv4Network:
    """A free IPv4 subnet of the pools, ``first`` when it is one. Raises Exhausted."""
    spans = Taken(prefix for prefix in taken if prefix.version == 4)
    for start, length in _candidates(first):
        if not spans.overlaps(start, start + (1 << (32 - length)) - 1):
            return IPv4Network((start, length))
    raise Exhausted(
        "all predefined address pools have been fully subnetted",
        hint="remove networks (dockyard network prune), or give this one a --subnet",
    )


def _candidates(first: IPv4Network | None) -> Iterator[tuple[int, int]]:
    if first is not None:
        yield int(first.network_address), first.prefixlen
    for pool, length in POOLS:
        size = 1 << (32 - length)
        for start in range(int(pool.network_address), int(pool.broadcast_address) + 1, size):
            yield start, length


def choose6(engine: str, network_id: str, taken: Iterable[Prefix]) -> IPv6Network:
    """A unique local /64 (RFC 4193): 40 bits stand for the engine, 16 for the network."""
    spans = Taken(prefix for prefix in taken if prefix.version == 6)
    site = int.from_bytes(hashlib.sha256(f"dockyard {engine}".encode()).digest()[:5], "big")
    start = int(network_id[:4], 16)
    for step in range(1 << 16):
        prefix = IPv6Network(((0xFD << 120) | site << 80 | ((start + step) & 0xFFFF) << 64, 64))
        if not spans.overlaps(int(prefix.network_address), int(prefix.broadcast_address)):
            return prefix
    raise Exhausted("all IPv6 subnets of this engine are in use", hint="give the network a --subnet")


def check_overlap(wanted: Prefix, networks: Iterable[Network], routes: Iterable[tuple[Prefix, str]]) -> None:
    """Raise Conflict, naming the other, when ``wanted`` overlaps a network of ours or a route of the host."""
    for network in networks:
        for subnet in network.subnets:
            if subnet.version == wanted.version and subnet.prefix.overlaps(wanted):
                raise Conflict(
                    f"invalid pool request: Pool overlaps with other one on this address space: "
                    f"{wanted} and {subnet.prefix} of network {network.name}"
                )
    for prefix, device in routes:
        if prefix.version == wanted.version and prefix.overlaps(wanted):
            raise Conflict(
                f"invalid pool request: Pool overlaps with other one on this address space: "
                f"{wanted} and {prefix}, which this host routes to {device}"
            )


def first_address(prefix: Prefix) -> Address:
    """The first address a machine may have in ``prefix``: the gateway's, by habit."""
    return prefix.network_address + (1 if prefix.prefixlen < prefix.max_prefixlen - 1 else 0)


def allocate(subnet: Subnet, taken: Collection[str]) -> Address:
    """The lowest free address of the subnet's pool. Raises Exhausted."""
    prefix, pool = subnet.prefix, subnet.pool
    used = {int(ip_address(address)) for address in taken if (":" in address) == (subnet.version == 6)}
    used |= {int(ip_address(address)) for address in subnet.auxiliary.values()}
    if subnet.gateway is not None:
        used.add(int(subnet.gateway))
    first, last = int(pool.network_address), int(pool.broadcast_address)
    if prefix.prefixlen < prefix.max_prefixlen - 1:
        # The network's own address, and in IPv4 everybody's.
        used.add(int(prefix.network_address))
        if subnet.version == 4:
            used.add(int(prefix.broadcast_address))
    for number in range(first, last + 1):
        if number not in used:
            return ip_address(number.to_bytes(4 if subnet.version == 4 else 16, "big"))
    raise Exhausted(f"no available addresses in {pool}", hint="remove containers of that network, or make a larger one")


def check_fixed(network: Network, wanted: Address, taken: Collection[str]) -> None:
    """Raise InvalidArgument or Conflict when an endpoint cannot have the address that was asked for."""
    if not (network.ipv6 if wanted.version == 6 else network.ipv4):
        raise InvalidArgument(
            f"invalid endpoint settings: network {network.name} has no IPv{wanted.version}: {wanted} cannot be used"
        )
    fits = [subnet for subnet in network.subnets if subnet.version == wanted.version and wanted in subnet.prefix]
    if not fits:
        ranges = ", ".join(str(subnet.prefix) for subnet in network.subnets)
        raise InvalidArgument(
            f"invalid endpoint settings: no configured subnet or ip-range of network {network.name} contains the IP "
            f"address {wanted}",
            hint=f"its subnets are {ranges}",
        )
    subnet = fits[0]
    ends = (
        {subnet.prefix.network_address, subnet.prefix.broadcast_address} if subnet.prefix.num_addresses > 2 else set()
    )
    if wanted == subnet.gateway or str(wanted) in subnet.auxiliary.values() or (wanted in ends and wanted.version == 4):
        raise Conflict(f"Address already in use: {wanted} belongs to network {network.name} itself")
    if str(wanted) in taken:
        raise Conflict(f"Address already in use: {wanted} on network {network.name}")


def hardware_address(address4: str, endpoint_id: str) -> str:
    """Docker's scheme: 02:42 and the IPv4 address, so that a neighbour's ARP entry stays true; else from the id."""
    if address4:
        return "02:42:" + ":".join(f"{byte:02x}" for byte in ip_address(address4).packed)
    return "02:42:" + ":".join(endpoint_id[i : i + 2] for i in range(0, 8, 2))
