"""The daemon dies at each step of pause, unpause, rename, update, a restart by policy, and prune."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.test_daemon_death import armed, assert_clean, create, dying_request
from tests.support import Engine, wait_until


def running(engine: Engine) -> None:
    engine.busybox()
    assert create(engine) == 201
    assert engine.api("POST", "/containers/box/start").status == 204


@pytest.mark.parametrize("step", [1, 2])
def test_pause(own_engine: Engine, step: int) -> None:
    running(own_engine)
    armed(own_engine, f"pause:{step}")
    dying_request(own_engine, "POST", "/containers/box/pause")
    own_engine.start()
    assert own_engine.inspect("box")["State"]["Status"] == "paused"
    assert own_engine.api("POST", "/containers/box/unpause").status == 204
    assert own_engine.dockyard("exec", "box", "echo", "alive", check=True).stdout == "alive\n"
    own_engine.remove_containers()
    assert_clean(own_engine)


@pytest.mark.parametrize("step", [1, 2])
def test_unpause(own_engine: Engine, step: int) -> None:
    running(own_engine)
    armed(own_engine, f"unpause:{step}")
    assert own_engine.api("POST", "/containers/box/pause").status == 204
    dying_request(own_engine, "POST", "/containers/box/unpause")
    own_engine.start()
    assert own_engine.inspect("box")["State"]["Status"] == "running"
    assert own_engine.dockyard("exec", "box", "echo", "alive", check=True).stdout == "alive\n"
    own_engine.remove_containers()
    assert_clean(own_engine)


@pytest.mark.parametrize("step", [1, 2])
def test_rename(own_engine: Engine, step: int) -> None:
    running(own_engine)
    armed(own_engine, f"rename:{step}")
    dying_request(own_engine, "POST", "/containers/box/rename?name=crate")
    own_engine.start()
    name, other = ("box", "crate") if step == 1 else ("crate", "box")
    assert own_engine.inspect(name)["Name"] == f"/{name}"
    assert own_engine.api("GET", f"/containers/{other}/json").status == 404
    assert own_engine.api("POST", f"/containers/{name}/rename?name={other}").status == 204
    own_engine.remove_containers()
    assert_clean(own_engine)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_update(own_engine: Engine, step: int) -> None:
    running(own_engine)
    armed(own_engine, f"update:{step}")
    dying_request(own_engine, "POST", "/containers/box/update", {"PidsLimit": 77})
    own_engine.start()
    assert own_engine.inspect("box")["HostConfig"]["PidsLimit"] == (77 if step == 3 else None)
    assert own_engine.api("POST", "/containers/box/update", {"PidsLimit": 55}).status == 200
    assert own_engine.inspect("box")["HostConfig"]["PidsLimit"] == 55
    own_engine.remove_containers()
    assert_clean(own_engine)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_restart_by_policy(own_engine: Engine, step: int) -> None:
    own_engine.busybox()
    host = {"NetworkMode": "none", "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}
    assert create(own_engine, Cmd=["sh", "-c", "echo run; exit 1"], HostConfig=host) == 201
    armed(own_engine, f"restart:{step}")
    assert own_engine.api("POST", "/containers/box/start").status == 204
    assert own_engine.wait_exit() == -9
    own_engine.start()
    runs = wait_until(
        lambda: own_engine.dockyard("logs", "box").stdout.count("run") == 3 and own_engine.wait_state("box", "exited"),
        30,
        "all of its runs, and no more",
    )
    assert runs["RestartCount"] == 2
    own_engine.remove_containers()
    assert_clean(own_engine)


def test_prune(own_engine: Engine) -> None:
    own_engine.busybox()
    for name in ("box", "crate"):
        assert create(own_engine, name) == 201
    armed(own_engine, "container-prune:1")
    dying_request(own_engine, "POST", "/containers/prune")
    own_engine.start()
    assert len(own_engine.containers()) == 1
    assert own_engine.api("POST", "/containers/prune").status == 200
    assert_clean(own_engine)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_commit(own_engine: Engine, step: int) -> None:
    running(own_engine)
    own_engine.dockyard("exec", "box", "sh", "-c", "echo kept > /f", check=True)
    armed(own_engine, f"commit:{step}")
    before = layers(own_engine)
    dying_request(own_engine, "POST", "/commit?container=box&repo=made&tag=1")
    own_engine.start()
    names = [image["RepoTags"] for image in own_engine.api("GET", "/images/json").body]
    assert (["made:1"] in names) == (step == 3)
    assert (layers(own_engine) == before) == (step < 3)
    assert own_engine.inspect("box")["State"]["Status"] == "running"
    assert own_engine.api("POST", "/commit?container=box&repo=made&tag=1").status == 201
    assert own_engine.dockyard("run", "--rm", "made:1", "cat", "/f", check=True).stdout == "kept\n"
    own_engine.remove_containers()
    assert_clean(own_engine)


def layers(engine: Engine) -> list[str]:
    """The folders of all layers."""
    return sorted(path.name for path in (engine.root / "layers").iterdir())


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_load(own_engine: Engine, tmp_path: Path, step: int) -> None:
    own_engine.busybox()
    own_engine.dockyard("save", "-o", str(tmp_path / "x"), "busybox:test", check=True)
    own_engine.dockyard("rmi", "busybox:test", check=True)
    armed(own_engine, f"load:{step}")
    assert own_engine.dockyard("load", "-i", str(tmp_path / "x")).returncode == 1
    assert own_engine.wait_exit() == -9
    own_engine.start()
    names = [image["RepoTags"] for image in own_engine.api("GET", "/images/json").body]
    assert (["busybox:test"] in names) == (step == 4)
    assert len(layers(own_engine)) == (1 if step == 4 else 0)
    assert layers(own_engine) == sorted(path.name for path in (own_engine.root / "recipes").iterdir())
    own_engine.dockyard("load", "-i", str(tmp_path / "x"), check=True)
    assert own_engine.dockyard("run", "--rm", "busybox:test", "echo", "there", check=True).stdout == "there\n"
    own_engine.dockyard("save", "-o", str(tmp_path / "y"), "busybox:test", check=True)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_image_prune(own_engine: Engine) -> None:
    running(own_engine)
    for text in ("a", "b"):
        own_engine.dockyard("exec", "box", "sh", "-c", f"echo {text} > /f", check=True)
        own_engine.dockyard("commit", "box", check=True)
    armed(own_engine, "image-prune:1")
    dying_request(own_engine, "POST", "/images/prune")
    own_engine.start()
    nameless = [image for image in own_engine.api("GET", "/images/json").body if not image["RepoTags"]]
    assert len(nameless) == 1
    answer = own_engine.api("POST", "/images/prune")
    assert answer.body["ImagesDeleted"][0] == {"Deleted": nameless[0]["Id"]}
    wait_until(lambda: len(layers(own_engine)) == 1, 10, "only the layer of busybox is left")
    own_engine.remove_containers()


def test_health(own_engine: Engine) -> None:
    """The daemon dies between the record of an answer and its event."""
    own_engine.busybox()
    check = {"Test": ["CMD", "true"], "Interval": 50_000_000}
    armed(own_engine, "health:1")
    assert create(own_engine, Healthcheck=check) == 201
    assert own_engine.api("POST", "/containers/box/start").status == 204
    assert own_engine.wait_exit() == -9
    own_engine.start()
    assert own_engine.inspect("box")["State"]["Health"]["Status"] == "healthy"
    log = own_engine.inspect("box")["State"]["Health"]["Log"]
    wait_until(lambda: own_engine.inspect("box")["State"]["Health"]["Log"] != log, 10, "it is probed again")
    own_engine.remove_containers()
    assert_clean(own_engine)
