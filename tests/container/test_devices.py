"""Devices, namespaces and limits of a create request: what is refused, and what the spec says of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from core.container.devices import look_up
from core.container.specgen import namespaces, resources
from core.errors import InvalidArgument, Unsupported
from tests.container.records import make_container


def test_a_device_of_the_host() -> None:
    host = make_container({"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/mine"}]}).host_config
    found = look_up(host)
    assert [(node["path"], node["type"], node["major"], node["minor"]) for node in found.nodes] == [
        ("/dev/mine", "c", 1, 3)
    ]
    assert resources(host, found)["devices"][-1] == {
        "allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm",
    }  # fmt: skip


def test_rules_and_weight() -> None:
    host = make_container({"DeviceCgroupRules": ["b 8:* rm", "a *:* r"], "BlkioWeight": 300}).host_config
    found = look_up(host)
    assert found.rules == [
        {"allow": True, "type": "b", "major": 8, "access": "rm"},
        {"allow": True, "type": "a", "access": "r"},
    ]
    assert resources(host, found)["blockIO"] == {"weight": 300}


def test_a_limit_needs_a_block_device() -> None:
    host = make_container({"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 5}]}).host_config
    with pytest.raises(InvalidArgument, match="/dev/null is not a block device"):
        look_up(host)


def test_the_hosts_namespaces_are_not_named() -> None:
    host = make_container({"PidMode": "host", "IpcMode": "host", "UTSMode": "host", "CgroupnsMode": "host"})
    assert namespaces(host.host_config, "") == [{"type": "mount"}, {"type": "network"}]


def test_a_record_of_an_earlier_version() -> None:
    """It lacks the members that came later."""
    host = make_container().host_config
    for member in ("Devices", "DeviceCgroupRules", "BlkioWeight", "BlkioDeviceReadBps", "OomKillDisable"):
        del host[member]
    assert look_up(host).nodes == []
    assert "memory" not in resources(host)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"Devices": [{"PathOnHost": "dev/null"}]}, "not an absolute path"),
        ({"Devices": [{"PathOnHost": "/dev/null", "CgroupPermissions": "x"}]}, "invalid device mode"),
        ({"Devices": ["/dev/null"]}, "list of objects"),
        ({"DeviceCgroupRules": ["c 1:3 rwm\nx"]}, "invalid device cgroup rule"),
        ({"BlkioWeight": 1001}, "Range of blkio weight"),
        ({"BlkioDeviceReadIOps": [{"Path": "/dev/sda", "Rate": 0}]}, "--device-read-iops"),
        ({"MemorySwappiness": 101}, "0-100"),
        ({"IpcMode": "shared"}, "--ipc: invalid mode"),
        ({"UsernsMode": "keep-id"}, "--userns: invalid mode"),
        ({"Annotations": {"dev.dockyard.privileged": "true"}}, "belongs to the engine"),
        ({"NetworkMode": "host", "Sysctls": {"net/ipv4/ip_forward": "1"}}, "host network namespace"),
        ({"UTSMode": "host", "Sysctls": {"kernel.domainname": "x"}}, "host UTS namespace"),
    ],
)
def test_refused(host: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        make_container(host)


def test_a_node_outside_dev_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="--device"):
        make_container({"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/../etc/x"}]})
