"""EndpointSettings: what is taken, what is refused."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from core.errors import DockyardError
from core.network.addresses import check_settings, parse_mac, parse_settings
from core.network.model import Network, Subnet


def test_what_was_not_asked_for_is_left_out() -> None:
    empty: dict[str, Any] = {
        "Aliases": None,
        "Links": [],
        "IPAMConfig": {},
        "MacAddress": "",
        "DriverOpts": None,
        "GwPriority": 0,
    }
    assert parse_settings("app", empty) == {} == parse_settings("app", None)
    full = {"Aliases": ["a", "a", "b_c.d"], "IPAMConfig": {"IPv4Address": "10.0.0.5", "IPv6Address": "FD00::5"}}
    assert parse_settings("app", full) == {
        "Aliases": ["a", "b_c.d"],
        "IPAMConfig": {"IPv4Address": "10.0.0.5", "IPv6Address": "fd00::5"},
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "must be an object"),
        ({"Aliases": "x"}, "list of strings"),
        ({"Aliases": ["a b"]}, "no host name"),
        ({"Aliases": ["x" * 64]}, "no host name"),
        ({"Aliases": ["a\n"]}, "no host name"),
        ({"IPAMConfig": {"IPv4Address": "fd00::1"}}, "invalid IPv4 address"),
        ({"IPAMConfig": {"IPv6Address": "x"}}, "invalid IPv6 address"),
        ({"IPAMConfig": {"LinkLocalIPs": ["x"]}}, "link-local"),
        ({"IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]}}, "link-local IP addresses"),
        ({"DriverOpts": {"com.docker.network.endpoint.ifname": "x"}}, "endpoint.ifname"),
        ({"MacAddress": "00:00:00:00:00:00"}, "is nobody's"),
        ({"MacAddress": "02:42"}, "not a valid mac address"),
        ({"MacAddress": "01:00:5e:00:00:01"}, "its first byte must be even"),
        ({"DriverOpts": {"a": 1}}, "DriverOpts"),
        ({"GwPriority": "high"}, "GwPriority"),
    ],
)
def test_refusals(value: Any, text: str) -> None:
    with pytest.raises(DockyardError, match=text):
        parse_settings("app", value)


@pytest.mark.parametrize("text", ["02:42:AC:11:00:02", "02-42-ac-11-00-02", "0242.ac11.0002"])
def test_hardware_addresses_as_people_write_them(text: str) -> None:
    assert parse_mac(text) == "02:42:ac:11:00:02"


def test_what_a_network_cannot_give() -> None:
    chosen = Subnet(ip_network("10.0.0.0/24"), ip_network("10.0.0.0/24"), chosen=True)
    automatic = Subnet(ip_network("10.0.0.0/24"), ip_network("10.0.0.0/24"))
    fixed = {"IPAMConfig": {"IPv4Address": "10.0.0.5"}}
    check_settings(Network("n", "app", 0, "bridge", subnets=(chosen,)), fixed)
    with pytest.raises(DockyardError, match="user configured subnets"):
        check_settings(Network("n", "app", 0, "bridge", subnets=(automatic,)), fixed)
    with pytest.raises(DockyardError, match="user defined networks only"):
        check_settings(Network("n", "bridge", 0, "bridge", subnets=(automatic,)), fixed)
    with pytest.raises(DockyardError, match="network-scoped alias"):
        check_settings(Network("n", "bridge", 0, "bridge"), {"Aliases": ["x"]})
    with pytest.raises(DockyardError, match="has no IPv6"):
        check_settings(Network("n", "app", 0, "bridge", subnets=(chosen,)), {"IPAMConfig": {"IPv6Address": "fd00::5"}})
