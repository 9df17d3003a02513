"""Terminals: the real size from the first byte, resizes, detaching, job control, restoring."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.support import Engine, wait_until
from tests.terminal import Pty

PtyOf = Callable[..., Pty]


def test_run_it_has_the_real_size_from_the_first_byte(busybox: str, pty_of: PtyOf) -> None:
    shell = pty_of("run", "-it", "--rm", busybox, "sh", "-c", "stty size; tty", rows=37, cols=111)
    shell.expect("37 111")
    shell.expect("/dev/pts/0")
    assert shell.wait() == 0


def test_exec_it_has_the_real_size_and_follows_it(engine: Engine, busybox: str, pty_of: PtyOf) -> None:
    engine.dockyard("run", "-d", "--name", "box", busybox, "sleep", "1000", check=True)
    shell = pty_of("exec", "-it", "box", "sh", rows=33, cols=99)
    shell.expect("#")
    shell.send("stty size\r")
    shell.expect("33 99")
    shell.resize(20, 60)
    shell.send("stty size\r")
    shell.expect("20 60")
    shell.send("exit 9\r")
    assert shell.wait() == 9


def test_control_c_interrupts_inside_only(engine: Engine, busybox: str, pty_of: PtyOf) -> None:
    shell = pty_of("run", "-it", "--name", "box", busybox, "sh")
    shell.expect("#")
    shell.send("sleep 1000\r")
    wait_until(lambda: "sleep 1000" in engine.dockyard("exec", "box", "ps").stdout, 10, "sleep runs")
    shell.send(b"\x03")
    shell.expect("#")
    shell.send("echo still-$((40+2))\r")
    shell.expect("still-42")
    # Typed before the prompt, the end of input would be turned into a NUL when the shell goes back to raw mode.
    shell.expect("#")
    shell.send(b"\x04")
    assert shell.wait() == 130 or engine.inspect("box")["State"]["Running"] is False


@pytest.mark.parametrize("keys", ["", "ctrl-x,y"])
def test_detach_and_attach_again(engine: Engine, busybox: str, pty_of: PtyOf, keys: str) -> None:
    option = ["--detach-keys", keys] if keys else []
    shell = pty_of("run", "-it", *option, "--name", "box", busybox, "sh")
    shell.expect("#")
    shell.send(b"\x18y" if keys else b"\x10\x11")
    assert shell.wait() == 0
    assert engine.inspect("box")["State"]["Running"] is True
    again = pty_of("attach", "box")
    again.send("echo back-$((1+1))\r")
    again.expect("back-2")
    again.send("exit 4\r")
    assert again.wait() == 4


def test_a_held_detach_key_is_passed_on(busybox: str, pty_of: PtyOf) -> None:
    shell = pty_of("run", "-it", "--rm", busybox, "sh", "-c", "stty raw -echo; echo go; head -c 2 | od -An -tx1")
    shell.expect("go")
    shell.send(b"\x10")
    shell.send(b"a")
    shell.expect(re.compile("10 61"))


def test_the_terminal_is_restored(busybox: str, pty_of: PtyOf) -> None:
    import termios

    shell = pty_of("run", "-it", "--rm", busybox, "true")
    before = termios.tcgetattr(shell.fd)
    assert shell.wait() == 0
    assert termios.tcgetattr(shell.fd)[3] & termios.ECHO == before[3] & termios.ECHO
    assert termios.tcgetattr(shell.fd)[3] & termios.ICANON


def test_it_without_a_terminal_is_refused(engine: Engine, busybox: str) -> None:
    done = engine.dockyard("run", "-it", "--rm", busybox, "true", input="")
    assert done.returncode != 0
    assert "TTY" in done.stderr or "terminal" in done.stderr


def test_start_attached(engine: Engine, busybox: str) -> None:
    engine.dockyard("create", "--name", "box", busybox, "sh", "-c", "echo hello; exit 6", check=True)
    for _ in range(2):
        done = engine.dockyard("start", "-a", "box")
        assert (done.returncode, done.stdout) == (6, "hello\n")
