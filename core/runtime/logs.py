"""A container's log as it is written: frames in rotated files, nothing done per line.

A folder holds ``current.log`` and, older, ``0000000001.log`` … with rising numbers; beside each ``.log`` lies
an ``.idx``. All integers are little-endian::

    file   = "DOCKLOG1" sequence:u64 frame*
    frame  = stream:u8 flags:u8 0:u16 length:u32 time_ns:u64 payload[length]
    index  = "DOCKIDX1" sequence:u64 (time_ns:u64 offset:u64)*        one record per INDEX_STEP bytes of log

``sequence`` counts the files of one container from 1 on; ``current.log`` has the highest. A frame is what one
read of the container's pipe gave: lines are cut and joined by the reader (:mod:`core.container.logs`). An
index record is the offset of a frame that begins there, and its time; the index only saves reading, it may be
missing.

The file has one writer, the container's monitor. What was half written when the monitor died, or when the
disk was full, is cut off: a file always is a sequence of whole frames for who opens it next.

This module is part of the zygote's closure.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable

STDOUT = 1
STDERR = 2

#: ``flags``: the payload is the engine's own line about output that could not be written.
LOST = 1

FRAME = struct.Struct("<BBHIQ")
FILE_HEADER = struct.Struct("<8sQ")
INDEX_RECORD = struct.Struct("<QQ")
LOG_MAGIC = b"DOCKLOG1"
INDEX_MAGIC = b"DOCKIDX1"
CURRENT = "current"

#: Bytes of log between two index records: what a reader has to read in vain at most.
INDEX_STEP = 256 * 1024
DEFAULT_MAX_SIZE = 10_000_000
DEFAULT_MAX_FILES = 10
#: A smaller limit would make a file per line; Docker accepts any, we round up.
MIN_MAX_SIZE = 4096

Warn = Callable[[str], None]


def file_name(sequence: int) -> str:
    """The base name, without extension, of a file that was rotated away."""
    return f"{sequence:010d}"


class LogWriter:
    """Appends frames to the log in ``folder``, which is made (0700) when missing.

    ``max_size`` bytes a file, ``max_files`` files with the current one. A full disk, or another failure of
    the file system, never raises out of :meth:`write`: the frame is dropped and counted, ``warn`` is told
    once, and when there is space again a frame with the flag :data:`LOST` says how much is missing. Holds two
    file descriptors. Raises OSError when the folder or its files cannot be opened at all.
    """

    def __init__(
        self,
        folder: str,
        max_size: int = DEFAULT_MAX_SIZE,
        max_files: int = DEFAULT_MAX_FILES,
        warn: Warn | None = None,
    ) -> None:
        self._folder = folder
        self._max_size = max(max_size, MIN_MAX_SIZE)
        self._max_files = max(max_files, 1)
        self._max_payload = self._max_size - FILE_HEADER.size - FRAME.size
        self._warn = warn
        self._header = bytearray(FRAME.size)
        self._fd = self._index_fd = -1
        self._size = self._next_index = 0
        self._sequence = 0
        #: Bytes and frames of output that are not in the log, since the last mark.
        self.lost_bytes = self.lost_frames = 0
        try:
            self._open()
        except FileNotFoundError:
            os.makedirs(folder, 0o700, exist_ok=True)
            self._open()
        self._drop_old(listing=True)

    def write(self, stream: int, data: bytes | bytearray | memoryview, at_ns: int) -> bool:
        """Append ``data`` of ``stream`` (1 stdout, 2 stderr), read at ``at_ns`` nanoseconds since the epoch.

        False when it could not be written and is counted as lost. ``data`` is not kept.
        """
        length = len(data)
        if length > self._max_payload:
            view = memoryview(data)
            written = True
            for at in range(0, length, self._max_payload):
                written &= self.write(stream, view[at : at + self._max_payload], at_ns)
            return written
        if not length:
            return True
        try:
            if self._size + FRAME.size + length > self._max_size:
                self._rotate()
            FRAME.pack_into(self._header, 0, stream, 0, 0, length, at_ns)
            if self.lost_frames:
                mark = self._mark(at_ns)
                # Together or not at all: on a disk that stays full the marks alone would fill it.
                self._append([mark, self._header, data], len(mark) + FRAME.size + length, at_ns)
                self.lost_bytes = self.lost_frames = 0
            else:
                self._append([self._header, data], FRAME.size + length, at_ns)
        except OSError as error:
            self._lose(length, error)
            return False
        return True

    def close(self) -> None:
        """Close both files. Later writes are lost."""
        self._close_files()
        self._size = 0

    def _close_files(self) -> None:
        for fd in (self._fd, self._index_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._index_fd = -1

    def _path(self, base: str, extension: str) -> str:
        return f"{self._folder}/{base}.{extension}"

    def _append(self, parts: list[bytes | bytearray | memoryview], size: int, at_ns: int) -> None:
        """All of ``parts`` or nothing: a short write (the disk is full) is taken back."""
        written = os.writev(self._fd, parts)
        if written != size:
            os.ftruncate(self._fd, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._size >= self._next_index:
            self._write_index(at_ns)
        self._size += size

    def _write_index(self, at_ns: int) -> None:
        self._next_index = self._size + INDEX_STEP
        if self._index_fd < 0:
            return
        try:
            whole = os.write(self._index_fd, INDEX_RECORD.pack(at_ns, self._size)) == INDEX_RECORD.size
        except OSError:
            whole = False
        if not whole:  # a torn record would shift all later ones: this file goes on without an index
            os.close(self._index_fd)
            self._index_fd = -1

    def _mark(self, at_ns: int) -> bytes:
        text = (
            f"[dockyard: {self.lost_bytes} bytes of output were not logged: the log could not be written]\n"
        ).encode()
        return FRAME.pack(STDERR, LOST, 0, len(text), at_ns) + text

    def _lose(self, length: int, error: OSError) -> None:
        first = not self.lost_frames
        self.lost_frames += 1
        self.lost_bytes += length
        if first and self._warn is not None:
            self._warn(f"the container's output is not logged: {self._folder}: {error.strerror or error}")

    # --- opening, recovery, rotation -------------------------------------------------------------------

    def _open(self) -> None:
        """Open ``current.log`` at its last whole frame, or begin a new file."""
        try:
            self._fd = os.open(self._path(CURRENT, "log"), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            self._begin(self._newest() + 1)
            return
        magic, sequence = _read_header(self._fd)
        if magic != LOG_MAGIC:  # torn at its very birth, or not ours: keep it aside for a person to look at
            os.close(self._fd)
            self._fd = -1
            os.rename(self._path(CURRENT, "log"), self._path("damaged", "log"))
            self._begin(self._newest() + 1)
            return
        self._sequence = sequence
        size = os.fstat(self._fd).st_size
        indexed = self._open_index(size)
        self._size = end_of_frames(self._fd, indexed or FILE_HEADER.size, size)
        if self._size != size:
            os.ftruncate(self._fd, self._size)
        self._next_index = indexed + INDEX_STEP if indexed else FILE_HEADER.size

    def _open_index(self, size: int) -> int:
        """Open the index of the current file; the offset of its last record below ``size``, 0 for none."""
        self._index_fd = os.open(self._path(CURRENT, "idx"), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if _read_header(self._index_fd) != (INDEX_MAGIC, self._sequence):
            os.ftruncate(self._index_fd, 0)
            os.write(self._index_fd, FILE_HEADER.pack(INDEX_MAGIC, self._sequence))
            return 0
        count = (os.fstat(self._index_fd).st_size - FILE_HEADER.size) // INDEX_RECORD.size
        offset = 0
        while count and not offset:
            at = FILE_HEADER.size + (count - 1) * INDEX_RECORD.size
            record = INDEX_RECORD.unpack(os.pread(self._index_fd, INDEX_RECORD.size, at))[1]
            if record < size:
                offset = record
            else:
                count -= 1
        os.ftruncate(self._index_fd, FILE_HEADER.size + count * INDEX_RECORD.size)
        return offset

    def _begin(self, sequence: int) -> None:
        """Begin a new current file. It gets its name when its header is in it, so readers never see less."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        fds: list[int] = []
        try:
            for magic, extension in ((INDEX_MAGIC, "idx"), (LOG_MAGIC, "log")):
                fds.append(os.open(self._path("new", extension), flags, 0o600))
                header = FILE_HEADER.pack(magic, sequence)
                if os.write(fds[-1], header) != len(header):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.rename(self._path("new", extension), self._path(CURRENT, extension))
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        self._index_fd, self._fd = fds
        self._sequence = sequence
        self._size = self._next_index = FILE_HEADER.size

    def _rotate(self) -> None:
        """Begin the next file. Until that worked the file counts as full, so the next write tries again."""
        self._close_files()
        self._size = self._max_size
        try:
            for extension in ("log", "idx"):
                os.rename(self._path(CURRENT, extension), self._path(file_name(self._sequence), extension))
        except FileNotFoundError:  # the try before came this far, and then found the disk full
            pass
        self._begin(self._sequence + 1)
        self._drop_old()

    def _newest(self) -> int:
        return max(self._numbers(), default=0)

    def _numbers(self) -> list[int]:
        """The sequence numbers of the rotated files that are there."""
        names = (name.removesuffix(".log") for name in os.listdir(self._folder) if name.endswith(".log"))
        return [int(name) for name in names if name.isdecimal()]

    def _drop_old(self, *, listing: bool = False) -> None:
        """Delete what is beyond ``max_files``; ``listing`` looks for all of them, not only the next one."""
        oldest = self._sequence - self._max_files
        numbers = [n for n in self._numbers() if n <= oldest] if listing else [oldest]
        for number in numbers:
            for extension in ("log", "idx"):
                try:
                    os.unlink(self._path(file_name(number), extension))
                except FileNotFoundError:
                    continue


def _read_header(fd: int) -> tuple[bytes, int]:
    raw = os.pread(fd, FILE_HEADER.size, 0)
    if len(raw) < FILE_HEADER.size:
        return b"", 0
    magic, sequence = FILE_HEADER.unpack(raw)
    return magic, sequence


def end_of_frames(fd: int, start: int, size: int) -> int:
    """Where the whole frames that begin at ``start`` end, in the first ``size`` bytes of ``fd``."""
    at = start
    while at + FRAME.size <= size:
        block = os.pread(fd, 65536, at)
        here = 0
        while here + FRAME.size <= len(block):
            stream, _, zero, length, _ = FRAME.unpack_from(block, here)
            after = at + here + FRAME.size + length
            if zero or stream not in (STDOUT, STDERR) or after > size:
                return at + here
            here += FRAME.size + length
        if not here:
            return at
        at += here
    return at
