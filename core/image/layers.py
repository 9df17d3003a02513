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
import hashlib
import io
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from core.errors import Corrupt, DockyardError, Exhausted, Unsupported, from_os_error
from core.linux import syscalls

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_CHUNK = 1 << 20
#: A layer may grow by this factor when it is unpacked, beyond the first :data:`_FREE_GROWTH` bytes.
_MAX_RATIO = 200
_FREE_GROWTH = 1 << 30
#: So many bytes of the disk stay free.
DISK_RESERVE = 64 << 20
_XATTR = "SCHILY.xattr."
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


class Digesting(io.RawIOBase):
    """Reads through, hashing and counting what passes."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the source."""
        data = self._source.read(size)
        self._hash.update(data)
        self.size += len(data)
        return data

    def finish(self) -> str:
        """Read what is left and return the digest of everything."""
        while self.read(_CHUNK):
            continue
        return f"sha256:{self._hash.hexdigest()}"


def decompress(source: BinaryIO) -> BinaryIO:
    """``source`` unpacked when its first bytes say gzip or zstd, else as it is. It must be seekable."""
    magic = source.read(4)
    source.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return cast(BinaryIO, _Chunks(_gunzip(source)))
    if magic == b"\x28\xb5\x2f\xfd":
        import zstandard

        stream: BinaryIO = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
        return stream
    if magic[:3] == b"BZh" or magic == b"\xfd7zX":
        raise Unsupported("the layer is compressed with bzip2 or xz", hint="use gzip, zstd or no compression")
    return source


def _gunzip(source: BinaryIO) -> Iterator[bytes]:
    read = 0
    written = 0
    engine = zlib.decompressobj(wbits=31)
    while data := source.read(_CHUNK):
        read += len(data)
        while data:
            out = engine.decompress(data, 4 * _CHUNK)
            written += len(out)
            if written > _FREE_GROWTH and written > read * _MAX_RATIO:
                raise Corrupt(f"the layer grows more than {_MAX_RATIO}-fold when unpacked: a decompression bomb")
            yield out
            data = engine.unconsumed_tail
            if engine.eof:
                data, engine = engine.unused_data, zlib.decompressobj(wbits=31)
                if not data.strip(b"\0"):
                    data = b""
    if written == 0 or (not engine.eof and engine.unconsumed_tail):
        raise Corrupt("the gzip stream ends in its middle")


