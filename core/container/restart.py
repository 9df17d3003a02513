"""Whether and when a container that ended starts again. Pure: times come in as arguments.

The rules are Docker's (moby ``restartmanager``): the first wait is 100 ms, each next one twice as long, at most a
minute; a run of ten seconds begins anew. What a person stopped stays stopped, until ``start``, or for ``always``
until the engine starts again.

A container that waits keeps ``EXITED`` and has ``restart_at`` set: a daemon that finds it waits on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.container.status import Container, Status
from core.errors import InvalidArgument

POLICIES = ("no", "on-failure", "always", "unless-stopped")

_SECOND = 1_000_000_000
FIRST_DELAY = _SECOND // 10
LONGEST_DELAY = 60 * _SECOND
STEADY = 10 * _SECOND

#: ``--restart-unhealthy`` as an annotation, so that every client can give it and inspect shows it.
UNHEALTHY = "dockyard.restart-unhealthy"
#: Short runs in a row that are called a loop.
_LOOP = 3

#: The verbs by which a person ends a container. After ``restart`` and ``unhealthy`` it is to run again.
_BY_HAND = ("stop", "kill", "remove")


@dataclass(frozen=True, slots=True)
class Policy:
    """One of :data:`POLICIES`; ``limit`` is the number of restarts of ``on-failure``, 0 for no limit."""

    name: str
    limit: int = 0


def policy(container: Container) -> Policy:
    """The container's policy."""
    found = container.host_config.get("RestartPolicy") or {}
    return Policy(found.get("Name") or "no", found.get("MaximumRetryCount") or 0)


def check_policy(value: dict[str, Any], auto_remove: bool) -> dict[str, Any]:
    """HostConfig's RestartPolicy with its defaults. Raises InvalidArgument in Docker's words."""
    name, limit = value.get("Name") or "no", value.get("MaximumRetryCount") or 0
    if name not in POLICIES:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', "
            "or 'unless-stopped'"
        )
    if isinstance(limit, bool) or not isinstance(limit, int) or limit > 2**31 - 1:
        raise InvalidArgument(f"invalid restart policy: the maximum retry count must be a whole number, not {limit!r}")
    if limit and name != "on-failure":
        raise InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if limit < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    if auto_remove and name != "no":
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    return {"Name": name, "MaximumRetryCount": limit}


def next_delay(previous: int, ran: int) -> int:
    """Nanoseconds to wait after a run of ``ran`` that followed a wait of ``previous`` (0: none)."""
    if not previous or ran >= STEADY:
        return FIRST_DELAY
    return min(previous * 2, LONGEST_DELAY)


def after_exit(container: Container) -> bool:
    """Whether a container that has just ended is to start again (its record tells how it ended)."""
    if container.stopped_by == "unhealthy":
        return when_unhealthy(container)
    # ``restart`` starts it itself.
    if container.stopped_by:
        return False
    chosen = policy(container)
    if chosen.name == "on-failure":
        return container.exit_code != 0 and (not chosen.limit or container.restart_count < chosen.limit)
    return chosen.name in ("always", "unless-stopped")


def when_unhealthy(container: Container) -> bool:
    """Whether it is to be ended and started again for its health: as asked, within the limit of ``on-failure``."""
    if (container.host_config.get("Annotations") or {}).get(UNHEALTHY) != "true":
        return False
    limit = policy(container).limit
    return not limit or container.restart_count < limit


def check_unhealthy(annotations: dict[str, str], auto_remove: bool) -> None:
    """Raise InvalidArgument for a value of :data:`UNHEALTHY` that means nothing, or with ``--rm``."""
    value = annotations.get(UNHEALTHY, "false")
    if value not in ("true", "false"):
        raise InvalidArgument(f"annotation {UNHEALTHY} must be true or false, not {value[:40]!r}")
    if value == "true" and auto_remove:
        raise InvalidArgument(f"can't create 'AutoRemove' container with {UNHEALTHY}")


def plan(container: Container, now: int) -> dict[str, Any]:
    """The columns that make an ended container wait for its next start; empty when it stays down."""
    if not after_exit(container):
        return {}
    delay = next_delay(container.restart_delay, container.finished_at - container.started_at)
    first = delay == FIRST_DELAY
    return {
        "restart_at": now + delay,
        "restart_delay": delay,
        "restart_count": container.restart_count + 1,
        "loop_since": container.started_at if first else container.loop_since,
        "loop_starts": 1 if first else container.loop_starts + 1,
    }


def at_engine_start(container: Container) -> bool:
    """Whether a container that is down, and does not wait already, starts when the engine does."""
    if container.status is not Status.EXITED or container.restarting or not container.started_at:
        return False
    name = policy(container).name
    return name == "always" or (name == "unless-stopped" and container.stopped_by not in _BY_HAND)


def remaining(container: Container, now: int) -> float:
    """Seconds until the next start; a clock that was set back does not make it longer than planned."""
    return max(0, min(container.restart_at - now, container.restart_delay)) / _SECOND


def tell(container: Container, now: int) -> str:
    """``restarting, 2nd time, next in 0.2 s, last exit code 1``, or the words of a loop."""
    left = remaining(container, now)
    when = "now" if left < 0.05 else f"in {left:.1f} s" if left < 2 else f"in {left:.0f} s"
    if container.loop_starts >= _LOOP:
        return f"{_loop(container, container.loop_starts, now)}, next {when}, last exit code {container.exit_code}"
    return f"restarting, {ordinal(container.restart_count)} time, next {when}, last exit code {container.exit_code}"


def tell_running(container: Container, now: int) -> str:
    """``restart loop: 7 starts in 13 s`` while it runs, as long as that may be another short run; else empty."""
    if container.loop_starts < _LOOP - 1 or now - container.started_at >= STEADY:
        return ""
    return _loop(container, container.loop_starts + 1, now)


def _loop(container: Container, starts: int, now: int) -> str:
    return f"restart loop: {starts} starts in {max(0, now - container.loop_since) / _SECOND:.0f} s"


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``11th``, ``22nd``."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
