"""When a health check probes, and what its answers mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.container import health, restart
from core.container.config import parse_create
from core.container.config.health import merged_health
from core.container.explain import explain
from core.container.health import Check, Result
from core.container.inspect import state, status_text
from core.container.probing import Output
from core.container.status import Container, Status
from core.errors import InvalidArgument
from tests.container.records import make_container

S = 1_000_000_000


def checked(**members: Any) -> Container:
    """A running container that started at second 100."""
    test = members.pop("Test", ["CMD", "probe"])
    made = make_container(Healthcheck={"Test": test, **members}, status=Status.RUNNING, started_at=100 * S, pid=1)
    return replace(made, health_state=health.begun(made))


def check_of(container: Container) -> Check:
    found = health.check_of(container)
    assert found is not None
    return found


def answer(container: Container, code: int, at: int, output: str = "") -> Container:
    result = Result(at * S, at * S, code, output)
    return replace(container, health_state=health.answered(container, check_of(container), result))


@pytest.mark.parametrize(
    ("test", "command"),
    [
        (["CMD", "a", "b"], ("a", "b")),
        (["CMD-SHELL", "a | b"], ("/bin/sh", "-c", "a | b")),
        (["NONE"], None),
        ([], None),
    ],
)
def test_what_is_executed(test: list[str], command: tuple[str, ...] | None) -> None:
    found = health.check_of(make_container(Healthcheck={"Test": test}))
    assert (found.command if found else None) == command


def test_dockers_defaults() -> None:
    assert check_of(checked()) == Check(("probe",), 30 * S, 30 * S, 0, 5 * S, 3)


def test_three_failures_in_a_row_are_unhealthy_and_one_success_heals() -> None:
    box = checked()
    assert box.health == "starting"
    for number in (1, 2):
        box = answer(box, 1, 100 + number)
        assert (box.health, box.health_state["FailingStreak"]) == ("starting", number)
    box = answer(box, 1, 103)
    assert box.health == "unhealthy"
    box = answer(box, 0, 104)
    assert (box.health, box.health_state["FailingStreak"]) == ("healthy", 0)
    box = answer(answer(box, 1, 105), -1, 106)
    assert box.health == "healthy"
    assert answer(box, 1, 107).health == "unhealthy"


def test_failures_in_the_start_period_do_not_count() -> None:
    box = checked(StartPeriod=10 * S, Retries=1)
    box = answer(box, 1, 105)
    assert (box.health, box.health_state["FailingStreak"]) == ("starting", 0)
    assert answer(box, 1, 111).health == "unhealthy"
    # Once it was healthy, they do.
    assert answer(answer(box, 0, 106), 1, 107).health == "unhealthy"


def test_five_answers_are_kept() -> None:
    box = checked()
    for number in range(8):
        box = answer(box, 0, 100 + number, str(number))
    assert [entry["Output"] for entry in box.health_state["Log"]] == ["3", "4", "5", "6", "7"]


def test_the_time_between_probes() -> None:
    box = checked(Interval=7 * S, StartPeriod=10 * S, StartInterval=2 * S)
    check = check_of(box)
    assert health.pause_between(box, check, 105 * S) == 2 * S
    assert health.pause_between(box, check, 111 * S) == 7 * S
    assert health.pause_between(answer(box, 0, 104), check, 105 * S) == 7 * S
    assert health.next_probe(box, check, 101 * S) == 102 * S
    # A clock that was set back does not make it wait for ever.
    assert health.next_probe(answer(box, 0, 5000), check, 200 * S) == 207 * S


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ({"Interval": 999_999}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Timeout": -1}, "Timeout"),
        ({"StartPeriod": 5}, "StartPeriod in Healthcheck cannot be less than 1ms"),
        ({"StartInterval": 5}, "StartInterval in Healthcheck cannot be less than 1ms"),
        ({"Retries": -1}, "Retries in Healthcheck cannot be negative"),
        ({"Test": ["CMD"]}, "names no command"),
        ({"Test": "x"}, "Test"),
        ({"Retries": "x"}, "Retries"),
    ],
)
def test_what_is_refused(member: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_create({"Image": "img", "Healthcheck": member})


def test_the_image_completes_what_was_given() -> None:
    image = {"Test": ["CMD", "image"], "Interval": 3 * S, "Retries": 9}
    assert merged_health(None, image) == image
    assert merged_health({"Retries": 2}, image) == {**image, "Retries": 2}
    assert merged_health({"Test": ["NONE"]}, None) == {"Test": ["NONE"]}
    assert merged_health(None, None) is None


@pytest.mark.parametrize(
    ("codes", "text"),
    [([], "Up 5 seconds (health: starting)"), ([0], "Up 5 seconds (healthy)"), ([1, 1, 1], "Up 5 seconds (unhealthy)")],
)
def test_how_it_is_shown(codes: list[int], text: str) -> None:
    box = checked()
    for number, code in enumerate(codes):
        box = answer(box, code, 101 + number, "refused\n")
    assert status_text(box, 105 * S) == text
    assert state(box)["Health"]["Status"] == box.health
    assert len(state(box)["Health"]["Log"]) == len(codes)
    assert "Health" not in state(make_container())


def test_failures_are_explained() -> None:
    box = checked()
    for number in range(3):
        box = answer(box, 7, 101 + number, "connection\nrefused\x1b[0m")
    assert explain(box) == "unhealthy: 3 probes failed in a row, the last with exit code 7: connection refused [0m"


def test_the_restart_of_unhealthy_ones_keeps_to_the_limit() -> None:
    host = {"Annotations": {restart.UNHEALTHY: "true"}}
    assert restart.when_unhealthy(make_container(host))
    assert not restart.when_unhealthy(make_container())
    limited = {**host, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}
    assert restart.when_unhealthy(make_container(limited, restart_count=1))
    assert not restart.when_unhealthy(make_container(limited, restart_count=2))
    with pytest.raises(InvalidArgument, match="must be true or false"):
        make_container({"Annotations": {restart.UNHEALTHY: "perhaps"}})
    with pytest.raises(InvalidArgument, match="AutoRemove"):
        make_container({**host, "AutoRemove": True})


def frame(data: bytes, kind: int = 1) -> bytes:
    return bytes([kind, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def test_output_is_kept_to_its_limit() -> None:
    output = Output()
    whole = frame(b"out ") + frame(b"err", 2)
    for at in range(len(whole)):
        output.feed(whole[at : at + 1])
    assert output.text() == "out err"
    flood = Output()
    for _ in range(100):
        flood.feed(frame(b"x" * 1000))
    assert flood.text() == "x" * health.MOST_OUTPUT + "..."


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0s"), (500, "500ns"), (1_500_000, "1.5ms"), (S, "1s"), (90 * S, "1m30s"), (3600 * S, "1h0m0s")],
)
def test_durations(nanoseconds: int, text: str) -> None:
    assert health.go_duration(nanoseconds) == text


# --- restart policies ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "code", "stopped_by", "again"),
    [
        ("no", 1, "", False),
        ("on-failure", 0, "", False),
        ("on-failure", 1, "", True),
        ("always", 0, "", True),
        ("always", 1, "stop", False),
        ("unless-stopped", 1, "kill", False),
        ("unless-stopped", 0, "", True),
        ("always", 0, "restart", False),
    ],
)
def test_after_an_exit(policy: str, code: int, stopped_by: str, again: bool) -> None:
    box = make_container({"RestartPolicy": {"Name": policy}}, exit_code=code, stopped_by=stopped_by)
    assert restart.after_exit(box) is again


def test_the_waits_double_up_to_a_minute_and_begin_anew() -> None:
    delays, delay = [], 0
    for _ in range(12):
        delay = restart.next_delay(delay, S)
        delays.append(delay / S)
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 60
    assert restart.next_delay(60 * S, 10 * S) == restart.FIRST_DELAY


def test_a_loop_is_told_as_one() -> None:
    box = make_container(
        {"RestartPolicy": {"Name": "always"}}, status=Status.EXITED, exit_code=3, restart_count=6,
        restart_at=110 * S, restart_delay=5 * S, loop_since=90 * S, loop_starts=6,
    )  # fmt: skip
    assert restart.tell(box, 105 * S) == "restart loop: 6 starts in 15 s, next in 5 s, last exit code 3"
    assert restart.tell(replace(box, loop_starts=2), 105 * S).startswith("restarting, 6th time, next in 5 s")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"Name": "sometimes"}, "unknown policy 'sometimes'"),
        ({"Name": "always", "MaximumRetryCount": 2}, "can only be used with 'on-failure'"),
        ({"Name": "on-failure", "MaximumRetryCount": -1}, "cannot be negative"),
        ({"Name": "on-failure", "MaximumRetryCount": True}, "whole number"),
    ],
)
def test_policies_that_cannot_be(value: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        restart.check_policy(value, False)