class _Chunks(io.RawIOBase):
    """An iterator of bytes as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, length = [self._rest], len(self._rest)
        while size < 0 or length < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            length += len(chunk)
        data = b"".join(parts)
        if size < 0:
            size = len(data)
        self._rest = data[size:]
        return data[:size]


def extract(source: BinaryIO, folder: str, what: str = "layer") -> tuple[str, int]:
    """Unpack the (possibly compressed) tar ``source`` into the empty ``folder``.

    Returns the DiffID (digest of the uncompressed tar) and the bytes of its files. Raises Corrupt, Unsupported or
    Exhausted, naming the entry; the folder is then in pieces and the caller's to remove.
    """
    try:
        stream = Digesting(decompress(source))
        size = _Extraction(folder).run(stream)
        return stream.finish(), size
    except DockyardError:
        raise
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise Corrupt(f"{what} is not a whole tar: {error}") from error
    except OSError as error:
        raise from_os_error(error, f"unpack {what}") from error
    except Exception as error:
        # zstandard's own error type, without importing it.
        if type(error).__module__.startswith("zstandard"):
            raise Corrupt(f"{what} is damaged: {error}") from error
        raise


class _Extraction:
    """The state of one run: the root, the parent that was opened last, folders whose times come at the end."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._root = os.open(folder, _DIRECTORY | os.O_CLOEXEC)
        self._parent = ("", self._root)
        self._times: list[tuple[str, int]] = []
        self._size = 0

    def run(self, stream: Any) -> int:
        old = os.umask(0)
        try:
            with tarfile.open(
                fileobj=stream, mode="r|", bufsize=1 << 18, encoding="utf-8", errors="surrogateescape"
            ) as tar:
                for entry in tar:
                    self._one(tar, entry)
            for name, mtime in reversed(self._times):
                self._set_time(name, mtime)
            return self._size
        finally:
            os.umask(old)
            self._close_parent()
            os.close(self._root)

    def _close_parent(self) -> None:
        if self._parent[1] != self._root:
            os.close(self._parent[1])
        self._parent = ("", self._root)

    def _one(self, tar: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        name = clean_name(entry.name)
        if not name:
            if entry.isdir():
                os.chmod(self._folder, entry.mode & 0o7777)
                os.chown(self._folder, *_owner(entry))
            return
        head, _, base = name.rpartition("/")
        parent = self._open_parent(head)
        try:
            if base.startswith(_WHITEOUT):
                self._whiteout(parent, base)
            else:
                self._make(tar, entry, parent, base, name)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise Exhausted(f"no space left on device at {entry.name}", hint="free some disk space") from error
            raise Corrupt(f"entry {entry.name!r}: {os.strerror(error.errno or 0)}") from error

    def _open_parent(self, head: str) -> int:
        if head == self._parent[0]:
            return self._parent[1]
        self._close_parent()
        if not head:
            return self._root
        try:
            fd = syscalls.open_in_root(self._root, head, _DIRECTORY)
        except FileNotFoundError:
            self._make_parents(head)
            fd = syscalls.open_in_root(self._root, head, _DIRECTORY)
        except OSError as error:
            raise Corrupt(f"folder {head!r}: {os.strerror(error.errno or 0)}") from error
        self._parent = (head, fd)
        return fd

    def _make_parents(self, head: str) -> None:
        """Folders that no entry named, as tar makes them."""
        done = ""
        for part in head.split("/"):
            above = syscalls.open_in_root(self._root, done or ".", _DIRECTORY)
            try:
                os.mkdir(part, 0o755, dir_fd=above)
            except FileExistsError:
                pass
            finally:
                os.close(above)
            done = f"{done}/{part}" if done else part

    def _whiteout(self, parent: int, base: str) -> None:
        if base == _OPAQUE:
            os.setxattr(f"/proc/self/fd/{parent}", "trusted.overlay.opaque", b"y")
            return
        if base.startswith(".wh..wh."):
            return  # aufs's own bookkeeping (image-spec: to be ignored)
        target = base[len(_WHITEOUT) :]
        if target in ("", ".", ".."):
            raise Corrupt(f"whiteout {base!r} names nothing")
        _clear(parent, target)
        os.mknod(target, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)

    def _make(self, tar: tarfile.TarFile, entry: tarfile.TarInfo, parent: int, base: str, name: str) -> None:
        if entry.isdir():
            self._make_folder(parent, base)
            self._times.append((name, _mtime(entry)))
        else:
            _clear(parent, base)
            if entry.isreg() or entry.issparse():
                self._make_file(tar, entry, parent, base)
                return
            if entry.islnk():
                self._make_hardlink(entry, parent, base)
                return
            self._make_special(entry, parent, base)
        _set_owner_and_mode(entry, parent, base)
        _set_xattrs(entry, f"/proc/self/fd/{parent}/{base}", follow=False)
        if not entry.isdir():
            os.utime(base, ns=(_mtime(entry), _mtime(entry)), dir_fd=parent, follow_symlinks=False)

    @staticmethod
    def _make_folder(parent: int, base: str) -> None:
        try:
            os.mkdir(base, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(base, dir_fd=parent).st_mode):
                _clear(parent, base)
                os.mkdir(base, 0o700, dir_fd=parent)

    def _make_file(self, tar: tarfile.TarFile, entry: tarfile.TarInfo, parent: int, base: str) -> None:
        self._size += entry.size
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(base, flags, 0o600, dir_fd=parent)
        try:
            self._check_space(fd, entry)
            _copy(tar, entry, fd)
            # The owner first: chown clears the setuid bit and the capabilities.
            os.fchown(fd, *_owner(entry))
            os.fchmod(fd, entry.mode & 0o7777)
            _set_xattrs(entry, fd)
            os.utime(fd, ns=(_mtime(entry), _mtime(entry)))
        finally:
            os.close(fd)

    @staticmethod
    def _check_space(fd: int, entry: tarfile.TarInfo) -> None:
        if entry.size < _CHUNK:
            return
        found = os.fstatvfs(fd)
        if found.f_bavail * found.f_frsize < entry.size + DISK_RESERVE and not entry.issparse():
            raise Exhausted(
                f"no space left on device for {entry.name} ({entry.size} bytes)", hint="free some disk space"
            )

    def _make_hardlink(self, entry: tarfile.TarInfo, parent: int, base: str) -> None:
        head, _, target = clean_name(entry.linkname).rpartition("/")
        try:
            source = syscalls.open_in_root(self._root, head or ".", _DIRECTORY)
        except FileNotFoundError:
            raise Corrupt(f"hard link {entry.name!r}: its target {entry.linkname!r} is not in this layer") from None
        try:
            os.link(target, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            raise Corrupt(f"hard link {entry.name!r}: its target {entry.linkname!r} is not in this layer") from None
        finally:
            os.close(source)

    @staticmethod
    def _make_special(entry: tarfile.TarInfo, parent: int, base: str) -> None:
        if entry.issym():
            os.symlink(entry.linkname, base, dir_fd=parent)
        elif entry.isfifo():
            os.mkfifo(base, 0o600, dir_fd=parent)
        elif entry.isdev():
            number = os.makedev(entry.devmajor, entry.devminor)
            if entry.ischr() and number == 0:
                raise Corrupt(f"entry {entry.name!r} is a device 0:0, which is a deletion mark of overlayfs")
            os.mknod(base, (stat.S_IFCHR if entry.ischr() else stat.S_IFBLK) | 0o600, number, dir_fd=parent)
        else:
            raise Corrupt(f"entry {entry.name!r} is of the unknown type {entry.type!r}")

    def _set_time(self, name: str, mtime: int) -> None:
        try:
            fd = syscalls.open_in_root(self._root, name, _DIRECTORY)
        except OSError:
            return  # a later entry put something else in its place
        try:
            os.utime(f"/proc/self/fd/{fd}", ns=(mtime, mtime))
        finally:
            os.close(fd)


def clean_name(name: str) -> str:
    """A tar entry's path relative to the layer's root, "" for the root. Corrupt when ``..`` leads out."""
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                raise Corrupt(f"entry {name!r} leads out of the layer")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if "\0" in name:
        raise Corrupt(f"entry {name!r} has a NUL byte in its name")
    return "/".join(parts)


def _owner(entry: tarfile.TarInfo) -> tuple[int, int]:
    for number in (entry.uid, entry.gid):
        if not 0 <= number <= 2**32 - 2:
            raise Corrupt(f"entry {entry.name!r}: owner {number} is out of range")
    return entry.uid, entry.gid


def _mtime(entry: tarfile.TarInfo) -> int:
    """Nanoseconds; pax headers carry fractions, which a float would round."""
    text = entry.pax_headers.get("mtime", "")
    seconds, _, fraction = text.partition(".")
    if seconds.isdecimal() and (fraction or "0").isdecimal():
        return int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9])
    return int(entry.mtime) * 1_000_000_000


