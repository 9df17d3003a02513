"""A container's log as it is read: which lines, in which form, and what comes next.

The files are those of :mod:`core.runtime.logs`. Output goes out as the chunks that were read from the
container's pipes; only what needs lines (timestamps, details) looks at lines, and even then per chunk: all
lines that begin in one frame have that frame's time. Content is bytes and never interpreted.

A line belongs to the time of the frame in which it began.

A follower sleeps until inotify(7) says that something was written. Rotation loses nothing: the old file stays
open until a newer one exists *and* the old one has been read to its end once more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from struct import Struct
from typing import Any

from core.container.logfiles import NEWLINE, Frame, LogRequest, begin, streams
from core.errors import Unavailable, from_os_error
from core.linux.inotify import IN_CREATE, IN_DELETE_SELF, IN_MODIFY, IN_MOVED_TO, Inotify
from core.runtime.logs import STDERR, STDOUT

#: A line longer than this goes out in pieces.
MAX_LINE = 1024 * 1024
#: Docker's multiplexed stream: stream number, three zero bytes, length (big-endian).
STDCOPY = Struct(">BxxxI")


@dataclass(frozen=True, slots=True)
class LogSource:
    """A container's log. ``ended`` is None when nothing runs; else it completes when the container has ended
    and all of its output is in the log. ``tty``: one raw stream instead of two multiplexed ones."""

    folder: str
    tty: bool = False
    ended: asyncio.Future[Any] | None = None


class LogReader:
    """Reads and follows logs; all followers of one event loop share its one inotify instance."""

    def __init__(self) -> None:
        self._inotify: Inotify | None = None
        self._waiting: dict[int, set[asyncio.Event]] = {}

    async def stream(self, source: LogSource, request: LogRequest) -> AsyncGenerator[bytes, None]:
        """The chosen output in chunks of up to about a megabyte, ready to be sent.

        Ends with the log, or with ``follow`` when the container has ended and everything was delivered, or
        the moment ``until`` has passed. Close it (``contextlib.aclosing``) when leaving early.
        """
        window, render = _Window(request), _renderer(source, request)
        with self._watch(source.folder, request.follow and source.ended is not None) as changed:
            cursor = await begin(source.folder, request)
            try:
                while True:
                    # The order matters: see that the end has come, then read what there is, then believe it.
                    last = changed is None or source.ended is None or _is_over(source.ended, request.until)
                    if changed is not None:
                        changed.clear()
                    while not window.done and (frames := cursor.next()):
                        if chunk := render.render(window.apply(frames)):
                            yield chunk
                        await asyncio.sleep(0)  # a log of which nothing is wanted must not hold the loop
                    if last or window.done or changed is None or source.ended is None:
                        break
                    await _first_of(changed, source.ended, request.until)
                if rest := render.flush():
                    yield rest
            finally:
                cursor.close()

    @contextmanager
    def _watch(self, folder: str, wanted: bool) -> Iterator[asyncio.Event | None]:
        """An event that is set whenever a file in ``folder`` changes; None when it is not wanted."""
        if not wanted:
            yield None
            return
        inotify = self._open()
        try:
            watch = inotify.add(folder, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF)
        except OSError as error:
            raise from_os_error(error, "follow the log") from error
        event = asyncio.Event()
        self._waiting.setdefault(watch, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[watch].discard(event)
            if not self._waiting[watch]:
                del self._waiting[watch]
                inotify.remove(watch)

    def _open(self) -> Inotify:
        if self._inotify is None:
            try:
                self._inotify = Inotify()
            except OSError as error:
                raise Unavailable(
                    f"cannot follow a log: inotify: {error.strerror}",
                    hint="raise fs.inotify.max_user_instances",
                ) from error
            asyncio.get_running_loop().add_reader(self._inotify.fd, self._wake)
        return self._inotify

    def _wake(self) -> None:
        if self._inotify is None:
            return
        for watch in {watch for watch, _, _ in self._inotify.read()}:
            for events in [self._waiting.get(watch, set())] if watch >= 0 else list(self._waiting.values()):
                for event in events:
                    event.set()

    def close(self) -> None:
        """Give the inotify instance back. Followers that are left wait for their containers' ends only."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None


def _is_over(ended: asyncio.Future[Any], until: int) -> bool:
    return ended.done() or (until > 0 and time.time_ns() > until)


