"""The workstation in a real terminal on a real engine: live list, log, keys, shell, leaving."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.support import Engine, wait_until
from tests.terminal import Tmux

TmuxOf = Callable[..., Tmux]
TICKS = "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.1; done"


def ticking(engine: Engine, busybox: str, name: str = "ticker") -> None:
    engine.dockyard("run", "-d", "--name", name, "--network", "none", busybox, "sh", "-c", TICKS, check=True)


def test_containers_and_the_log_are_live(engine: Engine, busybox: str, tmux_of: TmuxOf) -> None:
    ticking(engine, busybox)
    screen = tmux_of()
    screen.wait_for(lambda text: "ticker" in text and "running" in text)
    first = max(int(n) for n in re.findall(r"tick (\d+)", screen.wait_for("tick ")))
    screen.wait_for(lambda text: any(int(n) > first + 5 for n in re.findall(r"tick (\d+)", text)))
    engine.dockyard("run", "-d", "--name", "newcomer", "--network", "none", busybox, "sleep", "1000", check=True)
    screen.wait_for("newcomer")
    engine.dockyard("rm", "-f", "newcomer", check=True)
    screen.wait_for(lambda text: "newcomer" not in text)


def test_cpu_and_memory_are_shown(engine: Engine, busybox: str, tmux_of: TmuxOf) -> None:
    engine.dockyard(
        "run", "-d", "--name", "busy", "--network", "none", busybox, "sh", "-c", "while :; do :; done", check=True
    )
    screen = tmux_of()
    screen.wait_for(lambda text: bool(re.search(r"busy\s+\d+\.\d\s+\d", text)), 20)


def test_stop_start_and_remove(engine: Engine, busybox: str, tmux_of: TmuxOf) -> None:
    engine.dockyard("run", "-d", "--init", "--name", "box", "--network", "none", busybox, "sleep", "1000", check=True)
    screen = tmux_of()
    screen.wait_for("box")
    screen.keys("s")
    engine.wait_state("box", "exited")
    screen.wait_for("exited")
    screen.keys("s")
    engine.wait_state("box", "running")
    screen.wait_for("running")
    screen.keys("d")
    screen.wait_for(lambda text: "Remove" in text and "box" in text)
    screen.keys("Escape")
    screen.wait_for(lambda text: "Remove box" not in text)
    assert engine.inspect("box")["State"]["Running"] is True
    screen.keys("d")
    screen.wait_for(lambda text: "Remove" in text)
    screen.keys("y")
    wait_until(lambda: engine.containers() == [], 15, "the container is removed")


def test_a_shell_by_hand_over_and_back(engine: Engine, busybox: str, tmux_of: TmuxOf) -> None:
    ticking(engine, busybox)
    screen = tmux_of(rows=35, cols=110)
    screen.wait_for("ticker")
    screen.keys("e")
    screen.wait_for(lambda text: text.rstrip().endswith("#"))
    screen.type("stty size; echo in-$((40+2))\n")
    screen.wait_for("in-42")
    assert "35 110" in screen.screen()
    screen.resize(30, 90)
    screen.type("clear; stty size\n")
    screen.wait_for("30 90")
    screen.type("exit\n")
    screen.wait_for(lambda text: "ticker" in text and "running" in text)
    assert screen.alive()


def test_why_a_container_ended_is_on_the_screen(engine: Engine, busybox: str, tmux_of: TmuxOf) -> None:
    engine.dockyard("run", "--name", "hog", "-m", "16m", "--network", "none", busybox, "tail", "/dev/zero", timeout=60)
    screen = tmux_of(cols=160)
    screen.wait_for(lambda text: "hog" in text and "out of memory" in text)


def test_leaving_keeps_engine_and_containers(engine: Engine, busybox: str, tmux_of: TmuxOf) -> None:
    ticking(engine, busybox)
    screen = tmux_of()
    screen.wait_for("ticker")
    screen.keys("q")
    wait_until(lambda: not screen.alive(), 15, "the screen is left")
    assert screen.exit_code() == 0
    assert engine.inspect("ticker")["State"]["Running"] is True


def test_the_engine_may_die_under_the_screen(own_engine: Engine, tmux_of: TmuxOf) -> None:
    busybox = own_engine.busybox()
    ticking(own_engine, busybox)
    screen = tmux_of(engine=own_engine)
    screen.wait_for("ticker")
    own_engine.kill()
    screen.wait_for("No connection")
    own_engine.start()
    screen.wait_for(lambda text: "No connection" not in text and "ticker" in text, 30)


def test_without_a_terminal_it_is_text(engine: Engine, busybox: str) -> None:
    ticking(engine, busybox)
    done = engine.dockyard()
    assert done.returncode == 0
    assert "ticker" in done.stdout
    assert "running" in done.stdout
    assert "\x1b" not in done.stdout
