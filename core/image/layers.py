"""One layer's tar → a folder that overlayfs can lie on.

The tar is hostile. Parents are resolved with openat2 inside the layer's root, everything is made with O_EXCL and
O_NOFOLLOW relative to its parent's descriptor, and nothing is ever changed through a link (CVE-2021-32760,
CVE-2025-47290). An entry whose path leads out by ``..`` is an error that names it; a leading ``/`` is dropped, as tar
and Docker do. Device nodes are made as Docker makes them (the container's cgroup decides what may be opened), but for
the pair 0:0, which is overlayfs's own mark for "deleted". Whiteouts (image-spec layer.md) become such marks:
``.wh.NAME`` a character device 0:0, ``.wh..wh..opq`` the attribute ``trusted.overlay.opaque``.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from typing import BinaryIO

from core.errors import Corrupt, DockyardError, Exhausted, from_os_error
from core.image import tar, trees
from core.image.pipeline import Pipeline
from core.image.recipe import Recorder
from core.image.streams import CHUNK, Stream, decompress
from core.linux import syscalls

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
#: So many bytes of the disk stay free.
DISK_RESERVE = 64 << 20
_INODE_RESERVE = 1000
_CHECK_EVERY = 16 << 20
#: Less than this many characters need no counting of bytes.
_LONG = 1000
#: Longer than this nobody could open it (PATH_MAX, with "./" before and NUL behind it).
_MAX_PATH = 4093
#: An inode, and its share of a folder.
_ENTRY_COST = 4096
_OPAQUE_XATTR = "trusted.overlay.opaque"
_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def extract(
    source: BinaryIO, folder: str, what: str = "layer", *, need_end: bool = False, recorder: Recorder | None = None
) -> tuple[str, int]:
    """Unpack the (possibly compressed) tar ``source`` into the empty ``folder``.

    Returns the DiffID (digest of the uncompressed tar) and the bytes of its files. Raises Corrupt, Unsupported or
    Exhausted, naming the entry; the folder is then in pieces and the caller's to remove. Nothing tells that a tar was
    cut between two entries but its missing end marker: with ``need_end``, for a tar whose digest nobody promised, that
    is Corrupt. ``recorder`` gets the tar's recipe; ``source`` must be seekable then.
    """
    try:
        pipeline = Pipeline(decompress(source), CHUNK)
        with pipeline as chunks:
            stream = Stream(chunks, recorder.raw if recorder else None)
            root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                size = Extraction(root, recorder=recorder).run(stream, need_end)
            finally:
                os.close(root)
            stream.finish()
        if recorder is not None:
            _finish(recorder, source)
        return pipeline.digest(), size
    except DockyardError:
        raise
    except (zlib.error, EOFError, ValueError) as error:
        raise Corrupt(f"{what} is not a whole tar: {error}") from error
    except OSError as error:
        raise from_os_error(error, f"unpack {what}") from error
    except Exception as error:
        # zstandard's and isal's own error types, without importing them.
        if type(error).__module__.startswith(("zstandard", "igzip_lib", "isal")):
            raise Corrupt(f"{what} is damaged: {error}") from error
        raise


def _finish(recorder: Recorder, source: BinaryIO) -> None:
    """A tar in which one file replaced another is kept whole: the first one's content is nowhere else."""
    if recorder.broken:
        recorder.start_over()
        source.seek(0)
        plain = decompress(source)
        while chunk := plain.read(CHUNK):
            recorder.raw(chunk)
    recorder.finish()


def is_opaque(folder: str) -> bool:
    """Whether the folder of a layer hides everything below it."""
    try:
        return os.getxattr(folder, _OPAQUE_XATTR) == b"y"
    except OSError:
        return False


