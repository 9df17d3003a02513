"""The person's terminal while a container has it: raw, and always put back."""

from __future__ import annotations

import posix
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IFLAG, _OFLAG, _CFLAG, _LFLAG, _CC = 0, 1, 2, 3, 6


class _Kept:
    fd = -1
    mode: list[Any] | None = None


def make_raw(fd: int) -> None:
    """cfmakeraw(3): every key is sent as it is, nothing is echoed. :func:`restore` undoes it."""
    if _Kept.mode is None:
        _Kept.fd, _Kept.mode = fd, termios.tcgetattr(fd)
    mode = termios.tcgetattr(fd)
    mode[_IFLAG] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
        | termios.ICRNL | termios.IXON
    )  # fmt: skip
    mode[_OFLAG] &= ~termios.OPOST
    mode[_LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    mode[_CFLAG] = mode[_CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[_CC] = list(mode[_CC])
    mode[_CC][termios.VMIN], mode[_CC][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, mode)


def restore() -> None:
    """Put the terminal back; harmless when nothing was changed or the terminal is gone."""
    if _Kept.mode is not None:
        try:
            termios.tcsetattr(_Kept.fd, termios.TCSANOW, _Kept.mode)
        except termios.error:
            pass
        _Kept.mode = None


def size() -> tuple[int, int]:
    """(rows, columns) of the terminal that output goes to; (0, 0) when it is none."""
    for fd in (1, 0):
        try:
            found = posix.get_terminal_size(fd)
        except OSError:
            continue
        return found.lines, found.columns
    return 0, 0
