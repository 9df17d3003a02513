"""A tar → files of a container, in a folder that is there already. Docker's ``PUT /containers/{id}/archive``.

As with layers, everything is made relative to its parent's descriptor, parents are looked up by openat2 inside the
container's root, and nothing is changed through a link: the container runs meanwhile, and may exchange any name.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator

from core.archive.lookup import Found, look, refused
from core.errors import DockyardError, Forbidden, InvalidArgument, StartFailed, from_os_error
from core.image import layers, tar
from core.image.streams import Stream
from core.linux import userdb

#: Bytes that wait between a client and the disk.
_WAITING = 8 << 20


class Options:
    """``owner``: whose the files become, None as the tar says. ``keep_kinds``: a folder and a file never replace
    each other (Docker's noOverwriteDirNonDir)."""

    __slots__ = ("keep_kinds", "owner")

    def __init__(self, owner: tuple[int, int] | None = None, keep_kinds: bool = False) -> None:
        self.owner = owner
        self.keep_kinds = keep_kinds


def unpack(root: int, path: str, container: str, chunks: Iterator[bytes], options: Options) -> None:
    """Extract a tar into the folder ``path`` of the root. Raises the errors of a look-up, Corrupt, Exhausted,
    Forbidden for a read-only target, InvalidArgument for what is no folder."""
    found = look(root, path.rstrip("/") + "/." if path.strip("/") else "/", container, path)
    check_folder(found)
    stream = Stream(chunks)
    try:
        _Unpacking(root, found.path, options).run(stream, need_end=False)
        stream.finish()
    except DockyardError:
        raise
    except OSError as error:
        raise from_os_error(error, f"copy to {path}") from error


def unpack_for(root: int, path: str, container: str, chunks: Feed, user: str, keep_kinds: bool) -> None:
    """As :func:`unpack`; the files become those of ``user`` (a name or number of the container's), "" as the tar says.

    Raises InvalidArgument for a user that does not exist there.
    """
    owner = None
    if user:
        try:
            found = userdb.resolve(user, root)
        except StartFailed as error:
            raise InvalidArgument(str(error)) from error
        owner = (found.uid, found.gid)
    unpack(root, path, container, iter(chunks), Options(owner, keep_kinds))


def check_folder(found: Found) -> None:
    """InvalidArgument unless a tar can be extracted there."""
    if not found.is_folder:
        raise InvalidArgument("extraction point is not a directory")


class _Unpacking(layers.Extraction):
    def __init__(self, root: int, below: str, options: Options) -> None:
        super().__init__(root, below)
        self._options = options

    def _one(self, stream: Stream, entry: tar.Entry) -> None:
        name = layers.clean_name(entry.name)
        if not name:
            return  # the folder itself stays as it is
        self._check_space(entry.stored)
        head, _, base = name.rpartition("/")
        try:
            self._make(stream, entry, self._open_parent(head), base, name)
        except PermissionError as error:
            raise refused(error, entry.name, "") from error
        except OSError as error:
            if error.errno == errno.EROFS:
                raise Forbidden(f"{entry.name}: the file system there is marked read-only") from error
            raise from_os_error(error, f"copy {entry.name}") from error

    def _owner(self, entry: tar.Entry) -> tuple[int, int]:
        return self._options.owner or layers.owner(entry)

    def _make_folder(self, entry: tar.Entry, parent: int, base: str) -> None:
        try:
            os.mkdir(base, 0o700, dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(base, dir_fd=parent).st_mode):
                return
            if self._options.keep_kinds:
                raise InvalidArgument(
                    f'cannot overwrite non-directory "{entry.name}" with directory "{entry.name}"'
                ) from None
            layers.clear(parent, base)
            os.mkdir(base, 0o700, dir_fd=parent)

    def _clear(self, entry: tar.Entry, parent: int, base: str) -> None:
        try:
            found = os.lstat(base, dir_fd=parent)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode) and self._options.keep_kinds:
            raise InvalidArgument(f'cannot overwrite directory "{entry.name}" with non-directory "{entry.name}"')
        layers.clear(parent, base)


class Feed:
    """Bytes from the event loop to a thread, a few megabytes at a time.

    The loop's side puts and, when :meth:`put` says that enough is waiting, waits for ``room`` to be called.
    """

    def __init__(self, room: Callable[[], None]) -> None:
        """``room`` is called from the thread when there is room again."""
        self._room = room
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, chunk: bytes) -> bool:
        """Add a chunk; whether more may follow at once."""
        with self._changed:
            self._chunks.append(chunk)
            self._waiting += len(chunk)
            self._changed.notify()
            return self._waiting < _WAITING

    def end(self, error: BaseException | None = None) -> None:
        """Nothing follows; with ``error`` the thread's side raises it after what is waiting."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                while not self._chunks and not self._ended:
                    self._changed.wait()
                if not self._chunks:
                    if self._error is not None:
                        raise self._error
                    return
                chunk = self._chunks.popleft()
                full = self._waiting >= _WAITING
                self._waiting -= len(chunk)
                again = full and self._waiting < _WAITING
            if again:
                self._room()
            yield chunk
