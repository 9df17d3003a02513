"""Pictures of the main states, at two sizes and in two themes, compared with the stored ones.

``pytest tests/tui/test_snapshots.py --snapshot-update`` makes them again; look at them before they are committed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support import wait_until_async
from tests.tui.fake_engine import FakeEngine, container, ident
from tests.tui.test_terminal import Threaded
from tests.tui.test_workstation import screen_text
from tui.client import Client
from tui.config import Config
from tui.screens.layers import LayersScreen
from tui.screens.view import ViewScreen
from tui.workstation import Workstation

SIZES = [(80, 24), (120, 40)]
Step = Callable[[Workstation, Pilot[Any]], Awaitable[None]]


def ago(seconds: float) -> str:
    """A time stamp; half a minute more, so that the text stays the same while the test runs."""
    return datetime.fromtimestamp(time.time() - seconds - 20, UTC).isoformat()


def scene(engine: FakeEngine) -> None:
    """One container in every state."""
    web = [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "127.0.0.1", "PrivatePort": 9090, "PublicPort": 9090, "Type": "tcp"},
    ]
    engine.items = [
        container(1, "shop-web", status="Up 3 hours (healthy)", Image="registry.example.com/shop/web:2.14", Ports=web),
        container(2, "shop-db", Image="postgres:16", status="Up 2 days"),
        container(3, "shop-cache", Image="redis:7", status="Up 2 days (unhealthy)"),
        container(4, "worker-1", "restarting", "Restarting (1) 5 seconds ago", Image="shop/worker:2.14"),
        container(5, "migrate", "exited", "Exited (0) 2 days ago", Image="shop/web:2.14"),
        container(6, "report", "exited", "Exited (137) 4 minutes ago", Image="shop/report:0.9"),
        container(7, "import", "exited", "Exited (127) 1 hour ago", Image="shop/import:1"),
        container(8, "backup", "paused", "Up 5 minutes (Paused)"),
        container(9, "new", "created", "Created"),
    ]
    for number, seconds in ((1, 3 * 3600 + 300), (2, 2 * 86400), (3, 2 * 86400 + 3700), (8, 300)):
        engine.inspected[ident(number)] = {"State": {"StartedAt": ago(seconds), "ExitCode": 0}}
    engine.inspected[ident(6)] = {
        "State": {"OOMKilled": True, "ExitCode": 137, "FinishedAt": ago(240)},
        "HostConfig": {"Memory": 512 << 20},
    }
    engine.inspected[ident(4)] = {"State": {"ExitCode": 1}}
    for number in (1, 2, 3, 8):
        engine.usage[ident(number)] = {
            "cpu_stats": {"cpu_usage": {"total_usage": number * 10**9}, "system_cpu_usage": 10**11, "online_cpus": 4},
            "precpu_stats": {"cpu_usage": {"total_usage": 0}, "system_cpu_usage": 1},
            "memory_stats": {"usage": number * 37_000_000},
        }
    lines = [
        f"2026-01-01T09:4{number % 10}:00Z \x1b[32mINFO\x1b[0m request {number} GET /cart \x1b[36m200\x1b[0m"
        for number in range(40)
    ]
    lines += [
        "2026-01-01T09:50:00Z \x1b[33mWARN\x1b[0m slow query: 812 ms",
        "2026-01-01T09:50:01Z \x1b[1;31mERROR\x1b[0m time-out",
    ]
    log = "\n".join(lines).encode() + b"\n"
    engine.logs = {ident(number): log for number in range(10)}


@pytest.fixture
def threaded(short_folder: Path) -> Iterator[Threaded]:
    """The scene, served from a thread: the snapshot's application has a loop of its own."""
    found = Threaded(str(short_folder / "s"))
    scene(found.engine)
    yield found
    found.close()


async def nothing(app: Workstation, pilot: Pilot[Any]) -> None:
    """Only the list and the first log."""


async def why(app: Workstation, pilot: Pilot[Any]) -> None:
    """The container that ran out of memory."""
    await pilot.press(*["down"] * [row.name for row in app.table.rows].index("report"))
    await wait_until_async(lambda: "ERROR" in screen_text(app) and "out of memory" in app.home.bar("rule").text)


