"""Why a container ended, in words."""

from __future__ import annotations

from typing import Any

import pytest

from core.container.explain import explain, size
from core.container.status import Status
from tests.container.records import make_container


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"exit_code": 0}, ""),
        ({"exit_code": 3}, "exit code 3"),
        ({"exit_code": 127}, "exit code 127: a command was not found"),
        ({"exit_code": 143}, "exit code 143: a process in it ended by SIGTERM"),
        ({"exit_code": 139, "signal": 11}, "killed by SIGSEGV: it touched memory that is not its own"),
        ({"exit_code": 137, "signal": 9}, "killed by SIGKILL: from outside the engine"),
        ({"exit_code": 137, "signal": 9, "stopped_by": "kill"}, "ended by kill: SIGKILL"),
        ({"exit_code": 143, "signal": 15, "stopped_by": "stop"}, "ended by stop: SIGTERM"),
        (
            {"exit_code": 137, "signal": 9, "stopped_by": "stop"},
            "stopped: it did not end when asked, killed by SIGKILL after the timeout",
        ),
        (
            {"exit_code": 137, "signal": 9, "oom_killed": True, "memory_limit": 64 << 20},
            "killed by the kernel: out of memory, its limit was 64 MiB",
        ),
        (
            {"exit_code": 1, "oom_killed": True, "memory_limit": 64 << 20},
            "a process in it was killed by the kernel for memory, its limit was 64 MiB; exit code 1",
        ),
        ({"error": 'exec: "x": not found', "error_step": "exec"}, 'exec: "x": not found (step exec)'),
    ],
)
def test_ends(fields: dict[str, Any], text: str) -> None:
    assert explain(make_container(status=Status.EXITED, finished_at=1, **fields)) == text


def test_nothing_is_said_of_the_living_and_the_new() -> None:
    assert explain(make_container(status=Status.RUNNING, exit_code=137)) == ""
    assert explain(make_container()) == ""


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1536, "1.5 KiB"), (64 << 20, "64 MiB"), (5 << 40, "5 TiB")])
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
