"""A download into a file that is either whole or not there."""

from __future__ import annotations

import os

from tui.cli import output
from tui.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def save_to(path: str, pieces: Iterable[memoryview]) -> None:
    """Write ``pieces`` aside and take ``path`` in one step at the end; what was there stays after a failure.

    A device or pipe is written to directly. CliError when that cannot be.
    """
    if os.path.isdir(path):
        raise CliError(f'invalid output path: "{path}" is a directory')
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise CliError(f'invalid output path: directory "{folder}" does not exist')
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            _write(os.open(path, os.O_WRONLY | os.O_CLOEXEC), pieces)
            return
        aside = os.path.join(folder, f".{os.path.basename(path)}.{os.getpid()}")
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _write(fd, pieces)
            os.rename(aside, os.path.realpath(path))
        except BaseException:
            os.unlink(aside)
            raise
    except OSError as error:
        raise CliError(f"cannot write {path}: {error.strerror}") from None


def _write(fd: int, pieces: Iterable[memoryview]) -> None:
    try:
        for piece in pieces:
            output.write(fd, piece)
    finally:
        os.close(fd)
