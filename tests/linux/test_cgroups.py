"""Limits as pure plans, and their effect on this machine's hierarchies (version 1 or 2, whichever it has)."""

from __future__ import annotations

import os
import resource
import select
import signal
from collections.abc import Callable, Iterator

import pytest

from core import oci
from core.errors import Conflict, InvalidArgument, KernelError
from core.linux import cgroup_files, cgroups, cgroups_v1, placement, syscalls
from core.linux.cgroup_limits import plan, swap_alone, weight_from_shares
from core.linux.cgroups import Cgroup, Placement
from tests.support import wait_until

# --- pure ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resources", "v2", "v1"),
    [
        ({}, {}, {}),
        (
            {"memory": {"limit": 64 << 20, "swap": 96 << 20}},
            {"memory.max": str(64 << 20), "memory.swap.max": str(32 << 20)},
            {"memory.limit_in_bytes": str(64 << 20), "memory.memsw.limit_in_bytes": str(96 << 20)},
        ),
        (
            {"memory": {"limit": 64 << 20, "swap": -1, "reservation": 1 << 20}},
            {"memory.max": str(64 << 20), "memory.swap.max": "max", "memory.low": str(1 << 20)},
            {
                "memory.limit_in_bytes": str(64 << 20),
                "memory.memsw.limit_in_bytes": "-1",
                "memory.soft_limit_in_bytes": str(1 << 20),
            },
        ),
        (
            {"cpu": {"quota": 150_000, "period": 100_000}},
            {"cpu.max": "150000 100000"},
            {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"},
        ),
        ({"cpu": {"quota": -1}}, {"cpu.max": "max 100000"}, {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "-1"}),
        ({"cpu": {"shares": 1024}}, {"cpu.weight": "100"}, {"cpu.shares": "1024"}),
        ({"cpu": {"cpus": "0-1"}}, {"cpuset.cpus": "0-1"}, {"cpuset.cpus": "0-1"}),
        ({"pids": {"limit": 10}}, {"pids.max": "10"}, {"pids.max": "10"}),
        ({"pids": {"limit": -1}}, {"pids.max": "max"}, {"pids.max": "max"}),
        ({"blockIO": {"weight": 1000}}, {"io.weight": "10000"}, {"blkio.weight": "1000"}),
        ({"blockIO": {"weight": 333}}, {"io.weight": "3263"}, {"blkio.weight": "333"}),
        (
            {"memory": {"limit": 64 << 20, "swap": 64 << 20}},
            {"memory.max": str(64 << 20), "memory.swap.max": "0"},
            {"memory.limit_in_bytes": str(64 << 20), "memory.memsw.limit_in_bytes": str(64 << 20)},
        ),
        (
            {"memory": {"limit": -1}},
            {"memory.max": "max", "memory.swap.max": "max"},
            {"memory.limit_in_bytes": "-1", "memory.memsw.limit_in_bytes": "-1"},
        ),
        ({"unified": {"cpu.weight": "200"}}, {"cpu.weight": "200"}, {"cpu.shares": "2048"}),
    ],
)
def test_plans(resources: oci.Resources, v2: dict[str, str], v1: dict[str, str]) -> None:
    writes = plan(resources)
    assert {write.file: write.value for write in writes} == v2
    assert {write.file: write.value for write in cgroups_v1.translate(writes)} == v1


@pytest.mark.parametrize(
    ("shares", "weight"), [(1, 1), (2, 1), (1024, 100), (22_000, 1204), (262_143, 10_000), (10**9, 10_000)]
)
def test_shares_as_weight(shares: int, weight: int) -> None:
    assert weight_from_shares(shares) == weight


@pytest.mark.parametrize(
    ("memory", "both", "swap"), [(100, 0, 0), (100, -1, -1), (100, 100, 0), (100, 150, 50), (-1, 0, -1), (0, 0, 0)]
)
def test_swap_alone(memory: int, both: int, swap: int) -> None:
    assert swap_alone(memory, both) == swap


