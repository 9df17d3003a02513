"""The terminal: a Textual driver for slow links, hand-over and hang-up.

What it does that :class:`textual.drivers.linux_driver.LinuxDriver` does not (Textual 8.2; internals are used, so
the version is pinned and a test holds the names):

- frames are compared cell by cell (:mod:`tui.cells`) and skipped while output is backed up; the event loop never
  waits for the terminal (the stock driver's queue of 30 blocks it);
- while the terminal is handed over nothing is written (the stock driver deadlocks when a widget repaints);
- SIGHUP, SIGTERM and a terminal that is gone end the workstation at once (the stock driver spins on EOF).
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import termios
import threading
from codecs import getincrementaldecoder
from collections import deque
from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

from tui.cells import Canvas, Cell, sgr_of

if TYPE_CHECKING:
    from rich.console import Console

#: Exit status after a hang-up, as a shell reports a process ended by SIGHUP.
HUNG_UP = 129
_SYNC_BEGIN, _SYNC_END = "\x1b[?2026h", "\x1b[?2026l"
_WRITE = 8192
_JOIN_SECONDS = 2.0


#: What :meth:`TerminalDriver.release` says to the input thread; anything else means: end.
_LISTEN = b"r"


class Writer(threading.Thread):
    """Writes to the terminal so that nobody else waits for it. ``backlog`` is what was not taken yet, in bytes."""

    def __init__(self, fd: int, loop: asyncio.AbstractEventLoop, on_drained: Any, on_gone: Any) -> None:
        super().__init__(name="terminal-output", daemon=True)
        self._fd, self._loop = fd, loop
        self._on_drained, self._on_gone = on_drained, on_gone
        self._pieces: deque[bytes] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self.backlog = 0
        self.sent = 0

    def write(self, data: bytes) -> None:
        """Queue ``data``; returns at once."""
        with self._wake:
            self._pieces.append(data)
            self.backlog += len(data)
            self._wake.notify()

    def stop(self) -> None:
        """Let the queue run out, but wait no longer than a moment for a terminal that takes nothing."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self.join(_JOIN_SECONDS)

    def run(self) -> None:
        """The thread."""
        while True:
            with self._wake:
                while not self._pieces:
                    if self._stopping:
                        return
                    self._wake.wait()
                data = b"".join(self._pieces)
                self._pieces.clear()
            try:
                self._write_all(data)
            except OSError:
                self._tell(self._on_gone)
                return
            with self._wake:
                self.backlog -= len(data)
                drained = self.backlog == 0 and not self._stopping
            if drained:
                self._tell(self._on_drained)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                count = os.write(self._fd, view[:_WRITE])
            except BlockingIOError:
                # A program before us left the terminal non-blocking.
                select.select([], [self._fd], [])
                continue
            self.sent += count
            view = view[count:]

    def _tell(self, what: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            return  # the loop has ended; nobody is left to be told


class TerminalDriver(LinuxDriver):
    """See the module. ``present`` takes the compositor's updates; everything else is Textual's driver contract."""

    def __init__(
        self, app: Any, *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._fd = sys.__stderr__.fileno() if sys.__stderr__ is not None else 2
        self._out: Writer | None = None
        self._silent = False
        self._dead = False
        self._canvas: Canvas | None = None
        self._cursor = (0, 0)
        self._wake_read, self._wake_write = os.pipe()
        self._released = False
        #: Terminal settings from before the first picture; None: the stock driver's own reading is right.
        self.original_attributes: list[Any] | None = getattr(app, "terminal_attributes", None)
        #: The first picture is on the alternate screen already; entering it again would blank it.
        self._picture: list[list[Cell]] = getattr(app, "first_picture", [])
        self._entered = self._held = bool(self._picture)

    # ── output ────────────────────────────────────────────────────────────────────────────────────────────

    def write(self, data: str) -> None:
        """Queue control sequences; nothing while handed over or after the terminal is gone."""
        if self._silent or self._dead or self._out is None or not data:
            return
        if self._entered and data == "\x1b[?1049h":
            self._entered = False
            return
        self._out.write(data.encode("utf-8", "replace"))

    def present(self, update: ChopsUpdate | LayoutUpdate, console: Console, size: tuple[int, int]) -> None:
        """Take a frame: remember it, and send what differs when the terminal keeps up."""
        canvas = self._canvas
        if canvas is None or (canvas.width, canvas.height) != size:
            ascii_only = bool(getattr(self._app, "ascii_only", False))
            canvas = Canvas(*size, sgr_of(console.color_system), ascii_only=ascii_only)
            canvas.adopt(self._picture)
            self._picture = []
            self._canvas = canvas
        if isinstance(update, LayoutUpdate):
            region = update.region
            for y, line in enumerate(update.strips, region.y):
                canvas.put(y, region.x, _joined(line), region.right)
        else:
            for y, left, right in update.spans:
                for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                    if strip is not None and x <= right and end > left:
                        canvas.put(y, x, strip, end)
        self.flush_frame()

    def flush_frame(self) -> None:
        """Send the difference unless earlier output is still on its way; the writer calls again when it is out."""
        canvas, out = self._canvas, self._out
        if canvas is None or out is None or self._held or self._silent or self._dead or out.backlog or not canvas.dirty:
            return
        data = canvas.emit()
        cursor = self._app.cursor_position
        if cursor != self._cursor or (data and any(cursor)):
            data += f"\x1b[{cursor[1] + 1};{cursor[0] + 1}H"
            self._cursor = cursor
        if not data:
            return
        if getattr(self._app, "_sync_available", False):
            data = f"{_SYNC_BEGIN}{data}{_SYNC_END}"
        out.write(data.encode("utf-8", "replace"))

    def release(self) -> None:
        """Send frames from now on: the first one is complete, so nothing flickers behind the first picture."""
        self._held = False
        if not self._released:
            self._released = True
            os.write(self._wake_write, _LISTEN)
        self.flush_frame()

    def forget(self) -> None:
        """What the terminal shows is unknown: send everything next time."""
        if self._canvas is not None:
            self._canvas.forget()

    @property
    def sent(self) -> int:
        """Bytes the terminal has taken since it was last taken over."""
        return self._out.sent if self._out is not None else 0

    def toggle_mouse(self) -> bool:
        """Whether mouse reports are on afterwards."""
        if self._mouse:
            self._disable_mouse_support()
        self._mouse = not self._mouse
        self._enable_mouse_support()
        return self._mouse

    # ── taking and giving the terminal ────────────────────────────────────────────────────────────────────

    def start_application_mode(self) -> None:
        """Take the terminal."""
        loop = asyncio.get_running_loop()
        self._silent = False
        self.forget()
        self._out = Writer(self._fd, loop, self.flush_frame, self.hang_up)
        self._out.start()
        if select.select([self._wake_read], [], [], 0)[0]:
            os.read(self._wake_read, 64)
        for number in (signal.SIGHUP, signal.SIGTERM):
            loop.add_signal_handler(number, self.hang_up)
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual leaves it unannotated
        if self.original_attributes is not None:
            self.attrs_before = self.original_attributes

    def close(self) -> None:
        """Send what is queued and end the threads."""
        super().close()
        if self._out is not None:
            self._out.stop()

    def suspend_application_mode(self) -> None:
        """Give the terminal away; until it is taken back nothing is written."""
        super().suspend_application_mode()
        self._silent = True

    def disable_input(self) -> None:
        """Stop reading keys: wake the thread that waits for them."""
        os.write(self._wake_write, b"x")
        super().disable_input()

    def hang_up(self) -> None:
        """The terminal is gone, or somebody wants us to leave: nothing can be shown or asked any more."""
        if self._dead:
            return
        self._dead = not self._terminal_lives()
        self._app.exit(HUNG_UP)

    def _terminal_lives(self) -> bool:
        try:
            termios.tcgetattr(self.fileno)
        except termios.error:
            return False
        return True

    # ── input ─────────────────────────────────────────────────────────────────────────────────────────────

    def run_input_thread(self) -> None:
        """Read keys until told to stop. Sleeps without a time-out unless an escape may still be incomplete."""
        if not self._released:
            # Keys that come before the first screen stands would find nobody; the terminal keeps them until then.
            select.select([self._wake_read], [], [])
            if os.read(self._wake_read, 1) != _LISTEN:
                return
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        quiet = True
        while not self.exit_event.is_set():
            ready, _, _ = select.select([self.fileno, self._wake_read], [], [], None if quiet else 0.1)
            if self._wake_read in ready:
                return
            quiet = not ready
            if self.fileno in ready:
                quiet = False
                try:
                    data = os.read(self.fileno, 4096)
                except OSError:
                    data = b""
                if not data:
                    self._tell_hang_up()
                    return
                for event in parser.feed(decode(data)):
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)

    def _tell_hang_up(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self.hang_up)
        except RuntimeError:
            return  # the loop has ended on its own


def _joined(line: Any) -> Any:
    segments: list[Segment] = []
    for strip in line:
        segments.extend(strip)
    return segments
