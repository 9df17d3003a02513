"""Published ports: what is asked for, and the sockets that hold them."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pytest

from core.errors import Conflict, DockyardError, Exhausted, InvalidArgument
from core.network import ports
from core.network.model import Published
from tests.network.namespace import NetNs


def nobody(port: Published) -> str:
    return ""


@pytest.mark.parametrize(("text", "found"), [("80", (80, "tcp")), ("53/udp", (53, "udp")), ("9/SCTP", (9, "sctp"))])
def test_ports(text: str, found: tuple[int, str]) -> None:
    assert ports.parse_port(text) == found


@pytest.mark.parametrize("text", ["", "0", "65536", "80/icmp", "x", "-1", "80-81", "8" * 5000])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid port"):
        ports.parse_port(text)


def test_bindings_have_dockers_form() -> None:
    found = ports.parse_bindings({"80/tcp": None, "81": [{"HostIp": "[::1]", "HostPort": "8081"}], "82/udp": [{}]})
    assert found == {
        "80/tcp": [{"HostIp": "", "HostPort": ""}],
        "81/tcp": [{"HostIp": "::1", "HostPort": "8081"}],
        "82/udp": [{"HostIp": "", "HostPort": ""}],
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "must be an object"),
        ({"80/tcp": "8080"}, "must be a list"),
        ({"80/tcp": ["8080"]}, "objects of HostIp"),
        ({"80/tcp": [{"HostPort": 8080}]}, "objects of HostIp"),
        ({"80/tcp": [{"HostPort": "99999"}]}, "1 to 65535"),
        ({"80/tcp": [{"HostPort": "90-80"}]}, "invalid port range"),
        ({"80/tcp": [{"HostIp": "here"}]}, "invalid IP address"),
        ({"80/tcp": [{"HostIp": "fe80::1%eth0"}]}, "invalid IP address"),
    ],
)
def test_refusals(value: Any, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        ports.parse_bindings(value)


def test_fixed_ports_come_before_random_ones() -> None:
    bindings = ports.parse_bindings({"80/tcp": [{"HostPort": ""}], "81/tcp": [{"HostPort": "8081"}]})
    found = ports.wanted(bindings, ["80/tcp", "82/udp"], publish_all=True)
    assert [(wish.port, wish.protocol, wish.first) for wish in found] == [
        (81, "tcp", 8081),
        (80, "tcp", 0),
        (82, "udp", 0),
    ]


def _take(wishes: list[ports.Wanted], whose: Any = nobody) -> list[Published]:
    held = ports.take("c" * 64, wishes, "", whose)
    ports.release(sock for _, sock in held)
    return [port for port, _ in held]


@pytest.mark.root
def test_a_random_port_is_the_same_for_both_versions() -> None:
    with NetNs() as namespace:
        found = namespace.inside(lambda: _take([ports.Wanted(80, "tcp", "", 0, 0)]))
    assert [port.host_ip for port in found] == ["0.0.0.0", "::"]
    assert len({port.host_port for port in found}) == 1
    assert found[0].host_port > 0


@pytest.mark.root
def test_the_first_free_port_of_a_range() -> None:
    def work() -> int:
        with socket.create_server(("127.0.0.1", 7000)):
            return _take([ports.Wanted(80, "tcp", "127.0.0.1", 7000, 7002)])[0].host_port

    with NetNs() as namespace:
        assert namespace.inside(work) == 7001


@pytest.mark.root
def test_who_has_a_port_is_told_and_nothing_is_kept() -> None:
    def work() -> str:
        before = len(os.listdir("/proc/self/fd"))
        with socket.create_server(("127.0.0.1", 7000)):
            wishes = [ports.Wanted(80, "tcp", "", 6000, 6000), ports.Wanted(81, "tcp", "127.0.0.1", 7000, 7000)]
            with pytest.raises(Conflict) as process:
                _take(wishes)
            with pytest.raises(Conflict, match="by container web"):
                _take(wishes, lambda port: "web")
        assert len(os.listdir("/proc/self/fd")) == before
        _take([ports.Wanted(80, "tcp", "", 6000, 6000)])
        return str(process.value)

    with NetNs() as namespace:
        told = namespace.inside(work)
    assert "127.0.0.1:7000/tcp failed: port is already allocated" in told
    assert f"(pid {os.getpid()})" in told


@pytest.mark.root
def test_an_address_that_is_not_the_hosts() -> None:
    with NetNs() as namespace, pytest.raises(DockyardError, match="no such address"):
        namespace.inside(lambda: _take([ports.Wanted(80, "udp", "192.0.2.99", 7000, 7000)]))


def test_too_many_open_files_say_what_to_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*args: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("socket.socket", none_left)
    with pytest.raises(Exhausted, match=r"the engine may open \d+: raise LimitNOFILE"):
        ports.take(
            "c", ports.wanted({"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}, (), publish_all=False), "", nobody
        )
