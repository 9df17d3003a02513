"""Clients that attached before their container was started: held here until its monitor can take them over."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from core.errors import Conflict

MAX_PENDING = 64


@dataclass(frozen=True, slots=True)
class PendingAttach:
    """A client's stream socket and what it wants. ``preread``: bytes that came before the hand-over."""

    sock: socket.socket
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    detach_keys: bytes = b""
    preread: bytes = b""


class PendingStreams:
    """The waiting clients of all containers."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[PendingAttach]] = {}

    def add(self, container_id: str, attach: PendingAttach) -> None:
        """Keep ``attach`` until the container starts. Conflict when too many wait already."""
        waiting = self._waiting.setdefault(container_id, [])
        if len(waiting) >= MAX_PENDING:
            attach.sock.close()
            raise Conflict(f"too many clients wait for container {container_id[:12]}")
        waiting.append(attach)

    def take(self, container_id: str) -> list[PendingAttach]:
        """Those who wait for this container; they are the caller's now."""
        return self._waiting.pop(container_id, [])

    def drop(self, container_id: str) -> None:
        """The container will not run: end its clients' streams."""
        for attach in self.take(container_id):
            attach.sock.close()
