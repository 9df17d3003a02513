"""The workstation on a real pseudo-terminal: first picture, bytes, hand-over, hang-up."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import CHECKOUT, wait_until
from tests.terminal import Pty
from tests.tui.fake_engine import FakeEngine, container, ident

CODE = "import sys; from tui.app import run; sys.exit(run(sys.argv[1]))"


LIST = "GET /containers/json?all=1"


def listed(engine: FakeEngine, times: int) -> bool:
    return engine.calls.count(LIST) >= times


class Threaded:
    """A scripted engine on a loop of its own, for tests that wait for a terminal."""

    def __init__(self, path: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.engine = FakeEngine(path)
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.do(self.engine.start())

    def do(self, work: Any) -> Any:
        """Run a coroutine there."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def call(self, function: Callable[..., None], *args: Any) -> None:
        """Call a function there."""

        async def work() -> None:
            function(*args)

        self.do(work())

    def close(self) -> None:
        """End engine, loop and thread."""
        self.do(self.engine.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture
def threaded(short_folder: Path) -> Iterator[Threaded]:
    """Three containers, one of them failed."""
    found = Threaded(str(short_folder / "s"))
    found.engine.items = [
        container(1, "web"),
        container(2, "job", "exited", "Exited (137) 4 minutes ago"),
        container(3, "api"),
    ]
    found.engine.logs = {ident(number): b"log of %d\n" % number for number in range(9)} | {ident(1): b"WEB speaks\n"}
    yield found
    found.close()


@pytest.fixture
def screen(threaded: Threaded, tmp_path: Path) -> Iterator[Callable[..., Pty]]:
    """Opens the workstation on a terminal and waits until keys work."""
    opened: list[Pty] = []

    def make(rows: int = 30, cols: int = 100, **more: str) -> Pty:
        env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "COLORTERM": "truecolor", "HOME": str(tmp_path)}
        argv = [sys.executable, "-c", CODE, threaded.engine.path]
        pty = Pty(argv, env=env | more, rows=rows, cols=cols, cwd=CHECKOUT)
        opened.append(pty)
        pty.expect("api")
        pty.read_until(lambda _: bool(threaded.engine.followers(3)), what="a followed log")
        quiet(pty)
        return pty

    yield make
    for pty in opened:
        pty.close()


def quiet(pty: Pty) -> None:
    """Read until nothing more comes for a moment."""
    while pty.read_some(0.3):
        pass


def cost(pty: Pty, do: Callable[[], object], shown: str) -> int:
    """Bytes the terminal gets from ``do`` until ``shown`` and all that belongs to it was painted."""
    before = len(pty.output)
    do()
    pty.read_until(lambda _: shown.encode() in pty.output[before:], what=shown)
    quiet(pty)
    return len(pty.output) - before


def test_the_first_picture_needs_no_textual(threaded: Threaded) -> None:
    """Held by imports, not by time: neither textual nor asyncio is loaded before the picture is out."""
    code = (
        "import sys; import tui.app as app\n"
        "def opened(*args): print('loaded', [name for name in ('textual', 'rich', 'asyncio') if name in sys.modules])\n"
        "app._open = opened\n" + CODE
    )
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    with Pty([sys.executable, "-c", code, threaded.engine.path], env=env, cwd=CHECKOUT) as pty:
        pty.expect("loaded []")
        first = pty.text
    assert "api" in first
    assert "exited 137" in first
    assert "2 running · 1 not" in first
    assert "q quit" in first


def test_bytes_for_what_changes(screen: Callable[..., Pty], threaded: Threaded) -> None:
    pty = screen(rows=40, cols=120)
    engine = threaded.engine

    def usage() -> None:
        engine.items[2]["Status"] = "Up 3 hours (healthy)"
        threaded.call(engine.event, "health_status", 3)

    assert cost(pty, usage, "healthy") <= 250
    assert cost(pty, lambda: threaded.call(engine.write_log, 3, b"another line\n"), "another line") <= 300
    # A cursor movement repaints two lines of 120 cells, and the log of the other container.
    assert cost(pty, lambda: pty.send("j"), "WEB") <= 2000
    before = len(pty.output)
    threaded.call(engine.event, "exec_start: sh", 1)
    quiet(pty)
    assert len(pty.output) == before


