"""``exit.json``: how a container ended, for a daemon that was not there to hear it."""

from __future__ import annotations

import os

from core.runtime import protocol

NAME = "exit.json"
_TEMPORARY = "exit.json.new"
_MAX_SIZE = 4096


def write(run_fd: int, exited: protocol.Exited) -> None:
    """Put the record in the run folder, whole or not at all. Not yet on disk: see :func:`sync`.

    Raises OSError (a full disk, or the folder is gone because the container was removed meanwhile).
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(_TEMPORARY, flags, 0o600, dir_fd=run_fd)
    try:
        os.write(fd, protocol.encode(exited))
    finally:
        os.close(fd)
    os.rename(_TEMPORARY, NAME, src_dir_fd=run_fd, dst_dir_fd=run_fd)


def sync(run_fd: int) -> None:
    """Make the record durable. Slow on a busy disk, so it comes after the exit was reported."""
    try:
        fd = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=run_fd)
    except FileNotFoundError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read(run_dir: str) -> protocol.Exited | None:
    """The record in ``run_dir``; None when there is none that can be read."""
    try:
        fd = os.open(f"{run_dir}/{NAME}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        message = protocol.decode(os.read(fd, _MAX_SIZE))
    except (OSError, protocol.ProtocolError):
        return None
    finally:
        os.close(fd)
    return message if isinstance(message, protocol.Exited) else None
