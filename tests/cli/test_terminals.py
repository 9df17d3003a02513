"""The person's terminal: raw while a container has it, its size told, and put back whatever happens."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.cli.fake import Exchange, FakeEngine, Handler, environment
from tests.cli.test_commands import ID, Container, Fake, says
from tests.support import COMMAND, wait_until
from tests.terminal import Pty

Start = Callable[..., Pty]


@pytest.fixture
def terminal() -> Iterator[Start]:
    with ExitStack() as stack:

        def start(engine: FakeEngine, *args: str) -> Pty:
            return stack.enter_context(Pty([*COMMAND, *args], env=environment(engine), rows=33, cols=99))

        yield start


class Shell(Container):
    """A container with a terminal: echoes what it gets in brackets, ends at ``q``."""

    def attach(self, exchange: Exchange) -> None:
        exchange.upgrade()
        self.started.wait(10)
        data = exchange.preread
        try:
            exchange.send(b"ready$ ")
            while b"q" not in data and (data := exchange.connection.recv(4096)):
                exchange.send(b"[" + data + b"]")
        finally:
            self.ended.set()

    def start(self, exchange: Exchange) -> None:
        exchange.reply(None, 204)
        self.started.set()


def local_mode(pty: Pty) -> int:
    return int(termios.tcgetattr(pty.fd)[3])


RAW = termios.ECHO | termios.ICANON | termios.ISIG


def test_run_it(fake: Fake, terminal: Start) -> None:
    shell = Shell(code=4)
    engine = fake(shell.routes)
    pty = terminal(engine, "run", "-it", "--rm", "busybox", "sh")
    pty.expect("ready$")
    assert local_mode(pty) & RAW == 0
    pty.send(b"\x03")
    pty.expect("[\x03]")
    pty.send("q")
    assert pty.wait() == 4
    assert local_mode(pty) & RAW == RAW
    create = engine.requests[0].json()
    assert create["HostConfig"]["ConsoleSize"] == [33, 99]
    assert f"POST /containers/{ID}/resize?h=33&w=99" in engine.asked()


def test_resizes_are_followed(fake: Fake, terminal: Start) -> None:
    engine = fake(Shell().routes)
    pty = terminal(engine, "run", "-it", "busybox")
    pty.expect("ready$")
    pty.resize(20, 60)
    wait_until(lambda: f"POST /containers/{ID}/resize?h=20&w=60" in engine.asked(), 10, "the new size is told")
    pty.send("q")
    assert pty.wait() == 0


@pytest.mark.parametrize(("option", "keys"), [([], b"\x10\x11"), (["--detach-keys", "ctrl-x,y"], b"\x18y")])
def test_the_detach_sequence_leaves(fake: Fake, terminal: Start, option: list[str], keys: bytes) -> None:
    pty = terminal(fake(Shell().routes), "run", "-it", *option, "busybox")
    pty.expect("ready$")
    pty.send(keys[:1])
    pty.send(keys[1:])
    pty.expect("read escape sequence")
    assert pty.wait() == 0
    assert local_mode(pty) & RAW == RAW


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_client_puts_the_terminal_back(fake: Fake, terminal: Start, number: int) -> None:
    pty = terminal(fake(Shell().routes), "run", "-it", "busybox")
    pty.expect("ready$")
    os.kill(pty.pid, number)
    assert pty.wait() == 128 + number
    assert local_mode(pty) & RAW == RAW


def test_a_start_that_fails_puts_the_terminal_back(fake: Fake, terminal: Start) -> None:
    shell = Container(start=lambda x: x.reply({"message": "executable file not found"}, 400), tty=True)
    pty = terminal(fake(shell.routes), "run", "-it", "busybox")
    pty.expect("executable file not found")
    assert pty.wait() == 127
    assert local_mode(pty) & RAW == RAW


def test_without_i_the_terminal_keeps_its_keys(fake: Fake, terminal: Start) -> None:
    shell = Shell()
    pty = terminal(fake(shell.routes), "run", "-t", "busybox")
    pty.expect("ready$")
    assert local_mode(pty) & RAW == RAW
    pty.send(b"\x03")
    assert pty.wait() == 130


def test_exec_it(fake: Fake, terminal: Start) -> None:
    def start(exchange: Exchange) -> None:
        exchange.upgrade()
        exchange.send(b"ready$ ")
        typed = exchange.preread
        while b"q" not in typed and (data := exchange.connection.recv(4096)):
            typed += data

    routes: dict[str, Handler] = {
        "POST /containers/c/exec": says({"Id": "e1"}, 201),
        "POST /exec/e1/start": start,
        "POST /exec/e1/resize": says(None, 200),
        "GET /exec/e1/json": says({"ExitCode": 9}),
    }
    engine = fake(routes)
    pty = terminal(engine, "exec", "-it", "c", "sh")
    pty.expect("ready$")
    pty.send("q")
    assert pty.wait() == 9
    assert local_mode(pty) & RAW == RAW
    assert engine.requests[0].json()["ConsoleSize"] == [33, 99]
    assert engine.requests[1].json() == {"Detach": False, "Tty": True, "ConsoleSize": [33, 99]}
    assert "POST /exec/e1/resize?h=33&w=99" in engine.asked()


def test_attach_takes_the_containers_own_word_for_its_terminal(fake: Fake, terminal: Start) -> None:
    shell = Shell(code=3)
    shell.started.set()
    record = {
        "Id": ID,
        "State": {"Running": True, "Paused": False, "Restarting": False},
        "Config": {"Tty": True, "OpenStdin": True},
    }
    engine = fake({**shell.routes, "GET /containers/box/json": says(record)})
    pty = terminal(engine, "attach", "box")
    pty.expect("ready$")
    sizes = [line.partition("?")[2] for line in engine.asked() if "/resize" in line]
    assert sizes == ["h=34&w=100", "h=33&w=99"], "a full-screen program draws again"
    pty.send("q")
    assert pty.wait() == 3
