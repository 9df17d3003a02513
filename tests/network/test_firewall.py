"""The rule set as text, and that the kernel takes it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from core.linux.nftables import Nftables, RulesRefused
from core.network import firewall
from core.network.firewall import Forwarding
from core.network.model import Network, Published, Subnet
from tests.network.namespace import NetNs

TABLE = "dockyard-test"


def network(name: str, *prefixes: str, internal: bool = False) -> Network:
    subnets = tuple(
        Subnet(ip_network(text), ip_network(text), ip_network(text).network_address + 1) for text in prefixes
    )
    return Network(name.ljust(64, "0"), name, 0, "bridge", f"br-{name}", subnets, internal)


def port(host_ip: str, number: int, address: str, protocol: str = "tcp") -> Forwarding:
    return Forwarding(Published("c" * 64, protocol, host_ip, number, 80), address)


PORTS = [
    port("0.0.0.0", 8080, "10.1.0.2"),
    port("127.0.0.1", 8081, "10.1.0.2", "udp"),
    port("::", 8080, "fd00::2"),
    port("fd00::1", 8082, "fd00::2", "sctp"),
]


def test_the_address_is_part_of_the_key() -> None:
    assert [(p.map_name, p.element) for p in PORTS] == [
        ("anywhere4", "tcp . 8080 : 10.1.0.2 . 80"),
        ("published4", "127.0.0.1 . udp . 8081 : 10.1.0.2 . 80"),
        ("anywhere6", "tcp . 8080 : fd00::2 . 80"),
        ("published6", "fd00::1 . sctp . 8082 : fd00::2 . 80"),
    ]


def test_internal_networks_and_those_without_masquerading_are_told_apart() -> None:
    plain, inner = network("plain", "10.1.0.0/24"), network("inner", "10.2.0.0/24", internal=True)
    routed = replace(
        network("routed", "10.3.0.0/24"), options={"com.docker.network.bridge.enable_ip_masquerade": "false"}
    )
    text = firewall.render(TABLE, [plain, inner, routed], [], ["eth0", 'odd"name'])
    assert 'set internal { type ifname; elements = { "br-inner" }; }' in text
    assert "set masqueraded4 { type ipv4_addr; flags interval; elements = { 10.1.0.0/24 }; }" in text
    assert 'set outside { type ifname; elements = { "eth0" }; }' in text


@pytest.mark.root
@pytest.mark.parametrize("count", [0, 2, 1000])
def test_the_kernel_takes_it_again_and_again(count: int) -> None:
    networks = [network(f"n{i}", f"10.{i // 256}.{i % 256}.0/24", f"fd00:{i:x}::/64") for i in range(count)]

    def work() -> list[str]:
        with Nftables() as nftables:
            for _ in range(2):
                nftables.run(firewall.render(TABLE, networks, PORTS, ["eth0"]))
            one = network("extra", "192.168.0.0/24")
            nftables.run(firewall.add_network(TABLE, one))
            nftables.run(firewall.remove_network(TABLE, one))
            many = [port("0.0.0.0", 10000 + i, "10.1.0.2") for i in range(1000)]
            nftables.run(firewall.publish(TABLE, many))
            with pytest.raises(RulesRefused):
                nftables.run(firewall.publish(TABLE, [port("0.0.0.0", 8080, "10.1.0.9")]))
            nftables.run(firewall.unpublish(TABLE, many + PORTS))
            with pytest.raises(RulesRefused):
                nftables.run(firewall.unpublish(TABLE, PORTS))
            maps = nftables.query("list ruleset")
            return [item["map"]["name"] for item in maps if "map" in item and item["map"].get("elem")]

    with NetNs() as namespace:
        assert namespace.inside(work) == []
