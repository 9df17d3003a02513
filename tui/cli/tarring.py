"""Local files ↔ tar streams, for ``cp``. The tar that comes is a container's: it may hold anything.

Nothing is made outside the folder that was named, and nothing is changed through a link that the tar brought: every
name is opened part by part, relative to its parent, following no link.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile

from tui.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Rename = Callable[[str], str]

_BLOCK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Counted:
    """Bytes of the files that went by."""

    size = 0


# --- out: files → tar ------------------------------------------------------------------------------


def pack(path: str, name: str, rename: Rename, counted: Counted) -> Iterator[bytes]:
    """The file or folder ``path`` as a tar whose entries are called ``name`` and below, renamed."""
    yield from _pack_one(path, name, rename, counted, {})
    yield bytes(2 * tarfile.BLOCKSIZE)


def _pack_one(
    path: str, name: str, rename: Rename, counted: Counted, links: dict[tuple[int, int], str]
) -> Iterator[bytes]:
    waiting = [(path, name)]
    while waiting:
        path, name = waiting.pop()
        try:
            found = os.stat(path) if path.endswith("/.") else os.lstat(path)
            if stat.S_ISSOCK(found.st_mode):
                continue
            if stat.S_ISREG(found.st_mode):
                yield from _pack_file(path, rename(name), counted, links)
                continue
            yield _header(path, rename(name), found, "")
            if stat.S_ISDIR(found.st_mode):
                inside = sorted(os.listdir(path), reverse=True)
                waiting += [(os.path.join(path, each), f"{name.rstrip('/')}/{each}") for each in inside]
        except OSError as error:
            raise CliError(f"cannot read {path}: {error.strerror}") from None


def _pack_file(path: str, name: str, counted: Counted, links: dict[tuple[int, int], str]) -> Iterator[bytes]:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        first = links.setdefault((found.st_dev, found.st_ino), name) if found.st_nlink > 1 else name
        yield _header(path, name, found, "" if first == name else first)
        if first != name:
            return
        left = found.st_size
        while left:
            block = os.read(fd, min(left, _BLOCK))
            if not block:
                raise CliError(f"{path} became shorter while it was read")
            left -= len(block)
            counted.size += len(block)
            yield block
        if found.st_size % tarfile.BLOCKSIZE:
            yield bytes(-found.st_size % tarfile.BLOCKSIZE)
    finally:
        os.close(fd)


def _header(path: str, name: str, found: os.stat_result, link: str) -> bytes:
    entry = tarfile.TarInfo(name + "/" if stat.S_ISDIR(found.st_mode) and not name.endswith("/") else name)
    entry.mode = stat.S_IMODE(found.st_mode)
    entry.uid, entry.gid = found.st_uid, found.st_gid
    entry.mtime = found.st_mtime_ns // 1_000_000_000
    if link:
        entry.type, entry.linkname = tarfile.LNKTYPE, link
    elif stat.S_ISREG(found.st_mode):
        entry.size = found.st_size
        entry.pax_headers = _capability(path)
    elif stat.S_ISDIR(found.st_mode):
        entry.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(found.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(path)
    else:
        kinds = {stat.S_IFCHR: tarfile.CHRTYPE, stat.S_IFBLK: tarfile.BLKTYPE, stat.S_IFIFO: tarfile.FIFOTYPE}
        entry.type = kinds[stat.S_IFMT(found.st_mode)]
        entry.devmajor, entry.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _capability(path: str) -> dict[str, str]:
    try:
        value = os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:
        return {}
    return {"SCHILY.xattr.security.capability": value.decode("utf-8", "surrogateescape")}


# --- in: tar → files -------------------------------------------------------------------------------


class _Pieces(io.RawIOBase):
    """The pieces of an answer as a file that tarfile reads forwards."""

    def __init__(self, pieces: Iterable[memoryview]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        parts = []
        while size:
            part = self.some(size)
            if not part:
                break
            parts.append(bytes(part))
            size -= len(part)
        return b"".join(parts)

    def some(self, size: int) -> memoryview:
        """At most ``size`` bytes without joining or copying; valid until the next call."""
        if not self._rest:
            self._rest = next(self._pieces, memoryview(b""))
        part, self._rest = self._rest[:size], self._rest[size:]
        return part


def extract(pieces: Iterable[memoryview], folder: str, rename: Rename) -> int:
    """Extract into ``folder``. Files become the caller's, with the modes and times of the tar. Bytes of the files."""
    source = _Pieces(pieces)
    try:
        root = os.open(folder, _FOLDER & ~os.O_NOFOLLOW)
    except OSError as error:
        raise CliError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        return _Extraction(root, source, rename).run()
    except tarfile.TarError as error:
        raise CliError(f"the archive is damaged: {error}") from None
    finally:
        os.close(root)


