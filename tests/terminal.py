"""Terminals for the tests.

``Pty(argv, env=…, rows=24, cols=80)``: a process on a pseudo-terminal of the given size from its first byte.
    ``expect(text)`` waits for text (or a compiled pattern) after the last match, ``send(b"…")`` types,
    ``resize(rows, cols)``, ``wait()`` gives the exit code, ``output`` and ``text`` are everything so far.

``Tmux(folder, argv, env=…, rows=…, cols=…)``: a program in a tmux server of its own.
    ``keys("Down", "Enter")``, ``type("text")``, ``screen()``, ``wait_for(text)``, ``resize(rows, cols)``,
    ``alive()``, ``exit_code()``.

Both are context managers: what they started ends with them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import wait_until

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[@-Z\\-_])")


def plain(data: bytes | str) -> str:
    """Text without terminal escape sequences."""
    text = data.decode(errors="replace") if isinstance(data, bytes) else data
    return _ESCAPES.sub("", text)


class Pty:
    """A process whose standard streams and controlling terminal are one pseudo-terminal."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: dict[str, str],
        rows: int = 24,
        cols: int = 80,
        cwd: str | Path | None = None,
    ) -> None:
        self.output = b""
        self._matched = 0
        self._ended = False
        self.fd, slave = pty.openpty()
        try:
            self.resize(rows, cols)
            # setsid(1) with --ctty makes the terminal the controlling one and then execs: the pid stays.
            self.process = subprocess.Popen(
                ["setsid", "--ctty", *argv],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env={"TERM": "xterm-256color", **env},
                cwd=cwd,
            )
        finally:
            os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        """Everything written so far, without escape sequences."""
        return plain(self.output)

    def resize(self, rows: int, cols: int) -> None:
        """Set the size; the kernel sends SIGWINCH to the foreground process group."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def send(self, data: bytes | str) -> None:
        view = memoryview(data.encode() if isinstance(data, str) else data)
        while view:
            view = view[os.write(self.fd, view) :]

    def read_some(self, timeout: float) -> bool:
        """Take what is there, waiting at most ``timeout`` seconds; False when nothing came or it ended."""
        if self._ended or not select.select([self.fd], [], [], max(timeout, 0))[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: every slave is closed
                raise
            data = b""
        self.output += data
        self._ended = not data
        return bool(data)

    def expect(self, wanted: str | re.Pattern[str], timeout: float = 10.0) -> str:
        """Wait for text after the last match (escape sequences stripped); return what came up to its end."""
        pattern = re.compile(re.escape(wanted)) if isinstance(wanted, str) else wanted
        text = self.read_until(lambda text: pattern.search(text, self._matched) is not None, timeout, wanted)
        found = pattern.search(text, self._matched)
        assert found is not None
        start, self._matched = self._matched, found.end()
        return text[start : found.end()]

    def read_until(self, test: Callable[[str], bool], timeout: float = 10.0, what: object = None) -> str:
        """Read until ``test`` is true of everything so far (escape sequences stripped); that text."""
        deadline = time.monotonic() + timeout
        while not test(text := self.text):
            if self._ended or time.monotonic() >= deadline:
                why = "the terminal was closed" if self._ended else f"not within {timeout} s"
                raise AssertionError(f"{what or test!r}: {why}; after the last match: {text[self._matched :]!r}")
            self.read_some(deadline - time.monotonic())
        return text

    def wait(self, timeout: float = 10.0) -> int:
        """The exit code, reading on so that the process never blocks on its output."""
        deadline = time.monotonic() + timeout
        while not self._ended:
            if not self.read_some(deadline - time.monotonic()) and time.monotonic() >= deadline:
                raise AssertionError(f"did not end within {timeout} s; output: {self.text!r}")
        return self.process.wait(max(deadline - time.monotonic(), 1))

    def close(self) -> None:
        """Hang up: close the terminal, then kill what still runs."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


class Tmux:
    """A program in a tmux session on a socket of its own, without the person's configuration."""

    def __init__(
        self,
        folder: Path,
        argv: Sequence[str],
        *,
        env: dict[str, str],
        rows: int = 40,
        cols: int = 120,
    ) -> None:
        self._socket = folder / "tmux.sock"
        self._env = {k: v for k, v in env.items() if k not in ("TMUX", "TMUX_PANE")}
        self._env.setdefault("LC_ALL", "C.UTF-8")
        options = ["set-option", "-g", "remain-on-exit", "on", ";", "set-option", "-g", "status", "off", ";"]
        size = ["-x", str(cols), "-y", str(rows)]
        # tmux 3.3 sometimes never learns a program's exit code: a shell around the program writes it down.
        self._code = folder / "exit-code"
        shell = ["sh", "-c", '"$@"; echo $? >"$0.new"; mv "$0.new" "$0"', str(self._code), *argv]
        self._run("-f", "/dev/null", *options, "new-session", "-d", *size, shlex.join(shell))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, *args: str) -> str:
        argv = ["tmux", "-u", "-S", str(self._socket), *args]
        done = subprocess.run(argv, env=self._env, capture_output=True, text=True, timeout=20)
        if done.returncode:
            raise AssertionError(f"{' '.join(argv)}: {done.stderr}")
        return done.stdout

    def keys(self, *names: str) -> None:
        """Press keys by tmux's names ("Enter", "C-c", "Down", or a single character)."""
        self._run("send-keys", *names)

    def type(self, text: str) -> None:
        """Type text as it is."""
        self._run("send-keys", "-l", text)

    def screen(self, *, escapes: bool = False) -> str:
        """What is on the screen, a line a row; with ``escapes`` its colours too."""
        return self._run("capture-pane", "-p", *(["-e"] if escapes else []))

    def wait_for(self, wanted: str | Callable[[str], bool], timeout: float = 15.0) -> str:
        """Until the screen holds the text (or satisfies the predicate); the screen."""
        test = (lambda screen: wanted in screen) if isinstance(wanted, str) else wanted
        last = ""

        def seen() -> bool:
            nonlocal last
            last = self.screen()
            return test(last)

        try:
            wait_until(seen, timeout)
        except AssertionError:
            raise AssertionError(f"{wanted!r} not on the screen within {timeout} s:\n{last}") from None
        return last

    def resize(self, rows: int, cols: int) -> None:
        self._run("resize-window", "-x", str(cols), "-y", str(rows))

    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._run("display-message", "-p", "#{pane_dead}").strip() == "0"

    def exit_code(self) -> int:
        """The program's exit code once it has ended."""
        wait_until(self._code.exists, 10, "the program's exit code")
        return int(self._code.read_text())

    def close(self) -> None:
        if self._socket.exists():
            pid = int(self._run("display-message", "-p", "#{pid}"))
            self._run("kill-server")
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), 10, "tmux has left")
            self._socket.unlink(missing_ok=True)
