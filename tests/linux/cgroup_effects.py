"""What limits *do*, as plain functions: the same are run on this machine (``test_cgroups.py``) and, for version 2,
inside the test machine (``tests/vm/guest_cgroups.py``). They need root and use no fixture but :class:`Groups`.

``@effect`` adds a function to :data:`EFFECTS`; it gets a :class:`Groups` and fails by ``assert``.
"""

from __future__ import annotations

import os
import resource
import select
import signal
from collections.abc import Callable

from core import oci
from core.errors import Conflict, DockyardError, KernelError
from core.linux import cgroup_files, cgroups, placement, syscalls
from core.linux.cgroups import Cgroup
from tests.support import wait_until


class Groups:
    """Makes container groups below a place of their own; at the end all must go, and nothing may be left."""

    def __init__(self, engine: str) -> None:
        self.place = placement.prepare(engine)
        self._made: list[Cgroup] = []

    def make(self, resources: oci.Resources | None = None) -> Cgroup:
        group, warnings = cgroups.create(self.place, f"box{len(self._made)}", resources or {})
        assert warnings == [], warnings
        self._made.append(group)
        return group

    def close(self) -> None:
        for group in self._made:
            group.kill_all()
        stayed = [folder for group in self._made for folder in group.remove()]
        placement.release(self.place)
        stayed += [folder for folder in self.place.parents.values() if os.path.exists(folder)]
        assert stayed == [], stayed


Effect = Callable[[Groups], None]
EFFECTS: list[Effect] = []


def effect(function: Effect) -> Effect:
    EFFECTS.append(function)
    return function


def run_in(group: Cgroup, body: Callable[[], int]) -> int:
    """Fork into the group; the child's exit code is what ``body`` returns. The pid."""
    pid, pidfd = syscalls.clone3(0, cgroup_fd=group.clone_fd())
    if pid == 0:
        code = 99
        try:
            group.enter_self()
            code = body()
        finally:
            os._exit(code)
    os.close(pidfd)
    return pid


def code_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def stay() -> int:
    signal.pause()
    return 0


def eat() -> int:
    """More memory than any limit here allows."""
    return len(bytearray(b"x") * (200 << 20)) & 0


def fork_until_refused() -> int:
    """How many children could be forked."""
    count = 0
    while count < 50:
        try:
            if os.fork() == 0:
                signal.pause()
        except BlockingIOError:
            return count
        count += 1
    return 98


def bomb() -> int:
    while True:
        try:
            os.fork()
        except BlockingIOError:
            continue


def may_open(path: str, flags: int) -> bool:
    try:
        os.close(os.open(path, flags))
    except PermissionError:
        return False
    return True


def refusal(kind: type[DockyardError], action: Callable[[], object]) -> str:
    """The text of the error that ``action`` must raise."""
    try:
        action()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind.__name__}")


@effect
def memory_out_of_memory_kill_is_seen(groups: Groups) -> None:
    group = groups.make({"memory": {"limit": 32 << 20, "swap": 32 << 20}})
    watch = group.oom_watch()
    assert watch >= 0
    assert code_of(run_in(group, eat)) == -signal.SIGKILL
    assert select.select([watch], [], [], 5)[0] == [watch]
    os.close(watch)
    assert group.oom_kills() == 1
    assert group.usage().memory_limit == 32 << 20
    assert group.usage().memory_peak > 16 << 20


@effect
def memory_within_its_limit_is_no_kill(groups: Groups) -> None:
    group = groups.make({"memory": {"limit": 64 << 20, "swap": 64 << 20}})
    assert code_of(run_in(group, lambda: len(bytearray(b"x") * (8 << 20)) & 0)) == 0
    assert group.oom_kills() == 0


@effect
def pids_limit_refuses_forks(groups: Groups) -> None:
    group = groups.make({"pids": {"limit": 5}})
    assert code_of(run_in(group, fork_until_refused)) == 4
    assert group.usage().pids == 4
    group.kill_all()
    wait_until(lambda: group.pids() == [], 5, "the children are gone")


@effect
def cpu_quota_throttles(groups: Groups) -> None:
    group = groups.make({"cpu": {"quota": 10_000, "period": 100_000}})

    def spin() -> int:
        while resource.getrusage(resource.RUSAGE_SELF).ru_utime < 0.05:
            pass
        return 0

    assert code_of(run_in(group, spin)) == 0
    folder = group.folders.get("cpu") or group.folders["unified"]
    assert cgroup_files.value_of(cgroup_files.read_file(os.path.join(folder, "cpu.stat")), "nr_throttled") > 0
    assert group.usage().cpu_ns > 10_000_000


