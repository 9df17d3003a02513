"""Create requests: what is refused, by which name, and what is filled in."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from core.container.config import parse_create, parse_signal, parse_size
from core.errors import InvalidArgument, Unsupported

DOCKER_CLI_HOST_CONFIG: dict[str, Any] = {
    "Binds": None, "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": {}}, "NetworkMode": "bridge",
    "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "AutoRemove": True, "VolumeDriver": "",
    "VolumesFrom": None, "ConsoleSize": [24, 80], "CapAdd": None, "CapDrop": None, "CgroupnsMode": "", "Dns": [],
    "DnsOptions": [], "DnsSearch": [], "ExtraHosts": None, "GroupAdd": None, "IpcMode": "", "Cgroup": "", "Links": None,
    "OomScoreAdj": 0, "PidMode": "", "Privileged": False, "PublishAllPorts": False, "ReadonlyRootfs": False,
    "SecurityOpt": None, "UTSMode": "", "UsernsMode": "", "ShmSize": 0, "Isolation": "", "CpuShares": 0, "Memory": 0,
    "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0, "BlkioWeightDevice": [], "BlkioDeviceReadBps": [],
    "CpuPeriod": 0, "CpuQuota": 0, "CpusetCpus": "", "CpusetMems": "", "Devices": [], "DeviceCgroupRules": None,
    "DeviceRequests": None, "MemoryReservation": 0, "MemorySwap": 0, "MemorySwappiness": -1, "OomKillDisable": False,
    "PidsLimit": 0, "Ulimits": [], "MaskedPaths": None, "ReadonlyPaths": None,
}  # fmt: skip


def parse(host: dict[str, Any] | None = None, **members: Any) -> Any:
    return parse_create({"Image": "img", **members, "HostConfig": host or {}})


def test_the_docker_clients_own_request_is_taken() -> None:
    request = parse(DOCKER_CLI_HOST_CONFIG, Cmd=["sh"], Env=["A=1"], Labels={"a": "b"})
    assert request.config["Cmd"] == ["sh"]
    assert request.host_config["AutoRemove"] is True
    assert request.host_config["ConsoleSize"] == [24, 80]
    assert request.host_config["LogConfig"] == {"Type": "json-file", "Config": {}}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ({"IpcMode": "container:x"}, "--ipc"),
        ({"CgroupParent": "/x"}, "CgroupParent"),
        ({"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/n"}]}, "--device"),
        ({"Runtime": "kata"}, "Runtime"),
        ({"LogConfig": {"Type": "syslog"}}, "syslog"),
        ({"LogConfig": {"Config": {"labels": "x"}}}, "labels"),
        ({"SecurityOpt": ["label=type:x"]}, "label=type:x"),
        ({"SecurityOpt": ["apparmor=docker-default"]}, "apparmor"),
        ({"NetworkMode": "ns:/run/netns/x"}, "network mode"),
        ({"Binds": ["/a:/b:Z"]}, "Z"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(host: dict[str, Any], name: str) -> None:
    with pytest.raises(Unsupported, match=name):
        parse(host)


@pytest.mark.parametrize(
    ("members", "host", "name"),
    [
        ({"Image": ""}, {}, "Image"),
        ({"Tty": "yes"}, {}, "Tty"),
        ({"Env": "A=1"}, {}, "Env"),
        ({"Env": ["=x"]}, {}, "environment"),
        ({"Env": ["A=\0"]}, {}, "NUL"),
        ({"Cmd": [1]}, {}, r"Cmd\[0\]"),
        ({"Labels": {"a": 1}}, {}, "Labels.a"),
        ({"WorkingDir": "srv"}, {}, "working directory"),
        ({"StopSignal": "SIGWHAT"}, {}, "SIGWHAT"),
        ({"Hostname": "a b"}, {}, "hostname"),
        ({"StopTimeout": -2}, {}, "StopTimeout"),
        ({}, {"Memory": 1024}, "6MB"),
        ({}, {"Memory": "64m"}, "HostConfig.Memory"),
        ({}, {"Memory": 2**64}, "out of range"),
        ({}, {"MemorySwap": 64 << 20}, "MemorySwap"),
        ({}, {"NanoCpus": -1}, "NanoCpus"),
        ({}, {"NanoCpus": 1}, "CPUs"),
        ({}, {"NanoCpus": 10**9, "CpuQuota": 5000}, "Conflicting"),
        ({}, {"CpuPeriod": 5}, "period"),
        ({}, {"OomScoreAdj": 2000}, "oom score"),
        ({}, {"ConsoleSize": [1]}, "ConsoleSize"),
        ({}, {"ConsoleSize": [-1, 5]}, "ConsoleSize"),
        ({}, {"CapAdd": ["FLY"]}, "FLY"),
        ({}, {"LogConfig": {"Config": {"max-size": "big"}}}, "max-size"),
        ({}, {"LogConfig": {"Config": {"max-file": "0"}}}, "max-file"),
        ({}, {"Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 5}]}, "nofile"),
        ({"Domainname": "x\n192.0.2.1 evil"}, {}, "domain name"),
        ({"StopSignal": "9" * 5000}, {}, "Invalid signal"),
        ({}, {"LogConfig": {"Config": {"max-size": "9" * 400}}}, "max-size"),
        ({}, {"LogConfig": {"Config": {"max-file": "9" * 5000}}}, "max-file"),
        ({}, {"Ulimits": "abc"}, "Ulimits"),
        ({}, {"Ulimits": 5}, "Ulimits"),
        ({}, {"Ulimits": [{"Name": "nofile", "Soft": "1", "Hard": 5}]}, "Ulimits.Soft"),
        ({}, {"Ulimits": [{"Name": "nofile", "Soft": -5, "Hard": -9}]}, "nofile"),
        ({}, {"MaskedPaths": 5}, "MaskedPaths"),
        ({}, {"MaskedPaths": ["/proc", 5]}, "MaskedPaths"),
        ({}, {"MaskedPaths": ["proc"]}, "MaskedPaths"),
        ({}, {"ReadonlyPaths": ["/x\0y"]}, "ReadonlyPaths"),
        ({}, {"CpusetCpus": "../../x\n"}, "CpusetCpus"),
        ({}, {"Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": 5}]}, "BindOptions"),
        ({}, {"Mounts": [{"Type": "bind", "Source": "/a\0", "Target": "/b"}]}, "NUL"),
        ({}, {"Mounts": [{"Type": "tmpfs", "Target": "/b", "TmpfsOptions": {"SizeBytes": -1}}]}, "SizeBytes"),
        ({}, {"Mounts": [{"Type": "tmpfs", "Target": "/b", "TmpfsOptions": {"Mode": "a"}}]}, "Mode"),
        ({}, {"Mounts": [{"Type": "tmpfs", "Target": "/b\0"}]}, "mount path"),
        ({}, {"Binds": ["/a"]}, "/a"),
        ({}, {"Binds": ["/a:b"]}, "absolute"),
        ({}, {"Binds": ["/a:/"]}, "destination"),
        ({}, {"Binds": ["/a:/b", "/c:/b/"]}, "Duplicate"),
        ({}, {"Binds": ["/a:/b:odd"]}, "odd"),
        ({}, {"NetworkMode": "container:"}, "container"),
    ],
)
def test_bad_values_name_the_member(members: dict[str, Any], host: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidArgument, match=name):
        parse(host, **members)


@pytest.mark.parametrize("body", [None, [], "x", 3])
def test_a_body_must_be_an_object(body: Any) -> None:
    with pytest.raises(InvalidArgument, match="JSON object"):
        parse_create(body)


@pytest.mark.parametrize("name", ["a", "-a", "a b", "a/b", "ä1", "../x"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid container name"):
        parse_create({"Image": "img"}, name)


def test_an_unknown_member_is_ignored_as_docker_does() -> None:
    assert parse({"Future": 1}).host_config.get("Future") is None


def test_capabilities_are_written_in_full() -> None:
    host = parse({"CapAdd": ["sys_time", "CAP_NET_ADMIN"], "CapDrop": ["all"]}).host_config
    assert host["CapAdd"] == ["CAP_SYS_TIME", "CAP_NET_ADMIN"]
    assert host["CapDrop"] == ["ALL"]


@pytest.mark.parametrize(
    ("text", "size"), [("10m", 10 << 20), ("1.5g", 3 << 29), ("512K", 512 << 10), ("7", 7), ("2kb", 2048)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size("x", text) == size


@pytest.mark.parametrize("text", ["", "m", "-1m", "0", "1x", "1e3", "ten"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(InvalidArgument, match="max"):
        parse_size("max", text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", 15),
        ("SIGKILL", 9),
        ("sigint", 2),
        ("15", 15),
        ("RTMIN+3", signal.SIGRTMIN + 3),
        ("SIGRTMAX-1", signal.SIGRTMAX - 1),
    ],
)
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "SIG", "RTMIN+60", "NOPE"])
def test_bad_signals(text: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid signal"):
        parse_signal(text)
