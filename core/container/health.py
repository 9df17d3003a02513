"""Health checks: when to probe, and what an answer means. Pure: times come in as arguments, in nanoseconds.

The rules are Docker's (moby ``daemon/health.go``). ``Container.health_state`` has the members of Docker's
``State.Health``, with the times of its log as nanoseconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.container.status import Container

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"

_SECOND = 1_000_000_000
_KEPT = 5
_SHOWN = 200
#: Bytes of a probe's output that are kept.
MOST_OUTPUT = 4096


@dataclass(frozen=True, slots=True)
class Check:
    """A container's check with Docker's defaults; ``command`` is executed as it is."""

    command: tuple[str, ...]
    interval: int
    timeout: int
    start_period: int
    start_interval: int
    retries: int


@dataclass(frozen=True, slots=True)
class Result:
    """One probe: begin, end, exit code (-1: it could not start, or had to be killed), output."""

    started: int
    ended: int
    code: int
    output: str


def check_of(container: Container) -> Check | None:
    """What is to be probed; None without a check, or with ``NONE``."""
    given = container.config.get("Healthcheck") or {}
    kind, *words = given.get("Test") or ["NONE"]
    if kind not in ("CMD", "CMD-SHELL"):
        return None
    shell = container.config.get("Shell")
    before = (shell if isinstance(shell, list) and shell else ["/bin/sh", "-c"]) if kind == "CMD-SHELL" else []
    return Check(
        command=(*map(str, before), *words),
        interval=given.get("Interval") or 30 * _SECOND,
        timeout=given.get("Timeout") or 30 * _SECOND,
        start_period=given.get("StartPeriod") or 0,
        start_interval=given.get("StartInterval") or 5 * _SECOND,
        retries=given.get("Retries") or 3,
    )


def begun(container: Container) -> dict[str, Any]:
    """The state of a container that has just started; earlier answers stay in its log."""
    if check_of(container) is None:
        return {}
    return {"Status": STARTING, "FailingStreak": 0, "Log": container.health_state.get("Log") or []}


def left(container: Container) -> dict[str, Any]:
    """The state when nobody probes any more (ended, paused): unhealthy, as in Docker."""
    return {**container.health_state, "Status": UNHEALTHY}


def pause_between(container: Container, check: Check, now: int) -> int:
    """Nanoseconds between the end of one probe and the next."""
    early = now - container.started_at < check.start_period and container.health == STARTING
    return check.start_interval if early else check.interval


def next_probe(container: Container, check: Check, now: int) -> int:
    """When to probe next: some time after the last answer of this run, or after its start."""
    log = container.health_state.get("Log") or [{"End": 0}]
    since = max(int(log[-1]["End"]), container.started_at)
    pause = pause_between(container, check, now)
    # A clock that was set back does not make the wait longer.
    return min(since, now) + pause


def answered(container: Container, check: Check, result: Result) -> dict[str, Any]:
    """The state after a probe."""
    state = container.health_state
    entry = {"Start": result.started, "End": result.ended, "ExitCode": result.code, "Output": result.output}
    log = [*(state.get("Log") or []), entry][-_KEPT:]
    status, streak = container.health, int(state.get("FailingStreak") or 0)
    if result.code == 0:
        return {"Status": HEALTHY, "FailingStreak": 0, "Log": log}
    if status != STARTING or result.started - container.started_at >= check.start_period:
        streak += 1
        if streak >= check.retries:
            status = UNHEALTHY
    return {"Status": status, "FailingStreak": streak, "Log": log}


def tell(container: Container) -> str:
    """``3 probes failed in a row, the last with exit code 1: connection refused``; empty when none did."""
    log, streak = container.health_state.get("Log"), container.health_state.get("FailingStreak")
    if not log or not streak:
        return ""
    last = log[-1]
    text = " ".join("".join(c if c.isprintable() else " " for c in last["Output"]).split())
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    how = f"exit code {last['ExitCode']}" if last["ExitCode"] >= 0 else "no answer"
    probes = "1 probe failed, with" if streak == 1 else f"{streak} probes failed in a row, the last with"
    return f"{probes} {how}{': ' + text if text else ''}"


def go_duration(nanoseconds: int) -> str:
    """``1m30s``, ``1.5s``, ``500ms``: as Go writes a duration."""
    if nanoseconds < _SECOND:
        for unit, size in (("ms", 1_000_000), ("µs", 1000)):
            if nanoseconds >= size:
                return f"{nanoseconds / size:.6f}".rstrip("0").rstrip(".") + unit
        return f"{nanoseconds}ns" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, 60 * _SECOND)
    whole, fraction = divmod(rest, _SECOND)
    seconds = f"{whole}.{fraction:09d}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + seconds