async def remove(app: Workstation, pilot: Pilot[Any]) -> None:
    """The question before a running container is removed."""
    await pilot.press("d")


async def ports(app: Workstation, pilot: Pilot[Any]) -> None:
    """Ports to publish, while they are typed."""
    await pilot.press(*["down"] * [row.name for row in app.table.rows].index("shop-web"), "P", *"8443:443 -9090")


async def wrong_ports(app: Workstation, pilot: Pilot[Any]) -> None:
    """What cannot be meant."""
    await pilot.press(*["down"] * [row.name for row in app.table.rows].index("report"), "P", *"80:http", "enter")


async def filtered(app: Workstation, pilot: Pilot[Any]) -> None:
    """While a filter is typed."""
    await pilot.press("slash", *"shop")
    await wait_until_async(lambda: "shop-cache log" in app.home.bar("rule").text)


async def inspect(app: Workstation, pilot: Pilot[Any]) -> None:
    """The tree with a search."""
    await pilot.press(*["down"] * [row.name for row in app.table.rows].index("migrate"), "i")
    await wait_until_async(lambda: isinstance(app.screen, ViewScreen) and app.focused is app.screen.lines)
    await pilot.press("slash", *"tty", "enter")


async def layers(app: Workstation, pilot: Pilot[Any]) -> None:
    """An image's layers, one of them open."""
    await pilot.press("L")
    await wait_until_async(lambda: isinstance(app.screen, LayersScreen) and app.focused is app.screen.lines)
    await pilot.press("down", "down", "down", "space")
    await wait_until_async(lambda: "/usr/bin/curl" in screen_text(app))


async def help_screen(app: Workstation, pilot: Pilot[Any]) -> None:
    """The table of actions."""
    await pilot.press("question_mark")


async def zoomed(app: Workstation, pilot: Pilot[Any]) -> None:
    """The log on the whole screen."""
    await pilot.press("z")


CASES = [
    *[
        (name, size, "dockyard-dark")
        for name in ("nothing", "why", "remove", "filtered", "inspect", "help_screen")
        for size in SIZES
    ],
    ("zoomed", (80, 24), "dockyard-dark"),
    ("nothing", (160, 40), "dockyard-dark"),
    *[("nothing", size, "dockyard-light") for size in SIZES],
    *[("nothing", (80, 24), theme) for theme in ("high-contrast", "ansi-dark", "ansi-light")],
    *[("ports", size, "dockyard-dark") for size in SIZES],
    ("ports", (80, 24), "ansi-light"),
    ("wrong_ports", (80, 24), "dockyard-dark"),
    *[("layers", size, "dockyard-dark") for size in SIZES],
]


@pytest.mark.parametrize(("name", "size", "theme"), CASES)
def test_pictures(snap_compare: Any, threaded: Threaded, name: str, size: tuple[int, int], theme: str) -> None:
    config = Config()
    config.theme = theme
    app = Workstation(Client(threaded.engine.path), config)
    app.home.where = "/run/dockyard/dockyard.sock"

    async def before(pilot: Pilot[Any]) -> None:
        await wait_until_async(lambda: app.table.rows and all(row.explained for row in app.table.rows))
        await wait_until_async(lambda: len(app.meter.usage) == 4 and "ERROR" in screen_text(app))
        step: Step = globals()[name]
        await step(app, pilot)
        app.table.tick()
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=before)


def test_without_containers(snap_compare: Any, threaded: Threaded) -> None:
    threaded.engine.items = []
    app = Workstation(Client(threaded.engine.path), Config())
    app.home.where = "/run/dockyard/dockyard.sock"

    async def before(pilot: Pilot[Any]) -> None:
        await wait_until_async(lambda: app.home.engine and "No containers yet" in screen_text(app))

    assert snap_compare(app, terminal_size=(80, 24), run_before=before)


def test_without_an_engine(snap_compare: Any, threaded: Threaded) -> None:
    app = Workstation(Client("/nowhere/dockyard.sock"), Config())

    async def before(pilot: Pilot[Any]) -> None:
        await wait_until_async(lambda: "No connection" in screen_text(app))

    assert snap_compare(app, terminal_size=(80, 24), run_before=before)
