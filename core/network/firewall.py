"""All networks and published ports as one nftables table. Pure: text in the language of nft(8).

What the chains do, in the order in which a packet meets them::

    raw          a packet from a container that claims to go to 127.0.0.0/8 is dropped: the bridges let such packets
                 through (route_localnet), so that 127.0.0.1:PORT can be published
    prerouting   a packet for one of the host's addresses and a published port gets the container's address.
    output       The map with the address in its key is asked first: a port published on 127.0.0.1 must not answer
                 on any other address, nor to a neighbour who sends a packet for 127.0.0.1
    forward      answers, and what stays on one bridge, pass; internal networks have no outside; into a bridge goes
                 only what was published, neither another network's packets nor a neighbour's
    postrouting  what leaves for the world gets the host's address; so does what a container sends to a published
                 port on its own bridge, or the answer would not come back by here

An accept in this table does not override a drop in another's: see :mod:`core.network.foreign`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.network.model import Network, Published

_ANY = {"0.0.0.0": "anywhere4", "::": "anywhere6"}
_MAPS = """\
    map published4 {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; {published4} }}
    map published6 {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; {published6} }}
    map anywhere4 {{ type inet_proto . inet_service : ipv4_addr . inet_service; {anywhere4} }}
    map anywhere6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; {anywhere6} }}
"""
_SETS = """\
    set bridges {{ type ifname; {bridges} }}
    set internal {{ type ifname; {internal} }}
    set outside {{ type ifname; {outside} }}
    set same {{ type ifname . ifname; {same} }}
    set own4 {{ type ifname . ipv4_addr; flags interval; {own4} }}
    set own6 {{ type ifname . ipv6_addr; flags interval; {own6} }}
    set masqueraded4 {{ type ipv4_addr; flags interval; {masqueraded4} }}
    set masqueraded6 {{ type ipv6_addr; flags interval; {masqueraded6} }}
"""
_CHAINS = """\
    chain raw {
        type filter hook prerouting priority raw; policy accept;
        ip daddr 127.0.0.0/8 iifname @bridges drop
    }
    chain publish {
        dnat ip to ip daddr . meta l4proto . th dport map @published4
        dnat ip to meta l4proto . th dport map @anywhere4
        dnat ip6 to ip6 daddr . meta l4proto . th dport map @published6
        dnat ip6 to meta l4proto . th dport map @anywhere6
    }
    chain prerouting {
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr 127.0.0.0/8 return
        fib daddr type local meta l4proto { tcp, udp, sctp } jump publish
    }
    chain output {
        type nat hook output priority -100; policy accept;
        ip6 daddr ::1 return
        fib daddr type local meta l4proto { tcp, udp, sctp } jump publish
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
        ct state established,related accept
        iifname . oifname @same accept
        iifname @internal drop
        oifname @internal drop
        oifname @bridges ct status dnat accept
        oifname @bridges drop
        iifname @outside oifname @outside ct status dnat accept
        iifname @outside oifname @outside drop
    }
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 127.0.0.0/8 oifname @bridges masquerade
        oifname . ip saddr @own4 ct status dnat masquerade
        oifname . ip6 saddr @own6 ct status dnat masquerade
        ip saddr @masqueraded4 oifname != @bridges masquerade
        ip6 saddr @masqueraded6 oifname != @bridges masquerade
    }
"""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """One published port and the container's address behind it."""

    published: Published
    address: str

    @property
    def map_name(self) -> str:
        """Which map it is in."""
        version = "6" if ":" in self.published.host_ip else "4"
        return _ANY.get(self.published.host_ip, f"published{version}")

    @property
    def element(self) -> str:
        """``127.0.0.1 . tcp . 8080 : 172.17.0.2 . 80``"""
        port = self.published
        address = "" if port.host_ip in _ANY else f"{port.host_ip} . "
        return f"{address}{port.protocol} . {port.host_port} : {self.address} . {port.port}"

    @property
    def key(self) -> str:
        """The element without what it leads to."""
        return self.element.partition(" : ")[0]


def table_name(engine: str) -> str:
    """The table of an engine: two engines on one machine have two."""
    return f"dockyard-{engine}"


def render(table: str, networks: Sequence[Network], ports: Iterable[Forwarding], outside: Iterable[str]) -> str:
    """The commands that put the whole table in force, in one transaction, whatever was there before."""
    bridges = [network for network in networks if network.driver == "bridge" and network.device]
    maps: dict[str, list[str]] = {name: [] for name in ("published4", "published6", "anywhere4", "anywhere6")}
    for port in ports:
        maps[port.map_name].append(port.element)
    sets = _sets(bridges) | {"outside": _quoted(outside)}
    return (
        f"add table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n"
        + _SETS.format(**{name: _elements(items) for name, items in sets.items()})
        + _MAPS.format(**{name: _elements(items) for name, items in maps.items()})
        + _CHAINS
        + "}\n"
    )


def add_network(table: str, network: Network) -> str:
    """The commands that add one bridge network to a table in force."""
    return _changes("add", table, _pairs(network))


def remove_network(table: str, network: Network) -> str:
    """The commands that take one bridge network out again."""
    return _changes("delete", table, _pairs(network))


def _pairs(network: Network) -> Iterable[tuple[str, str]]:
    return ((name, element) for name, elements in _sets([network]).items() for element in elements)


def publish(table: str, ports: Iterable[Forwarding]) -> str:
    """The commands that add published ports to a table in force."""
    return _changes("add", table, ((port.map_name, port.element) for port in ports))


def unpublish(table: str, ports: Iterable[Forwarding]) -> str:
    """The commands that take published ports out again."""
    return _changes("delete", table, ((port.map_name, port.key) for port in ports))


def _changes(verb: str, table: str, elements: Iterable[tuple[str, str]]) -> str:
    found: dict[str, list[str]] = {}
    for name, element in elements:
        found.setdefault(name, []).append(element)
    return "".join(f"{verb} element inet {table} {name} {{ {', '.join(items)} }}\n" for name, items in found.items())


def _quoted(names: Iterable[str]) -> list[str]:
    """Names of interfaces; one that could end the quotes is left out (the kernel takes nearly every byte)."""
    return [f'"{name}"' for name in names if not set(name) & set('"\\\n*')]


def _elements(items: Sequence[str]) -> str:
    return f"elements = {{ {', '.join(items)} }};" if items else ""


def _sets(bridges: Sequence[Network]) -> dict[str, list[str]]:
    """The elements of the sets that tell of networks."""
    names = [network.device for network in bridges]
    return {
        "bridges": _quoted(names),
        "internal": _quoted(network.device for network in bridges if network.internal),
        "same": [f'"{name}" . "{name}"' for name in names],
        "own4": _own(bridges, 4),
        "own6": _own(bridges, 6),
        "masqueraded4": _masqueraded(bridges, 4),
        "masqueraded6": _masqueraded(bridges, 6),
    }


def _own(bridges: Iterable[Network], version: int) -> list[str]:
    """Each bridge with its subnets. By the source, not by where a packet came from: br_netfilter does not say that."""
    return [
        f'"{network.device}" . {subnet.prefix}'
        for network in bridges
        for subnet in network.subnets
        if subnet.version == version
    ]


def _masqueraded(bridges: Iterable[Network], version: int) -> list[str]:
    return [
        str(subnet.prefix)
        for network in bridges
        if not network.internal and network.flag("com.docker.network.bridge.enable_ip_masquerade", True)
        for subnet in network.subnets
        if subnet.version == version
    ]
