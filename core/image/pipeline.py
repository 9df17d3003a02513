"""Decompress, hash and write at the same time, each in a thread of its own.

All three leave the interpreter's lock for most of their work, but a thread that wants it back waits for the switch
interval: with the default of 5 ms the threads gain nothing, so it is shortened while one of these runs.
"""

from __future__ import annotations

import hashlib
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, BinaryIO

_DEPTH = 8
_SHORT_INTERVAL = 1e-4

_lock = threading.Lock()
_running = 0
_usual_interval = 0.0


class Pipeline:
    """The chunks of ``source``, read ahead in one thread and hashed in another. Use as a context manager.

    Iterate inside. What reading raises comes out when the block is left, in place of what followed from the early end.
    Leaving in the middle stops both threads; reading must not block for ever.
    """

    def __init__(self, source: BinaryIO, chunk: int) -> None:
        self._source = source
        self._chunk = chunk
        self._chunks: queue.Queue[Any] = queue.Queue(_DEPTH)
        self._hashes: queue.Queue[Any] = queue.Queue(_DEPTH)
        self._hash = hashlib.sha256()
        self._stopped = False
        self._error: BaseException | None = None
        self._reader = threading.Thread(target=self._read, name="layer-read", daemon=True)
        self._hasher = threading.Thread(target=self._digest, name="layer-hash", daemon=True)

    def __enter__(self) -> Iterator[bytes]:
        _shorten()
        self._reader.start()
        self._hasher.start()
        return iter(self._chunks.get, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # From here on the reader puts a chunk and its end at most: an empty queue has room for both.
        self._stopped = True
        while True:
            try:
                self._chunks.get_nowait()
            except queue.Empty:
                break
        self._reader.join()
        self._hashes.put(None)
        self._hasher.join()
        _lengthen()
        if self._error is not None:
            raise self._error

    def digest(self) -> str:
        """``sha256:…`` of everything that was read; known when the block was left after the end."""
        return f"sha256:{self._hash.hexdigest()}"

    def _read(self) -> None:
        try:
            while not self._stopped and (chunk := self._source.read(self._chunk)):
                self._hashes.put(chunk)
                self._chunks.put(chunk)
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that iterates
            self._error = error
        finally:
            self._chunks.put(None)

    def _digest(self) -> None:
        while (chunk := self._hashes.get()) is not None:
            self._hash.update(chunk)


@contextmanager
def quick_switching() -> Iterator[None]:
    """A short switch interval meanwhile, for threads that hand blocks to each other."""
    _shorten()
    try:
        yield
    finally:
        _lengthen()


def _shorten() -> None:
    global _running, _usual_interval
    with _lock:
        if _running == 0:
            _usual_interval = sys.getswitchinterval()
            sys.setswitchinterval(_SHORT_INTERVAL)
        _running += 1


def _lengthen() -> None:
    global _running
    with _lock:
        _running -= 1
        if _running == 0:
            sys.setswitchinterval(_usual_interval)
