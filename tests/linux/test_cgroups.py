"""Limits as pure plans, and their effect on this machine's hierarchies (version 1 or 2, whichever it has)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from core import oci
from core.errors import InvalidArgument
from core.linux import cgroups, cgroups_v1
from core.linux.cgroup_limits import plan, swap_alone, weight_from_shares
from core.linux.cgroups import Cgroup
from tests.linux.cgroup_effects import EFFECTS, Effect, Groups

# --- pure ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resources", "v2", "v1"),
    [
        ({}, {}, {}),
        (
            {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1024}]}},
            {"io.max": "8:0 rbps=1024"},
            {"blkio.throttle.read_bps_device": "8:0 1024"},
        ),
        (
            {"blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 9}]}},
            {"io.max": "8:16 wiops=9"},
            {"blkio.throttle.write_iops_device": "8:16 9"},
        ),
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
    group = Cgroup(1, {"cpu": "/c/x", "cpuacct": "/c/x", "memory": "/m/x", "unified": "/u/x"})
    assert group._distinct(unified=False) == ["/c/x", "/m/x"]


def test_detection_of_nothing() -> None:
    found = cgroups.detect("31 23 0:28 / / rw - ext4 /dev/vda rw\n")
    assert "memory" in dict(found.missing)


# --- effects ---------------------------------------------------------------------------------------


@pytest.fixture
def groups() -> Iterator[Groups]:
    made = Groups(f"test{os.getpid()}")
    yield made
    made.close()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="cgroups need root")
@pytest.mark.parametrize("effect", EFFECTS, ids=[effect.__name__ for effect in EFFECTS])
def test_effect(effect: Effect, groups: Groups) -> None:
    effect(groups)
