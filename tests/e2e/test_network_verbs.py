"""Networks and ports by both command lines on the same engine: what ours prints is what Docker's prints."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.test_same_output import said
from tests.support import Engine

DOCKER = pytest.mark.skipif(shutil.which("docker") is None, reason="the docker command line is not installed")

LINES = [
    ("network", "ls"),
    ("network", "ls", "-q"),
    ("network", "list", "--no-trunc"),
    ("network", "ls", "--format", "json"),
    ("network", "ls", "--format", "table {{.Name}}\t{{.IPv4}}\t{{.IPv6}}\t{{.Internal}}\t{{.Labels}}\t{{.CreatedAt}}"),
    ("network", "ls", "--filter", "type=custom", "--format", '{{.Name}} {{.Label "a"}}'),
    ("network", "ls", "-f", "name=net1", "-f", "driver=bridge", "-q"),
    ("network", "ls", "-f", "dangling=true", "--format", "{{.Name}}"),
    ("network", "inspect", "app"),
    ("network", "inspect", "app", "net2", "-f", "{{.Name}} {{json .Labels}}"),
    ("network", "inspect", "-f", "json", "net10"),
    ("inspect", "--type", "network", "app", "-f", "{{.Driver}}"),
    ("ps",),
    ("ps", "--format", "table {{.Names}}\t{{.Ports}}\t{{.Networks}}"),
    ("ps", "--format", "{{json .Ports}}"),
    ("ps", "--filter", "network=app", "--format", "{{.Names}}"),
    ("ps", "--filter", "network=nothing", "-q"),
    ("ps", "--filter", "publish=18443", "--format", "{{.Names}}"),
    ("ps", "--filter", "publish=19000-19001/tcp", "-q"),
    ("ps", "--filter", "expose=7000", "--format", "{{.Names}}"),
    ("port", "web"),
    ("port", "web", "443"),
    ("port", "web", "53/udp"),
    ("port", "plain"),
    ("container", "port", "web", "80/tcp"),
    ("run", "--rm", "--network", "app", "--dns", "192.0.2.9", "--dns-search", "x.y", "--dns-opt", "ndots:3",
     "busybox:test", "cat", "/etc/resolv.conf"),
    ("run", "--rm", "--add-host", "a:192.0.2.1", "--add-host", "b=host-gateway", "busybox:test", "grep", "-E",
     "[[:space:]][ab]$", "/etc/hosts"),
    ("run", "--rm", "--mac-address", "02:42:ac:11:00:99", "busybox:test", "cat", "/sys/class/net/eth0/address"),
    ("run", "--rm", "--network", "app", "--network", "name=net10,ip=10.79.0.44", "--ip", "10.77.0.44", "busybox:test",
     "sh", "-c", "ip -4 addr | grep -o 'inet 10[^ ]*'"),
]  # fmt: skip

WRONG = [
    ("network", "ls", "-f", "colour=red"),
    ("network", "ls", "--format", "{{.Nope}}"),
    ("network", "inspect", "nothing", "net2", "-f", "{{.Name}}"),
    ("network", "inspect", "-f", "{{.Foo", "net2"),
    ("network", "rm", "nothing"),
    ("network", "rm", "app"),
    ("network", "rm", "bridge"),
    ("network", "rm", ""),
    ("network", "connect", "nothing", "web"),
    ("network", "connect", "app", "nothing"),
    ("network", "connect", "app", "web"),
    ("network", "connect", "host", "web"),
    ("network", "disconnect", "net2", "web"),
    ("network", "create", "bridge"),
    ("network", "create", "app"),
    ("network", "create", "-d", "nothing", "x"),
    ("network", "create", "--subnet", "10.77.1.0/24", "x"),
    ("network", "create", "--subnet", "10.78.0.0/24", "--gateway", "10.79.0.1", "x"),
    ("network", "create", "--ipv4=false", "x"),
    ("network", "prune", "-f", "--filter", "colour=red"),
    ("port", "web", "7000"),
    ("port", "web", "53"),
    ("ps", "--filter", "publish=a"),
    ("run", "--rm", "-p", "18443:1", "busybox:test", "true"),
    ("run", "--rm", "--network", "nothing", "busybox:test", "true"),
    ("run", "--rm", "--network", "app", "--ip", "10.77.0.50", "busybox:test", "true"),
    ("run", "--rm", "--ip", "10.77.0.50", "busybox:test", "true"),
    ("run", "--rm", "--network", "container:web", "-p", "80:80", "busybox:test", "true"),
    ("run", "--rm", "--network", "container:web", "--dns", "192.0.2.1", "busybox:test", "true"),
]


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with networks, and ports of all kinds, which no line here changes."""
    engine = Engine(tmp_path_factory.mktemp("e"))
    engine.start()
    try:
        image = engine.busybox()
        networks: tuple[tuple[str, ...], ...] = (
            ("--label", "a=b", "--label", "c=d", "--subnet", "10.79.0.0/24", "net10"),
            ("--internal", "net2"),
            ("--ipv6", "--subnet", "fd00:1::/64", "Net3"),
            ("--subnet", "10.77.0.0/16", "--gateway", "10.77.0.1", "--aux-address", "x=10.77.0.9", "app"),
        )
        for flags in networks:
            engine.dockyard("network", "create", *flags, check=True)
        ports = "-p 127.0.0.1:18080:80 -p 18443:443 -p 19000-19002:9000-9002 -p 5353:53/udp -p 81:81 -p 82:82".split()
        more = ("--network", "app", "--network-alias", "www", "--expose", "7000")
        engine.dockyard("run", "-d", "--name", "web", *more, *ports, image, "sleep", "1000", check=True)
        engine.dockyard("run", "-d", "--name", "plain", image, "sleep", "1000", check=True)
        engine.dockyard("network", "connect", "--alias", "w2", "--ip", "10.77.0.50", "app", "plain", check=True)
        yield engine
    finally:
        engine.close()