@effect
def cpuset_binds_to_a_processor(groups: Groups) -> None:
    group = groups.make({"cpu": {"cpus": "0"}})
    assert code_of(run_in(group, lambda: len(os.sched_getaffinity(0)))) == 1


@effect
def devices_are_refused_but_those_allowed(groups: Groups) -> None:
    group = groups.make(
        {
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"},
                {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "w"},
                {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
            ]
        }
    )

    def look() -> int:
        answers = [
            may_open("/dev/null", os.O_RDWR),
            may_open("/dev/zero", os.O_RDONLY),
            not may_open("/dev/zero", os.O_WRONLY),
            not may_open("/dev/full", os.O_RDONLY),
        ]
        return sum(not answer << place for place, answer in enumerate(answers))

    assert code_of(run_in(group, look)) == 0


@effect
def devices_given_again_replace_the_first(groups: Groups) -> None:
    group = groups.make({"devices": [{"allow": False, "access": "rwm"}]})
    assert code_of(run_in(group, lambda: int(may_open("/dev/full", os.O_RDONLY)))) == 0
    allowed: oci.DeviceRule = {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "rwm"}
    assert group.apply({"devices": [{"allow": False, "access": "rwm"}, allowed]}) == []
    assert code_of(run_in(group, lambda: int(may_open("/dev/full", os.O_RDONLY)))) == 1
    assert code_of(run_in(group, lambda: int(may_open("/dev/zero", os.O_RDONLY)))) == 0


@effect
def freezer_stops_and_lets_go(groups: Groups) -> None:
    group = groups.make()
    reader, writer = os.pipe()

    def talk() -> int:
        while True:
            os.write(writer, b"x")

    pid = run_in(group, talk)
    os.read(reader, 1)
    assert not group.is_frozen()
    group.freeze()
    assert group.is_frozen()
    while select.select([reader], [], [], 0)[0]:
        os.read(reader, 1 << 20)
    assert select.select([reader], [], [], 0.1)[0] == []
    group.thaw()
    assert select.select([reader], [], [], 5)[0] == [reader]
    group.freeze()
    group.kill_all()
    assert code_of(pid) == -signal.SIGKILL
    os.close(reader)
    os.close(writer)


@effect
def kill_all_gets_a_fork_bomb(groups: Groups) -> None:
    group = groups.make({"pids": {"limit": 60}})
    pid = run_in(group, bomb)
    wait_until(lambda: len(group.pids()) > 30, 30, "it grows")
    group.kill_all()
    assert code_of(pid) == -signal.SIGKILL
    wait_until(lambda: group.pids() == [], 30, "all are gone")


@effect
def kill_all_without_the_kernels_own_file(groups: Groups) -> None:
    """Kernels before 5.14 have no cgroup.kill: the group is frozen, and each process gets the signal."""
    group = groups.make({"pids": {"limit": 60}})
    pid = run_in(group, bomb)
    wait_until(lambda: len(group.pids()) > 30, 30, "it grows")

    class Old(Cgroup):
        def _kill_at_once(self) -> bool:
            return False

    old = Old(group.version, group.folders)
    old.kill_all()
    assert code_of(pid) == -signal.SIGKILL
    wait_until(lambda: group.pids() == [], 30, "all are gone")
    assert not group.is_frozen()


@effect
def a_killed_group_is_made_anew(groups: Groups) -> None:
    """Some kernels kill whatever clone3 starts in a group that was killed once."""
    group = groups.make()
    pid = run_in(group, stay)
    wait_until(lambda: group.pids() == [pid], 5, "it is in")
    group.kill_all()
    assert code_of(pid) == -signal.SIGKILL
    again, _ = cgroups.create(groups.place, "box0", {})
    assert code_of(run_in(again, lambda: 5)) == 5
    assert again.remove() == []


@effect
def another_signal_reaches_every_process(groups: Groups) -> None:
    group = groups.make()
    pids = [run_in(group, stay) for _ in range(3)]
    wait_until(lambda: group.pids() == sorted(pids), 5, "they are in")
    group.kill_all(signal.SIGTERM)
    assert [code_of(pid) for pid in pids] == [-signal.SIGTERM] * 3


@effect
def another_process_is_moved_in(groups: Groups) -> None:
    group = groups.make()
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    group.attach(pid)
    assert group.pids() == [pid]
    group.kill_all()
    assert code_of(pid) == -signal.SIGKILL


