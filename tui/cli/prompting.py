"""Asking a person at the terminal, with and without echo."""

from __future__ import annotations

import posix
import termios

from tui.cli import output
from tui.cli.errors import CliError

_ECHO = 3  # index of the local modes in tcgetattr(3)'s list


def prompt(text: str) -> str:
    """A line that is typed. CliError at the end of the input."""
    output.err(text)
    data = b""
    while not data.endswith(b"\n"):
        block = posix.read(0, 1024)
        if not block:
            if data:
                break
            output.err("\n")
            raise CliError("nothing was typed")
        data += block
    return data.decode("utf-8", "surrogateescape").rstrip("\r\n")


def prompt_secret(text: str) -> str:
    """As :func:`prompt`, without showing what is typed; the terminal is as before afterwards, whatever happens."""
    before = termios.tcgetattr(0)
    silent = termios.tcgetattr(0)
    silent[_ECHO] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSAFLUSH, silent)
    try:
        return prompt(text)
    finally:
        termios.tcsetattr(0, termios.TCSAFLUSH, before)
        output.err("\n")