async def _first_of(changed: asyncio.Event, ended: asyncio.Future[Any], until: int) -> None:
    waiter = asyncio.ensure_future(changed.wait())
    timeout = max(0.0, (until - time.time_ns()) / 1e9) if until else None
    try:
        await asyncio.wait({waiter, ended}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()


# --- which frames ----------------------------------------------------------------------------------


class _Window:
    """Keeps the chosen streams and the lines that began between ``since`` and ``until``."""

    def __init__(self, request: LogRequest) -> None:
        self._streams = streams(request)
        self._all = len(self._streams) == 2
        self._since = request.since
        self._until = request.until
        self._began_before: set[int] = set()  # streams inside a line that began before since
        self._open: set[int] = set()  # streams inside a line that began before until
        self._over = False
        #: Nothing that comes can be wanted.
        self.done = False

    def apply(self, frames: list[Frame]) -> list[Frame]:
        """Those of ``frames`` that are wanted, cut at lines where needed."""
        if not self._all:
            frames = [frame for frame in frames if frame[0] in self._streams]
        if self._since or self._began_before:
            frames = list(self._after(frames))
        if self._until:
            frames = list(self._before(frames))
        return frames

    def _after(self, frames: list[Frame]) -> Iterator[Frame]:
        for stream, at_ns, payload in frames:
            if at_ns < self._since:
                _note(self._began_before, stream, payload)
                continue
            self._since = 0
            if stream in self._began_before:
                _, newline, rest = bytes(payload).partition(b"\n")
                if newline:
                    self._began_before.discard(stream)
                if rest:
                    yield stream, at_ns, memoryview(rest)
            else:
                yield stream, at_ns, payload

    def _before(self, frames: list[Frame]) -> Iterator[Frame]:
        for stream, at_ns, payload in frames:
            if at_ns <= self._until and not self._over:
                _note(self._open, stream, payload)
                yield stream, at_ns, payload
                continue
            self._over = True
            if stream in self._open:
                line, newline, _ = bytes(payload).partition(b"\n")
                if newline:
                    self._open.discard(stream)
                yield stream, at_ns, memoryview(line + newline)
            if not self._open:
                self.done = True
                return


def _note(open_lines: set[int], stream: int, payload: memoryview) -> None:
    if payload and payload[-1] != NEWLINE:
        open_lines.add(stream)
    else:
        open_lines.discard(stream)


# --- in which form ---------------------------------------------------------------------------------


def _renderer(source: LogSource, request: LogRequest) -> _Chunks:
    framed = not source.tty
    if request.timestamps or request.details:
        return _Lines(framed, request.timestamps, request.details)
    return _Chunks(framed)


class _Chunks:
    """The output as it came; neighbours of one stream become one frame of the multiplexed stream."""

    def __init__(self, framed: bool) -> None:
        self._framed = framed

    def render(self, frames: list[Frame]) -> bytes:
        """``frames`` as bytes to send."""
        if not self._framed:
            return b"".join([payload for _, _, payload in frames])
        out: list[bytes | memoryview] = []
        stream, length, header = 0, 0, 0
        for number, _, payload in frames:
            if number != stream:
                if stream:
                    out[header] = STDCOPY.pack(stream, length)
                stream, length, header = number, 0, len(out)
                out.append(b"")
            out.append(payload)
            length += len(payload)
        if stream:
            out[header] = STDCOPY.pack(stream, length)
        return b"".join(out)

    def flush(self) -> bytes:
        """What was held back for its line's end."""
        return b""


class _Lines(_Chunks):
    """Whole lines, each with its time and details before it.

    A line's beginning is held back until its end comes, so that lines of two streams never mix; but not more
    than :data:`MAX_LINE` of it.
    """

    def __init__(self, framed: bool, timestamps: bool, details: bool) -> None:
        super().__init__(framed)
        self._timestamps = timestamps
        self._details = b" " if details else b""
        self._held = {STDOUT: bytearray(), STDERR: bytearray()}  # prefix and beginning of a line
        self._inside: set[int] = set()  # streams in a line of which a piece has gone out
        self._second, self._text = -1, b""

    def render(self, frames: list[Frame]) -> bytes:
        """The lines that ``frames`` complete."""
        return super().render([line for frame in frames for line in self._lines(frame)])

    def flush(self) -> bytes:
        """The lines that never ended."""
        return super().render([(stream, 0, self._take(stream)) for stream, held in self._held.items() if held])

    def _take(self, stream: int) -> memoryview:
        held, self._held[stream] = self._held[stream], bytearray()
        return memoryview(held)

    def _lines(self, frame: Frame) -> Iterator[Frame]:
        stream, at_ns, view = frame
        prefix = self._prefix(at_ns)
        head, newline, rest = bytes(view).rpartition(b"\n")
        held = self._held[stream]
        if newline:
            if not held and stream not in self._inside:
                held += prefix
            held += head.replace(b"\n", b"\n" + prefix)
            held += newline
            self._inside.discard(stream)
            yield stream, at_ns, self._take(stream)
            held = self._held[stream]
        if rest:
            if not held and stream not in self._inside:
                held += prefix
            held += rest
        if len(held) > MAX_LINE:
            self._inside.add(stream)
            yield stream, at_ns, self._take(stream)

    def _prefix(self, at_ns: int) -> bytes:
        if not self._timestamps:
            return self._details
        second, nano = divmod(at_ns, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%s.%09dZ %s" % (self._text, nano, self._details)