@effect
def limits_of_a_group_in_use_change(groups: Groups) -> None:
    group = groups.make({"memory": {"limit": 32 << 20, "swap": 32 << 20}, "pids": {"limit": 10}})
    pid = run_in(group, stay)
    wait_until(lambda: group.usage().pids == 1, 5, "it is in")
    for limit in (256 << 20, 16 << 20, 64 << 20):
        assert group.apply({"memory": {"limit": limit, "swap": 2 * limit}}) == []
        assert group.usage().memory_limit == limit
    assert group.apply({"memory": {"limit": -1}}) == []
    assert group.usage().memory_limit == 0
    assert group.apply({"pids": {"limit": 7}}) == []
    found = group.usage()
    assert (found.pids, found.pids_limit) == (1, 7)
    assert 0 < found.memory <= found.memory_peak
    group.kill_all()
    assert code_of(pid) == -signal.SIGKILL


@effect
def removal_waits_for_the_dying(groups: Groups) -> None:
    group = groups.make()
    pid = run_in(group, stay)
    wait_until(lambda: group.pids() == [pid], 5, "it is in")
    waited = cgroup_files._wait_empty

    def kill_then_wait(folder: str, seconds: float) -> None:
        os.kill(pid, signal.SIGKILL)
        waited(folder, seconds)

    cgroup_files._wait_empty = kill_then_wait
    try:
        assert group.remove() == []
    finally:
        cgroup_files._wait_empty = waited
    assert code_of(pid) == -signal.SIGKILL


@effect
def removal_takes_the_containers_own_groups(groups: Groups) -> None:
    group = groups.make()
    for folder in group.folders.values():
        os.makedirs(os.path.join(folder, "inner", "most"))
    assert group.remove() == []
    assert not any(os.path.exists(folder) for folder in group.folders.values())


@effect
def removal_tells_what_it_left(groups: Groups) -> None:
    group = groups.make()
    pid = run_in(group, stay)
    wait_until(lambda: group.pids() == [pid], 5, "it is in")
    seconds, cgroups._REMOVE_SECONDS = cgroups._REMOVE_SECONDS, 0.05
    try:
        assert group.remove() != []
        assert "box0" in refusal(Conflict, lambda: cgroups.create(groups.place, "box0", {}))
    finally:
        cgroups._REMOVE_SECONDS = seconds
    again = cgroups.reopen(groups.place, "box0")
    assert again.pids() == [pid]
    again.kill_all()
    assert code_of(pid) == -signal.SIGKILL


@effect
def a_group_left_behind_starts_afresh(groups: Groups) -> None:
    first = groups.make({"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    assert code_of(run_in(first, eat)) == -signal.SIGKILL
    assert first.oom_kills() == 1
    again, warnings = cgroups.create(groups.place, "box0", {})
    assert (again.oom_kills(), warnings) == (0, [])


@effect
def a_group_is_found_again(groups: Groups) -> None:
    group = groups.make()
    pid = run_in(group, stay)
    again = cgroups.reopen(cgroups.Placement.from_json(groups.place.to_json()), "box0")
    wait_until(lambda: again.pids() == [pid], 5, "it is in")
    assert again.folders == group.folders
    again.kill_all()
    assert code_of(pid) == -signal.SIGKILL


@effect
def a_refused_limit_names_file_and_flag(groups: Groups) -> None:
    resources: oci.Resources = {"cpu": {"quota": 1, "period": 100_000}}
    text = refusal(KernelError, lambda: cgroups.create(groups.place, "bad", resources))
    assert "--cpus" in text
    assert "cpu." in text
    assert not any(os.path.exists(os.path.join(parent, "bad")) for parent in groups.place.parents.values())


@effect
def a_limit_that_is_not_there_is_a_warning(groups: Groups) -> None:
    group, warnings = cgroups.create(groups.place, "odd", {"unified": {"memory.nosuch": "1"}})
    assert group.remove() == []
    assert len(warnings) == 1
    assert "memory.nosuch has no effect" in warnings[0]


@effect
def what_is_missing_is_told(groups: Groups) -> None:
    found = dict(cgroups.lacks(groups.place))
    for controller in ("memory", "pids", "cpu", "devices", "freezer"):
        assert controller not in found
    folder = groups.place.parents.get("blkio", groups.place.parents.get("unified", ""))
    weights = ("io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight")
    has_weight = any(os.path.exists(os.path.join(folder, name)) for name in weights)
    assert ("blkio weight" in found) is not has_weight
