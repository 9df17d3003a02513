"""``run(socket_path)``: the workstation, with its first picture on screen before Textual is imported.

Python and a blocking request take about 30 ms, Textual's import alone 150 ms. So the frame is drawn here from the
same lines (:mod:`tui.frame`) and the same palette, keys typed meanwhile stay in the terminal's queue, and Textual
takes over the same screen: of its first frame only what differs is sent.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import themes
from tui.config import Config
from tui.config import load as load_config
from tui.frame import Line, columns, heading, key_line, row_line, rule, split, title
from tui.rows import Row, in_order
from tui.text import to_ascii
from tui.wire import ConnectionLost, EngineError, fetch

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds the first picture may wait for the engine; later the screen opens without rows and says so.
FIRST_WAIT = 1.0

#: One line: (character, SGR parameters), as in :mod:`tui.cells`.
Cells = list[tuple[str, str]]

_ANSI = (
    "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white", "bright_black", "bright_red",
    "bright_green", "bright_yellow", "bright_blue", "bright_magenta", "bright_cyan", "bright_white",
)  # fmt: skip


def run(socket_path: str) -> int:
    """Open the workstation on this terminal; the exit status. Never ends the engine or a container."""
    if os.environ.get("TERM", "dumb") in ("dumb", ""):
        print("The workstation needs a terminal that can move its cursor (TERM is dumb or not set).", file=sys.stderr)
        print("`dockyard ps` and `dockyard logs` work everywhere.", file=sys.stderr)
        return 1
    config = load_config()
    rows, engine = _first_rows(socket_path)
    terminal = _Terminal()
    try:
        picture = _picture(config, rows, engine, socket_path)
        terminal.take(_ansi(picture))
        return _open(socket_path, config, rows, engine, terminal, picture)
    finally:
        terminal.give_back()


def _open(
    socket_path: str, config: Config, rows: list[Row], engine: str, terminal: _Terminal, picture: list[Cells]
) -> int:
    # Textual reads these when it is imported.
    os.environ.setdefault("TEXTUAL_FPS", "30")
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    os.environ.setdefault("ESCDELAY", "40")
    from tui.client import Client
    from tui.workstation import Workstation

    app = Workstation(Client(socket_path), config, seed=rows, engine=engine)
    app.terminal_attributes = terminal.attributes
    app.first_picture = picture
    status = app.run(mouse=config.use_mouse)
    terminal.taken = False
    if app.crash:
        _report(app.crash)
    return status if status is not None else app.return_code or 0


def _report(crash: str) -> None:
    """One sentence for the person, the traceback into a file of theirs."""
    folder = os.path.join(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "dockyard")
    path = os.path.join(folder, "workstation-crash.txt")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(crash)
        where = f"the details are in {path}"
    except OSError as error:
        where = f"the details could not be written to {path} ({error.strerror})"
    reason = crash.strip().rpartition("\n")[2]
    print(f"The workstation had to leave because of a fault of its own: {reason}", file=sys.stderr)
    print(f"Engine and containers are not touched; {where}.", file=sys.stderr)


def _first_rows(socket_path: str) -> tuple[list[Row], str]:
    """What the engine has, and its name from the Server header; nothing when it does not answer at once."""
    try:
        head, items = fetch(socket_path, "/containers/json?all=1", timeout=FIRST_WAIT)
    except (ConnectionLost, EngineError):
        return [], ""
    server = head.headers.get("server", "").split("(")[0].strip()
    name, _, version = server.partition("/")
    known = {"docker": "dockerd", "libpod": "podman", "dockyard": "Dockyard"}
    return in_order([Row(item) for item in items]), f"{known.get(name.lower(), name)} {version.split('+')[0]}".strip()


def _picture(config: Config, rows: list[Row], engine: str, where: str) -> list[Cells]:
    """The first frame, line by line."""
    import time

    palette, _ = palette_of(config)
    size = os.get_terminal_size(sys.__stderr__.fileno() if sys.__stderr__ else 2)
    width, height = size.columns, size.lines
    layout = columns(width, rows)
    now = time.time()
    table = split(height, len(rows))
    where += "  read-only" if config.read_only else ""
    lines: list[tuple[Line, bool]] = [
        (title(width, engine, where, rows, len(rows)), False),
        (heading(layout, "state"), False),
    ]
    lines += [(row_line(row, None, layout, now), index == 0) for index, row in enumerate(rows[: table - 1])]
    lines += [([], False)] * (table + 1 - len(lines))
    lines.append((rule(width, f"{rows[0].name} log" if rows else "log"), False))
    lines += [([], False)] * (height - 1 - len(lines))
    lines.append((key_line(width, "containers", config.keys), False))
    paint = _painter(palette, config.use_ascii)
    return [paint(line, width, cursor) for line, cursor in lines[:height]]


def _painter(palette: themes.Palette, ascii_only: bool) -> Callable[[Line, int, bool], Cells]:
    depth = color_depth()

    def code(role: str, cursor: bool) -> str:
        front, _, back = role.rstrip("+").partition("@")
        if cursor:
            keep = front in ("ok", "warn", "bad", "accent") and not palette.ansi and palette.dark
            front = front if keep and palette["cursor_text"] != "#000000" else "cursor_text"
            back = "cursor"
        parts = ["1"] if role.endswith("+") else []
        parts += sgr_color(palette[front or "text"], depth, 30) + sgr_color(palette[back or "background"], depth, 40)
        return ";".join(parts)

    def paint(line: Line, width: int, cursor: bool) -> Cells:
        cells: Cells = []
        for text, role in line:
            sgr = code(role, cursor)
            cells += [(char, sgr) for char in (to_ascii(text) if ascii_only else text)]
        return (cells + [(" ", code("text", cursor))] * (width - len(cells)))[:width]

    return paint


def _ansi(rows: list[Cells]) -> str:
    """Cells as a terminal takes them."""
    out: list[str] = []
    pen = None
    for y, row in enumerate(rows, 1):
        out.append(f"\x1b[{y};1H")
        for char, sgr in row:
            if sgr != pen:
                out.append(f"\x1b[0;{sgr}m" if sgr else "\x1b[m")
                pen = sgr
            out.append(char)
    return "".join(out) + "\x1b[m"


def color_depth() -> str:
    """``truecolor``, ``256``, ``standard`` or ``""`` (NO_COLOR), by the variables Rich goes by."""
    if os.environ.get("NO_COLOR"):
        return ""
    if os.environ.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return "truecolor"
    term = os.environ.get("TERM", "")
    return "256" if term.endswith(("-256color", "-kitty")) else "standard"


def default_theme() -> str:
    """Sixteen colours where the terminal says no more."""
    return themes.DEFAULT if color_depth() in ("truecolor", "256") else "ansi-dark"


def palette_of(config: Config) -> tuple[themes.Palette, str]:
    """The palette to use, and what was wrong with the one that was asked for."""
    try:
        return themes.load(config.theme or default_theme(), config.theme_folders), ""
    except themes.ThemeError as error:
        return themes.load(default_theme()), f"{config.path}: {error}"


def sgr_color(color: str, depth: str, base: int) -> list[str]:
    """SGR parameters; ``base`` is 30 for the foreground, 40 for the background."""
    if color.startswith("ansi_"):
        if not depth:
            return []
        if color == "ansi_default":
            return [str(base + 9)]
        index = _ANSI.index(color[5:])
        return [str(base + index if index < 8 else base + 52 + index)]
    if depth == "truecolor":
        return [str(base + 8), "2", *(str(int(color[at : at + 2], 16)) for at in (1, 3, 5))]
    if depth != "256":
        return []
    return [str(base + 8), "5", str(_eight_bit(*(int(color[at : at + 2], 16) for at in (1, 3, 5))))]


def _eight_bit(red: int, green: int, blue: int) -> int:
    """The nearest of xterm's 256 colours, as Rich chooses it: greys from the ramp, others from the cube."""
    low, high = min(red, green, blue) / 255, max(red, green, blue) / 255
    light = (low + high) / 2
    spread = high - low
    saturation = 0.0 if not spread else spread / (high + low if light <= 0.5 else 2 - high - low)
    if saturation < 0.15:
        grey = round(light * 25)
        return 16 if grey == 0 else 231 if grey == 25 else 231 + grey
    steps = (value / 95 if value < 95 else 1 + (value - 95) / 40 for value in (red, green, blue))
    r, g, b = (round(step) for step in steps)
    return 16 + 36 * r + 6 * g + b


class _Terminal:
    """The terminal between the first picture and Textual: no echo, keys kept, given back if Textual never comes."""

    def __init__(self) -> None:
        self.attributes: list[Any] | None = None
        self.taken = False

    def take(self, picture: str) -> None:
        """Show ``picture`` on the alternate screen."""
        import termios

        try:
            self.attributes = termios.tcgetattr(0)
            quiet = termios.tcgetattr(0)
            quiet[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
            termios.tcsetattr(0, termios.TCSANOW, quiet)
        except termios.error:
            self.attributes = None
        self.taken = True
        self._write("\x1b[?1049h\x1b[?25l\x1b[?7l" + picture)

    def give_back(self) -> None:
        """Undo :meth:`take`; nothing after Textual has done it."""
        import termios

        if self.taken:
            self.taken = False
            self._write("\x1b[m\x1b[?7h\x1b[?1049l\x1b[?25h")
        if self.attributes is not None:
            try:
                termios.tcsetattr(0, termios.TCSANOW, self.attributes)
            except termios.error:
                return  # the terminal is gone

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        while data:
            try:
                data = data[os.write(2, data) :]
            except OSError:
                return  # gone: Textual's driver notices on its own