def test_the_hand_over(screen: Callable[..., Pty], threaded: Threaded) -> None:
    pty = screen()
    engine = threaded.engine
    before = termios.tcgetattr(pty.fd)
    pty.send("e")
    pty.expect("inner$ ")
    assert engine.console_sizes == [[30, 100]]
    wait_until(lambda: engine.resizes[-1:] == [(30, 100)], what="the first size")
    pty.resize(25, 90)
    wait_until(lambda: engine.resizes[-1] == (25, 90), what="the new size")
    # Every byte goes through as it is: interrupts, suspension, the detach keys, escape sequences, no echo.
    for keys in (b"\x03", b"\x1a", b"\x10\x11", b"\x1b[A", b"\x1b:", b"\x7f", "ü".encode()):
        pty.send(keys)
        pty.expect(f"<{keys.hex()}>")
    # Events while it is handed over paint nothing and do not block.
    for number in range(200):
        threaded.call(engine.write_log, 3, b"line %d\n" % number)
    threaded.call(engine.event, "start", 1)
    start = len(pty.output)
    pty.send("q")
    pty.read_until(lambda _: b"\x1b[?1049h" in pty.output[start:], what="the workstation again")
    pty.read_until(lambda _: b"exit code 3" in pty.output[start:], what="the outcome")
    after = pty.output[start:]
    assert after.index(b"\x1b[?1000l") < after.rindex(b"\x1b[?1049h")
    quiet(pty)
    assert termios.tcgetattr(pty.fd)[3] == before[3]
    pty.send("q")
    assert pty.wait() == 0


def test_a_shell_that_cannot_start_gives_the_terminal_back(screen: Callable[..., Pty], threaded: Threaded) -> None:
    pty = screen()
    threaded.engine.errors = {"POST /exec/1/start": (500, "cannot enter")}
    pty.send("e")
    pty.expect("cannot enter")
    pty.send("q")
    assert pty.wait() == 0


def test_a_container_without_a_shell_is_said(screen: Callable[..., Pty], threaded: Threaded) -> None:
    pty = screen()
    threaded.engine.shells = ()
    pty.send("e")
    pty.expect("none of bash")
    pty.send("q")
    assert pty.wait() == 0


def test_an_engine_that_dies_gives_the_terminal_back(screen: Callable[..., Pty], threaded: Threaded) -> None:
    pty = screen()
    pty.send("e")
    pty.expect("inner$ ")
    start = len(pty.output)
    threaded.do(threaded.engine.stop())
    pty.read_until(lambda _: b"\x1b[?1049h" in pty.output[start:], what="the workstation again")
    pty.expect("No connection")
    threaded.do(threaded.engine.start())
    pty.send("q")
    assert pty.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_signals_end_it_and_restore_the_terminal(screen: Callable[..., Pty], number: signal.Signals) -> None:
    pty = screen()
    os.kill(pty.pid, number)
    assert pty.wait() == 129
    assert b"\x1b[?1049l\x1b[?25h" in pty.output[-100:]
    assert b"Traceback" not in pty.output


def test_a_terminal_that_is_gone_ends_it(screen: Callable[..., Pty]) -> None:
    pty = screen()
    os.close(pty.fd)
    pty.fd = -1
    assert pty.process.wait(10) == 129


def test_a_terminal_that_is_gone_ends_it_even_if_hang_ups_are_ignored(threaded: Threaded, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(tmp_path)}
    code = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])\n" + CODE
    pty = Pty([sys.executable, "-c", code, threaded.engine.path], env=env, cwd=CHECKOUT)
    pty.read_until(lambda _: bool(threaded.engine.followers(3)), what="a followed log")
    os.close(pty.fd)
    pty.fd = -1
    assert pty.process.wait(10) == 129


