"""Limits as pure plans, and their effect on this machine's hierarchies (version 1 or 2, whichever it has)."""

from __future__ import annotations

import os
import resource
import select
import signal
from collections.abc import Callable, Iterator

import pytest

from core import oci
from core.errors import KernelError
from core.linux import cgroups, cgroups_v1, placement, syscalls
from core.linux.cgroups import Cgroup, Placement, plan
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
        ({"cpu": {"shares": 1024}}, {"cpu.weight": "39"}, {"cpu.shares": "999"}),
        ({"cpu": {"cpus": "0-1"}}, {"cpuset.cpus": "0-1"}, {"cpuset.cpus": "0-1"}),
        ({"pids": {"limit": 10}}, {"pids.max": "10"}, {"pids.max": "10"}),
        ({"pids": {"limit": -1}}, {"pids.max": "max"}, {"pids.max": "max"}),
        ({"blockIO": {"weight": 1000}}, {"io.weight": "10000"}, {"blkio.weight": "1000"}),
    ],
)
def test_plans(resources: oci.Resources, v2: dict[str, str], v1: dict[str, str]) -> None:
    writes = plan(resources)
    assert {write.file: write.value for write in writes} == v2
    assert {write.file: write.value for write in cgroups_v1.translate(writes)} == v1


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (262_144, 10_000), (1, 1), (10**9, 10_000)])
def test_shares_and_weights_meet_at_the_ends(shares: int, weight: int) -> None:
    assert cgroups_v1.weight_from_shares(shares) == weight
    assert cgroups_v1.weight_from_shares(cgroups_v1.shares_from_weight(weight)) == weight


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
    pid = run_in(group, lambda: signal.pause() or 0)
    again = cgroups.reopen(place, "box0")
    wait_until(lambda: again.pids() == [pid], 5, "it is in")
    assert again.folders == group.folders
    again.kill_all()
    assert code_of(pid) == -signal.SIGKILL
