"""What a person may ask of a new network, and the words of a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import DockyardError
from core.network.options import parse_create


def parse(**members: Any) -> Any:
    return parse_create({"Name": "app", **members})


def test_a_plain_wish() -> None:
    wish = parse()
    assert (wish.name, wish.driver, wish.ipv4, wish.ipv6, wish.subnets) == ("app", "bridge", True, False, ())


def test_everything_that_is_taken() -> None:
    ranges = [
        {
            "Subnet": "10.7.0.0/16",
            "IPRange": "10.7.1.0/24",
            "Gateway": "10.7.0.9",
            "AuxiliaryAddresses": {"a": "10.7.0.5"},
        },
        {"Subnet": "fd00:7::/64"},
        {},
    ]
    wish = parse(
        Internal=True, Attachable=True, EnableIPv6=True, Labels={"a": "b"},
        IPAM={"Driver": "default", "Config": ranges},
        Options={"com.docker.network.driver.mtu": "1400", "com.docker.network.bridge.name": "br-mine", "x": "y"},
    )  # fmt: skip
    first, second = wish.subnets
    assert (str(first.pool), str(first.gateway), first.auxiliary) == ("10.7.1.0/24", "10.7.0.9", {"a": "10.7.0.5"})
    assert (str(second.prefix), str(second.gateway)) == ("fd00:7::/64", "fd00:7::1")
    assert (wish.internal, wish.attachable, wish.ipv6, wish.options["x"]) == (True, True, True, "y")


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"Name": ""}, "invalid network name"),
        ({"Name": "-a"}, "invalid network name"),
        ({"Name": "a\nb"}, "invalid network name"),
        ({"Name": "bridge"}, "predefined bridge"),
        ({"Name": "container"}, "predefined container"),
        ({"Name": 5}, "Name must be a string"),
        ({"Driver": "overlay"}, "overlay"),
        ({"Driver": "host"}, "only one instance"),
        ({"Scope": "swarm"}, "Scope swarm"),
        ({"Ingress": True}, "Ingress"),
        ({"ConfigOnly": True}, "ConfigOnly"),
        ({"ConfigFrom": {"Network": "x"}}, "ConfigFrom"),
        ({"EnableIPv4": False}, "IPv4 or IPv6"),
        ({"Options": []}, "Options must be an object"),
        ({"Labels": [1]}, "Labels must be an object"),
        ({"IPAM": {"Options": {"a": "b"}}}, "options of the IPAM driver"),
        *[
            ({"EnableIPv6": True, "IPAM": {"Config": [{"Subnet": subnet}]}}, text)
            for subnet, text in (
                ("224.0.0.0/24", "for groups"),
                ("ff00::/64", "for groups"),
                ("127.1.0.0/24", "talk with itself"),
                ("::1/128", "talk with itself"),
                ("169.254.0.0/24", "one link alone"),
                ("fe80::/64", "one link alone"),
                ("0.0.0.0/8", "no machine's"),
                ("::/64", "no machine's"),
                ("240.0.0.0/24", "reserved"),
                ("::ffff:10.0.0.0/104", "IPv6's clothes"),
                ("10.1.2.3/32", "has one address"),
                ("fd00::1/128", "has one address"),
                ("10.3.0.7/24", r"did you mean 10\.3\.0\.0/24\?"),
            )
        ],
        (
            {
                "IPAM": {
                    "Config": [
                        {"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.9", "AuxiliaryAddresses": {"a": "10.1.0.9"}}
                    ]
                }
            },
            "the gateway of",
        ),
        ({"Options": {"com.docker.network.driver.mtu": "١٥٠٠"}}, "invalid MTU"),
        ({"Internal": "yes"}, "Internal must be true or false"),
        ({"Labels": {"a": 1}}, "Labels"),
        ({"IPAM": {"Driver": "dhcp"}}, "IPAM driver"),
        ({"IPAM": {"Config": "x"}}, "IPAM.Config"),
        ({"IPAM": {"Config": [{"Subnet": "10.0.0.1/24"}]}}, "host bits"),
        ({"IPAM": {"Config": [{"Subnet": "x"}]}}, "invalid Subnet"),
        ({"IPAM": {"Config": [{"Gateway": "10.0.0.1"}]}}, "need a subnet"),
        ({"IPAM": {"Config": [{"Subnet": "10.0.0.0/24", "Gateway": "10.1.0.1"}]}}, "not in the subnet"),
        ({"IPAM": {"Config": [{"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.0"}]}}, "no machine has"),
        ({"IPAM": {"Config": [{"Subnet": "10.0.0.0/24", "IPRange": "10.1.0.0/24"}]}}, "not in the subnet"),
        ({"IPAM": {"Config": [{"Subnet": "fd00::/64"}]}}, "add --ipv6"),
        ({"IPAM": {"Config": [{"Subnet": "10.0.0.0/8"}, {"Subnet": "10.1.0.0/16"}]}}, "overlap"),
        ({"Options": {"com.docker.network.driver.mtu": "5"}}, "invalid MTU"),
        ({"Options": {"com.docker.network.bridge.name": 'a"b'}}, "no interface name"),
        ({"Options": {"com.docker.network.bridge.name": "a" * 16}}, "no interface name"),
        ({"Options": {"com.docker.network.bridge.enable_icc": "maybe"}}, "true or false"),
        ({"Options": {"com.docker.network.bridge.gateway_mode_ipv4": "routed"}}, "gateway_mode_ipv4"),
        ({"Options": {"com.docker.network.bridge.host_binding_ipv4": "x"}}, "not an IP address"),
        ({"Driver": "macvlan", "Options": {"macvlan_mode": "loud"}}, "macvlan_mode"),
        ({"Driver": "bridge", "Options": {"ipvlan_mode": "l2"}}, "for its driver"),
    ],
)
def test_refusals(members: dict[str, Any], text: str) -> None:
    with pytest.raises(DockyardError, match=text):
        parse(**members)


@pytest.mark.parametrize("body", [None, [], "x", 5])
def test_no_object(body: Any) -> None:
    with pytest.raises(DockyardError, match="JSON object"):
        parse_create(body)
