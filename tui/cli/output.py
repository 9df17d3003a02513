"""Writing to the standard descriptors: whole, also to a non-blocking pipe, and quiet when the reader leaves."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_IOV_MAX = 1024


def write(fd: int, data: bytes | memoryview) -> None:
    """Write all of ``data``. Dies by SIGPIPE when the reader has left, as every filter does."""
    view = memoryview(data)
    while view:
        try:
            view = view[posix.write(fd, view) :]
        except BlockingIOError:
            _wait_writable(fd)
        except BrokenPipeError:
            die_by_pipe()


def write_vector(fd: int, parts: list[memoryview]) -> None:
    """Write all ``parts`` in order with as few system calls as the kernel allows."""
    start = 0
    while start < len(parts):
        batch = parts[start : start + _IOV_MAX]
        size = sum(map(len, batch))
        try:
            done = posix.writev(fd, batch)
        except BlockingIOError:
            _wait_writable(fd)
            continue
        except BrokenPipeError:
            die_by_pipe()
        start += len(batch)
        if done < size:
            _write_rest(fd, batch, done)


def _write_rest(fd: int, parts: list[memoryview], done: int) -> None:
    for part in parts:
        if done >= len(part):
            done -= len(part)
        else:
            write(fd, part[done:])
            done = 0


def _wait_writable(fd: int) -> None:
    from select import POLLOUT, poll

    waiting = poll()
    waiting.register(fd, POLLOUT)
    waiting.poll()


def die_by_pipe() -> NoReturn:
    """End as a program without a SIGPIPE handler ends, the terminal put back first."""
    import sys

    terminal = sys.modules.get("tui.cli.terminal")
    if terminal is not None:
        terminal.restore()
    import signal

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    posix.kill(posix.getpid(), signal.SIGPIPE)
    posix._exit(128 + signal.SIGPIPE)  # where the signal is blocked


def out(text: str) -> None:
    """``text`` to stdout; undecodable bytes of names and arguments come back as they were."""
    if text:
        write(1, _encoded(text))


def err(text: str) -> None:
    """Words for the person, to stderr. They may quote an image or a container: what they quote stays text."""
    if text:
        write(2, _encoded(plain(text)))


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair, from a label in JSON
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def plain(text: str) -> str:
    """``text`` with control characters and changes of direction written out: they would steer the terminal."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join([c if c in "\n\t" or c.isprintable() or not _steers(c) else _escaped(c) for c in text])


def _steers(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f" or "\u2028" <= char <= "\u202e" or "\u2066" <= char <= "\u2069"


def _escaped(char: str) -> str:
    return f"\\x{ord(char):02x}" if char <= "\xff" else f"\\u{ord(char):04x}"


def is_terminal(fd: int) -> bool:
    """Whether ``fd`` is a terminal; a closed one is not."""
    try:
        return posix.isatty(fd)
    except OSError:
        return False
