"""A network outside the engine's host: another machine on a cable, which is also the way to everywhere else."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from tests.network.namespace import NetNs

#: The engine's host and its neighbour; documentation ranges (RFC 5737, RFC 3849).
HOST, NEIGHBOUR = "192.0.2.1", "192.0.2.2"
HOST6, NEIGHBOUR6 = "2001:db8:1::1", "2001:db8:1::2"
SUBNET, SUBNET6 = "192.0.2.0/24", "2001:db8:1::/64"
#: Somewhere behind the neighbour: only a default route leads there.
OUTSIDE, OUTSIDE6 = "198.51.100.7", "2001:db8:2::7"
#: The host's interface on the cable, the parent of macvlan and ipvlan networks; and the neighbour's.
PARENT = "lan0"
INTERFACE = "eth0"


class Lan:
    """``neighbour`` is a namespace of its own; the host reaches it, and through it everywhere, by ``lan0``.

    The host has no firewall and the neighbour no routes to containers, as on any office network.
    """

    def __init__(self, host: NetNs) -> None:
        self.host = host
        self.neighbour = NetNs()
        try:
            self._connect()
        except BaseException:
            self.neighbour.close()
            raise

    def _connect(self) -> None:
        host, neighbour = self.host, self.neighbour
        host.ip("link", "add", PARENT, "type", "veth", "peer", "name", INTERFACE, "netns", neighbour.path)
        host.ip("link", "set", PARENT, "up")
        neighbour.ip("link", "set", INTERFACE, "up")
        for namespace, device, address, address6 in (
            (host, PARENT, HOST, HOST6),
            (neighbour, INTERFACE, NEIGHBOUR, NEIGHBOUR6),
        ):
            namespace.ip("address", "add", f"{address}/24", "dev", device)
            namespace.ip("address", "add", f"{address6}/64", "dev", device, "nodad")
        neighbour.ip("address", "add", f"{OUTSIDE}/32", "dev", "lo")
        neighbour.ip("address", "add", f"{OUTSIDE6}/128", "dev", "lo")
        host.ip("route", "add", "default", "via", NEIGHBOUR)
        host.ip("-6", "route", "add", "default", "via", NEIGHBOUR6)

    def route(self, prefix: str) -> None:
        """Let the neighbour send to ``prefix`` through the host, as somebody does who wants in."""
        via = HOST6 if ":" in prefix else HOST
        self.neighbour.ip("route", "replace", prefix, "via", via)

    def close(self) -> None:
        """Take the cable away, with all that hangs on it."""
        self.host.ip("link", "delete", PARENT)
        self.neighbour.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