class Extraction:
    """The state of one run: the root, the parent that was opened last, folders whose times come at the end.

    ``below`` is the folder inside the root that entries are relative to; links are followed inside the root.
    """

    def __init__(self, root: int, below: str = ".", *, recorder: Recorder | None = None) -> None:
        self._root = root
        self._recorder = recorder
        self._below = below
        self._parent: tuple[str | None, int] = (None, -1)
        self._times: dict[str, int] = {}
        self._size = 0
        self._unchecked = _CHECK_EVERY

    def run(self, stream: Stream, need_end: bool) -> int:
        try:
            self._check_space(0)
            for entry in tar.entries(stream, need_end=need_end):
                self._one(stream, entry)
            self._set_times()
            return self._size
        finally:
            self._close_parent()

    def _close_parent(self) -> None:
        if self._parent[1] >= 0:
            os.close(self._parent[1])
        self._parent = (None, -1)

    def _open(self, path: str, flags: int = _DIRECTORY) -> int:
        """What is at ``path`` below the folder that entries are relative to; an O_PATH descriptor."""
        return syscalls.open_in_root(self._root, f"{self._below}/{path}" if path else self._below, flags)

    def _one(self, stream: Stream, entry: tar.Entry) -> None:
        name = clean_name(entry.name)
        if len(name) > _LONG and len(os.fsencode(name)) > _MAX_PATH:
            raise Corrupt(f"entry {entry.name[:40]!r}… has a name of more than {_MAX_PATH} bytes")
        if ".wh..wh." in name and _is_bookkeeping(name):
            return
        self._check_space(entry.stored)
        head, _, base = name.rpartition("/")
        try:
            if not name:
                self._root_entry(entry)
                return
            parent = self._open_parent(head)
            if base.startswith(_WHITEOUT):
                self._whiteout(parent, base)
            else:
                self._make(stream, entry, parent, base, name)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _no_space(entry) from error
            raise Corrupt(f"entry {entry.name!r}: {os.strerror(error.errno or 0)}") from error

    def _root_entry(self, entry: tar.Entry) -> None:
        if entry.kind == tar.FOLDER:
            os.fchown(self._root, *self._owner(entry))
            os.fchmod(self._root, entry.mode)
            _set_xattrs(entry, self._root)
            self._times["."] = entry.mtime

    def _check_space(self, size: int) -> None:
        """The disk keeps its reserve, of bytes and of inodes. Asked now and then, and before a large file."""
        self._unchecked += size + _ENTRY_COST
        if size < CHUNK and self._unchecked < _CHECK_EVERY:
            return
        self._unchecked = 0
        found = os.fstatvfs(self._root)
        few_inodes = found.f_files and found.f_favail < _INODE_RESERVE
        if found.f_bavail * found.f_frsize < size + DISK_RESERVE or few_inodes:
            raise Exhausted(
                f"no space left on device to unpack into: {'inodes' if few_inodes else 'bytes'} run out",
                hint=f"free some disk space ({DISK_RESERVE >> 20} MiB stay free) and try again",
            )

    def _open_parent(self, head: str) -> int:
        if head == self._parent[0]:
            return self._parent[1]
        self._close_parent()
        try:
            fd = self._open(head)
        except (FileNotFoundError, NotADirectoryError):
            self._make_parents(head)
            fd = self._open(head)
        self._parent = (head, fd)
        return fd

    def _make_parents(self, head: str) -> None:
        """Folders that no entry named: 0755, root's, whatever bits the folder above hands down (as Docker does)."""
        above, missing = self._nearest(head)
        try:
            for part in missing:
                self._check_space(0)
                if _exists(above, part) and not _is_mark(above, part):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), part)
                _make_folder(above, part)
                os.chown(part, 0, 0, dir_fd=above, follow_symlinks=False)
                set_mode(above, part, 0o755)
                inner = os.open(part, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
                os.close(above)
                above = inner
        finally:
            os.close(above)

    def _nearest(self, head: str) -> tuple[int, list[str]]:
        """The deepest folder on the way that is there, open, and the parts that are missing below it."""
        missing: list[str] = []
        while True:
            head, _, part = head.rpartition("/")
            missing.insert(0, part)
            try:
                return self._open(head), missing
            except (FileNotFoundError, NotADirectoryError):
                if not head:
                    raise

    def _whiteout(self, parent: int, base: str) -> None:
        """A mark hides what lower layers have; what this layer itself has under that name stays (image-spec)."""
        if base == _OPAQUE:
            os.setxattr(f"/proc/self/fd/{parent}", _OPAQUE_XATTR, b"y")
            return
        target = base[len(_WHITEOUT) :]
        if target in ("", ".", ".."):
            raise Corrupt(f"whiteout {base!r} names nothing")
        if not _exists(parent, target):
            os.mknod(target, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        elif stat.S_ISDIR(os.lstat(target, dir_fd=parent).st_mode):
            _set_opaque(parent, target)

    def _make(self, stream: Stream, entry: tar.Entry, parent: int, base: str, name: str) -> None:
        if entry.kind == tar.FILE:
            self._make_file(stream, entry, parent, base, name)
            return
        if entry.kind == tar.HARDLINK:
            self._make_hardlink(entry, parent, base, name)
            return
        if entry.kind == tar.FOLDER:
            self._enter_folder(entry, parent, base, name)
            return
        try:
            _make_special(entry, parent, base)
        except FileExistsError:
            self._replace(entry, parent, base, name)
            _make_special(entry, parent, base)
        os.chown(base, *self._owner(entry), dir_fd=parent, follow_symlinks=False)
        if entry.kind != tar.SYMLINK:
            set_mode(parent, base, entry.mode)
        _set_xattrs(entry, f"/proc/self/fd/{parent}/{base}", follow=False)
        os.utime(base, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _enter_folder(self, entry: tar.Entry, parent: int, base: str, name: str) -> None:
        """Make it, and keep it open: what follows mostly lies in it."""
        self._make_folder(entry, parent, base)
        fd = os.open(base, _FOLDER, dir_fd=parent)
        self._close_parent()
        self._parent = (name, fd)
        os.fchown(fd, *self._owner(entry))
        os.fchmod(fd, entry.mode)
        _set_xattrs(entry, fd)
        self._times[name] = entry.mtime

    def _make_file(self, stream: Stream, entry: tar.Entry, parent: int, base: str, name: str) -> None:
        try:
            fd = os.open(base, _NEW_FILE, 0o600, dir_fd=parent)
        except FileExistsError:
            self._replace(entry, parent, base, name)
            fd = os.open(base, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            self._size += self._copy(stream, entry, fd, name)
            # The owner first: chown clears the setuid bit and the capabilities.
            os.fchown(fd, *self._owner(entry))
            os.fchmod(fd, entry.mode)
            _set_xattrs(entry, fd)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _copy(self, stream: Stream, entry: tar.Entry, fd: int, name: str) -> int:
        """The content of a file, holes left out; how many bytes were written."""
        written = end = 0
        for offset, length in entry.pieces:
            if offset != end:
                os.lseek(fd, offset, os.SEEK_SET)
            end = offset + length
            left = length
            while left:
                piece = stream.part(left)
                if not piece:
                    raise Corrupt(f"the tar ends in the middle of {entry.name!r}")
                left -= len(piece)
                while piece:
                    piece = piece[os.write(fd, piece) :]
            if self._recorder is not None:
                self._recorder.piece(name, offset, length)
            written += length
        if end != entry.size:
            os.ftruncate(fd, entry.size)
        return written

    def _make_hardlink(self, entry: tar.Entry, parent: int, base: str, name: str) -> None:
        linked = clean_name(entry.linkname)
        if linked == name:
            return  # tar writes a file that it was given twice so
        head, _, target = linked.rpartition("/")
        try:
            source = self._open(head)
        except FileNotFoundError:
            raise _no_target(entry) from None
        try:
            found = os.lstat(target, dir_fd=source)
            if _marks_deletion(found):
                raise _no_target(entry)
            if _exists(parent, base) and os.path.samestat(found, os.lstat(base, dir_fd=parent)):
                return
            self._replace(entry, parent, base, name)
            os.link(target, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            raise _no_target(entry) from None
        finally:
            os.close(source)

    def _owner(self, entry: tar.Entry) -> tuple[int, int]:
        return owner(entry)

    def _make_folder(self, entry: tar.Entry, parent: int, base: str) -> None:
        if _make_folder(parent, base) and self._recorder is not None:
            self._recorder.broken = True

    def _replace(self, entry: tar.Entry, parent: int, base: str, name: str) -> None:
        self._times.pop(name, None)
        self._clear(entry, parent, base)

    def _clear(self, entry: tar.Entry, parent: int, base: str) -> None:
        """A later entry replaces an earlier one of the same name."""
        if clear(parent, base) and self._recorder is not None:
            self._recorder.broken = True

    def _set_times(self) -> None:
        """Those of folders, at the end: what is made in one changes them."""
        for head, base, mtime in sorted((*name.rpartition("/")[::2], mtime) for name, mtime in self._times.items()):
            try:
                if head != self._parent[0]:
                    self._close_parent()
                    self._parent = (head, self._open(head))
                os.utime(base, ns=(mtime, mtime), dir_fd=self._parent[1], follow_symlinks=False)
            except OSError:
                continue  # a later entry put something else in its place


def _make_folder(parent: int, base: str) -> bool:
    """A folder stays with what is in it; anything else of that name goes. In a mark's place it hides what is below.

    Returns whether a file went.
    """
    try:
        os.mkdir(base, 0o700, dir_fd=parent)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(base, dir_fd=parent).st_mode):
            marked = _is_mark(parent, base)
            os.unlink(base, dir_fd=parent)
            os.mkdir(base, 0o700, dir_fd=parent)
            if marked:
                _set_opaque(parent, base)
            return not marked
    return False


def _make_special(entry: tar.Entry, parent: int, base: str) -> None:
    if entry.kind == tar.SYMLINK:
        os.symlink(entry.linkname, base, dir_fd=parent)
    elif entry.kind == tar.FIFO:
        os.mkfifo(base, 0o600, dir_fd=parent)
    elif entry.kind in (tar.CHAR, tar.BLOCKDEV):
        major, minor = entry.device
        if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise Corrupt(f"entry {entry.name!r} is the impossible device {major}:{minor}")
        if entry.kind == tar.CHAR and entry.device == (0, 0):
            raise Corrupt(f"entry {entry.name!r} is a device 0:0, which is a deletion mark of overlayfs")
        kind = stat.S_IFCHR if entry.kind == tar.CHAR else stat.S_IFBLK
        os.mknod(base, kind | 0o600, os.makedev(major, minor), dir_fd=parent)
    else:
        raise Corrupt(f"entry {entry.name!r} is of the unknown type {entry.kind!r}")


def _is_bookkeeping(name: str) -> bool:
    """aufs's own files (image-spec: to be ignored), and what lies in its folders."""
    return any(part.startswith(".wh..wh.") and part != _OPAQUE for part in name.split("/"))


def _no_space(entry: tar.Entry) -> Exhausted:
    return Exhausted(f"no space left on device at {entry.name}", hint="free some disk space and try again")


def _no_target(entry: tar.Entry) -> Corrupt:
    return Corrupt(f"hard link {entry.name!r}: its target {entry.linkname!r} is not in this layer")


def _exists(parent: int, base: str) -> bool:
    try:
        os.lstat(base, dir_fd=parent)
    except FileNotFoundError:
        return False
    return True


def _is_mark(parent: int, base: str) -> bool:
    return _marks_deletion(os.lstat(base, dir_fd=parent))


def _marks_deletion(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _set_opaque(parent: int, base: str) -> None:
    os.setxattr(f"/proc/self/fd/{parent}/{base}", _OPAQUE_XATTR, b"y", follow_symlinks=False)


def clean_name(name: str) -> str:
    """A tar entry's path relative to the layer's root, "" for the root. Corrupt when ``..`` leads out."""
    if "\0" in name:
        raise Corrupt(f"entry {name!r} has a NUL byte in its name")
    if "//" not in name and "/." not in name and name[:1] not in ("", "/", "."):
        return name.rstrip("/")
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                raise Corrupt(f"entry {name!r} leads out of the layer")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def owner(entry: tar.Entry) -> tuple[int, int]:
    """User and group of an entry. Corrupt when they are out of range."""
    for number in (entry.uid, entry.gid):
        if not 0 <= number <= 2**32 - 2:
            raise Corrupt(f"entry {entry.name!r}: owner {number} is out of range")
    return entry.uid, entry.gid


def _set_xattrs(entry: tar.Entry, target: int | str, *, follow: bool = True) -> None:
    """security.capability and user.*; never trusted.* or user.overlay.*, which are overlayfs's own words."""
    for name, value in entry.xattrs.items():
        if name != "security.capability" and (not name.startswith("user.") or name.startswith("user.overlay.")):
            continue
        try:
            os.setxattr(target, name, value, follow_symlinks=follow)
        except OSError as error:
            # user.* is for files and folders only (xattr(7)), and not on every file system; tar drops it as well.
            if name == "security.capability" or error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise


def set_mode(parent: int, base: str, mode: int) -> None:
    """chmod(2) that follows no link: whoever else writes in this folder may have put one there meanwhile."""
    fd = os.open(base, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def clear(parent: int, base: str) -> bool:
    """Remove whatever has this name; whether there was something."""
    try:
        os.unlink(base, dir_fd=parent)
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        trees.remove(base, parent)
    return True