@DOCKER
@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_what_is_printed(connected: Engine, line: tuple[str, ...]) -> None:
    # Ages change between two calls: both are asked until they agree.
    def both() -> tuple[str, str]:
        return connected.dockyard(*line, check=True).stdout, connected.docker(*line, check=True).stdout

    ours, theirs = next((pair for pair in (both(), both()) if pair[0] == pair[1]), both())
    assert ours == theirs


@DOCKER
@pytest.mark.parametrize("line", WRONG, ids=" ".join)
def test_what_is_refused(connected: Engine, line: tuple[str, ...]) -> None:
    ours, theirs = connected.dockyard(*line), connected.docker(*line)
    assert ours.returncode == theirs.returncode != 0
    assert ours.stdout == theirs.stdout
    # Of `network rm` docker 28.2 also prints Go's words for its own exit code.
    assert said(ours.stderr) == said(theirs.stderr).removesuffix(" exit status 1")


def test_the_life_of_a_network(engine: Engine) -> None:
    image = engine.busybox()
    identifier = engine.dockyard("network", "create", "life", check=True).stdout.strip()
    assert engine.dockyard("network", "ls", "-q", "--no-trunc", "-f", "name=life").stdout.split() == [identifier]
    engine.dockyard("run", "-d", "--name", "box", "--network", "none", image, "sleep", "1000", check=True)
    refused = engine.dockyard("network", "connect", "life", "box")
    assert refused.returncode == 1
    engine.dockyard("rm", "-f", "box", check=True)
    engine.dockyard("run", "-d", "--name", "box", image, "sleep", "1000", check=True)
    engine.dockyard("network", "connect", "--alias", "other", "life", "box", check=True)
    names = engine.inspect("box")["NetworkSettings"]["Networks"]
    assert set(names) == {"bridge", "life"}
    assert "other" in names["life"]["Aliases"]
    # A network in use is kept by prune, too.
    assert engine.dockyard("network", "prune", "-f").stdout == ""
    engine.dockyard("network", "disconnect", "life", "box", check=True)
    assert engine.dockyard("network", "prune", "-f").stdout == "Deleted Networks:\nlife\n\n"
    assert engine.dockyard("network", "rm", "life").returncode == 1
    assert engine.dockyard("network", "rm", "-f", "life").returncode == 0


def test_ports_of_a_running_container(engine: Engine) -> None:
    image = engine.busybox()
    engine.dockyard("run", "-d", "--name", "web", image, "httpd", "-f", "-h", "/etc", check=True)
    done = engine.dockyard("port", "add", "web", "127.0.0.1:8080:80", "127.0.0.1:8081-8082:81-82/udp", check=True)
    assert done.stdout == "80/tcp -> 127.0.0.1:8080\n81/udp -> 127.0.0.1:8081\n82/udp -> 127.0.0.1:8082\n"
    assert engine.dockyard("port", "web").stdout == done.stdout
    fetch = ["wget", "-q", "-O", "-", "http://127.0.0.1:8080/passwd"]
    assert "root" in engine.netns_run(["busybox", *fetch], check=True).stdout
    assert "127.0.0.1:8080->80/tcp" in engine.dockyard("ps").stdout
    taken = engine.dockyard("port", "add", "web", "127.0.0.1:8080:81")
    assert taken.returncode == 1
    assert "port is already allocated" in taken.stderr
    assert engine.dockyard("port", "rm", "web", "8080:80", "81-82/udp", check=True).stdout == "8080:80\n81-82/udp\n"
    assert engine.dockyard("port", "web").stdout == ""
    assert engine.netns_run(["busybox", *fetch]).returncode != 0
    assert "does not publish" in engine.dockyard("port", "rm", "web", "8080:80").stderr


def test_ports_of_a_container_that_is_down(engine: Engine) -> None:
    image = engine.busybox()
    engine.dockyard("create", "--name", "down", image, "sleep", "1000", check=True)
    done = engine.dockyard("port", "add", "down", "127.0.0.1:8090:80", check=True)
    assert done.stderr == "down is not running: its ports are published when it starts\n"
    engine.dockyard("start", "down", check=True)
    assert engine.dockyard("port", "down", "80").stdout == "127.0.0.1:8090\n"
