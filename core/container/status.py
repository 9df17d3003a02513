"""A container's record and its states.

::

    CREATED ──> STARTING ──> RUNNING ──> EXITED
       │  ▲         │         ↕ PAUSED ──>─┤ │
       │  └─────────┤ (start failed)       │ └──> STARTING (again)
       │            └──> EXITED            │
       └──────────> REMOVING <─────────────┘   (the row is deleted at its end)

``STARTING`` and ``REMOVING`` are intents, stored before the first deed: a daemon that finds one of them at its
start knows what its predecessor was doing, and finishes or undoes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.errors import Conflict


class Status(StrEnum):
    """Where a container is in its life."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"
    REMOVING = "removing"

    def may_become(self, target: Status) -> bool:
        """Whether the way from here to ``target`` is legal."""
        return target in _LEGAL[self]

    @property
    def is_alive(self) -> bool:
        """Whether a process of it may exist."""
        return self in (Status.STARTING, Status.RUNNING, Status.PAUSED)

    @property
    def is_up(self) -> bool:
        """Whether its program was started and has not ended; a paused one is up."""
        return self in (Status.RUNNING, Status.PAUSED)


_LEGAL: dict[Status, frozenset[Status]] = {
    Status.CREATED: frozenset({Status.STARTING, Status.REMOVING}),
    Status.STARTING: frozenset({Status.RUNNING, Status.CREATED, Status.EXITED, Status.REMOVING}),
    Status.RUNNING: frozenset({Status.PAUSED, Status.EXITED}),
    Status.PAUSED: frozenset({Status.RUNNING, Status.EXITED}),
    Status.EXITED: frozenset({Status.STARTING, Status.REMOVING}),
    Status.REMOVING: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Container:
    """One row of ``containers``; frozen, a change makes a new one.

    ``config`` and ``host_config`` are Docker's JSON members of the same names, checked and with defaults filled
    in. Times are nanoseconds since the epoch, 0 for never. ``pid`` with ``pid_start`` is an identity (proc(5),
    field 22 of stat); both 0 when nothing runs. ``args`` is the whole command line as it is executed.
    """

    id: str
    name: str
    created: int
    image: str  # as the person named it
    image_id: str
    args: tuple[str, ...]
    config: dict[str, Any]
    host_config: dict[str, Any]
    status: Status = Status.CREATED
    pid: int = 0
    pid_start: int = 0
    monitor_pid: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    signal: int = 0
    oom_killed: bool = False
    memory_limit: int = 0
    error: str = ""
    error_kind: str = ""
    error_step: str = ""
    error_path: str = ""
    stopped_by: str = ""  # "" it ended by itself, else the verb that ended it: stop, kill, restart, remove, unhealthy
    warnings: tuple[str, ...] = field(default=())
    mounts: tuple[dict[str, Any], ...] = field(default=())  # volumes and what others gave: core.container.mounts
    restart_count: int = 0  # restarts by its policy since a person started it
    restart_at: int = 0  # when it starts again; 0 when it does not wait for that
    restart_delay: int = 0  # nanoseconds of the last wait, 0 before the first
    loop_since: int = 0  # when the first of several short runs in a row started
    loop_starts: int = 0  # those runs, the last one included
    deaf: bool = False  # its pid 1 had no handler for the signal that asked it to end
    health_state: dict[str, Any] = field(default_factory=dict)  # Docker's State.Health; empty without a check

    @property
    def short(self) -> str:
        """The 12 digits that people see; also the name of its folder in the run directory."""
        return self.id[:12]

    @property
    def tty(self) -> bool:
        """Whether its streams are one terminal."""
        return bool(self.config.get("Tty"))

    @property
    def restarting(self) -> bool:
        """Whether it is down and waits for its next start."""
        return self.restart_at > 0 and self.status in (Status.EXITED, Status.STARTING)

    @property
    def health(self) -> str:
        """``starting``, ``healthy``, ``unhealthy``; ``none`` without a check."""
        return str(self.health_state.get("Status") or "none")

    @property
    def auto_remove(self) -> bool:
        """Whether it is removed when it ends (``--rm``)."""
        return bool(self.host_config.get("AutoRemove"))

    @property
    def labels(self) -> dict[str, str]:
        """Its labels, those of the image included."""
        return self.config.get("Labels") or {}


def check_transition(container: Container, target: Status) -> None:
    """Raise Conflict unless ``container`` may become ``target``."""
    if not container.status.may_become(target):
        raise Conflict(f"container {container.name} is {container.status.value}, it cannot become {target.value}")
