"""Which subnet a network gets, which address an endpoint."""

from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

import pytest

from core.errors import Conflict, Exhausted, InvalidArgument
from core.network import ipam
from core.network.model import Network, Prefix, Subnet


def subnet(text: str, pool: str = "", gateway: str = "", **auxiliary: str) -> Subnet:
    prefix = ip_network(text)
    chosen = ip_address(gateway) if gateway else ipam.first_address(prefix)
    return Subnet(prefix, ip_network(pool) if pool else prefix, chosen, auxiliary, chosen=True)


def network(*subnets: Subnet, name: str = "app", ipv6: bool = False) -> Network:
    return Network("ab" * 32, name, 0, "bridge", "br0", subnets, ipv6=ipv6)


def test_a_thousand_networks_overlap_nobody() -> None:
    taken: list[Prefix] = [IPv4Network("172.17.0.0/16"), IPv4Network("172.20.0.0/16"), IPv4Network("10.0.0.0/8")]
    found: list[Prefix] = []
    for _ in range(1000):
        chosen = ipam.choose4(taken)
        taken.append(chosen)
        found.append(chosen)
    ordered = sorted(taken[:3] + found, key=lambda prefix: int(prefix.network_address))
    for left, right in itertools.pairwise(ordered):
        assert int(left.broadcast_address) < int(right.network_address)


def test_the_default_bridge_has_its_habitual_subnet_unless_it_is_routed() -> None:
    assert ipam.choose4([], first=ipam.DEFAULT_BRIDGE) == ipam.DEFAULT_BRIDGE
    routed = ipam.choose4([IPv4Network("172.17.4.0/24")], first=ipam.DEFAULT_BRIDGE)
    assert not routed.overlaps(ipam.DEFAULT_BRIDGE)


def test_pools_end() -> None:
    with pytest.raises(Exhausted, match="network prune"):
        ipam.choose4([IPv4Network("0.0.0.0/0")])


def test_ipv6_subnets_are_local_and_the_engines_own() -> None:
    first = ipam.choose6("main", "0001" + "0" * 60, [])
    assert first.subnet_of(IPv6Network("fd00::/8"))
    assert first.prefixlen == 64
    assert ipam.choose6("main", "0001" + "0" * 60, [first]) != first
    assert ipam.choose6("other", "0001" + "0" * 60, []) != first


@pytest.mark.parametrize("wanted", ["10.1.0.0/24", "10.0.0.0/8", "10.1.2.0/23"])
def test_an_overlap_names_the_other(wanted: str) -> None:
    other = network(subnet("10.1.0.0/16"), name="first")
    with pytest.raises(Conflict, match=r"10\.1\.0\.0/16 of network first"):
        ipam.check_overlap(ip_network(wanted), [other], [])
    with pytest.raises(Conflict, match="routes to tun0"):
        ipam.check_overlap(ip_network(wanted), [], [(ip_network("10.1.0.0/16"), "tun0")])
    ipam.check_overlap(ip_network("10.2.0.0/16"), [other], [(ip_network("fd00::/8"), "tun0")])


@pytest.mark.parametrize(
    ("text", "pool", "gateway", "taken", "wanted"),
    [
        ("10.0.0.0/24", "", "", [], "10.0.0.2"),
        ("10.0.0.0/24", "", "10.0.0.9", [], "10.0.0.1"),
        ("10.0.0.0/24", "10.0.0.128/25", "", [], "10.0.0.128"),
        ("10.0.0.0/24", "", "", ["10.0.0.2", "10.0.0.4"], "10.0.0.3"),
        ("10.0.0.0/30", "", "", [], "10.0.0.2"),
        ("10.0.0.0/31", "", "10.0.0.0", [], "10.0.0.1"),
        ("fd00::/64", "", "", ["fd00::2"], "fd00::3"),
        ("fd00::/126", "", "", [], "fd00::2"),
    ],
)
def test_the_lowest_free_address(text: str, pool: str, gateway: str, taken: list[str], wanted: str) -> None:
    assert str(ipam.allocate(subnet(text, pool, gateway), taken)) == wanted


def test_an_address_of_somebody_else_is_not_given() -> None:
    named = replace(subnet("10.0.0.0/29"), auxiliary={"router": "10.0.0.2", "printer": "10.0.0.3"})
    assert ipam.allocate(named, []) == IPv4Address("10.0.0.4")
    with pytest.raises(Exhausted, match=r"10\.0\.0\.0/29"):
        ipam.allocate(named, ["10.0.0.4", "10.0.0.5", "10.0.0.6"])


@pytest.mark.parametrize(
    ("wanted", "error", "text"),
    [
        ("10.9.0.5", InvalidArgument, "no configured subnet"),
        ("fd00::5", InvalidArgument, "no IPv6"),
        ("10.0.0.1", Conflict, "belongs to network app itself"),
        ("10.0.0.0", Conflict, "belongs to network app itself"),
        ("10.0.0.255", Conflict, "belongs to network app itself"),
        ("10.0.0.7", Conflict, "Address already in use"),
    ],
)
def test_a_fixed_address_that_cannot_be(wanted: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ipam.check_fixed(network(subnet("10.0.0.0/24")), ip_address(wanted), ["10.0.0.7"])


def test_hardware_addresses_follow_the_ip_address() -> None:
    assert ipam.hardware_address("172.17.0.2", "ff" * 32) == "02:42:ac:11:00:02"
    assert ipam.hardware_address("", "a1b2c3d4" + "0" * 56) == "02:42:a1:b2:c3:d4"