class _Extraction:
    def __init__(self, root: int, source: _Pieces, rename: Rename) -> None:
        self._root = root
        self._source = source
        self._rename = rename
        self._folders: dict[str, tarfile.TarInfo] = {}
        self._size = 0

    def run(self) -> int:
        try:
            self._entries()
        finally:
            # Also after a failure: folders are made closed, and would stay so.
            for name, entry in reversed(self._folders.items()):
                self._finish_folder(name, entry)
        # What is left of the answer tells whether it was whole.
        while self._source.some(_BLOCK):
            continue
        return self._size

    def _entries(self) -> None:
        while entry := self._next():
            name = os.path.normpath(self._rename(entry.name)).lstrip("/")
            if name == ".." or name.startswith("../"):
                raise CliError(f"the archive's entry {entry.name!r} leads out of the target")
            try:
                self._one(entry, name)
            except OSError as error:
                raise CliError(f"cannot write {name}: {error.strerror}") from None

    def _next(self) -> tarfile.TarInfo | None:
        """The next entry; headers are parsed by tarfile, which is given no more than it needs."""
        header = _HeaderFile(self._source)
        archive = tarfile.TarFile(fileobj=header, errors="surrogateescape", encoding="utf-8")  # type: ignore[arg-type]
        return archive.next()

    def _one(self, entry: tarfile.TarInfo, name: str) -> None:
        if name == ".":
            return
        head, _, base = name.rpartition("/")
        parent = self._open(head)
        try:
            if entry.isdir():
                self._folder(parent, base, name, entry)
            elif entry.isreg():
                self._file(parent, base, entry)
            elif entry.issym():
                _check_link(entry, name)
                _clear(parent, base)
                os.symlink(entry.linkname, base, dir_fd=parent)
            elif entry.islnk():
                self._link(parent, base, entry)
            else:
                self._device(parent, base, entry)
        finally:
            os.close(parent)

    def _open(self, head: str) -> int:
        """The folder ``head`` below the root, each part made when it is missing; ELOOP for a link on the way."""
        fd = os.dup(self._root)
        for part in filter(None, head.split("/")):
            try:
                try:
                    inner = os.open(part, _FOLDER, dir_fd=fd)
                except FileNotFoundError:
                    os.mkdir(part, 0o777, dir_fd=fd)
                    inner = os.open(part, _FOLDER, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd

    def _folder(self, parent: int, base: str, name: str, entry: tarfile.TarInfo) -> None:
        try:
            os.mkdir(base, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(base, dir_fd=parent).st_mode):
                raise CliError(f"cannot overwrite non-directory {name!r} with directory {entry.name!r}") from None
        self._folders[name] = entry

    def _finish_folder(self, name: str, entry: tarfile.TarInfo) -> None:
        fd = self._open(name)
        try:
            os.fchmod(fd, entry.mode & 0o7777)
            os.utime(fd, (entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _file(self, parent: int, base: str, entry: tarfile.TarInfo) -> None:
        _clear(parent, base)
        fd = os.open(base, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        try:
            left = entry.size
            while left:
                block = self._source.some(min(left, _BLOCK))
                if not block:
                    raise CliError("the engine closed the connection in the middle of its answer")
                left -= len(block)
                while block:
                    block = block[os.write(fd, block) :]
            self._source.read(-entry.size % tarfile.BLOCKSIZE)
            os.fchmod(fd, entry.mode & 0o7777)
            os.utime(fd, (entry.mtime, entry.mtime))
        finally:
            os.close(fd)
        self._size += entry.size

    def _link(self, parent: int, base: str, entry: tarfile.TarInfo) -> None:
        linked = os.path.normpath(self._rename(entry.linkname)).lstrip("/")
        head, _, name = linked.rpartition("/")
        if linked.startswith(".."):
            raise CliError(f"the archive's entry {entry.name!r} leads out of the target")
        source = self._open(head)
        try:
            _clear(parent, base)
            os.link(name, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source)

    def _device(self, parent: int, base: str, entry: tarfile.TarInfo) -> None:
        kinds = {tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK, tarfile.FIFOTYPE: stat.S_IFIFO}
        kind = kinds.get(entry.type)
        if kind is None:
            raise CliError(f"the archive's entry {entry.name!r} is of an unknown type")
        _clear(parent, base)
        os.mknod(base, kind | (entry.mode & 0o777), os.makedev(entry.devmajor, entry.devminor), dir_fd=parent)


def _check_link(entry: tarfile.TarInfo, name: str) -> None:
    """Refuse a link that leads out of the target by ``..``, as Docker does; who opens it would follow it."""
    target = os.path.normpath(os.path.join(os.path.dirname(name), entry.linkname))
    if not entry.linkname.startswith("/") and (target == ".." or target.startswith("../")):
        raise CliError(f'invalid symlink "{name}" -> "{entry.linkname}"')


class _HeaderFile:
    """What tarfile reads one entry's headers from: forwards, and not past them."""

    def __init__(self, source: _Pieces) -> None:
        self._source = source
        self._at = 0

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self._at += len(data)
        return data

    def tell(self) -> int:
        return self._at

    def seek(self, position: int) -> int:
        self.read(position - self._at)
        return self._at

    def close(self) -> None:
        """Nothing: the source is somebody else's."""


def _clear(parent: int, base: str) -> None:
    try:
        found = os.lstat(base, dir_fd=parent)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        raise CliError(f"cannot overwrite directory {base!r} with non-directory {base!r}")
    os.unlink(base, dir_fd=parent)
