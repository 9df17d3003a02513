"""What a request of ``update`` changes, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from core.container.update import limits, merged, parse_update
from core.errors import InvalidArgument, Unsupported
from tests.container.records import make_container


def host(**members: Any) -> dict[str, Any]:
    return make_container(members).host_config


def test_zero_means_unchanged_but_for_processes() -> None:
    assert parse_update({"Memory": 0, "CpusetCpus": "", "RestartPolicy": {"Name": ""}, "CpuShares": 5}) == {
        "CpuShares": 5
    }
    assert parse_update({"PidsLimit": None}) == {}
    for none in (0, -1, -7):
        changes = parse_update({"PidsLimit": none})
        assert changes == {"PidsLimit": 0}
        assert limits(merged(host(PidsLimit=50), changes), changes)["pids"] == {"limit": -1}


@pytest.mark.parametrize("body", [[], "x", {"Memory": "64m"}, {"CpuShares": True}, {"RestartPolicy": 1}])
def test_wrong_types(body: Any) -> None:
    with pytest.raises(InvalidArgument):
        parse_update(body)


def test_what_is_not_supported_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="KernelMemory"):
        parse_update({"KernelMemory": 100 << 20})


def test_only_what_changes_is_written() -> None:
    before = host(Memory=64 << 20, MemorySwap=128 << 20, CpuShares=100, PidsLimit=9, BlkioWeight=300)
    changes = {"CpuShares": 200}
    assert limits(merged(before, changes), changes) == {"cpu": {"shares": 200}}
    changes = {"BlkioWeight": 400}
    assert limits(merged(before, changes), changes) == {"blockIO": {"weight": 400}}
    policy = {"RestartPolicy": {"Name": "always"}}
    assert limits(merged(before, policy), policy) == {}


def test_memory_takes_its_swap_along() -> None:
    changes = {"Memory": 32 << 20}
    found = limits(merged(host(Memory=64 << 20, MemorySwap=64 << 20), changes), changes)
    assert found == {"memory": {"limit": 32 << 20, "swap": 64 << 20}}
    # Without --memory-swap, as much again: what the next start gives it too.
    assert limits(merged(host(), changes), changes) == {"memory": {"limit": 32 << 20, "swap": 64 << 20}}


@pytest.mark.parametrize(
    ("before", "changes", "message"),
    [
        ({"Memory": 64 << 20, "MemorySwap": 64 << 20}, {"Memory": 65 << 20}, "update the memoryswap at the same time"),
        ({"NanoCpus": 10**9}, {"CpuQuota": 50_000}, "CPU Quota cannot be updated as NanoCPUs"),
        ({"NanoCpus": 10**9}, {"CpuPeriod": 50_000}, "CPU Period cannot be updated as NanoCPUs"),
        ({"CpuQuota": 50_000}, {"NanoCpus": 10**9}, "Nano CPUs cannot be updated as CPU Quota"),
        ({"AutoRemove": True}, {"RestartPolicy": {"Name": "always"}}, "AutoRemove is enabled"),
        ({"Memory": 64 << 20}, {"MemoryReservation": 65 << 20}, "less than memory reservation"),
        ({}, {"Memory": 1 << 20}, "Minimum memory limit allowed is 6MB"),
    ],
)
def test_changes_that_do_not_go_together(before: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    record = host(**before)
    kept = dict(record)
    with pytest.raises(InvalidArgument, match=message):
        merged(record, changes)
    assert record == kept
