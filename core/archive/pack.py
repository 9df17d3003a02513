"""Files → tar, as they are while they are read.

Owners are numbers; hard links among what is packed stay links; of extended attributes go ``security.capability`` and
``user.*``. Times are whole seconds, as Docker's archives have them. Sockets are left out: a tar has no such thing.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator

from core.archive.sinks import ShrunkFile, Sink
from core.errors import Unavailable
from core.linux import syscalls

_INSIDE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_XATTR = "SCHILY.xattr."
_KINDS = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}
_END = bytes(2 * tarfile.BLOCKSIZE)


class Packer:
    """Writes entries to a sink. OSError of a file that cannot be read goes through; what vanishes is left out."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._links: dict[tuple[int, int], str] = {}

    def tree(self, folder: int, name: str) -> None:
        """The open ``folder`` as the entry ``name`` ("": without one), and all that is in it."""
        if name:
            self._entry(name, os.fstat(folder), f"/proc/self/fd/{folder}/.")
        prefix = "" if name in ("", "/") else name + "/"
        for path in _below(folder):
            self.one(folder, path, ("/" if name == "/" else "") + prefix + path)

    def one(self, folder: int, path: str, name: str) -> None:
        """What is at ``path`` below the open ``folder`` as the entry ``name``; a folder without what is in it."""
        head, _, base = path.rpartition("/")
        parent = syscalls.openat2(folder, head or ".", os.O_PATH | os.O_DIRECTORY, 0, _INSIDE)
        try:
            found = os.stat(base, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                self._file(parent, base, name)
            elif not stat.S_ISSOCK(found.st_mode):
                link = os.readlink(base, dir_fd=parent) if stat.S_ISLNK(found.st_mode) else ""
                self._entry(name, found, f"/proc/self/fd/{parent}/{base}", link)
        except FileNotFoundError:
            return
        finally:
            os.close(parent)

    def empty(self, name: str) -> None:
        """An empty file that means something by its name: a whiteout."""
        entry = tarfile.TarInfo(name)
        entry.mode = 0o600
        self._header(entry)

    def end(self) -> None:
        """The end marker."""
        self._sink.write(_END)

    def _file(self, parent: int, base: str, name: str) -> None:
        fd = os.open(base, _FILE, dir_fd=parent)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or self._entry(name, found, fd):
                return
            try:
                self._sink.send_file(fd, found.st_size)
            except ShrunkFile:
                raise Unavailable(f"{name} became shorter while it was read", hint="try again, or pause it") from None
            self._sink.write(bytes(-found.st_size % tarfile.BLOCKSIZE))
        finally:
            os.close(fd)

    def _entry(self, name: str, found: os.stat_result, where: int | str, link: str = "") -> bool:
        """Write the header; whether it is a link to an earlier entry, and so without content."""
        kind = stat.S_IFMT(found.st_mode)
        entry = tarfile.TarInfo(name + "/" if kind == stat.S_IFDIR and not name.endswith("/") else name)
        entry.mode = stat.S_IMODE(found.st_mode)
        entry.uid, entry.gid = found.st_uid, found.st_gid
        entry.mtime = found.st_mtime_ns // 1_000_000_000
        entry.type, entry.linkname = _KINDS[kind], link
        if kind in (stat.S_IFCHR, stat.S_IFBLK):
            entry.devmajor, entry.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
        earlier = self._earlier(name, found) if kind != stat.S_IFDIR else ""
        if earlier:
            entry.type, entry.linkname = tarfile.LNKTYPE, earlier
        elif kind == stat.S_IFREG:
            entry.size = found.st_size
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            entry.pax_headers = dict(_xattrs(where))
        self._header(entry)
        return bool(earlier)

    def _earlier(self, name: str, found: os.stat_result) -> str:
        if found.st_nlink < 2:
            return ""
        first = self._links.setdefault((found.st_dev, found.st_ino), name)
        return "" if first == name else first

    def _header(self, entry: tarfile.TarInfo) -> None:
        self._sink.write(entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))


def _xattrs(where: int | str) -> Iterator[tuple[str, str]]:
    try:
        names = os.listxattr(where)
    except OSError:
        return
    for name in names:
        if name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay.")):
            try:
                value = os.getxattr(where, name)
            except OSError:
                continue
            yield _XATTR + name, value.decode("utf-8", "surrogateescape")


def _below(folder: int) -> Iterator[str]:
    """The paths of everything below ``folder``, each folder before what is in it, in the order of their names."""
    waiting = [("", True)]
    while waiting:
        path, is_folder = waiting.pop()
        if path:
            yield path
        if not is_folder:
            continue
        try:
            fd = syscalls.openat2(folder, path or ".", _FOLDER, 0, _INSIDE)
        except (FileNotFoundError, NotADirectoryError):
            continue  # it has gone meanwhile
        try:
            with os.scandir(fd) as entries:
                found = sorted(((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries), reverse=True)
        finally:
            os.close(fd)
        waiting += [(f"{path}/{name}" if path else name, folder_) for name, folder_ in found]
