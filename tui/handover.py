"""The whole terminal given to a shell in a container, and taken back whatever happens.

The terminal's own state comes first: raw mode is entered last and left first, every mode a program may have
switched on is switched off, and no exception passes through while Textual is suspended (it would never resume).
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable
from contextlib import AbstractContextManager

from tui.client import Client, ConnectionLost, EngineError

#: Alternate screen, mouse, focus, paste, synchronised output, application keys, kitty and xterm key modes, wrap,
#: cursor and its shape, margins, character set, colours.
RESET = (
    b"\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[?2026l\x1b[?1l\x1b>"
    b"\x1b[<u\x1b[>4m\x1b[?7h\x1b[?25h\x1b[0 q\x1b[r\x1b(B\x1b[m"
)
_PROBE = "command -v bash || command -v zsh || command -v ash || command -v sh"


class NoShell(Exception):
    """The container has none of the shells we know."""


async def find_shell(client: Client, ref: str) -> str:
    """The best of bash, zsh, ash and sh in a running container. Raises NoShell, EngineError, ConnectionLost."""
    code, output = await client.exec_output(ref, ["sh", "-c", _PROBE])
    found = output.decode("utf-8", "replace").split()
    if code == 0 and found:
        return found[0]
    for shell in ("bash", "zsh", "ash"):
        if (await client.exec_output(ref, [shell, "-c", "exit 0"]))[0] == 0:
            return shell
    raise NoShell("this container has none of bash, zsh, ash, sh")


class Session:
    """One exec with the terminal: ``run`` returns a sentence for the person, and never raises but for cancellation."""

    def __init__(
        self, client: Client, ref: str, name: str, suspend: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._client, self._ref, self._name, self._suspend = client, ref, name, suspend
        self._in = sys.__stdin__.fileno() if sys.__stdin__ is not None else 0
        self._out = sys.__stderr__.fileno() if sys.__stderr__ is not None else 2

    async def run(self, command: list[str]) -> str:
        """Hand the terminal over until the command ends, is detached from, or the engine goes away."""
        try:
            exec_id = await self._client.exec_create(self._ref, command, tty=True, size=self._size())
        except (EngineError, ConnectionLost, TimeoutError) as error:
            return str(error) or "the engine does not answer"
        with self._suspend():
            problem = await self._guarded(exec_id)
        return problem or await self._outcome(exec_id)

    async def _guarded(self, exec_id: str) -> str:
        try:
            reader, writer = await self._client.exec_start(exec_id, tty=True, size=self._size())
        except (EngineError, ConnectionLost, TimeoutError) as error:
            return str(error) or "the engine does not answer"
        try:
            attributes = termios.tcgetattr(self._in)
        except termios.error as error:
            writer.close()
            return f"no terminal to hand over: {error.args[-1]}"
        try:
            self._say(f"\x1b[2mShell in {self._name}: exit, or ctrl+p ctrl+q, comes back to Dockyard.\x1b[m\r\n")
            tty.setraw(self._in, termios.TCSADRAIN)
            await self._copy(exec_id, reader, writer)
        except (OSError, ConnectionLost, termios.error) as error:
            return f"the shell's connection broke: {error}"
        finally:
            writer.close()
            self._restore(attributes)
        return ""

    def _restore(self, attributes: list[object]) -> None:
        try:
            os.write(self._out, RESET)
            termios.tcsetattr(self._in, termios.TCSADRAIN, attributes)  # type: ignore[arg-type]  # typeshed: list[Any]
        except (OSError, termios.error):
            return  # the terminal is gone: there is nothing to restore

    def _say(self, text: str) -> None:
        os.write(self._out, text.encode())

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._in)
        except OSError:
            return 24, 80
        return size.lines, size.columns

    async def _copy(self, exec_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Both directions, and sizes, until the engine ends the stream or the terminal its input."""
        loop = asyncio.get_running_loop()
        resized = asyncio.Event()
        resized.set()  # an engine before API 1.42 does not know ConsoleSize
        loop.add_signal_handler(signal.SIGWINCH, resized.set)
        tasks = [
            asyncio.create_task(self._to_terminal(reader)),
            asyncio.create_task(self._from_terminal(writer)),
            asyncio.create_task(self._resize(exec_id, resized)),
        ]
        try:
            done, _ = await asyncio.wait(tasks[:2], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _to_terminal(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65536):
            # In a thread: a terminal that is slow must not keep resizes and the other direction waiting.
            await asyncio.to_thread(self._write_all, data)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._out, view) :]
            except BlockingIOError:
                select.select([], [self._out], [])

    async def _from_terminal(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await self._readable()
            data = os.read(self._in, 4096)
            if not data:
                return
            writer.write(data)
            await writer.drain()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._in, _set, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._in)

    async def _resize(self, exec_id: str, resized: asyncio.Event) -> None:
        while True:
            await resized.wait()
            resized.clear()
            try:
                await self._client.exec_resize(exec_id, *self._size())
            except (EngineError, ConnectionLost, TimeoutError):
                continue  # the command ended; the stream tells

    async def _outcome(self, exec_id: str) -> str:
        try:
            state = await self._client.exec_inspect(exec_id)
        except (EngineError, ConnectionLost, TimeoutError):
            return "Shell closed"
        if state.get("Running"):
            return "Detached: the shell goes on without a terminal"
        code = state.get("ExitCode") or 0
        return "Shell closed" if code == 0 else f"Shell ended with exit code {code}"


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


__all__ = ["RESET", "NoShell", "Session", "find_shell"]