def _copy(tar: tarfile.TarFile, entry: tarfile.TarInfo, fd: int) -> None:
    data = tar.extractfile(entry)
    if data is None:
        return
    left = entry.size
    while left:
        chunk = data.read(min(_CHUNK, left))
        if not chunk:
            raise Corrupt(f"the tar ends in the middle of {entry.name!r}")
        left -= len(chunk)
        if entry.issparse() and not chunk.strip(b"\0"):
            os.lseek(fd, len(chunk), os.SEEK_CUR)
            continue
        view = memoryview(chunk)
        while view:
            view = view[os.write(fd, view) :]
    os.ftruncate(fd, entry.size)


def _set_owner_and_mode(entry: tarfile.TarInfo, parent: int, base: str) -> None:
    os.chown(base, *_owner(entry), dir_fd=parent, follow_symlinks=False)
    if not entry.issym():
        # What was just made here is no link, and nobody else writes in this folder.
        os.chmod(base, entry.mode & 0o7777, dir_fd=parent)


def _set_xattrs(entry: tarfile.TarInfo, target: int | str, *, follow: bool = True) -> None:
    """security.capability and user.*; never trusted.*, which would be overlayfs's own words."""
    for key, value in entry.pax_headers.items():
        if not key.startswith(_XATTR):
            continue
        name = key[len(_XATTR) :]
        if name == "security.capability" or name.startswith("user."):
            os.setxattr(target, name, value.encode("utf-8", "surrogateescape"), follow_symlinks=follow)


def _clear(parent: int, base: str) -> None:
    """A later entry replaces an earlier one of the same name."""
    try:
        found = os.lstat(base, dir_fd=parent)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(base, dir_fd=parent)
    else:
        os.unlink(base, dir_fd=parent)
