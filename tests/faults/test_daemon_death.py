"""The daemon dies at every numbered step; nothing may be lost or leaked."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
from functools import partial
from pathlib import Path

import pytest

from tests.support import Engine, wait_until


def create(engine: Engine, name: str = "box", **members: object) -> int:
    body = {
        "Image": "busybox:test",
        "Cmd": ["sleep", "1000"],
        "HostConfig": {"NetworkMode": "none"},
        **members,
    }
    return engine.api("POST", f"/containers/create?name={name}", body).status


def dying_request(engine: Engine, method: str, target: str, body: object = None) -> None:
    """A request during which the daemon dies: the connection ends without an answer."""
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        engine.api(method, target, body)
    assert engine.wait_exit() == -9


def armed(engine: Engine, point: str) -> None:
    """The same engine again, with a fault armed."""
    engine.stop()
    engine.start(env={"DOCKYARD_FAULT": point})


def is_empty(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def assert_clean(engine: Engine) -> None:
    """No container, no snapshot, no bundle, no log folder is left."""
    assert engine.containers() == []
    for folder in (engine.root / "snapshots", engine.root / "containers", engine.run / "c"):
        wait_until(partial(is_empty, folder), 10, f"{folder} is empty")


@pytest.mark.parametrize("step", [1, 2, 3])
def test_create(own_engine: Engine, step: int) -> None:
    own_engine.busybox()
    armed(own_engine, f"create:{step}")
    body = {"Image": "busybox:test", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}
    dying_request(own_engine, "POST", "/containers/create?name=box", body)
    own_engine.start()
    names = [c["Names"] for c in own_engine.containers()]
    assert names == ([["/box"]] if step == 3 else [])
    if step < 3:
        assert create(own_engine) == 201
    assert own_engine.api("POST", "/containers/box/start").status == 204
    own_engine.remove_containers()
    assert_clean(own_engine)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 6])
def test_start(own_engine: Engine, step: int) -> None:
    own_engine.busybox()
    assert create(own_engine) == 201
    armed(own_engine, f"start:{step}")
    dying_request(own_engine, "POST", "/containers/box/start")
    own_engine.start()
    state = own_engine.inspect("box")["State"]
    if step >= 5:
        assert state["Running"] is True, state
        assert own_engine.dockyard("exec", "box", "echo", "alive", check=True).stdout == "alive\n"
    else:
        assert state["Status"] == "created", state
        assert "starting" in state["Error"]
        assert own_engine.api("POST", "/containers/box/start").status == 204
        assert own_engine.inspect("box")["State"]["Error"] == ""
    own_engine.remove_containers()
    assert_clean(own_engine)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_stop(own_engine: Engine, step: int) -> None:
    own_engine.busybox()
    assert create(own_engine, Cmd=["sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.05; done"]) == 201
    assert own_engine.api("POST", "/containers/box/start").status == 204
    armed(own_engine, f"stop:{step}")
    dying_request(own_engine, "POST", "/containers/box/stop")
    own_engine.start()
    if step == 1:
        assert own_engine.inspect("box")["State"]["Running"] is True
        own_engine.api("POST", "/containers/box/stop?t=0")
    state = own_engine.wait_state("box", "exited")
    assert state["State"]["ExitCode"] in ((4, 137) if step == 1 else (4,))
    own_engine.remove_containers()
    assert_clean(own_engine)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("running", [False, True])
def test_remove(own_engine: Engine, step: int, running: bool) -> None:
    own_engine.busybox()
    assert create(own_engine) == 201
    if running:
        assert own_engine.api("POST", "/containers/box/start").status == 204
    armed(own_engine, f"remove:{step}")
    dying_request(own_engine, "DELETE", "/containers/box?force=1")
    own_engine.start()
    assert_clean(own_engine)


def test_kill_9_leaves_containers_logs_and_shells_alive(own_engine: Engine) -> None:
    own_engine.busybox()
    script = "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.02; done"
    own_engine.dockyard(
        "run", "-d", "--name", "box", "--network", "none", "busybox:test", "sh", "-c", script, check=True
    )
    shell = own_engine.popen("exec", "-i", "box", "sh")
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(b"echo before\n")
    shell.stdin.flush()
    assert shell.stdout.readline() == b"before\n"
    pid = own_engine.inspect("box")["State"]["Pid"]
    own_engine.kill()
    shell.stdin.write(b"echo while the daemon is dead\n")
    shell.stdin.flush()
    assert shell.stdout.readline() == b"while the daemon is dead\n"
    own_engine.start()
    found = own_engine.inspect("box")["State"]
    assert (found["Running"], found["Pid"]) == (True, pid)
    shell.stdin.write(b"echo after; exit 6\n")
    shell.stdin.flush()
    assert shell.stdout.readline() == b"after\n"
    shell.communicate(timeout=20)
    lines = own_engine.dockyard("logs", "box", check=True).stdout.splitlines()
    assert lines == [f"tick {i}" for i in range(1, len(lines) + 1)]
    own_engine.dockyard("stop", "-t", "0", "box", check=True)
    assert own_engine.inspect("box")["State"]["ExitCode"] == 137


def test_an_end_without_a_daemon_is_applied_by_the_next(own_engine: Engine) -> None:
    own_engine.busybox()
    assert create(own_engine, Cmd=["sh", "-c", "while ! [ -e /go ]; do sleep 0.05; done; exit 9"]) == 201
    assert own_engine.api("POST", "/containers/box/start").status == 204
    pid = own_engine.inspect("box")["State"]["Pid"]
    own_engine.kill()
    Path(f"/proc/{pid}/root/go").touch()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 10, "the container ended")
    own_engine.start()
    state = own_engine.inspect("box")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 9)


def test_rm_without_a_daemon_is_done_by_the_next(own_engine: Engine) -> None:
    own_engine.busybox()
    assert create(own_engine, HostConfig={"NetworkMode": "none", "AutoRemove": True}) == 201
    assert own_engine.api("POST", "/containers/box/start").status == 204
    pid = own_engine.inspect("box")["State"]["Pid"]
    own_engine.kill()
    os.kill(pid, 9)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 10, "the container ended")
    own_engine.start()
    assert_clean(own_engine)


def test_a_monitor_that_dies_is_reported(own_engine: Engine) -> None:
    own_engine.busybox()
    assert create(own_engine) == 201
    assert own_engine.api("POST", "/containers/box/start").status == 204
    pid = own_engine.inspect("box")["State"]["Pid"]
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, 9)
    wait_until(lambda: not Path(f"/proc/{parent}").exists(), 10, "the monitor is gone")

    def told() -> bool:
        state = own_engine.inspect("box")["State"]
        return state["Status"] == "exited" or "monitor does not answer" in own_engine.log

    wait_until(told, 10, "the loss is noticed")
    if own_engine.inspect("box")["State"]["Running"]:
        wait_until(lambda: "its monitor is lost" in own_engine.inspect("box")["State"]["Error"], 10, "it is shown")
        assert own_engine.containers()[0]["Status"].endswith("(monitor lost)")
        own_engine.api("POST", "/containers/box/kill")
    state = own_engine.wait_state("box", "exited")
    assert state["State"]["ExitCode"] == 255
    assert "monitor lost" in state["State"]["Error"]
    own_engine.remove_containers()
    assert_clean(own_engine)


def test_a_second_daemon_on_the_same_root_is_refused(own_engine: Engine) -> None:
    done = own_engine.dockyard("serve", "--root", str(own_engine.root), "--run", str(own_engine.folder / "r2"))
    assert done.returncode == 1
    assert str(own_engine.pid) in done.stderr
    assert own_engine.answers()


def test_a_second_daemon_on_the_same_socket_is_refused(own_engine: Engine) -> None:
    root = own_engine.folder / "root2"
    done = own_engine.dockyard(
        "serve", "--root", str(root), "--run", str(own_engine.run), "--socket", str(own_engine.socket)
    )
    assert done.returncode == 1
    assert str(own_engine.socket) in done.stderr
    assert own_engine.answers()


def test_the_zygote_is_replaced_when_it_dies(own_engine: Engine) -> None:
    own_engine.busybox()
    daemon = own_engine.pid
    children = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), 9)
    done = own_engine.dockyard("run", "--rm", "--network", "none", "busybox:test", "echo", "again", check=True)
    assert done.stdout == "again\n"
    assert json.loads(own_engine.dockyard("version", "--format", "json", check=True).stdout)["Server"]


def test_a_cgroup_that_a_killed_monitor_left_goes_with_its_container(own_engine: Engine) -> None:
    own_engine.busybox()
    for name in ("box", "other"):
        assert create(own_engine, name) == 201
    left, other = (leave_cgroup(own_engine, own_engine.inspect(name)["Id"]) for name in ("box", "other"))
    assert own_engine.api("DELETE", "/containers/box").status == 204
    wait_until(lambda: not left.exists(), 10, "its cgroup is gone")
    assert other.exists()
    unknown = leave_cgroup(own_engine, "f" * 64)
    own_engine.restart()
    wait_until(lambda: not unknown.exists(), 10, "the cgroup of nobody is gone")
    own_engine.remove_containers()
    wait_until(lambda: not other.exists(), 10, "the other's cgroup is gone")


def leave_cgroup(engine: Engine, container_id: str) -> Path:
    """A group as a monitor leaves it that was killed between making it and using it."""
    number = hashlib.sha256(os.path.realpath(engine.root).encode()).hexdigest()[:8]
    mounts = Path("/sys/fs/cgroup")
    parent = next(p for glob in ("*/dockyard-", "dockyard-") for p in sorted(mounts.glob(glob + number)))
    folder = parent / container_id
    folder.mkdir()
    return folder


@pytest.mark.parametrize("step", [1, 2, 3])
def test_volume_create(own_engine: Engine, step: int) -> None:
    armed(own_engine, f"volume-create:{step}")
    dying_request(own_engine, "POST", "/volumes/create", {"Name": "keep"})
    own_engine.start()
    names = [v["Name"] for v in own_engine.api("GET", "/volumes").body["Volumes"]]
    assert names == (["keep"] if step == 3 else [])
    assert (own_engine.root / "volumes" / "keep").exists() is (step == 3)


@pytest.mark.parametrize("point", ["volume-remove:1", "volume-remove:2", "volume-remove:3", "volume-prune:1"])
def test_volume_remove(own_engine: Engine, point: str) -> None:
    assert own_engine.api("POST", "/volumes/create", {"Name": "gone"}).status == 201
    armed(own_engine, point)
    if "prune" in point:
        dying_request(own_engine, "POST", "/volumes/prune?filters=%7B%22all%22:%5B%22true%22%5D%7D")
    else:
        dying_request(own_engine, "DELETE", "/volumes/gone")
    own_engine.start()
    assert own_engine.api("GET", "/volumes").body["Volumes"] == []
    assert is_empty(own_engine.root / "volumes")
