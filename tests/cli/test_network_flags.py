"""Flags of networks and ports → what is sent, held against what docker 28.2's client sent for the same words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.golden.network_lines import LINES
from tests.cli.golden.record_network import GOLDEN, essence
from tui.cli import create, flags, network, ports, verbs
from tui.cli.addresses import canonical, is_hardware, version
from tui.cli.errors import CliError, UsageError

CASES = json.loads(GOLDEN.read_text())


def parsed(line: list[str]) -> tuple[str, flags.Options]:
    """The verb, and its options."""
    name = " ".join(line[:2]) if line[0] == "network" else line[0]
    verb = verbs.find(name)
    assert verb is not None
    words = line[len(name.split()) :]
    return name, flags.parse(flags.Flags(verb.table), words, interspersed=verb.interspersed)


def sent(line: list[str]) -> dict[str, Any]:
    """The body of the request that ``line`` becomes."""
    name, options = parsed(line)
    if name == "create":
        return create.request(options)
    if name == "network create":
        return network.create_body(options)
    if name == "network connect":
        return network.connect_body(options)
    return network.disconnect_body(options)


@pytest.mark.parametrize("case", CASES, ids=[" ".join(case["line"])[:80] for case in CASES])
def test_as_docker_sends_it(case: dict[str, Any]) -> None:
    if "body" in case:
        assert essence(sent(case["line"])) == case["body"]
        return
    with pytest.raises(CliError) as caught:
        sent(case["line"])
    # Go's own reason behind a range is left out.
    why = case["error"].rpartition(" flag: ")[2].partition(", error: ")[0]
    assert why in caught.value.message
    assert caught.value.code == (1 if case["line"][0] == "network" and "invalid argument" not in case["error"] else 125)


def test_every_line_is_recorded() -> None:
    assert [case["line"] for case in CASES] == LINES
    assert sum("error" in case for case in CASES) >= 80


def test_a_network_is_created_with_the_very_members_of_dockers() -> None:
    found = sent("network create --ipv6 -o a=b --label l n".split())
    assert found == {
        "Driver": "bridge", "Scope": "", "IPAM": {"Driver": "default", "Options": {}, "Config": []}, "Internal": False,
        "Attachable": False, "Ingress": False, "ConfigOnly": False, "ConfigFrom": None, "Options": {"a": "b"},
        "Labels": {"l": ""}, "Name": "n", "EnableIPv6": True,
    }  # fmt: skip


#: What docker's client lets pass and its engine refuses, or nobody does: refused here before anything is sent.
STRICTER = [
    ("create -p 0 b", 'invalid argument "0" for "-p, --publish" flag: invalid containerPort: 0'),
    ("create -p 80:0 b", "invalid containerPort: 0"),
    ("create -p 80:0-2 b", "invalid containerPort: 0-2"),
    ("create -p 0-5:80 b", "invalid hostPort: 0-5"),
    ("create -p 80-81-82:80 b", "invalid hostPort: 80-81-82"),
    ("create -p 8²:80 b", "invalid hostPort: 8²"),
    ("create -p 99999999999999999999:80 b", "invalid hostPort: 99999999999999999999"),
    ("create -p published=8080 b", "no port specified: give target=PORT"),
    ("create -p target=80,publish=8080 b", "invalid field publish=8080"),
    ("create --expose 0 b", "invalid range format for --expose: 0, error: invalid port: 0"),
    ("create --expose 80/foo b", "invalid port format for --expose: 80/foo: invalid proto: foo"),
    ("create --ip zz b", 'invalid argument "zz" for "--ip" flag: invalid IPv4 address: zz'),
    ("create --ip ::1 b", "invalid IPv4 address: ::1"),
    ("create --ip6 1.2.3.4 b", 'for "--ip6" flag: invalid IPv6 address: 1.2.3.4'),
    ("create --network name=foo,ip=::1 b", "invalid IPv4 address: ::1"),
    ("create --network name=foo,ip6=1.2.3.4 b", "invalid IPv6 address: 1.2.3.4"),
    ("create --network name=foo,link-local-ip=zz b", "invalid IP address: zz"),
    ("create --link-local-ip zz b", 'for "--link-local-ip" flag: invalid IP address: zz'),
    ("create --network name= b", "network name/id is not specified"),
    ("create --network name=foo,alias= b", "invalid field alias="),
    ("create --mac-address 02:00:00:00:00:00:00:01 b", "is not a valid mac address"),
    ("network create --subnet zz n", "invalid subnet: invalid CIDR address: zz"),
    ("network create --subnet 10.1.0.0 n", "invalid CIDR address: 10.1.0.0"),
    ("network create --subnet 10.1.0.0/33 n", "invalid CIDR address: 10.1.0.0/33"),
    ("network create --subnet 10.1.0.0/255.255.0.0 n", "invalid CIDR address"),
    ("network create --subnet fe80::%1/64 n", "invalid CIDR address"),
    ("network create --subnet 10.1.0.0/16 --aux-address a n", "write NAME=ADDRESS"),
    ("network create --subnet 10.1.0.0/16 --aux-address a=zz n", "write NAME=ADDRESS"),
    ("network connect --ip zz n c", "invalid IPv4 address: zz"),
    ("network connect --ip6 1.2.3.4 n c", "invalid IPv6 address: 1.2.3.4"),
    ("network connect --link-local-ip zz n c", "invalid IP address: zz"),
    ("network connect --mac-address zz n c", "zz is not a valid mac address"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "why"), STRICTER)
def test_what_no_engine_would_take_is_not_sent(line: str, why: str) -> None:
    with pytest.raises(CliError) as caught:
        sent(line.split())
    assert why in caught.value.message


def test_a_name_in_etc_hosts_has_no_space() -> None:
    with pytest.raises(UsageError, match="bad format for add-host"):
        sent(["create", "--add-host", "a b:1.2.3.4", "x"])


@pytest.mark.parametrize(
    ("flag", "noun"),
    [("--config-only", ""), ("--config-from=x", ""), ("--ingress", "swarm"), ("--scope=swarm", "swarm")],
)
def test_networks_of_a_swarm_are_refused_by_name(flag: str, noun: str) -> None:
    with pytest.raises(CliError) as caught:
        parsed(["network", "create", flag, "n"])
    assert f"does not support {flag.partition('=')[0]} yet: " in caught.value.message
    assert noun in caught.value.message


def test_a_range_of_all_ports() -> None:
    found = ports.parse("1-65535:1-65535/udp")
    assert len(found) == 65535
    assert (found[-1].container, found[-1].host) == ("65535/udp", "65535")


def test_ports_of_a_container_that_exists() -> None:
    assert ports.request(["127.0.0.1:8080-8081:80-81", "53/udp"]) == {
        "Ports": [
            {"HostIp": "127.0.0.1", "HostPort": "8080", "ContainerPort": "80/tcp"},
            {"HostIp": "127.0.0.1", "HostPort": "8081", "ContainerPort": "81/tcp"},
            {"HostIp": "", "HostPort": "", "ContainerPort": "53/udp"},
        ]
    }
    with pytest.raises(UsageError, match=r'^invalid argument "x:80": invalid hostPort: x$'):
        ports.request(["x:80"])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.2.3.4", 4), ("0.0.0.0", 4), ("::", 6), ("fe80::1", 6), ("::ffff:1.2.3.4", 6), ("", 0), ("1.2.3", 0),
        ("1.2.3.04", 0), ("1.2.3.256", 0), ("1.2.3.4 ", 0), ("fe80::1%lo", 0), ("[::1]", 0), ("1.2.3.4/8", 0),
        ("1.2.3.4\0", 0), ("\ud800", 0), ("١.2.3.4", 0),
    ],
)  # fmt: skip
def test_addresses(text: str, number: int) -> None:
    assert version(text) == number


def test_the_one_form_of_an_address() -> None:
    assert canonical("2001:DB8:0:0::0001") == "2001:db8::1"
    assert canonical("10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("02:42:ac:11:00:0A", True), ("02-42-ac-11-00-0a", True), ("0242.ac11.000a", True), ("02:42:ac:11:00", False),
        ("0242:ac11:000a", False), ("02:42:ac:11:00:0", False), ("02:42:ac:11:00:0g", False), ("", False),
    ],
)  # fmt: skip
def test_hardware_addresses(text: str, valid: bool) -> None:
    assert is_hardware(text) is valid
