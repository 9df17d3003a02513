"""``network …`` and ``port …`` as processes, against an engine of canned answers; the lines are docker 28.2's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.fake import Exchange, FakeEngine, Handler, dockyard
from tui.cli.rows import natural

Fake = Callable[[dict[str, Handler]], FakeEngine]
ID = "ab" * 32


def says(value: object, status: int = 200) -> Handler:
    return lambda exchange: exchange.reply(value, status)


def missing(name: str) -> Handler:
    return says({"message": f"network {name} not found"}, 404)


def network(name: str, **more: Any) -> dict[str, Any]:
    return {
        "Name": name, "Id": ID, "Created": "2026-11-27T06:21:19.34782692Z", "Scope": "local", "Driver": "bridge",
        "EnableIPv4": True, "EnableIPv6": False, "Internal": False, "Labels": {}, **more,
    }  # fmt: skip


NETWORKS = [
    network("n10", Labels={"c": "d", "a": "b"}),
    network("n2", Internal=True, EnableIPv6=True, Created="2026-11-27T06:21:19+02:00"),
    network("N3", Created="2026-11-27T06:21:19.500000000Z"),
    network("none", Driver="null", Created="0001-01-01T00:00:00Z", EnableIPv4=False),
]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            [],
            ("NETWORK ID     NAME      DRIVER    SCOPE\n"
            "abababababab   N3        bridge    local\n"
            "abababababab   n2        bridge    local\n"
            "abababababab   n10       bridge    local\n"
            "abababababab   none      null      local\n"),
        ),
        (["-q"], "abababababab\n" * 4),
        (["-q", "--format", "table", "--no-trunc"], f"{ID}\n" * 4),
        (["--format", "{{.ID}}", "--no-trunc"], f"{ID}\n" * 4),
        (
            ["--format", "table {{.Name}}\\t{{.IPv4}}\\t{{.IPv6}}\\t{{.Internal}}\\t{{.Labels}}\\t{{.Label \"a\"}}"],
            ("NAME      IPV4      IPV6      INTERNAL   LABELS    a\n"
            "N3        true      false     false                \n"
            "n2        true      true      true                 \n"
            "n10       true      false     false      a=b,c=d   b\n"
            "none      false     false     false                \n"),
        ),
        (
            ["--format", "{{.CreatedAt}}"],
            ("2026-11-27 06:21:19.5 +0000 UTC\n2026-11-27 06:21:19 +0200 +0200\n"
            "2026-11-27 06:21:19.34782692 +0000 UTC\n0001-01-01 00:00:00 +0000 UTC\n"),
        ),
    ],
)  # fmt: skip
def test_ls(fake: Fake, words: list[str], text: str) -> None:
    done = dockyard(fake({"GET /networks": says(NETWORKS)}), "network", "ls", *words)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, text, b"")


def test_ls_in_json(fake: Fake) -> None:
    done = dockyard(fake({"GET /networks": says(NETWORKS[:1])}), "network", "list", "--format", "json")
    assert json.loads(done.stdout) == {
        "CreatedAt": "2026-11-27 06:21:19.34782692 +0000 UTC", "Driver": "bridge", "ID": "abababababab",
        "IPv4": "true", "IPv6": "false", "Internal": "false", "Labels": "a=b,c=d", "Name": "n10", "Scope": "local",
    }  # fmt: skip


def test_ls_passes_filters(fake: Fake) -> None:
    engine = fake({"GET /networks": says([])})
    done = dockyard(engine, "network", "ls", "-f", "driver=bridge", "--filter", "label=a=b", "-f", "driver=null")
    assert done.stdout == b"NETWORK ID   NAME      DRIVER    SCOPE\n"
    asked = engine.asked()[0]
    assert asked.startswith("GET /networks?filters=%7B%22driver%22:%7B%22bridge%22:true%2C%22null%22:true%7D")


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (
            "{{.Nope}}",
            (
                'template parsing error: template: :1:2: executing "" at <.Nope>: can\'t evaluate field Nope in type '
                "*network.networkContext\n"
            ),
        ),
        ("{{.ID", "template parsing error: template: :1: unclosed action\n"),
    ],
)
def test_a_wrong_template(fake: Fake, form: str, why: str) -> None:
    done = dockyard(fake({"GET /networks": says(NETWORKS)}), "network", "ls", "--format", form)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", why)


def test_create(fake: Fake) -> None:
    engine = fake({"POST /networks/create": says({"Id": ID, "Warning": "mind the gap"}, 201)})
    done = dockyard(engine, "network", "create", "--subnet", "10.1.0.0/16", "--internal", "app")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, ID + "\n", b"WARNING: mind the gap\n")
    body = engine.requests[0].json()
    assert (body["Name"], body["Internal"]) == ("app", True)
    assert body["IPAM"]["Config"] == [{"Subnet": "10.1.0.0/16"}]


def test_connect_and_disconnect(fake: Fake) -> None:
    engine = fake({"POST /networks/a%2Fb/connect": says(None), "POST /networks/a%2Fb/disconnect": says(None)})
    for words in (["connect", "--alias", "x", "a/b", "box"], ["disconnect", "-f", "a/b", "box"]):
        done = dockyard(engine, "network", *words)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert [request.json() for request in engine.requests] == [
        {"Container": "box", "EndpointConfig": {"Aliases": ["x"]}},
        {"Container": "box", "Force": True},
    ]


def test_inspect(fake: Fake) -> None:
    routes = {"GET /networks/a": says({"Name": "a"}), "GET /networks/b": says({"Name": "b"})}
    engine = fake({**routes, "GET /networks/nope": missing("nope")})
    done = dockyard(engine, "network", "inspect", "a", "nope", "b")
    assert done.stdout == b'[\n    {\n        "Name": "a"\n    },\n    {\n        "Name": "b"\n    }\n]\n'
    assert (done.returncode, done.stderr) == (1, b"Error response from daemon: network nope not found\n")
    assert dockyard(engine, "network", "inspect", "-f", "{{.Name}}", "a", "b").stdout == b"a\nb\n"
    assert dockyard(engine, "network", "inspect", "-f", "json", "a", "b").stdout == b'[{"Name":"a"},{"Name":"b"}]\n'
    assert dockyard(engine, "network", "inspect", "-v", "a").returncode == 0
    assert engine.asked()[-1] == "GET /networks/a?verbose=true"
    done = dockyard(engine, "network", "inspect", "-f", "{{.Name", "a")
    assert (done.returncode, done.stderr) == (64, b"template parsing error: template: :1: unclosed action\n")


def test_rm(fake: Fake) -> None:
    used = says({"message": "error while removing network: network b has active endpoints"}, 403)
    engine = fake(
        {"DELETE /networks/a": says(None, 204), "DELETE /networks/b": used, "DELETE /networks/nope": missing("nope")}
    )
    done = dockyard(engine, "network", "rm", "nope", "b", "", "a")
    assert (done.returncode, done.stdout) == (1, b"a\n")
    assert done.stderr.decode().splitlines() == [
        "Error response from daemon: network nope not found",
        "Error response from daemon: error while removing network: network b has active endpoints",
        "invalid network name or ID: value is empty",
    ]
    done = dockyard(engine, "network", "remove", "-f", "nope", "a")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\n", b"")
    assert dockyard(engine, "network", "rm", "-f", "b").returncode == 1


def test_prune(fake: Fake) -> None:
    engine = fake({"POST /networks/prune": says({"NetworksDeleted": ["b", "a"]})})
    question = (
        b"WARNING! This will remove all custom networks not used by at least one container.\n"
        b"Are you sure you want to continue? [y/N] "
    )
    done = dockyard(engine, "network", "prune", input=b"n\n")
    assert (done.stdout, engine.asked()) == (question, [])
    done = dockyard(engine, "network", "prune", input=b"y\n")
    assert (done.returncode, done.stdout) == (0, question + b"Deleted Networks:\nb\na\n\n")
    done = dockyard(engine, "network", "prune", "-f", "--filter", "until=24h")
    assert done.stdout == b"Deleted Networks:\nb\na\n\n"
    assert engine.asked()[-1] == "POST /networks/prune?filters=%7B%22until%22:%7B%2224h%22:true%7D%7D"
    engine = fake({"POST /networks/prune": says({"NetworksDeleted": None})})
    assert dockyard(engine, "network", "prune", "-f").stdout == b""


# --- ports -----------------------------------------------------------------------------------------

PORTS = {
    "443/tcp": [{"HostIp": "0.0.0.0", "HostPort": "443"}, {"HostIp": "::", "HostPort": "443"}],
    "80/tcp": [
        {"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "0.0.0.0", "HostPort": "10080"},
        {"HostIp": "0.0.0.0", "HostPort": "9080"}, {"HostIp": "fd00::1", "HostPort": "80"},
    ],
    "80/udp": [{"HostIp": "", "HostPort": "5"}],
    "90/tcp": None,
    "91/tcp": [],
    "8080/sctp": [{"HostIp": "1.2.3.4", "HostPort": "1"}],
}  # fmt: skip
ALL = (
    "80/tcp -> 0.0.0.0:9080\n80/tcp -> 0.0.0.0:10080\n80/tcp -> 127.0.0.1:8080\n80/tcp -> [fd00::1]:80\n"
    "80/udp -> :5\n443/tcp -> 0.0.0.0:443\n443/tcp -> [::]:443\n8080/sctp -> 1.2.3.4:1\n"
)
TCP80 = "0.0.0.0:9080\n0.0.0.0:10080\n127.0.0.1:8080\n[fd00::1]:80\n"


def container(ports: dict[str, Any]) -> Handler:
    return says({"NetworkSettings": {"Ports": ports}})


@pytest.mark.parametrize(
    ("words", "out", "why"),
    [
        ([], ALL, ""),
        ([""], ALL, ""),
        (["80"], TCP80, ""),
        (["80/"], TCP80, ""),
        (["80/udp"], ":5\n", ""),
        (["8080"], "", "Error: No public port '8080' published for x\n"),
        (["90"], "", "Error: No public port '90' published for x\n"),
        (["91"], "", "Error: No public port '91' published for x\n"),
        (["80/foo"], "", "Error: No public port '80/foo' published for x\n"),
        (["a"], "", "Error: invalid port (a): write PORT[/PROTOCOL]\n"),
        (["65536"], "", "Error: invalid port (65536): write PORT[/PROTOCOL]\n"),
    ],
)
def test_port(fake: Fake, words: list[str], out: str, why: str) -> None:
    done = dockyard(fake({"GET /containers/x/json": container(PORTS)}), "port", "x", *words)
    assert (done.stdout.decode(), done.stderr.decode(), done.returncode) == (out, why, int(bool(why)))


def bound(exchange: Exchange) -> None:
    """Each port where it was asked for, on any address both kinds, and a warning."""
    found = [
        {**port, "HostIp": address, "HostPort": port["HostPort"] or "49153"}
        for port in exchange.json()["Ports"]
        for address in ([port["HostIp"]] if port["HostIp"] else ["::", "0.0.0.0"])
    ]
    exchange.reply({"Ports": found, "Warnings": ["ufw is bypassed"]})


def test_port_add(fake: Fake) -> None:
    engine = fake({"POST /dockyard/v1/containers/web/ports": bound})
    done = dockyard(engine, "port", "add", "web", "8080:80", "[::1]:9000-9001:90-91/udp", "70")
    assert done.returncode == 0
    assert done.stdout.decode() == (
        "70/tcp -> 0.0.0.0:49153\n70/tcp -> [::]:49153\n80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n"
        "90/udp -> [::1]:9000\n91/udp -> [::1]:9001\n"
    )
    assert done.stderr == b"WARNING: ufw is bypassed\n"
    assert dockyard(engine, "container", "port", "add", "web", "80:80").returncode == 0


def test_port_add_to_a_container_that_is_down(fake: Fake) -> None:
    engine = fake({"POST /dockyard/v1/containers/web/ports": says({"Ports": [], "Warnings": []})})
    done = dockyard(engine, "port", "add", "web", "8080:80")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr == b"web is not running: its ports are published when it starts\n"


def test_port_rm(fake: Fake) -> None:
    engine = fake({"DELETE /dockyard/v1/containers/web/ports": says(None, 204)})
    done = dockyard(engine, "port", "rm", "web", "127.0.0.1:8080:80", "53/udp")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"127.0.0.1:8080:80\n53/udp\n", b"")
    assert engine.requests[0].json() == {
        "Ports": [
            {"HostIp": "127.0.0.1", "HostPort": "8080", "ContainerPort": "80/tcp"},
            {"HostIp": "", "HostPort": "", "ContainerPort": "53/udp"},
        ]
    }


@pytest.mark.parametrize("name", ["add", "rm"])
def test_a_container_of_that_name_is_still_reached(fake: Fake, name: str) -> None:
    engine = fake({f"GET /containers/{name}/json": container(PORTS)})
    assert dockyard(engine, "port", name).stdout.decode() == ALL
    assert dockyard(engine, "port", name, "80/tcp").stdout.decode() == TCP80
    assert dockyard(engine, "port", name, "80").stdout.decode() == TCP80


def test_port_add_without_a_container_is_explained(fake: Fake) -> None:
    engine = fake({"GET /containers/add/json": says({"message": "No such container: add"}, 404)})
    done = dockyard(engine, "port", "add")
    assert done.returncode == 1
    assert b"No such container: add" in done.stderr
    assert b"dockyard port add CONTAINER [[IP:]HOST_PORT:]PORT[/PROTO]..." in done.stderr


def test_a_name_server_that_only_the_container_has(fake: Fake) -> None:
    """After the engine's own warnings, and once: as docker's client does."""
    engine = fake({"POST /containers/create": says({"Id": ID, "Warnings": ["first", "second"]}, 201)})
    done = dockyard(engine, "create", "--dns", "1.1.1.1", "--dns", "127.0.0.53", "--dns", "::1", "box")
    assert done.stdout.decode() == ID + "\n"
    assert done.stderr.decode() == (
        "WARNING: first\nWARNING: second\nWARNING: Localhost DNS (127.0.0.53) may fail in containers.\n"
    )


def test_names_and_ports_are_sorted_by_their_numbers() -> None:
    names = ["n10", "n2", "n", "n1a", "n-1", "N2", "2", "10"]
    assert sorted(names, key=natural) == ["2", "10", "N2", "n", "n-1", "n1a", "n2", "n10"]
