"""Limits on version 2: the effects that the host's tests look at, and what only version 2 has."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from core.linux import bpf, cgroups, placement
from core.linux.cgroup_files import read_file, write_file
from tests.linux.cgroup_effects import EFFECTS, Effect, Groups, code_of, run_in
from tests.vm.guest import add, check


def _with_groups(effect: Effect) -> Callable[[], None]:
    def run() -> None:
        groups = Groups("guest")
        effect(groups)
        groups.close()

    return run


for _effect in EFFECTS:
    add(_with_groups(_effect), name=_effect.__name__)


@check()
def version_2_is_found() -> None:
    found = cgroups.detect()
    assert (found.version, found.unified, found.mounts) == (2, "/sys/fs/cgroup", {})
    assert found.missing == [], found.missing


@check()
def controllers_are_switched_on_for_containers_and_monitors_are_a_leaf() -> None:
    groups = Groups("leaf")
    folder = groups.place.parents["unified"]
    assert folder == "/sys/fs/cgroup/dockyard-leaf"
    assert {"cpu", "memory", "pids", "cpuset", "io"} <= set(read_file(f"{folder}/cgroup.subtree_control").split())
    pid = os.fork()
    if pid == 0:
        signal.pause()
    placed = placement.adopt_zygote(groups.place, pid)
    assert placed == groups.place
    assert read_file(f"{folder}/monitors/cgroup.procs").split() == [str(pid)]
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    groups.close()


@check()
def a_process_is_born_in_its_group() -> None:
    groups = Groups("born")
    group = groups.make()
    reader, writer = os.pipe()
    assert code_of(run_in(group, lambda: os.write(writer, read_file("/proc/self/cgroup").encode()) & 0)) == 0
    assert os.read(reader, 200) == b"0::/dockyard-born/box0\n"
    groups.close()


@check()
def one_device_program_is_attached() -> None:
    groups = Groups("program")
    group = groups.make()
    fd = os.open(group.folders["unified"], os.O_RDONLY | os.O_DIRECTORY)
    assert bpf.attached(fd) == []
    rules = [{"allow": False, "access": "rwm"}]
    numbers = set()
    for _ in range(3):
        group.apply({"devices": rules})  # type: ignore[typeddict-item]
        (number,) = bpf.attached(fd)
        numbers.add(number)
    assert len(numbers) == 3
    os.close(fd)
    groups.close()


@check()
def swap_is_counted_alone() -> None:
    groups = Groups("swap")
    group = groups.make({"memory": {"limit": 64 << 20, "swap": 96 << 20}})
    assert read_file(os.path.join(group.folders["unified"], "memory.swap.max")).strip() == str(32 << 20)
    groups.close()


@check()
def monitors_that_were_killed_do_not_kill_what_they_start() -> None:
    groups = Groups("seq")
    monitors = f"{groups.place.parents['unified']}/monitors"
    write_file(f"{monitors}/cgroup.kill", "1")
    placement.adopt_zygote(groups.place, os.getpid())
    assert code_of(run_in(groups.make(), lambda: 5)) == 5
    write_file("/sys/fs/cgroup/cgroup.procs", "0")
    groups.close()
