"""Where containers go, without systemd, and with one that is played; the real one is asked in ``tests/vm``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from core.errors import Unavailable
from core.linux import cgroups, placement
from core.linux.cgroups import Hierarchy, Placement

root = pytest.mark.skipif(os.geteuid() != 0, reason="cgroups need root")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ordinary folder that is taken for a cgroup2 mount with two controllers."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    found = Hierarchy(2, {}, str(tmp_path), ["cpu", "memory"])
    monkeypatch.setattr(cgroups, "detect", lambda mountinfo="": found)
    monkeypatch.setattr(placement, "has_systemd", lambda: False)
    return tmp_path


def test_version_2_without_systemd(tree: Path) -> None:
    (tree / "cgroup.subtree_control").touch()
    monitors = tree / "dockyard-x" / "monitors"
    monitors.mkdir(parents=True)
    (monitors / "cgroup.procs").touch()
    placed = placement.prepare("x")
    assert placed == Placement(2, {"unified": str(tree / "dockyard-x")})
    assert (tree / "cgroup.subtree_control").read_text() == "+memory"  # one write each: the last one is seen
    assert placement.adopt_zygote(placed, 4711) == placed
    assert (monitors / "cgroup.procs").read_text() == "4711"


def test_a_placement_travels_as_json(tree: Path) -> None:
    placed = Placement(1, {"memory": "/m/dockyard-x", "unified": "/u/dockyard-x"}, "dockyard-x.scope")
    assert Placement.from_json(json.loads(json.dumps(placed.to_json()))) == placed


def test_limits_hold_below_on_old_kernels(tmp_path: Path) -> None:
    (tmp_path / "memory.use_hierarchy").write_text("0\n")
    placement._make_parents(Placement(1, {"memory": str(tmp_path)}))
    assert (tmp_path / "memory.use_hierarchy").read_text().startswith("1")


@root
def test_nothing_is_left_of_an_engine_without_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "has_systemd", lambda: False)
    placed = placement.prepare(f"gone{os.getpid()}")
    assert placed.parents
    assert all(os.path.isdir(folder) for folder in placed.parents.values())
    placement.release(placed)
    assert not any(os.path.exists(folder) for folder in placed.parents.values())
    placement.release(placed)  # a second time is no error


class Manager:
    """systemd, played: ``answers`` are what each attempt to make the scope meets."""

    def __init__(self, answers: list[str]) -> None:
        self.answers = answers
        self.attached: list[str] = []

    def start_scope(self, scope: str, pid: int) -> None:
        if self.answers.pop(0) != "made":
            raise FileExistsError(scope)

    def folder(self, scope: str) -> str:
        return f"/system.slice/{scope}"

    def attach(self, scope: str, below: str, pid: int) -> None:
        if self.answers and self.answers[0] == "ended":
            self.answers.pop(0)
            raise FileNotFoundError(scope)
        self.attached.append(below)


def join(manager: Manager, tree: Path) -> Placement:
    monitors = tree / "system.slice/dockyard-x.scope/monitors"
    monitors.mkdir(parents=True, exist_ok=True)
    (monitors / "cgroup.procs").touch()
    found = Hierarchy(2, {}, str(tree), [])
    return placement._join(manager, found, "dockyard-x.scope", 4711)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answers", "attached"),
    [(["made"], []), (["exists"], ["/monitors"]), (["exists", "ended", "made"], [])],
)
def test_a_scope_is_made_or_joined(answers: list[str], attached: list[str], tmp_path: Path) -> None:
    manager = Manager(answers)
    placed = join(manager, tmp_path)
    assert placed == Placement(2, {"unified": f"{tmp_path}/system.slice/dockyard-x.scope"}, "dockyard-x.scope")
    assert manager.attached == attached
    assert manager.answers == []
    assert (tmp_path / "system.slice/dockyard-x.scope/monitors/cgroup.procs").read_text() == "4711"


def test_a_scope_that_never_stays_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        join(Manager(["exists", "ended"] * 5), tmp_path)


def test_no_systemd_to_talk_to_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement._Manager, "_SYSTEM_BUS", "/nowhere")
    monkeypatch.setattr(placement._Manager, "_PRIVATE", "/nowhere")
    with pytest.raises(Unavailable, match=r"dockyard-x\.scope"):
        placement.adopt_zygote(Placement(2, {}, "dockyard-x.scope"), os.getpid())
