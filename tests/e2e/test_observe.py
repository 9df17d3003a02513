"""top, stats, port, ps --size and its filters, system df, prune and dial-stdio."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import Engine, wait_until
from tests.terminal import Pty

Client = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def only_busybox(engine: Engine) -> Iterator[None]:
    """The images and volumes that a test makes go with it."""
    yield
    engine.remove_containers()
    engine.api("POST", '/volumes/prune?filters={"all":["true"]}')
    for image in engine.api("GET", "/images/json?all=1").body:
        for name in image["RepoTags"] or [image["Id"]]:
            if name not in ("host:latest", "busybox:test"):
                engine.api("DELETE", f"/images/{name}?force=1")


@pytest.fixture(params=["dockyard", "docker"])
def client(engine: Engine, request: pytest.FixtureRequest) -> Client:
    """Either command line."""
    return engine.dockyard if request.param == "dockyard" else engine.docker


def run(engine: Engine, name: str, *flags: str, command: tuple[str, ...] = ("sleep", "1000")) -> None:
    engine.busybox()
    engine.dockyard("run", "-d", "--name", name, *flags, "busybox:test", *command, check=True)


# --- top -------------------------------------------------------------------------------------------


def test_top(client: Client, engine: Engine) -> None:
    run(engine, "box", command=("sh", "-c", "sleep 500 & sleep 600 & wait"))
    wait_until(lambda: client("top", "box").stdout.count("sleep") >= 2, 10, "both run")
    lines = client("top", "box", check=True).stdout.splitlines()
    assert lines[0].split()[:3] == ["UID", "PID", "PPID"]
    assert str(engine.inspect("box")["State"]["Pid"]) in {line.split()[1] for line in lines[1:]}
    lines = client("top", "box", "-o", "pid,comm", check=True).stdout.splitlines()
    assert lines[0].split() == ["PID", "COMMAND"]
    assert {line.split()[1] for line in lines[1:]} == {"sleep", "sh"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none",), "No such container: none"),
        (("down",), "is not running"),
        (("box", "-o", "comm"), "Couldn't find PID field in ps output"),
        (("box", "--frobnicate"), "error running ps"),
    ],
)
def test_what_top_refuses(client: Client, engine: Engine, arguments: tuple[str, ...], message: str) -> None:
    run(engine, "box")
    engine.dockyard("create", "--name", "down", "busybox:test", "true", check=True)
    done = client("top", *arguments)
    assert done.returncode == 1
    assert message in done.stderr


# --- stats -----------------------------------------------------------------------------------------


def test_stats_once(client: Client, engine: Engine) -> None:
    run(engine, "busy", "--memory", "64m", command=("sh", "-c", "while :; do :; done"))
    run(engine, "idle")
    form = "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.MemPerc}} {{.NetIO}} {{.BlockIO}} {{.PIDs}}"
    lines = client("stats", "--no-stream", "--format", form, check=True).stdout.splitlines()
    shown = {line.split()[0]: line.split()[1:] for line in lines}
    assert set(shown) == {"busy", "idle"}
    assert float(shown["busy"][0].rstrip("%")) > 20
    assert float(shown["idle"][0].rstrip("%")) < 20
    assert shown["busy"][3] == "64MiB"
    assert shown["idle"][-1] == "1"
    table = client("stats", "--no-stream", "busy", check=True).stdout.splitlines()
    assert table[0].split()[:4] == ["CONTAINER", "ID", "NAME", "CPU"]
    assert len(table) == 2


def test_stats_of_what_is_down(client: Client, engine: Engine) -> None:
    run(engine, "up")
    engine.dockyard("create", "--name", "down", "busybox:test", "true", check=True)
    form = "{{.Name}} {{.PIDs}}"
    assert client("stats", "--no-stream", "--format", form, check=True).stdout == "up 1\n"
    both = client("stats", "-a", "--no-stream", "--format", form, check=True).stdout.splitlines()
    assert "up 1" in both
    assert len(both) == 2
    assert "No such container: none" in client("stats", "--no-stream", "none").stderr


def test_stats_go_on_on_a_terminal(engine: Engine) -> None:
    run(engine, "box")
    terminal = Pty([*engine.command, "stats"], env=engine.environment())
    try:
        terminal.expect("box")
        run(engine, "later")
        terminal.expect("later")
    finally:
        terminal.close()


def test_the_counters_of_a_document(engine: Engine) -> None:
    run(engine, "box", "--cpus", "0.2", command=("sh", "-c", "while :; do :; done"))

    def throttled() -> bool:
        found = engine.api("GET", "/containers/box/stats?stream=0&one-shot=1").body
        assert found["blkio_stats"].keys() == {"io_service_bytes_recursive"}
        return bool(found["cpu_stats"]["throttling_data"]["throttled_periods"])

    wait_until(throttled, 20, "its quota ends early")


# --- port ------------------------------------------------------------------------------------------


def test_port(client: Client, engine: Engine) -> None:
    run(engine, "box", "--expose", "80")
    assert client("port", "box", check=True).stdout == ""
    done = client("port", "box", "80")
    assert done.returncode == 1
    assert "No public port '80' published for box" in done.stderr
    assert "No such container: none" in client("port", "none").stderr


# --- ps --------------------------------------------------------------------------------------------


def test_sizes(client: Client, engine: Engine) -> None:
    run(engine, "box", command=("sh", "-c", "head -c 5000 /dev/zero > /f; sleep 1000"))
    wait_until(lambda: "5kB (virtual" in client("ps", "-s", check=True).stdout, 10, "the file is there")
    assert client("ps", "-s").stdout.splitlines()[0].endswith("SIZE")
    assert client("ps", "--format", "{{.Size}}").stdout.startswith("5kB (virtual")
    found = json.loads(client("inspect", "-s", "box", check=True).stdout)[0]
    assert found["SizeRw"] == 5000
    assert found["SizeRootFs"] > 5000


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (("status=running",), {"up"}),
        (("status=exited",), {"ended"}),
        (("exited=3",), {"ended"}),
        (("label=a",), {"up"}),
        (("label=a=c",), set()),
        (("expose=80",), {"up"}),
        (("expose=70-90/tcp",), {"up"}),
        (("expose=80/udp",), set()),
        (("publish=80",), set()),
        (("health=none",), {"up", "ended", "made"}),
        (("is-task=false",), {"up", "ended", "made"}),
        (("is-task=true",), set()),
        (("volume=data",), {"up"}),
        (("volume=/data",), {"up"}),
        (("name=e",), {"ended", "made"}),
        (("name=^/up$",), {"up"}),
        (("ancestor=busybox:test", "status=created"), {"made"}),
        (("network=none",), {"up", "ended", "made"}),
        (("before=ended",), {"up"}),
        (("since=up",), {"ended", "made"}),
    ],
)
def test_filters(client: Client, engine: Engine, filters: tuple[str, ...], names: set[str]) -> None:
    flags = ("--label", "a=b", "--expose", "80", "-v", "data:/data", "--network", "none")
    run(engine, "up", *flags)
    engine.dockyard("run", "--name", "ended", "--network", "none", "busybox:test", "sh", "-c", "exit 3")
    engine.dockyard("create", "--name", "made", "--network", "none", "busybox:test", "true", check=True)
    given = [word for each in filters for word in ("--filter", each)]
    done = client("ps", "-a", "--format", "{{.Names}}", *given, check=True)
    assert set(done.stdout.split()) == names


def test_last_and_latest(client: Client, engine: Engine) -> None:
    for name in ("c1", "c2", "c3"):
        engine.busybox()
        engine.dockyard("create", "--name", name, "busybox:test", "true", check=True)
    assert client("ps", "-n", "2", "--format", "{{.Names}}").stdout.split() == ["c3", "c2"]
    assert client("ps", "-l", "--format", "{{.Names}}").stdout.split() == ["c3"]
    assert len(client("ps", "-aq", "--no-trunc").stdout.split()[0]) == 64


# --- system ----------------------------------------------------------------------------------------


def test_df(client: Client, engine: Engine) -> None:
    run(engine, "up", "-v", "data:/data", command=("sh", "-c", "head -c 5000 /dev/zero > /data/f; sleep 1000"))
    engine.dockyard("run", "--name", "down", "busybox:test", "sh", "-c", "head -c 3000 /dev/zero > /f", check=True)
    engine.dockyard("volume", "create", "unused", check=True)

    def rows() -> dict[str, list[str]]:
        form = "{{.Type}};{{.TotalCount}};{{.Active}};{{.Size}};{{.Reclaimable}}"
        lines = client("system", "df", "--format", form, check=True).stdout.splitlines()
        return {line.split(";")[0]: line.split(";")[1:] for line in lines}

    wait_until(lambda: rows()["Local Volumes"][2] == "5kB", 10, "the volume's file is there")
    found = rows()
    assert found["Containers"] == ["2", "1", "3kB", "3kB (100%)"]
    assert found["Local Volumes"] == ["2", "1", "5kB", "0B (0%)"]
    assert found["Images"][:2] == ["2", "1"]
    assert found["Build Cache"][:3] == ["0", "0", "0B"]
    text = client("system", "df", "-v", check=True).stdout
    for part in ("Images space usage:", "Containers space usage:", "Local Volumes space usage:", "unused"):
        assert part in text


def test_df_counts_logs_and_interrupted_pulls(engine: Engine) -> None:
    engine.dockyard("run", "--name", "loud", "busybox:test", "head", "-c", "4000", "/dev/zero", check=True)
    (engine.root / "ingest" / ("a" * 64)).write_bytes(b"x" * 8192)
    lines = engine.dockyard("system", "df", "--format", "{{.Type}};{{.TotalCount}};{{.Size}}", check=True).stdout
    rows = {line.split(";")[0]: line.split(";")[1:] for line in lines.splitlines()}
    assert rows["Logs"][0] == "1"
    assert rows["Logs"][1] != "0B"
    assert rows["Interrupted Pulls"] == ["1", "8.192kB"]
    assert "loud" in engine.dockyard("system", "df", "-v", check=True).stdout.partition("Logs space usage:")[2]
    engine.dockyard("image", "prune", "-f", check=True)
    assert "Interrupted" not in engine.dockyard("system", "df", check=True).stdout


def test_system_prune(client: Client, engine: Engine) -> None:
    run(engine, "up")
    engine.dockyard("run", "--name", "down", "-v", "/anonymous", "busybox:test", "true", check=True)
    engine.dockyard("commit", "down", check=True)
    asked = client("system", "prune", input="n\n")
    assert "all stopped containers" in asked.stdout
    assert [c["Names"] for c in engine.containers()] == [["/up"], ["/down"]] or len(engine.containers()) == 2
    done = client("system", "prune", "-f", "--volumes", check=True).stdout
    assert "Deleted Containers:" in done
    assert "Deleted Volumes:" in done
    assert "Deleted Images:" in done
    assert "Total reclaimed space:" in done
    assert [c["Names"] for c in engine.containers()] == [["/up"]]


def test_dial_stdio_carries_a_request(engine: Engine) -> None:
    done = subprocess.run(
        [*engine.command, "system", "dial-stdio"],
        input=b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        env=engine.environment(), capture_output=True, timeout=20, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(b"HTTP/1.1 200 OK")
    assert done.stdout.endswith(b"OK")


def test_docker_over_ssh(engine: Engine, tmp_path: Path) -> None:
    """``docker -H ssh://`` runs ``docker system dial-stdio`` on the far side: here a program that plays ssh."""
    run(engine, "box")
    (tmp_path / "ssh").write_text(
        f"#!/bin/sh\nDOCKYARD_HOST=unix://{engine.socket} exec {' '.join(engine.command)} system dial-stdio\n"
    )
    (tmp_path / "ssh").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DOCKER_HOST": "ssh://somebody@far.example"}
    done = engine.docker("ps", "--format", "{{.Names}}", env=env)
    assert (done.returncode, done.stdout) == (0, "box\n"), done.stderr
    assert engine.docker("exec", "box", "echo", "there", env=env).stdout == "there\n"
    done = engine.docker("run", "--rm", "-i", "busybox:test", "cat", env=env, input="through")
    assert done.stdout == "through"
