"""The engine's scope under systemd: made, left by its maker, joined again, ended by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack

from core import oci
from core.errors import Unavailable
from core.linux import cgroups, placement
from core.linux.cgroup_files import read_file
from core.linux.cgroups import Placement
from tests.linux.cgroup_effects import code_of, eat, fork_until_refused, may_open, refusal, run_in, stay
from tests.support import CHECKOUT, wait_until
from tests.vm.guest import check


def _zygote() -> int:
    """A process to be put where zygotes live."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid


def _end(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _systemctl(*words: str) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip()


def _group_of(pid: int) -> str:
    """Its group on version 2, or on a hybrid's leg of it."""
    lines = read_file(f"/proc/{pid}/cgroup").splitlines()
    return next(line for line in lines if line.startswith("0::"))


def _read(placed: Placement, controller: str, name: str) -> str:
    folder = placed.parents["unified" if placed.version == 2 else controller]
    return read_file(os.path.join(folder, name)).strip()


def _adopt(engine: str, pid: int) -> Placement:
    before = placement.prepare(engine)
    assert (before.scope, before.parents) == (f"dockyard-{engine}.scope", {})
    return placement.adopt_zygote(before, pid)


def _gone(engine: str) -> None:
    wait_until(lambda: "could not be found" in _systemctl("status", f"dockyard-{engine}.scope"), 30, "the scope ends")


@check("systemd", "hybrid")
def a_scope_holds_monitors_and_containers_with_their_limits() -> None:
    pid = _zygote()
    placed = _adopt("one", pid)
    assert all(folder.endswith("/system.slice/dockyard-one.scope") for folder in placed.parents.values()), placed
    assert _group_of(pid) == "0::/system.slice/dockyard-one.scope/monitors"
    assert _read(placed, "pids", "pids.max") == "max"
    assert _systemctl("show", "-p", "Delegate", "--value", "dockyard-one.scope") == "yes"
    devices: list[oci.DeviceRule] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    ]
    group, warnings = cgroups.create(placed, "box", {"pids": {"limit": 5}, "devices": devices})
    assert warnings == []
    assert code_of(run_in(group, fork_until_refused)) == 4
    group.kill_all()
    assert group.remove() == []
    group, warnings = cgroups.create(placed, "box", {"devices": devices})
    assert code_of(run_in(group, lambda: int(may_open("/dev/full", os.O_RDONLY)))) == 0
    assert code_of(run_in(group, lambda: int(may_open("/dev/null", os.O_RDWR)))) == 1
    assert group.remove() == []
    _end(pid)
    _gone("one")


@check("systemd")
def an_out_of_memory_kill_of_a_container_does_not_end_the_scope() -> None:
    pid = _zygote()
    placed = _adopt("oom", pid)
    switched_on = _read(placed, "", "cgroup.subtree_control").split()
    assert {"cpu", "memory", "pids", "cpuset", "io"} <= set(switched_on)
    group, warnings = cgroups.create(placed, "box", {"memory": {"limit": 32 << 20, "swap": 32 << 20}})
    assert warnings == []
    assert code_of(run_in(group, eat)) == -signal.SIGKILL
    assert group.oom_kills() == 1
    assert _systemctl("is-active", "dockyard-oom.scope") == "active"
    assert group.remove() == []
    _end(pid)
    _gone("oom")


@check("systemd", "hybrid")
def a_reload_of_systemd_leaves_limits_alone() -> None:
    pid = _zygote()
    placed = _adopt("reload", pid)
    group, warnings = cgroups.create(placed, "box", {"pids": {"limit": 7}})
    assert warnings == []
    inside = run_in(group, stay)
    _systemctl("daemon-reload")
    assert _systemctl("is-active", "dockyard-reload.scope") == "active"
    assert group.usage().pids_limit == 7
    wait_until(lambda: group.pids() == [inside], 10, "it is in")
    group.kill_all()
    assert code_of(inside) == -signal.SIGKILL
    assert group.remove() == []
    _end(pid)
    _gone("reload")


@check("systemd", "hybrid")
def the_next_zygote_joins_the_scope() -> None:
    first, second = _zygote(), _zygote()
    placed = _adopt("again", first)
    # A monitor lives on in the scope while the daemon and its zygote are replaced.
    monitor = _zygote()
    with open(os.path.join(placed.parents["unified"], "monitors", "cgroup.procs"), "w") as file:
        file.write(str(monitor))
    _end(first)
    assert _adopt("again", second) == placed
    assert _group_of(second) == _group_of(monitor) == "0::/system.slice/dockyard-again.scope/monitors"
    # No hierarchy is left in which it still belongs to the daemon's service.
    assert "vm.service" not in read_file(f"/proc/{second}/cgroup")
    assert _systemctl("is-active", "dockyard-again.scope") == "active"
    _end(second, monitor)
    _gone("again")


@check("systemd", "hybrid", seconds=120)
def a_scope_that_is_just_ending_is_made_anew() -> None:
    for _ in range(5):
        first, second = _zygote(), _zygote()
        _adopt("race", first)
        _end(first)
        _adopt("race", second)
        assert _group_of(second) == "0::/system.slice/dockyard-race.scope/monitors"
        assert _systemctl("is-active", "dockyard-race.scope") == "active"
        _end(second)
    _gone("race")


@check("systemd", "hybrid")
def systemd_is_reached_without_a_bus() -> None:
    placement._Manager._SYSTEM_BUS = "/nowhere"
    pid = _zygote()
    placed = _adopt("private", pid)
    assert _group_of(pid) == "0::/system.slice/dockyard-private.scope/monitors"
    second = _zygote()
    assert _adopt("private", second) == placed
    _end(pid, second)
    _gone("private")


@check("systemd", "hybrid")
def nobody_answers_is_an_error_that_says_so() -> None:
    placement._Manager._SYSTEM_BUS = placement._Manager._PRIVATE = "/nowhere"
    pid = _zygote()
    assert "dockyard-nobody.scope" in refusal(Unavailable, lambda: _adopt("nobody", pid))
    _end(pid)


_MAKER = """
import os, signal, sys
from core.linux import placement
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    signal.pause()
placement.adopt_zygote(placement.prepare("maker"), pid)
open(sys.argv[1], "w").write(str(pid))
signal.pause()
"""


@check("systemd", "hybrid", seconds=120)
def the_scope_outlives_the_service_that_made_it() -> None:
    """A service that is stopped takes what is below it along; the scope is beside it, and it starts again."""
    told = "/tmp/maker-pid"

    def begin() -> int:
        command = ["systemd-run", "--quiet", "--collect", "--unit=maker", f"--working-directory={CHECKOUT}"]
        subprocess.run([*command, sys.executable, "-c", _MAKER, told], check=True)
        pid = int(wait_until(lambda: read_file(told), 60, "the service has made its scope"))
        os.unlink(told)
        return pid

    with ExitStack() as stack:
        first = begin()
        stack.callback(os.kill, first, signal.SIGKILL)
        for how in (("kill", "-s", "KILL", "maker.service"), ("stop", "maker.service")):
            assert _group_of(first) == "0::/system.slice/dockyard-maker.scope/monitors"
            _systemctl(*how)
            wait_until(lambda: _systemctl("is-active", "maker.service") != "active", 30, "the service is gone")
            assert _systemctl("is-active", "dockyard-maker.scope") == "active"
            assert _group_of(first) == "0::/system.slice/dockyard-maker.scope/monitors"
            second = begin()
            stack.callback(os.kill, second, signal.SIGKILL)
            assert _group_of(second) == _group_of(first)
        _systemctl("stop", "maker.service")
    _gone("maker")