@pytest.mark.parametrize(
    "resources",
    [
        {"memory": {"limit": 100, "swap": 99}},
        {"memory": {"swap": 100}},
        {"memory": {"limit": -1, "swap": 100}},
        {"unified": {"../other/memory.max": "1"}},
        {"unified": {"..": "1"}},
    ],
)
def test_contradictions_are_refused(resources: oci.Resources) -> None:
    with pytest.raises(InvalidArgument):
        plan(resources)


def test_both_limits_are_raised_and_lowered_in_the_order_that_the_kernel_takes() -> None:
    def order(memory: int, swap: int, now: int) -> list[str]:
        writes = cgroups_v1.translate(plan({"memory": {"limit": memory, "swap": swap}}), now)
        return [write.file.split(".")[1] for write in writes]

    assert order(100, 200, 0) == ["limit_in_bytes", "memsw"]
    assert order(300, 600, 100) == ["memsw", "limit_in_bytes"]
    assert order(10, 20, 100) == ["limit_in_bytes", "memsw"]
    assert order(10, -1, 100) == ["memsw", "limit_in_bytes"]


def test_what_version_1_alone_knows_keeps_its_name() -> None:
    writes = plan({"memory": {"swappiness": 0, "disableOOMKiller": True}})
    assert writes == cgroups_v1.translate(writes)
    assert [(write.file, write.value) for write in writes] == [("memory.swappiness", "0"), ("memory.oom_control", "1")]
    assert all(write.optional for write in writes)


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ({"allow": False, "access": "rwm"}, "a"),
        ({"allow": True, "type": "c", "access": "m"}, "c *:* m"),
        ({"allow": True, "type": "c", "major": 136, "access": "rwm"}, "c 136:* rwm"),
        ({"allow": True, "type": "b", "major": 8, "minor": 0, "access": "r"}, "b 8:0 r"),
    ],
)
def test_device_lines(rule: oci.DeviceRule, line: str) -> None:
    assert cgroups_v1.device_line(rule) == line


V1 = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
35 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_detection_of_a_hybrid() -> None:
    found = cgroups.detect(V1)
    assert found.version == 1
    assert found.mounts == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
    }
    assert found.unified == "/sys/fs/cgroup/unified"
    assert "pids" in dict(found.missing)