def test_ctrl_l_paints_everything_again(screen: Callable[..., Pty]) -> None:
    pty = screen()
    start = len(pty.output)
    pty.send("\x0c")
    pty.read_until(lambda _: b"q" in pty.output[start:] and b"STATE" in pty.output[start:], what="a whole frame")
    quiet(pty)
    assert len(pty.output) - start > 2000


def test_keys_typed_before_the_screen_stands_are_done(threaded: Threaded, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(tmp_path)}
    with Pty([sys.executable, "-c", CODE, threaded.engine.path], env=env, cwd=CHECKOUT) as pty:
        pty.send("?")
        pty.expect("Help: what can be done")


def test_without_utf8_everything_is_ascii(screen: Callable[..., Pty]) -> None:
    pty = screen(LC_ALL="C")
    assert pty.output.isascii()
    assert b"* running" in pty.output


def test_a_terminal_that_cannot_move_its_cursor_is_told_what_to_use(threaded: Threaded) -> None:
    env = {"PATH": os.environ["PATH"], "TERM": "dumb"}
    with Pty([sys.executable, "-c", CODE, threaded.engine.path], env=env, cwd=CHECKOUT) as pty:
        pty.expect("dockyard ps")
        assert pty.wait() == 1


def test_a_fault_of_ours_is_one_sentence_and_a_file(threaded: Threaded, tmp_path: Path) -> None:
    code = "import tui.workstation as w\nw.Workstation.do_sort = lambda self: 1 / 0\n" + CODE
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(tmp_path)}
    with Pty([sys.executable, "-c", code, threaded.engine.path], env=env, cwd=CHECKOUT) as pty:
        pty.read_until(lambda _: bool(threaded.engine.followers(3)), what="a followed log")
        pty.send("o")
        pty.expect("a fault of its own: ZeroDivisionError")
        assert pty.wait() == 70
    assert "Traceback" not in pty.text
    assert "ZeroDivisionError" in (tmp_path / ".local/state/dockyard/workstation-crash.txt").read_text()


def test_a_terminal_that_takes_nothing_never_stops_the_loop(screen: Callable[..., Pty], threaded: Threaded) -> None:
    """Nothing is read from the terminal, so its buffer fills: the engine's answers must be taken all the same."""
    pty = screen(rows=50, cols=200)
    engine = threaded.engine
    for number in range(60):
        engine.items[0] = container(1, f"web-{number:03}" * 4)
        lists = engine.calls.count(LIST)
        threaded.call(engine.event, "rename", 1)
        wait_until(partial(listed, engine, lists + 1), what="another list")
        threaded.call(engine.write_log, 3, f"line {number} ".encode() * 300 + b"\n")
    start = len(pty.output)
    threaded.call(engine.write_log, 3, b"@@@@\n")
    wait_until(lambda: pty.read_some(0.2) and b"@@@@" in pty.output[start:], what="the last state")
    quiet(pty)
    # Sixty changes of half a screen each are far more; only the first and the last states were sent.
    assert len(pty.output) - start < 60_000


def test_the_first_picture_stays_when_textual_takes_over(threaded: Threaded, tmp_path: Path) -> None:
    """Same lines, same palette, same cells: of Textual's first frame almost nothing is sent."""
    threaded.engine.stats_status = 404
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "COLORTERM": "truecolor", "HOME": str(tmp_path)}
    argv = [sys.executable, "-c", CODE, threaded.engine.path]
    with Pty(argv, env=env, rows=40, cols=120, cwd=CHECKOUT) as pty:
        pty.read_until(lambda _: b"\x1b[?2004h" in pty.output, what="Textual's modes")
        start = pty.output.index(b"\x1b[?1004h")
        pty.read_until(lambda _: b"log of 3" in pty.output[start:], what="the log")
        quiet(pty)
        assert len(pty.output) - start < 1200
