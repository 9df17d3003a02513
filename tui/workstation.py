"""The workstation: Textual's application, and what each action does."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any

from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App, SystemCommand
from textual.command import CommandPalette
from textual.screen import Screen
from textual.widgets import Input

import themes
from tui.actions import ACTIONS, Action, bindings, by_name, key_text, keys_of
from tui.app import palette_of
from tui.client import Client, ConnectionLost, EngineError
from tui.config import Config
from tui.driver import TerminalDriver
from tui.feed import Feed, Meter
from tui.handover import NoShell, Session, find_shell
from tui.publishing import PortChange, change_ports
from tui.rows import Row
from tui.screens.containers import ContainersScreen
from tui.screens.dialog import ConfirmScreen, PortsScreen
from tui.screens.layers import open_layers
from tui.screens.view import ViewScreen, help_entries, json_entries
from tui.widgets.paint import Painter, textual_theme
from tui.widgets.table import ContainerTable

#: Seconds the selection must rest before another log is opened.
SETTLE = 0.08
_TAIL = 1000


class Workstation(App[int]):
    """One engine's containers. ``seed`` are the rows the first picture already shows."""

    CSS_PATH = [themes.STYLESHEET]
    TITLE = "Dockyard"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "f1"
    BINDINGS = bindings("app")
    NOTIFICATION_TIMEOUT = 6

    def __init__(self, client: Client, config: Config, *, seed: list[Row] | None = None, engine: str = "") -> None:
        self.config = config
        self.ascii_only = config.use_ascii
        self.palette, problem = palette_of(config)
        self._problems = [*config.problems, *([problem] if problem else [])]
        super().__init__(driver_class=TerminalDriver)
        self.client = client
        self.feed = Feed(client, self._rows_changed, self._link_changed)
        self.meter = Meter(client)
        self.painter = Painter(self.palette)
        rows = list(seed or ())
        self.feed.seed(rows)
        self.table = ContainerTable(self.painter, rows, self.meter.usage, id="table")
        self.home = ContainersScreen(self.painter, self.table, config.keys, self._selection_moved)
        self.home.engine, self.home.where = engine, client.socket_path
        self.home.read_only = config.read_only
        #: Set by ``tui.app``: the terminal's settings from before, and what is on screen already.
        self.terminal_attributes: list[Any] | None = None
        self.first_picture: list[list[tuple[str, str]]] = []
        #: The traceback of a fault of ours that ended the workstation.
        self.crash = ""
        self._connected = False
        self._following: tuple[str, float, bool] | None = None
        self._register_themes()
        self.set_keymap(config.keys)

    def _register_themes(self) -> None:
        for name in themes.names(self.config.theme_folders):
            try:
                palette = self.palette if name == self.palette.name else themes.load(name, self.config.theme_folders)
            except themes.ThemeError as error:
                self._problems.append(str(error))
                continue
            self.register_theme(textual_theme(palette))
        self.theme = f"{self.palette.name}"

    def get_default_screen(self) -> Screen[Any]:
        """The containers."""
        return self.home

    def on_mount(self) -> None:
        """Start everything that lives as long as the screen."""
        for problem in self._problems:
            self.notify(problem, title="Configuration", severity="warning", timeout=15, markup=False)
        self.run_worker(self.feed.run(), group="feed")
        self.run_worker(self.meter.run(), group="meter")
        self.set_interval(1.0, self._tick)
        self.call_later(self._select)
        self.call_after_refresh(self._release)

    def _release(self) -> None:
        if isinstance(self._driver, TerminalDriver):
            self._driver.release()

    def on_unmount(self) -> None:
        """Streams end with their workers; the idle connections here."""
        self.client.close()

    # ── painting ──────────────────────────────────────────────────────────────────────────────────────────

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        driver = self._driver
        ours = isinstance(driver, TerminalDriver) and isinstance(renderable, ChopsUpdate | LayoutUpdate)
        if not ours or self._batch_count or not self._running or self._closed:
            super()._display(screen, renderable)
            return
        assert isinstance(driver, TerminalDriver)
        driver.present(renderable, self.console, (self.size.width, self.size.height))
        self.post_display_hook()

    def _handle_exception(self, error: Exception) -> None:
        # A fault of ours: the terminal is given back with one sentence; the details go where they can be sent from.
        if self.is_headless or self.crash:
            super()._handle_exception(error)
            return
        self.crash = "".join(traceback.format_exception(error))
        self.exit(70)

    # ── what the engine tells ─────────────────────────────────────────────────────────────────────────────

    def _rows_changed(self) -> None:
        self.home.show_rows(list(self.feed.rows.values()))
        self._select()
        self._watch()

    def _link_changed(self, reason: str) -> None:
        self._connected = not reason
        if self.home.lost != reason:
            self.home.lost = reason
            self.home.label()
        if not reason:
            self._following = None
            self.run_worker(self._name_engine(), group="name", exclusive=True)

    async def _name_engine(self) -> None:
        try:
            version = await self.client.version()
        except (EngineError, ConnectionLost, TimeoutError):
            return
        self.home.engine = engine_name(version)
        self.home.label()

    def _tick(self) -> None:
        if self.screen is self.home:
            if self.table.sort in ("cpu", "mem"):
                self.home.show_rows(list(self.feed.rows.values()))
            self.table.tick()
        self._watch()

    def _watch(self) -> None:
        if self._connected:
            self.meter.watch(frozenset(row.id for row in self.table.visible_rows() if row.running))

    # ── the log beside the list ───────────────────────────────────────────────────────────────────────────

    def _selection_moved(self) -> None:
        self.set_timer(SETTLE, self._select)  # the log follows once the cursor rests

    def _select(self) -> None:
        row = self.table.selected
        if row is None:
            self._following = None
            self.home.log_pane.clear()
            self.workers.cancel_group(self, "log")
            return
        # A container that was started again has another log to follow; one that ended keeps what is shown.
        before = self._following
        if before is not None and before[0] == row.id and (before[2] or not row.running):
            return
        if not self._connected:
            return
        self._following = (row.id, row.started, row.running)
        self.home.log_pane.clear()
        self.run_worker(self._follow(row), group="log", exclusive=True)

    async def _follow(self, row: Row) -> None:
        pane = self.home.log_pane
        self.home.label()
        try:
            tty = bool((await self.client.inspect(row.id)).get("Config", {}).get("Tty"))
            async with aclosing(self.client.logs(row.id, tty=tty, tail=_TAIL)) as log:
                async for pieces in log:
                    pane.feed(pieces)
                    # A log that never pauses must leave the loop to keys and paint.
                    await asyncio.sleep(0)
            pane.finish()
            if not pane.buffer.lines:
                pane.say("It has written nothing.")
        except EngineError as error:
            pane.say(f"No log: {error}")
        except (ConnectionLost, TimeoutError):
            pane.finish()
        if self._following is not None and self._following[0] == row.id:
            self._following = (row.id, row.started, False)

    # ── actions ───────────────────────────────────────────────────────────────────────────────────────────

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While something is typed or asked, the table's keys are letters like any other."""
        if action != "act":
            return super().check_action(action, parameters)
        if isinstance(self.screen, ConfirmScreen | PortsScreen | CommandPalette):
            return False
        if isinstance(self.focused, Input):
            return parameters[0] in ("back", "redraw")
        return True

    async def action_act(self, name: str) -> None:
        """Do the action ``name`` of the table; the only way in for keys and palette."""
        action = by_name(name)
        if action.changes and self.config.read_only:
            self.notify(
                f"{action.title}: this workstation is read-only (read_only in {self.config.path})", markup=False
            )
            return
        if action.scope in ("containers", "log") and self.screen is not self.home:
            return
        result = getattr(self, f"do_{action.handler}")()
        if isinstance(result, Awaitable):
            await result

    def get_system_commands(self, screen: Screen[Any]) -> Any:
        """The palette offers the table of actions."""
        for action in ACTIONS:
            if action.scope == "view" and not isinstance(screen, ViewScreen):
                continue
            if action.name != "palette":
                yield SystemCommand(action.title, action.help, self._from_palette(action))

    def _from_palette(self, action: Action) -> Callable[[], Coroutine[Any, Any, None]]:
        async def act() -> None:
            await self.action_act(action.name)

        return act

    def _engine_call(self, doing: str, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a change in the background; an error of the engine is a notification in its own words."""

        async def work() -> None:
            try:
                await call()
            except EngineError as error:
                self.notify(str(error), title=f"{doing}: refused", severity="error", markup=False)
            except (ConnectionLost, TimeoutError) as error:
                reason = str(error) or "no answer in time"
                self.notify(reason, title=f"{doing}: no connection", severity="error", markup=False)
            self.feed.refresh()

        self.run_worker(work(), group="change")

    def do_start_stop(self) -> None:
        """Start what does not run, stop what does."""
        row = self.table.selected
        if row is None:
            return
        if row.state == "paused":
            self.do_pause()
        elif row.running or row.state == "restarting":
            self.notify(f"Stopping {row.name} …", markup=False, timeout=3)
            self._engine_call(f"Stop {row.name}", lambda: self.client.stop(row.id))
        else:
            self._engine_call(f"Start {row.name}", lambda: self.client.start(row.id))

    def do_restart(self) -> None:
        """Stop and start."""
        row = self.table.selected
        if row is not None:
            self.notify(f"Restarting {row.name} …", markup=False, timeout=3)
            self._engine_call(f"Restart {row.name}", lambda: self.client.restart(row.id))

    def do_pause(self) -> None:
        """Freeze or let go on."""
        row = self.table.selected
        if row is not None:
            call = self.client.unpause if row.state == "paused" else self.client.pause
            self._engine_call(f"Pause {row.name}", lambda: call(row.id))

    def do_kill(self) -> None:
        """Ask, then SIGKILL."""
        row = self.table.selected
        if row is None:
            return
        if not row.running:
            self.notify(f"{row.name} does not run: there is nothing to kill", markup=False)
            return
        details = "Its processes end at once and cannot save anything. `s` stops it gently instead."
        self._ask(f"Kill {row.name}?", details, "kill it", f"Kill {row.name}", lambda: self.client.kill(row.id))

    def do_remove(self) -> None:
        """Ask, then remove."""
        row = self.table.selected
        if row is None:
            return
        details = f"{row.id[:12]}, made from {row.image}. What was written in it is gone; volumes stay."
        running = row.running or row.state == "restarting"
        if running:
            details = f"It is RUNNING and will be killed first.\n{details}"
        call = partial(self.client.remove, row.id, force=running)
        self._ask(f"Remove {row.name}?", details, "remove it", f"Remove {row.name}", call)

    def _ask(
        self, question: str, details: str, verb: str, doing: str, call: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        def answered(agreed: bool | None) -> None:
            if agreed:
                self._engine_call(doing, call)

        self.push_screen(ConfirmScreen(question, details, verb), answered)

    def do_ports(self) -> None:
        """Ask which ports to publish or to take away."""
        row = self.table.selected
        if row is None:
            return
        if self.home.engine and not self.home.engine.startswith("Dockyard"):
            self.notify(f"{self.home.engine} publishes ports only when it creates a container", markup=False)
            return

        def answered(change: PortChange | None) -> None:
            if change is not None:
                self._engine_call(f"Ports of {row.name}", lambda: self._change_ports(row, change))

        self.push_screen(PortsScreen(row), answered)

    async def _change_ports(self, row: Row, change: PortChange) -> None:
        warn = partial(self.notify, title=f"Ports of {row.name}", severity="warning", timeout=15, markup=False)
        published = await change_ports(self.client, row.id, change, warn)
        if published:  # a port that the engine chose is news to the person
            self.notify(published, title=f"{row.name} publishes", markup=False)

    def do_inspect(self) -> None:
        """Everything about the selected container."""
        row = self.table.selected
        if row is not None:
            self._engine_call(f"Inspect {row.name}", lambda: self._open_inspect(row))

    async def _open_inspect(self, row: Row) -> None:
        data = await self.client.inspect(row.id)
        entries = [entry._replace(depth=entry.depth - 1) for entry in json_entries(data)[1:]]
        self.push_screen(ViewScreen(self.painter, f"Inspect {row.name}", entries, self.config.keys))

    def do_layers(self) -> None:
        """The layers of the selected container's image."""
        row = self.table.selected
        if row is not None:
            self._engine_call(f"Layers of {row.image}", lambda: open_layers(self, row.id))

    def do_help(self) -> None:
        """The table of actions."""
        if isinstance(self.screen, ViewScreen | ConfirmScreen | PortsScreen):
            return
        entries = help_entries(self.config.keys, self.size.width)
        self.push_screen(
            ViewScreen(self.painter, "Help: what can be done, and by which key", entries, self.config.keys)
        )

    async def do_shell(self) -> None:
        """The terminal to a shell in the selected container."""
        row = self.table.selected
        if row is None:
            return
        if not row.running:
            self.notify(f"{row.name} does not run: start it first (s)", markup=False)
            return
        self.run_worker(self._shell(row), group="shell", exclusive=True)

    async def _shell(self, row: Row) -> None:
        try:
            shell = await find_shell(self.client, row.id)
        except (EngineError, ConnectionLost, NoShell, TimeoutError) as error:
            text = str(error) or "the engine does not answer"
            self.notify(text, title=f"Shell in {row.name}", severity="error", markup=False)
            return
        outcome = await Session(self.client, row.id, row.name, self.suspend).run([shell])
        self.notify(outcome, markup=False)

    def do_focus_log(self) -> None:
        """Keys go to the log."""
        self.home.set_focus(self.home.log_pane)

    def do_log_follow(self) -> None:
        """Follow or hold."""
        pane = self.home.log_pane
        pane.following = not pane.following
        if pane.following:
            pane.action_bottom()
        self.home.label()

    def do_zoom_log(self) -> None:
        """All for the log, or half."""
        if self.screen is self.home:
            self.home.zoomed = not self.home.zoomed
            self.home.lay_out()
            self.home.set_focus(self.home.log_pane if self.home.zoomed else self.table)

    def do_filter(self) -> None:
        """Type a filter."""
        self.home.open_filter()

    def do_sort(self) -> None:
        """By the next column."""
        self.home.sort_next()

    def do_sort_reverse(self) -> None:
        """The other way round."""
        self.home.sort_reverse()

    def do_back(self) -> None:
        """One step out."""
        if isinstance(self.screen, ViewScreen | ContainersScreen):
            self.screen.back()

    def do_search(self) -> None:
        """Find in a view."""
        if isinstance(self.screen, ViewScreen):
            self.screen.search()

    def do_search_next(self) -> None:
        """Next match."""
        if isinstance(self.screen, ViewScreen):
            self.screen.search_step(1)

    def do_search_previous(self) -> None:
        """Match before."""
        if isinstance(self.screen, ViewScreen):
            self.screen.search_step(-1)

    def do_fold(self) -> None:
        """Close or open a part."""
        if isinstance(self.screen, ViewScreen):
            self.screen.fold()

    def do_palette(self) -> None:
        """Find an action by name."""
        self.action_command_palette()

    def do_next_theme(self) -> None:
        """The next palette, for this session."""
        names = themes.names(self.config.theme_folders)
        name = names[(names.index(self.palette.name) + 1) % len(names)]
        try:
            self.palette = themes.load(name, self.config.theme_folders)
        except themes.ThemeError as error:
            self.notify(str(error), severity="warning", markup=False)
            return
        self.painter.use(self.palette)
        self.theme = name
        self.notify(f"Theme {name}", timeout=2)
        self.refresh(layout=True)

    def do_toggle_mouse(self) -> None:
        """Give the mouse to the terminal, or take it."""
        driver = self._driver
        if isinstance(driver, TerminalDriver):
            self.notify("Mouse on" if driver.toggle_mouse() else "Mouse off: the terminal selects text", timeout=3)

    def do_redraw(self) -> None:
        """Every cell again."""
        if isinstance(self._driver, TerminalDriver):
            self._driver.forget()
        self.screen.refresh(layout=True)

    def action_help_quit(self) -> None:
        """ctrl+c, out of habit: say how to leave."""
        key = key_text(keys_of(by_name("quit"), self.config.keys))
        self.notify(f"{key} leaves the workstation; the engine and all containers stay up", markup=False, timeout=4)

    def do_quit_workstation(self) -> None:
        """Leave what is open, then the workstation; nothing else ends."""
        if isinstance(self.screen, ViewScreen):
            self.screen.dismiss(None)
            return
        self.exit(0)


def engine_name(version: dict[str, Any]) -> str:
    """``Dockyard 0.1``, ``dockerd 20.10.24``, ``Podman Engine 5.0``."""
    name = str((version.get("Platform") or {}).get("Name") or "")
    components = [str(part.get("Name", "")) for part in version.get("Components") or ()]
    if "dockyard" in (name + "".join(components)).lower():
        name = "Dockyard"
    elif components and components[0] == "Podman Engine":
        name = "podman"
    else:
        name = "dockerd"
    return f"{name} {str(version.get('Version', '')).split('+')[0]}".strip()


__all__ = ["Workstation", "engine_name"]