def test_detection_of_version_2() -> None:
    found = cgroups.detect("31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    assert (found.version, found.mounts, found.unified) == (2, {}, "/sys/fs/cgroup")


def test_controllers_mounted_together_are_one_folder() -> None:
    entered: list[str] = []
    group = Cgroup(1, {"cpu": "/c/x", "cpuacct": "/c/x", "memory": "/m/x", "unified": "/u/x"})
    entered += group._distinct(unified=False)
    assert entered == ["/c/x", "/m/x"]


def test_detection_of_nothing() -> None:
    found = cgroups.detect("31 23 0:28 / / rw - ext4 /dev/vda rw\n")
    assert "memory" in dict(found.missing)


# --- effects ---------------------------------------------------------------------------------------

root = pytest.mark.skipif(os.geteuid() != 0, reason="cgroups need root")
Make = Callable[..., Cgroup]


@pytest.fixture
def place() -> Iterator[Placement]:
    where = placement.prepare(f"test{os.getpid()}")
    yield where
    for folder in set(where.parents.values()):
        for child in ("monitors", ""):
            if os.path.isdir(os.path.join(folder, child)):
                os.rmdir(os.path.join(folder, child))


@pytest.fixture
def make(place: Placement) -> Iterator[Make]:
    made: list[Cgroup] = []

    def create(**resources: object) -> Cgroup:
        group, warnings = cgroups.create(place, f"box{len(made)}", resources)  # type: ignore[arg-type]
        assert warnings == []
        made.append(group)
        return group

    yield create
    for group in made:
        group.kill_all()
        group.remove()
        for folder in group.folders.values():
            assert not os.path.exists(folder)


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


def stay() -> int:
    signal.pause()
    return 0


def code_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@root
def test_an_out_of_memory_kill_is_seen(make: Make) -> None:
    group = make(memory={"limit": 32 << 20, "swap": 32 << 20})
    watch = group.oom_watch()
    assert watch >= 0
    assert code_of(run_in(group, lambda: len(bytes(bytearray(b"x") * (200 << 20))) & 0)) == -signal.SIGKILL
    assert select.select([watch], [], [], 5)[0] == [watch]
    os.close(watch)
    assert group.oom_kills() == 1
    assert group.usage().memory_limit == 32 << 20


@root
def test_the_process_limit_refuses_forks(make: Make) -> None:
    group = make(pids={"limit": 5})

    def bomb() -> int:
        count = 0
        try:
            while count < 50:
                if os.fork() == 0:
                    signal.pause()
                count += 1
        except BlockingIOError:
            return count
        return 98

    pid = run_in(group, bomb)
    assert code_of(pid) == 4
    group.kill_all()
    wait_until(lambda: group.pids() == [], 5, "the children are gone")


@root
def test_the_cpu_quota_bites(make: Make) -> None:
    group = make(cpu={"quota": 10_000, "period": 100_000})

    def spin() -> int:
        while resource.getrusage(resource.RUSAGE_SELF).ru_utime < 0.05:
            pass
        return 0

    assert code_of(run_in(group, spin)) == 0
    folder = group.folders.get("cpu") or group.folders["unified"]
    with open(os.path.join(folder, "cpu.stat")) as file:
        stat = dict(line.split() for line in file)
    assert int(stat["nr_throttled"]) > 0
    assert group.usage().cpu_ns > 10_000_000


@root
def test_devices_are_refused_but_those_allowed(make: Make) -> None:
    group = make(
        devices=[
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
        ]
    )

    def may(path: str, flags: int) -> bool:
        try:
            os.close(os.open(path, flags))
        except PermissionError:
            return False
        return True

    def look() -> int:
        answers = [
            may("/dev/null", os.O_RDWR),
            may("/dev/zero", os.O_RDONLY),
            not may("/dev/zero", os.O_WRONLY),
            not may("/dev/full", os.O_RDONLY),
        ]
        return sum(not answer << place for place, answer in enumerate(answers))

    assert code_of(run_in(group, look)) == 0


@root
def test_the_freezer_stops_and_lets_go(make: Make) -> None:
    group = make()
    reader, writer = os.pipe()

    def talk() -> int:
        while True:
            os.write(writer, b"x")

    pid = run_in(group, talk)
    os.read(reader, 1)
    group.freeze()
    assert group.is_frozen()
    os.set_blocking(reader, False)
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


@root
def test_kill_all_gets_a_fork_bomb(make: Make) -> None:
    group = make(pids={"limit": 100})

    def bomb() -> int:
        while True:
            try:
                os.fork()
            except BlockingIOError:
                continue

    pid = run_in(group, bomb)
    wait_until(lambda: len(group.pids()) > 50, 10, "it grows")
    group.kill_all()
    assert code_of(pid) == -signal.SIGKILL
    wait_until(lambda: group.pids() == [], 10, "all are gone")


@root
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killing_without_the_kernel_s_own_file(make: Make, number: int) -> None:
    """Kernels before 5.14 have no cgroup.kill: the group is frozen and each process gets the signal."""
    group = make(pids={"limit": 60})

    def bomb() -> int:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            try:
                os.fork()
            except BlockingIOError:
                continue

    pid = run_in(group, bomb)
    wait_until(lambda: len(group.pids()) > 30, 10, "it grows")
    names = [name for name in group.folders if name != "unified" or group.version == 2]
    old = Cgroup(group.version, {name: group.folders[name] for name in names})
    if number == signal.SIGKILL:
        old.freeze()
    old.kill_all(number)
    if number == signal.SIGKILL:
        wait_until(lambda: group.pids() == [], 10, "all are gone")
    assert code_of(pid) == -number


@root
def test_limits_of_a_group_in_use_change(make: Make) -> None:
    group = make(memory={"limit": 32 << 20, "swap": 32 << 20}, pids={"limit": 10})
    pid = run_in(group, stay)
    wait_until(lambda: group.usage().pids == 1, 5, "it is in")
    for limit in (256 << 20, 16 << 20, 64 << 20):
        assert group.apply({"memory": {"limit": limit, "swap": 2 * limit}}) == []
        assert group.usage().memory_limit == limit
    assert group.apply({"pids": {"limit": 7}}) == []
    found = group.usage()
    assert (found.pids, found.pids_limit) == (1, 7)
    assert 0 < found.memory <= found.memory_peak
    group.kill_all()
    assert code_of(pid) == -signal.SIGKILL


@root
def test_a_group_left_behind_starts_afresh(make: Make, place: Placement) -> None:
    first = make(memory={"limit": 16 << 20, "swap": 16 << 20})
    assert code_of(run_in(first, lambda: len(bytes(bytearray(b"x") * (100 << 20))) & 0)) == -signal.SIGKILL
    assert first.oom_kills() == 1
    again, warnings = cgroups.create(place, "box0", {})
    assert (again.oom_kills(), warnings) == (0, [])


@root
def test_an_occupied_group_is_not_taken(make: Make, place: Placement, monkeypatch: pytest.MonkeyPatch) -> None:
    group = make()
    pid = run_in(group, stay)
    wait_until(lambda: group.pids() == [pid], 5, "it is in")
    monkeypatch.setattr(cgroups, "_REMOVE_SECONDS", 0.05)
    with pytest.raises(Conflict, match="box0"):
        cgroups.create(place, "box0", {})
    assert group.pids() == [pid]
    group.kill_all()
    assert code_of(pid) == -signal.SIGKILL


@root
def test_removal_waits_for_the_dying(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    group = make()
    pid = run_in(group, stay)
    wait_until(lambda: group.pids() == [pid], 5, "it is in")
    waited = cgroup_files._wait_empty

    def kill_then_wait(folder: str, seconds: float) -> None:
        os.kill(pid, signal.SIGKILL)
        waited(folder, seconds)

    monkeypatch.setattr(cgroup_files, "_wait_empty", kill_then_wait)
    assert group.remove() == []
    assert code_of(pid) == -signal.SIGKILL


@root
def test_what_is_missing_is_told(place: Placement) -> None:
    for what, cost in cgroups.lacks(place):
        assert what
        assert cost.endswith(("effect", "shown", "paused", "for"))


@root
def test_a_limit_that_cannot_be_is_a_warning(place: Placement) -> None:
    group, warnings = cgroups.create(place, "odd", {"unified": {"nosuch.file": "1"}})
    assert group.remove() == []
    assert len(warnings) == 1
    assert "nosuch.file has no effect" in warnings[0]


@root
def test_groups_that_the_container_made_are_removed_too(make: Make) -> None:
    group = make()
    for folder in group.folders.values():
        os.makedirs(os.path.join(folder, "inner", "most"))
    group.remove()
    assert not any(os.path.exists(folder) for folder in group.folders.values())


@root
def test_a_refused_limit_names_file_and_flag(place: Placement) -> None:
    with pytest.raises(KernelError, match="--cpuset-cpus"):
        cgroups.create(place, "bad", {"cpu": {"cpus": "4000"}})
    assert not any(os.path.exists(os.path.join(parent, "bad")) for parent in place.parents.values())


@root
def test_a_group_is_found_again(make: Make, place: Placement) -> None:
    group = make()
    pid = run_in(group, stay)
    again = cgroups.reopen(place, "box0")
    wait_until(lambda: again.pids() == [pid], 5, "it is in")
    assert again.folders == group.folders
    again.kill_all()
    assert code_of(pid) == -signal.SIGKILL
