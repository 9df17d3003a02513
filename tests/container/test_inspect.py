"""Docker's JSON shapes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.container.inspect import human_duration, inspect, rfc3339, status_text, summary
from core.container.status import Status
from core.db import Database
from core.network.store import NetworkStore
from tests.container.records import ID, make_container

SECOND = 1_000_000_000
NOW = 1_700_000_100 * SECOND


@pytest.fixture
def networks() -> Iterator[NetworkStore]:
    db = Database(":memory:")
    yield NetworkStore(db)
    db.close()


def test_times_are_fixed_width() -> None:
    assert rfc3339(1_700_000_000 * SECOND + 5) == "2023-11-14T22:13:20.000000005Z"
    assert rfc3339(0) == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (150, "2 minutes"),
        (3600, "About an hour"), (3 * 3600, "3 hours"), (3 * 86400, "3 days"), (21 * 86400, "3 weeks"),
        (90 * 86400, "3 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_durations_as_docker_says_them(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_status_texts() -> None:
    assert status_text(make_container(), NOW) == "Created"
    running = make_container(status=Status.RUNNING, started_at=NOW - 30 * SECOND)
    assert status_text(running, NOW) == "Up 30 seconds"
    lost = replace(running, error="its monitor is lost", monitor_pid=0)
    assert status_text(lost, NOW) == "Up 30 seconds (monitor lost)"
    ended = make_container(status=Status.EXITED, exit_code=3, finished_at=NOW - 7200 * SECOND)
    assert status_text(ended, NOW) == "Exited (3) 2 hours ago"


def test_summary(networks: NetworkStore) -> None:
    item = summary(make_container(Cmd=["sh", "-c", "echo hi"], Labels={"a": "b"}), NOW, networks)
    assert item["Names"] == ["/box"]
    assert item["Command"] == "sh -c 'echo hi'"
    assert item["State"] == "created"
    assert item["Labels"] == {"a": "b"}
    assert item["DockyardExplain"] == ""


def test_inspect_has_no_nulls_docker_does_not_send(networks: NetworkStore) -> None:
    document = inspect(make_container({"Binds": ["/a:/b:ro"]}, Cmd=["x", "y"]), [], "/c", networks)
    assert (document["Path"], document["Args"]) == ("x", ["y"])
    assert document["Config"]["Hostname"] == ID[:12]
    assert "Healthcheck" not in document["Config"]
    assert document["HostConfig"]["NetworkMode"] == "bridge"
    assert document["HostConfig"]["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert document["Mounts"] == [
        {
            "Type": "bind",
            "Source": "/a",
            "Destination": "/b",
            "Mode": "ro",
            "RW": False,
            "Propagation": "rprivate",
        }
    ]
    assert document["State"]["Status"] == "created"
    assert document["ExecIDs"] is None


def test_a_running_container_shows_no_old_exit_code(networks: NetworkStore) -> None:
    running = make_container(status=Status.RUNNING, exit_code=137, pid=9, started_at=NOW)
    state = inspect(running, ["e"], "/c", networks)["State"]
    assert (state["ExitCode"], state["Pid"], state["Running"]) == (0, 9, True)
