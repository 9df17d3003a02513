"""Restart policies: whether, when, and how it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.container import restart
from core.container.explain import explain
from core.container.status import Container, Status
from core.errors import InvalidArgument
from tests.container.records import make_container

SECOND = 10**9
START = 1_700_000_000 * SECOND


def ended(name: str, limit: int = 0, *, annotation: str = "", ran: float = 1, **fields: Any) -> Container:
    host: dict[str, Any] = {"RestartPolicy": {"Name": name, "MaximumRetryCount": limit}}
    if annotation:
        host["Annotations"] = {restart.UNHEALTHY: annotation}
    end = START + int(ran * SECOND)
    return make_container(host, **{"status": Status.EXITED, "started_at": START, "finished_at": end, **fields})


@pytest.mark.parametrize(
    ("container", "again"),
    [
        (ended("no", exit_code=1), False),
        (ended("always"), True),
        (ended("unless-stopped"), True),
        (ended("on-failure"), False),
        (ended("on-failure", exit_code=1), True),
        (ended("on-failure", 2, exit_code=1, restart_count=1), True),
        (ended("on-failure", 2, exit_code=1, restart_count=2), False),
        (ended("always", stopped_by="stop"), False),
        (ended("always", stopped_by="kill"), False),
        (ended("always", stopped_by="restart"), False),
        (ended("no", stopped_by="unhealthy"), False),
        (ended("no", stopped_by="unhealthy", annotation="true"), True),
        (ended("on-failure", 2, stopped_by="unhealthy", annotation="true", restart_count=2), False),
    ],
)
def test_whether_it_starts_again(container: Container, again: bool) -> None:
    assert restart.after_exit(container) is again


@pytest.mark.parametrize(
    ("container", "starts"),
    [
        (ended("always", stopped_by="stop"), True),
        (ended("unless-stopped", stopped_by="stop"), False),
        (ended("unless-stopped"), True),
        (ended("on-failure", exit_code=1), False),
        (ended("no"), False),
        (make_container({"RestartPolicy": {"Name": "always"}}), False),
    ],
)
def test_when_the_engine_starts(container: Container, starts: bool) -> None:
    assert restart.at_engine_start(container) is starts


def test_back_off_doubles_to_a_minute_and_a_long_run_begins_anew() -> None:
    delays, delay = [], 0
    for _ in range(12):
        delay = restart.next_delay(delay, SECOND)
        delays.append(delay / SECOND)
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60]
    assert restart.next_delay(delay, 10 * SECOND) == SECOND // 10


def test_a_loop_is_told_as_a_loop() -> None:
    container = ended("always", exit_code=1)
    for _ in range(4):
        container = replace(container, **restart.plan(container, START + 13 * SECOND))
    assert restart.tell(container, START + 13 * SECOND) == (
        "restart loop: 4 starts in 13 s, next in 0.8 s, last exit code 1"
    )
    running = replace(container, status=Status.RUNNING, restart_at=0, started_at=START + 14 * SECOND)
    assert restart.tell_running(running, START + 15 * SECOND) == "restart loop: 5 starts in 15 s"
    assert restart.tell_running(running, START + 24 * SECOND) == ""
    steady = replace(running, status=Status.EXITED, finished_at=START + 60 * SECOND)
    assert restart.plan(steady, START + 60 * SECOND)["loop_starts"] == 1


def test_a_first_restart_is_no_loop() -> None:
    container = ended("always", exit_code=3)
    container = replace(container, **restart.plan(container, START))
    assert restart.tell(container, START) == "restarting, 1st time, next in 0.1 s, last exit code 3"


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"RestartPolicy": {"Name": "maybe"}}, "unknown policy 'maybe'"),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}, "can only be used with 'on-failure'"),
        ({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}}, "cannot be negative"),
        ({"RestartPolicy": {"Name": "always"}, "AutoRemove": True}, "can't create 'AutoRemove' container"),
        ({"Annotations": {restart.UNHEALTHY: "yes"}}, "must be true or false"),
        ({"Annotations": {restart.UNHEALTHY: "true"}, "AutoRemove": True}, "can't create 'AutoRemove' container"),
    ],
)
def test_refusals(host: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        make_container(host)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"stopped_by": "stop"}, "its first process ignores SIGTERM: run it with --init, or give --stop-signal one"),
        ({"stopped_by": "restart", "host": {"Init": True}}, "ignores SIGTERM: give --stop-signal one"),
        ({"stopped_by": "stop", "StopSignal": "SIGQUIT"}, "ignores SIGQUIT"),
    ],
)
def test_a_deaf_first_process(fields: dict[str, Any], text: str) -> None:
    container = make_container(
        fields.pop("host", None), status=Status.EXITED, finished_at=1, signal=9, exit_code=137, deaf=True, **fields
    )
    assert text in explain(container)
    assert "ignores" not in explain(replace(container, deaf=False))
