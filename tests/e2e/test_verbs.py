"""Every other verb, run for real: what it prints, its exit code, its effect."""

from __future__ import annotations

import json
import re
import select
import time

import pytest

from tests.support import Engine, wait_until


@pytest.fixture
def box(engine: Engine, busybox: str) -> str:
    """A running container called box."""
    engine.dockyard("run", "-d", "--name", "box", "--network", "none", busybox, "sleep", "1000", check=True)
    return "box"


def test_create_start_stop_rm(engine: Engine, busybox: str) -> None:
    created = engine.dockyard(
        "create",
        "--name",
        "box",
        busybox,
        "sh",
        "-c",
        "trap 'exit 0' TERM; while :; do sleep 0.1; done",
        check=True,
    )
    assert engine.inspect("box")["State"]["Status"] == "created"
    assert engine.dockyard("start", "box", check=True).stdout == "box\n"
    first = engine.inspect("box")["State"]
    assert first["Running"] is True
    assert engine.dockyard("start", "box").returncode == 0
    assert engine.dockyard("stop", "box", check=True).stdout == "box\n"
    assert engine.inspect("box")["State"]["ExitCode"] == 0
    assert engine.dockyard("start", "box", check=True).returncode == 0
    assert engine.inspect("box")["State"]["Pid"] not in (0, first["Pid"])
    refused = engine.dockyard("rm", "box")
    assert refused.returncode == 1
    assert "is running" in refused.stderr
    assert engine.dockyard("rm", "-f", "box", check=True).stdout == "box\n"
    assert engine.containers() == []
    assert re.fullmatch(r"[0-9a-f]{64}\n", created.stdout)


def test_stop_kills_what_does_not_listen(engine: Engine, busybox: str) -> None:
    engine.dockyard("run", "-d", "--name", "deaf", busybox, "sleep", "1000", check=True)
    begun = time.monotonic()
    engine.dockyard("stop", "-t", "1", "deaf", check=True)
    assert time.monotonic() - begun >= 1
    state = engine.inspect("deaf")
    assert state["State"]["ExitCode"] == 137
    assert "did not end when asked" in state["DockyardExplain"]


def test_kill_with_a_signal(engine: Engine, busybox: str) -> None:
    engine.dockyard(
        "run",
        "-d",
        "--name",
        "box",
        busybox,
        "sh",
        "-c",
        "trap 'echo hup; exit 8' HUP; echo up; while :; do sleep 0.1; done",
        check=True,
    )
    wait_until(lambda: "up" in engine.dockyard("logs", "box").stdout, 10, "the trap is set")
    assert engine.dockyard("kill", "-s", "HUP", "box", check=True).stdout == "box\n"
    assert engine.dockyard("wait", "box", check=True).stdout == "8\n"
    again = engine.dockyard("kill", "box")
    assert again.returncode == 1
    assert "is not running" in again.stderr
    assert "Invalid signal" in engine.dockyard("kill", "-s", "NOPE", "box").stderr


def test_wait_waits(engine: Engine, busybox: str) -> None:
    engine.dockyard("run", "-d", "--name", "box", busybox, "sh", "-c", "read x </dev/zero; exit 3", check=True)
    engine.dockyard("run", "-d", "--name", "other", busybox, "sleep", "1000", check=True)
    waiting = engine.popen("wait", "other")
    assert waiting.poll() is None
    engine.dockyard("kill", "other", check=True)
    out, _ = waiting.communicate(timeout=20)
    assert out == b"137\n"


def test_restart(engine: Engine, box: str) -> None:
    before = engine.inspect(box)["State"]
    engine.dockyard("restart", "-t", "0", box, check=True)
    after = engine.inspect(box)["State"]
    assert after["Running"] is True
    assert after["StartedAt"] > before["StartedAt"]


def test_ps(engine: Engine, box: str, busybox: str) -> None:
    engine.dockyard("create", "--name", "idle", "--label", "x=y", busybox, "true", check=True)
    lines = engine.dockyard("ps", check=True).stdout.splitlines()
    assert lines[0].split("  ")[0] == "CONTAINER ID"
    assert len(lines) == 2
    assert re.match(rf"{engine.inspect(box)['Id'][:12]}\s+{busybox}\s+\"sleep 1000\"\s+.*Up .*\s+box$", lines[1])
    assert len(engine.dockyard("ps", "-a", check=True).stdout.splitlines()) == 3
    assert (
        engine.dockyard("ps", "-aq", "--no-trunc", "--filter", "name=idle", check=True).stdout.strip()
        == engine.inspect("idle")["Id"]
    )
    assert engine.dockyard("ps", "-a", "--filter", "label=x=y", "--format", "{{.Names}}", check=True).stdout == "idle\n"
    assert engine.dockyard("ps", "-l", "-q", check=True).stdout.strip() == engine.inspect("idle")["Id"][:12]
    rows = [
        json.loads(line) for line in engine.dockyard("ps", "-a", "--format", "json", check=True).stdout.splitlines()
    ]
    assert {row["Names"] for row in rows} == {"box", "idle"}
    table = engine.dockyard("ps", "--format", "table {{.ID}}\t{{.Names}}", check=True).stdout.splitlines()
    assert table[0].split() == ["CONTAINER", "ID", "NAMES"]
    assert "invalid filter" in engine.dockyard("ps", "--filter", "odd=1").stderr


