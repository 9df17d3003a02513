"""What keys do: through the real application on a scripted engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from tests.support import wait_until_async
from tests.tui.fake_engine import FakeEngine, container, ident
from tui.config import Config
from tui.frame import Usage
from tui.screens.dialog import ConfirmScreen, PortsScreen
from tui.screens.layers import LayersScreen
from tui.screens.view import ViewScreen, plain
from tui.workstation import Workstation

Make = Callable[[], Workstation]


@pytest.fixture(autouse=True)
def scene(fake: FakeEngine) -> None:
    """Three containers: one runs, one failed, one has labels."""
    fake.items = [
        container(1, "web"),
        container(2, "job", "exited", "Exited (137) 4 minutes ago"),
        container(3, "api", Labels={"tier": "back"}),
    ]
    fake.logs = {ident(number): f"log of {number}\n".encode() for number in range(9)}


def names(app: Workstation) -> list[str]:
    return [row.name for row in app.table.rows]


def log_lines(app: Workstation) -> list[str]:
    return [line.decode() for _, line in app.home.log_pane.buffer.lines]


def screen_text(app: Workstation) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


async def ready(app: Workstation, fake: FakeEngine) -> None:
    """Everything listed, inspected and followed."""
    await wait_until_async(
        lambda: app.table.rows and all(row.explained for row in app.table.rows), what="inspected rows"
    )
    row = app.table.selected
    assert row is not None
    await wait_until_async(lambda: fake.followers(int(row.id, 16)), what="a follower of the log")


async def select(app: Workstation, pilot: Pilot[int], name: str) -> None:
    await pilot.press("home", *["down"] * names(app).index(name))
    row = app.table.selected
    assert row is not None
    assert row.name == name


async def test_the_list_comes_from_the_engine(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)):
        await ready(app, fake)
        assert names(app) == ["api", "web", "job"]
        assert app.home.bar("title").text.startswith(" Dockyard  Dockyard 1.0")
        assert "2 running · 1 not" in app.home.bar("title").text


async def test_events_change_the_list_with_one_request_a_burst(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)):
        await ready(app, fake)
        before = fake.calls.count("GET /containers/json?all=1")
        fake.items.append(container(4, "new"))
        for _ in range(20):
            fake.event("create", 4)
        await wait_until_async(lambda: "new" in names(app), what="the new container")
        assert fake.calls.count("GET /containers/json?all=1") - before <= 2


async def test_nothing_is_polled(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)):
        await ready(app, fake)
        await wait_until_async(lambda: len(app.meter._tasks) == 2, what="two streams of statistics")
        before = list(fake.calls)
        for _ in range(5):
            app._tick()
        fake.event("exec_start: sh", 1)
        fake.event("start", 1)
        await wait_until_async(lambda: len(fake.calls) > len(before))
        assert fake.calls[len(before)] == "GET /containers/json?all=1"


async def test_the_selection_stays_on_its_container(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await select(app, pilot, "web")
        fake.items.insert(0, container(4, "aaa"))
        fake.event("create", 4)
        await wait_until_async(lambda: names(app)[0] == "aaa")
        assert app.table.selected_id == ident(1)
        fake.items = [item for item in fake.items if item["Id"] != ident(1)]
        fake.event("destroy", 1)
        await wait_until_async(lambda: "web" not in names(app))
        assert app.table.selected is not None


@pytest.mark.parametrize(
    ("name", "key", "call"),
    [
        ("web", "s", f"POST /containers/{ident(1)}/stop"),
        ("job", "s", f"POST /containers/{ident(2)}/start"),
        ("web", "r", f"POST /containers/{ident(1)}/restart"),
        ("web", "p", f"POST /containers/{ident(1)}/pause"),
    ],
)
async def test_keys_that_change_at_once(workstation: Make, fake: FakeEngine, name: str, key: str, call: str) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await select(app, pilot, name)
        await pilot.press(key)
        await wait_until_async(fake.changes)
        assert fake.changes() == [call]


@pytest.mark.parametrize(
    ("name", "key", "call"),
    [
        ("web", "K", f"POST /containers/{ident(1)}/kill?signal=KILL"),
        ("web", "d", f"DELETE /containers/{ident(1)}?force=1"),
        ("job", "d", f"DELETE /containers/{ident(2)}"),
    ],
)
async def test_what_destroys_asks_and_only_y_agrees(
    workstation: Make, fake: FakeEngine, name: str, key: str, call: str
) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await select(app, pilot, name)
        for no in ("n", "escape", "enter", "q"):
            await pilot.press(key)
            assert type(app.screen) is ConfirmScreen
            text = screen_text(app)
            assert f"{name}?" in text
            assert ("RUNNING" in text) == (key == "d" and name == "web")
            await pilot.press(no)
            assert app.screen_stack == [app.home]
        assert fake.changes() == []
        await pilot.press(key, "y")
        await wait_until_async(fake.changes)
        assert fake.changes() == [call]


def port(outside: str, inside: str, address: str = "") -> dict[str, str]:
    return {"HostIp": address, "HostPort": outside, "ContainerPort": inside}


async def test_ports_are_published_and_taken_away(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    fake.items[0]["Ports"] = [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await ready(app, fake)
        await select(app, pilot, "web")
        await pilot.press("P")
        assert isinstance(app.screen, PortsScreen)
        assert "Ports of web" in screen_text(app)
        assert "8080→80" in screen_text(app)
        await pilot.press(*"-8080:80 90 [::1]:53:53/udp", "enter")
        await wait_until_async(lambda: len(fake.ports) == 2, what="both requests")
        where = f"/dockyard/v1/containers/{ident(1)}/ports"
        assert fake.changes() == [f"DELETE {where}", f"POST {where}"]
        assert [body["Ports"] for body in fake.ports] == [
            [port("8080", "80/tcp")],
            [port("", "90/tcp"), port("53", "53/udp", "::1")],
        ]
        await wait_until_async(lambda: len(app._notifications) == 2, what="the warning and what is published")
        assert [note.message for note in app._notifications] == ["ufw is bypassed", "49153→90 [::1]:53→53/udp"]
        assert app.screen_stack == [app.home]


async def test_wrong_ports_can_be_corrected(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await select(app, pilot, "job")
        await pilot.press("P")
        assert "It has none." in screen_text(app)
        assert "It does not run: its ports are published when it starts." in screen_text(app)
        await pilot.press(*"80:x", "enter")
        assert type(app.screen) is PortsScreen
        assert '"80:x": invalid containerPort: x' in screen_text(app)
        await pilot.press("backspace")
        assert "invalid" not in screen_text(app)
        await pilot.press("8", "enter")
        await wait_until_async(lambda: fake.ports)
        assert fake.ports == [{"Ports": [port("80", "8/tcp")]}]


@pytest.mark.parametrize("keys", [["escape"], ["enter"], ["8", "0", "escape"], ["space", "enter"]])
async def test_ports_can_be_left_as_they_are(workstation: Make, fake: FakeEngine, keys: list[str]) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await pilot.press("P", *keys)
        assert app.screen is app.home
        # Keys of the list work again, and had not worked meanwhile.
        await pilot.press("r")
        await wait_until_async(fake.changes)
        assert len(fake.changes()) == 1


async def test_another_engine_cannot_publish_later(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await ready(app, fake)
        app.home.engine = "dockerd 28.2"
        await pilot.press("P")
        assert app.screen is app.home
        messages = [note.message for note in app._notifications]
        assert messages == ["dockerd 28.2 publishes ports only when it creates a container"]


async def test_killing_what_does_not_run_asks_nothing(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await select(app, pilot, "job")
        await pilot.press("K")
        assert app.screen is app.home


async def test_a_refusal_is_shown_in_the_engines_words(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    fake.errors = {"POST /containers": (409, "it is [bold]not[/] allowed")}
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await ready(app, fake)
        await pilot.press("r")
        await wait_until_async(lambda: any("[bold]not[/]" in note.message for note in app._notifications))


async def test_read_only_refuses_every_change(workstation: Make, fake: FakeEngine, config: Config) -> None:
    config.read_only = True
    app = workstation()
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await ready(app, fake)
        await pilot.press("s", "r", "K", "d", "p", "e", "enter")
        assert app.screen is app.home
        assert fake.changes() == []
        assert len(app._notifications) == 7
        assert "read-only" in app.home.bar("title").text


async def test_keys_are_rebound_by_the_configuration(workstation: Make, fake: FakeEngine, config: Config) -> None:
    config.keys = {"restart": "f5", "quit": "f10"}
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await pilot.press("r", "q")
        await pilot.press("f5")
        await wait_until_async(fake.changes)
        assert fake.changes() == [f"POST /containers/{ident(3)}/restart"]
        assert "f5 restart" in app.home.bar("keys").text.replace("  ", " ")
        await pilot.press("f10")
    assert app.return_value == 0


async def test_the_filter_works_while_it_is_typed(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await pilot.press("slash", *"we")
        assert names(app) == ["web"]
        assert "1 of 3 shown" in app.home.bar("title").text
        await wait_until_async(lambda: log_lines(app) == ["log of 1"], what="the log of what is selected now")
        await pilot.press("enter")
        assert app.focused is app.table
        await pilot.press("escape")
        assert names(app) == ["api", "web", "job"]
        await pilot.press("slash", "exclamation_mark", *"web", "enter")
        assert names(app) == ["api", "job"]


async def test_letters_in_the_filter_are_letters(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await pilot.press("slash", *"srKdpeiltmzq", "question_mark", "colon")
        assert app.screen is app.home
        assert app.home.filter_input.value == "srKdpeiltmzq?:"
        assert fake.changes() == []


async def test_a_broken_filter_is_said_and_keeps_the_last_good_one(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await pilot.press("slash", "tilde", "w", "left_parenthesis")
        assert names(app) == ["web"]
        assert "~w(" in app.home.bar("rule").text


async def test_sorting(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await pilot.press("o")
        assert names(app) == ["api", "job", "web"]
        await pilot.press("O")
        assert names(app) == ["web", "job", "api"]
        await pilot.press("O", "o", "o")
        app.meter.usage.update({ident(1): Usage(9.0, 1.0), ident(3): Usage(1.0, 5.0)})
        app._tick()
        assert names(app) == ["web", "api", "job"]
        await pilot.press("o")
        assert names(app) == ["api", "web", "job"]


async def test_the_log_follows_and_holds(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, fake)
        fake.write_log(3, b"".join(b"line %d\n" % number for number in range(100)))
        await wait_until_async(lambda: "line 99" in screen_text(app))
        await pilot.press("l", "up")
        assert "held" in app.home.bar("rule").text
        fake.write_log(3, b"more\n")
        await wait_until_async(lambda: "more" in log_lines(app)[-1])
        assert "more" not in screen_text(app)
        await pilot.press("G")
        assert "following" in app.home.bar("rule").text
        await wait_until_async(lambda: "more" in screen_text(app))
        await pilot.press("home")
        assert "log of 3" in screen_text(app)
        await pilot.press("escape")
        assert app.focused is app.table


async def test_a_log_that_floods_is_bounded_and_says_what_is_lost(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(80, 24)):
        await ready(app, fake)
        block = b"".join(b"line %06d of a flood that does not end\n" % number for number in range(2000))
        for _ in range(20):
            fake.write_log(3, block)
        await wait_until_async(lambda: app.home.log_pane.buffer.dropped == 40_001 - 5000, 30)
        await wait_until_async(lambda: "35,001 earlier lines not kept" in app.home.bar("rule").text)


async def test_a_hostile_log_cannot_steer_the_screen(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(80, 24)):
        await ready(app, fake)
        fake.write_log(
            3, b"\x1b]0;evil\x07\x1b[2J\x1b[31mred\x1b[0m \x1b]52;c;eA==\x1b\\[bold]x\x9b\x00\x07end\n", stream=2
        )
        await wait_until_async(lambda: "end" in screen_text(app))
        text = screen_text(app)
        assert "▏red [bold]x" in text
        assert "evil" not in text
        assert all(char.isprintable() or char == "\n" for char in text)


async def test_a_container_that_starts_again_is_followed_again(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await select(app, pilot, "job")
        await wait_until_async(lambda: log_lines(app) == ["log of 2"])
        assert "SIGKILL" in app.home.bar("rule").text
        fake.items[1] |= {"State": "running", "Status": "Up 1 second"}
        fake.logs[ident(2)] = b"second life\n"
        fake.event("start", 2)
        await wait_until_async(lambda: log_lines(app) == ["second life"])
        assert "job log" in app.home.bar("rule").text


async def test_inspect_is_a_tree_that_can_be_searched(workstation: Make, fake: FakeEngine) -> None:
    fake.inspected[ident(3)] = {"Mounts": [{"Source": "/data", "Target": "/mnt"}], "Args": []}
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await pilot.press("i")
        await wait_until_async(lambda: isinstance(app.screen, ViewScreen))
        view = app.screen
        assert isinstance(view, ViewScreen)
        await wait_until_async(lambda: view.is_mounted and app.focused is view.lines)
        await pilot.press("slash", *"target", "enter")
        assert 'Target: "/mnt"' in plain(view.lines.entries[view.lines.shown[view.lines.cursor]].line)
        await pilot.press("escape", "home", "slash", *"Mounts", "enter", "space")
        assert not any("Target" in plain(view.lines.entries[index].line) for index in view.lines.shown)
        await pilot.press("slash", *"/mnt", "enter")
        assert any("Target" in plain(view.lines.entries[index].line) for index in view.lines.shown)
        await pilot.press("escape", "q")
        await wait_until_async(lambda: app.screen is app.home)


async def test_layers_open_one_by_one_and_fold(workstation: Make, fake: FakeEngine) -> None:
    fake.inspected[ident(3)] = {"Image": "sha256:" + "e" * 64, "Config": {"Image": "shop/web:2.14", "Tty": False}}
    app = workstation()
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await ready(app, fake)
        await pilot.press("L")
        await wait_until_async(lambda: isinstance(app.screen, LayersScreen))
        screen = app.screen
        assert isinstance(screen, LayersScreen)
        await wait_until_async(lambda: screen.is_mounted and app.focused is screen.lines)

        def shown() -> str:
            return "\n".join(plain(screen.lines.entries[index].line) for index in screen.lines.shown)

        assert "RUN apk add" in shown()
        assert "/usr/bin/curl" not in shown()
        await pilot.press("down", "down", "down", "space")
        await wait_until_async(lambda: "/usr/bin/curl" in shown())
        await pilot.press("space")
        assert "/usr/bin/curl" not in shown()
        assert fake.calls.count(f"GET /dockyard/v1/images/sha256%3A{'e' * 64}/tree?layer=1") == 1
        fake.errors["GET /dockyard/v1/images"] = (404, "No such image")
        await pilot.press("up", "space")
        await wait_until_async(lambda: any("No such image" in note.message for note in app._notifications))
        await pilot.press("escape")
        await wait_until_async(lambda: app.screen is app.home)


async def test_help_lists_every_action_with_its_key(workstation: Make, fake: FakeEngine, config: Config) -> None:
    from tui.actions import ACTIONS

    config.keys = {"restart": "f5"}
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await pilot.press("question_mark")
        view = app.screen
        assert isinstance(view, ViewScreen)
        text = "\n".join(plain(entry.line) for entry in view.lines.entries)
        assert all(f" {action.title} " in text for action in ACTIONS)
        assert "f5          Restart" in text
        await pilot.press("escape")
        assert app.screen is app.home


async def test_the_palette_does_actions(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await pilot.press("colon")
        await pilot.press(*"restart")
        await wait_until_async(lambda: "Stop the selected container" in screen_text(app))
        await pilot.press("down", "enter")
        await wait_until_async(fake.changes)
        assert fake.changes() == [f"POST /containers/{ident(3)}/restart"]


async def test_a_lost_engine_is_said_and_found_again(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await select(app, pilot, "web")
        await fake.stop()
        await wait_until_async(lambda: app.home.bar("banner").display)
        assert "No connection" in app.home.bar("banner").text
        assert names(app) == ["api", "web", "job"]
        await fake.start()
        await wait_until_async(lambda: not app.home.bar("banner").display)
        await ready(app, fake)
        assert app.table.selected_id == ident(1)


async def test_no_engine_at_the_start(workstation: Make, fake: FakeEngine) -> None:
    await fake.stop()
    app = workstation()
    async with app.run_test(size=(100, 30)):
        await wait_until_async(lambda: app.home.bar("banner").display)
        await fake.start()
        await ready(app, fake)


@pytest.mark.parametrize("status", [404, 501])
async def test_an_engine_without_statistics_is_asked_once(workstation: Make, fake: FakeEngine, status: int) -> None:
    fake.stats_status = status
    app = workstation()
    async with app.run_test(size=(100, 30), notifications=True):
        await ready(app, fake)
        await wait_until_async(lambda: app.meter.unsupported)
        app._tick()
        await asyncio.sleep(0)
        assert len([call for call in fake.calls if "/stats" in call]) <= 2
        assert not app._notifications


async def test_wrong_settings_are_notifications(workstation: Make, fake: FakeEngine, config: Config) -> None:
    config.theme = "none-such"
    config.problems = ["/x/config.toml: colour: no such setting"]
    app = workstation()
    async with app.run_test(size=(100, 30), notifications=True):
        await ready(app, fake)
        messages = [note.message for note in app._notifications]
        assert any("colour" in message for message in messages)
        assert any("none-such" in message and "dockyard-light" in message for message in messages)


async def test_every_theme_can_be_shown(workstation: Make, fake: FakeEngine) -> None:
    import themes

    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        seen = set()
        for _ in themes.names():
            await pilot.press("t")
            seen.add(app.theme)
        assert seen == set(themes.names())


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (40, 10), (300, 100)])
async def test_any_size_of_terminal(workstation: Make, fake: FakeEngine, size: tuple[int, int]) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await pilot.resize_terminal(*size)
        await pilot.press("down", "question_mark", "down", "escape", "d", "n")
        await pilot.resize_terminal(100, 30)
        await pilot.pause()
        assert "web" in screen_text(app)


async def test_quit_leaves_everything_running(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await pilot.press("q")
    assert app.return_value == 0
    assert fake.changes() == []


async def test_ctrl_c_says_how_to_leave(workstation: Make, fake: FakeEngine) -> None:
    app = workstation()
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await ready(app, fake)
        await pilot.press("ctrl+c")
        assert any("q leaves the workstation" in note.message for note in app._notifications)


async def test_five_hundred_containers(workstation: Make, fake: FakeEngine) -> None:
    fake.items = [container(number, f"c{number:03}", "exited", "Exited (0) now") for number in range(500)]
    app = workstation()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, fake)
        await pilot.press("G")
        assert "c499" in screen_text(app)
        assert "c000" not in screen_text(app)
        await pilot.press("pageup", "g")
        assert "c000" in screen_text(app)


def test_the_internals_of_textual_that_the_driver_uses_are_there() -> None:
    """A new Textual must fail here, not on a person's screen."""
    from textual._compositor import ChopsUpdate, LayoutUpdate
    from textual._xterm_parser import XTermParser
    from textual.app import App
    from textual.drivers.linux_driver import LinuxDriver

    chops = ChopsUpdate([{0: None}], [(0, 0, 1)], [[1]])
    assert (chops.chops, chops.spans, chops.chop_ends) == ([{0: None}], [(0, 0, 1)], [[1]])
    assert {"strips", "region"} <= set(LayoutUpdate.__init__.__annotations__)
    assert {"feed", "tick"} <= set(dir(XTermParser))
    assert {"_display", "_handle_exception", "post_display_hook"} <= set(dir(App))
    names = {
        "run_input_thread",
        "disable_input",
        "suspend_application_mode",
        "_enable_mouse_support",
        "process_message",
    }
    assert names <= set(dir(LinuxDriver))
