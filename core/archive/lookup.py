"""A path inside a root: what is there, and where a link leads. Docker's path stat.

A path is taken from the root, whatever it begins with. Links on the way are followed inside the root; the last part is
not, unless a slash or ``/.`` stands behind it.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from typing import NamedTuple

from core.errors import DockyardError, InvalidArgument, NotFound
from core.linux import syscalls

_MAX_LINKS = 40


class Found(NamedTuple):
    """What is at a path. ``link_target`` is where a link leads, from the root; ``name`` the last part of the path."""

    name: str
    path: str
    status: os.stat_result
    link_target: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder itself, not a link to one."""
        return stat.S_ISDIR(self.status.st_mode)


def clean(path: str) -> str:
    """``path`` from the root without empty parts and ``..``; a slash or ``/.`` at its end stays."""
    if "\0" in path:
        raise InvalidArgument("a path has no NUL byte")
    plain = posixpath.normpath("/" + path.lstrip("/"))
    if path.endswith("/.") or path == ".":
        return plain.rstrip("/") + "/."
    return plain if plain == "/" or not path.endswith("/") else plain + "/"


def base(path: str) -> str:
    """The last part of a clean path as Go's ``filepath.Base`` has it: ``/`` for the root, ``.`` for ``/a/.``."""
    return path.rstrip("/").rpartition("/")[2] or "/"


def look(root: int, path: str, container: str, said: str = "") -> Found:
    """What is at ``path``. NotFound and InvalidArgument that name ``container`` and the path ``said``."""
    wanted = clean(path)
    try:
        fd = syscalls.open_in_root(root, wanted, os.O_PATH | (0 if _follows(wanted) else os.O_NOFOLLOW))
    except OSError as error:
        raise refused(error, said or path, container) from error
    try:
        found = os.fstat(fd)
        target = _target(root, wanted, os.readlink("", dir_fd=fd)) if stat.S_ISLNK(found.st_mode) else ""
    finally:
        os.close(fd)
    return Found(base(wanted), wanted, found, target)


def open_folder(root: int, path: str) -> int:
    """The folder at ``path``, to be read."""
    return syscalls.open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)


def _follows(path: str) -> bool:
    return path.endswith(("/", "/."))


def _target(root: int, path: str, link: str) -> str:
    """Where a link leads in the end, as far as it can be followed."""
    for _ in range(_MAX_LINKS):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
        try:
            fd = syscalls.open_in_root(root, path, os.O_PATH | os.O_NOFOLLOW)
        except OSError:
            return path
        try:
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                return path
            link = os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)
    return path


def refused(error: OSError, path: str, container: str) -> DockyardError:
    """What an error of a look-up means to a person."""
    if error.errno == errno.ENOENT:
        return NotFound(f"Could not find the file {path} in container {container}")
    return InvalidArgument(f"{path} in container {container}: {os.strerror(error.errno or 0).lower()}")