def test_logs(engine: Engine, busybox: str) -> None:
    script = "for i in 1 2 3 4 5; do echo line $i; done; echo bad >&2"
    engine.dockyard("run", "--name", "box", busybox, "sh", "-c", script, check=True)
    done = engine.dockyard("logs", "box", check=True)
    assert done.stdout == "".join(f"line {i}\n" for i in range(1, 6))
    assert done.stderr == "bad\n"
    assert engine.dockyard("logs", "-n", "1", "box", check=True).stderr == "bad\n"
    assert engine.dockyard("logs", "--tail", "3", "box", check=True).stdout == "line 4\nline 5\n"
    stamped = engine.dockyard("logs", "-t", "box", check=True).stdout.splitlines()[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line 1", stamped)
    assert engine.dockyard("logs", "--since", "1h", "box", check=True).stdout.count("\n") == 5
    assert engine.dockyard("logs", "--until", "1h", "box", check=True).stdout == ""
    missing = engine.dockyard("logs", "nobody")
    assert missing.returncode == 1
    assert "No such container: nobody" in missing.stderr


def test_logs_follow_ends_with_the_container(engine: Engine, busybox: str) -> None:
    engine.dockyard("run", "-d", "-i", "--name", "box", busybox, "sh", "-c", "echo first; head -n 1", check=True)
    follower = engine.popen("logs", "-f", "box")
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"first\n"
    typing = engine.popen("attach", "box")
    out, _ = typing.communicate(b"second\n", timeout=20)
    rest, _ = follower.communicate(timeout=20)
    assert rest == b"second\n"
    assert b"second" in out


def test_logs_rotate(engine: Engine, busybox: str) -> None:
    engine.dockyard(
        "run", "--rm=false", "--name", "box", "--log-opt", "max-size=64k", "--log-opt", "max-file=2", busybox,
        "sh", "-c", "seq 1 60000 >&1", check=True,
    )  # fmt: skip
    lines = engine.dockyard("logs", "box", check=True).stdout.splitlines()
    assert lines[-1] == "60000"
    assert 1000 < len(lines) < 40_000


def test_exec(engine: Engine, box: str) -> None:
    done = engine.dockyard(
        "exec", "-e", "A=1", "-w", "/etc", "-u", "1000", box, "sh", "-c", "echo $A $(pwd) $(id -u); exit 5"
    )
    assert (done.returncode, done.stdout) == (5, "1 /etc 1000\n")
    assert engine.dockyard("exec", "-i", box, "cat", input="in\n", check=True).stdout == "in\n"
    assert engine.dockyard("exec", box, "nope").returncode == 127
    assert engine.dockyard("exec", box, "/etc").returncode == 126
    assert engine.dockyard("exec", "-d", box, "touch", "/made", check=True).stdout == ""
    wait_until(lambda: engine.dockyard("exec", box, "ls", "/made").returncode == 0, 10, "the detached exec ran")
    caps = engine.dockyard("exec", box, "grep", "CapEff", "/proc/self/status", check=True).stdout.split()[1]
    assert caps == "00000000a80425fb"
    engine.dockyard("stop", "-t", "0", box, check=True)
    refused = engine.dockyard("exec", box, "true")
    assert refused.returncode == 1
    assert "is not running" in refused.stderr


def test_exec_is_in_every_namespace_and_cgroup(engine: Engine, box: str) -> None:
    links = "for n in mnt uts ipc pid net cgroup; do readlink /proc/1/ns/$n; readlink /proc/self/ns/$n; done"
    script = f"{links}; cat /proc/1/cgroup; echo; cat /proc/self/cgroup"
    out = engine.dockyard("exec", box, "sh", "-c", script, check=True).stdout
    ends = out.splitlines()[:12]
    assert ends[0::2] == ends[1::2]
    first, second = out.split("\n", 12)[12].split("\n\n")
    assert first.strip() == second.strip()


def test_attach_without_stdin(engine: Engine, busybox: str) -> None:
    engine.dockyard(
        "run",
        "-d",
        "--name",
        "box",
        busybox,
        "sh",
        "-c",
        "while ! [ -e /go ]; do sleep 0.05; done; echo went; exit 2",
        check=True,
    )
    client = engine.popen("attach", "--no-stdin", "box")
    wait_until(lambda: any(e["Action"] == "attach" for e in events(engine)), 10, "attached")
    engine.dockyard("exec", "box", "touch", "/go", check=True)
    out, _ = client.communicate(timeout=20)
    assert (client.returncode, out) == (2, b"went\n")


def events(engine: Engine, *args: str) -> list[dict[str, object]]:
    out = engine.dockyard("events", "--since", "1h", "--until", "0s", "--format", "json", *args, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def test_events(engine: Engine, busybox: str) -> None:
    engine.dockyard("run", "--rm", "--name", "loud", busybox, "sh", "-c", "exit 3")
    wait_until(
        lambda: any(e["Action"] == "destroy" for e in events(engine, "--filter", "container=loud")),
        10,
        "destroyed",
    )
    found = [str(e["Action"]) for e in events(engine, "--filter", "container=loud")]
    assert found == ["create", "attach", "start", "die", "destroy"]
    die = events(engine, "--filter", "container=loud", "--filter", "event=die")
    assert die[0]["Actor"]["Attributes"]["exitCode"] == "3"  # type: ignore[index]


def test_events_live(engine: Engine, busybox: str) -> None:
    listener = engine.popen(
        "events", "--filter", "type=container", "--format", "{{.Action}} {{.Actor.Attributes.name}}"
    )
    stdout = listener.stdout
    assert stdout is not None
    try:

        def heard() -> bool:
            engine.dockyard("create", "--name", "noise", busybox, "true")
            engine.dockyard("rm", "noise")
            return bool(select.select([stdout], [], [], 0.1)[0])

        # The listener may begin between the two: what is heard first is one of them.
        wait_until(heard, 20, "an event is heard")
        first = stdout.readline()
        assert first in (b"create noise\n", b"destroy noise\n")
        if first == b"create noise\n":
            assert stdout.readline() == b"destroy noise\n"
    finally:
        listener.terminate()
        listener.communicate()


def test_inspect(engine: Engine, box: str, busybox: str) -> None:
    document = json.loads(engine.dockyard("inspect", box, check=True).stdout)
    assert document[0]["Name"] == "/box"
    assert (
        engine.dockyard("inspect", "-f", "{{.State.Status}} {{.Config.Image}}", box, check=True).stdout
        == f"running {busybox}\n"
    )
    assert engine.dockyard("inspect", "-f", "{{json .Config.Cmd}}", box, check=True).stdout == '["sleep","1000"]\n'
    assert (
        engine.dockyard("inspect", "-f", "{{range .Config.Cmd}}<{{.}}>{{end}}", box, check=True).stdout
        == "<sleep><1000>\n"
    )
    image = json.loads(engine.dockyard("inspect", "--type", "image", busybox, check=True).stdout)
    assert busybox in image[0]["RepoTags"]
    missing = engine.dockyard("inspect", "nobody")
    assert missing.returncode == 1
    assert json.loads(missing.stdout) == []
    assert "nobody" in missing.stderr


def test_version_and_info(engine: Engine, busybox: str) -> None:
    version = json.loads(engine.dockyard("version", "--format", "json", check=True).stdout)
    assert version["Server"]["ApiVersion"] == "1.51"
    assert "Server" in engine.dockyard("version", check=True).stdout
    info = engine.dockyard("info", check=True).stdout
    assert "Containers: 0" in info
    assert "Cgroup Version" in info
    assert engine.dockyard("--version", check=True).stdout.startswith("Dockyard version ")


def test_several_at_once_and_a_missing_one(engine: Engine, busybox: str) -> None:
    for name in ("a1", "a2"):
        engine.dockyard("create", "--name", name, busybox, "true", check=True)
    done = engine.dockyard("rm", "a1", "nobody", "a2")
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["a1", "a2"]
    assert "No such container: nobody" in done.stderr


def test_why_it_ended_is_said(engine: Engine, busybox: str) -> None:
    engine.dockyard("run", "--name", "lost", busybox, "no-such-program")
    found = engine.inspect("lost")
    assert found["State"]["ExitCode"] == 127
    assert found["State"]["Status"] == "created"
    assert "no-such-program" in found["State"]["Error"]
    assert "(step exec)" in found["DockyardExplain"]
    assert "no-such-program" in engine.dockyard("ps", "-a", "--format", "{{.Reason}}", check=True).stdout


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:1", "unix:///no/such.sock", "ssh://x", "nonsense"])
def test_hosts_that_cannot_be_reached(engine: Engine, host: str) -> None:
    done = engine.dockyard("-H", host, "ps")
    assert done.returncode == 1
    assert host.partition("://")[2] in done.stderr or host in done.stderr
    assert "Traceback" not in done.stderr
