"""Users and groups of a container, read from its own /etc/passwd and /etc/group: hostile text.

Never through NSS (pwd, grp): that would load libraries of the host by the container's nsswitch.conf, or the container's
libraries into our process (CVE-2019-14271). The files are opened inside the root, without following a link out of it,
without waiting for a FIFO, and at most 4 MiB of a regular file are read (CVE-2024-9676).
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from core.errors import StartFailed
from core.linux import syscalls
from core.linux.privileges import MAX_ID

_MAX_SIZE = 4 << 20


class Identity(NamedTuple):
    """Who a process runs as. ``groups`` are the supplementary ones and hold ``gid`` too; ``home`` is "/" if unknown."""

    uid: int
    gid: int
    groups: list[int]
    home: str


class _User(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _Group(NamedTuple):
    name: str
    gid: int
    members: list[str]


def resolve(user: str, root_fd: int | None = None) -> Identity:
    """``""``, ``name``, ``uid``, ``name:group``, ``uid:gid`` … as Docker understands them.

    ``root_fd`` is the container's root; None means "/" (after pivot_root). A number that has no entry is taken as it
    is. Raises StartFailed (step ``user``) in Docker's words for unknown names and numbers out of range.
    """
    own = root_fd is None
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if root_fd is None else root_fd
    try:
        users = parse_passwd(read_hostile(root, "/etc/passwd"))
        groups = parse_group(read_hostile(root, "/etc/group"))
    finally:
        if own:
            os.close(root)
    wanted, _, group = user.partition(":")
    found = _find_user(wanted, users)
    if group:
        gid = _find_group(group, groups)
        members = [gid]
    else:
        gid = found.gid
        members = [gid, *(entry.gid for entry in groups if found.name and found.name in entry.members)]
    return Identity(found.uid, gid, list(dict.fromkeys(members)), found.home or "/")


def _find_user(wanted: str, users: list[_User]) -> _User:
    number = _number(wanted)
    if not wanted:
        number = 0
    for entry in users:
        if (wanted and entry.name == wanted) or (number is not None and entry.uid == number):
            _check(entry.uid)
            _check(entry.gid)
            return entry
    if number is None:
        raise StartFailed(
            f"unable to find user {wanted}: no matching entries in passwd file",
            step="user",
            path="/etc/passwd",
        )
    return _User("", _check(number), 0, "/")


def _find_group(wanted: str, groups: list[_Group]) -> int:
    number = _number(wanted)
    for entry in groups:
        if entry.name == wanted or (number is not None and entry.gid == number):
            return _check(entry.gid)
    if number is None:
        raise StartFailed(
            f"unable to find group {wanted}: no matching entries in group file", step="user", path="/etc/group"
        )
    return _check(number)


def _check(number: int) -> int:
    """Larger ids wrap to -1 or to root somewhere on the way (CVE-2024-40635)."""
    if not 0 <= number <= MAX_ID:
        raise StartFailed(f"uids and gids must be in range 0-{MAX_ID}", step="user")
    return number


def _number(text: str) -> int | None:
    """A number as Docker's strconv reads it (ASCII digits, perhaps a sign), None for a name."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 20:
        return None
    return int(text)


# --- the files ---------------------------------------------------------------------------------------


def read_hostile(root_fd: int, path: str) -> bytes:
    """The bytes of a small regular file inside ``root_fd``, empty when there is none; all else is StartFailed."""
    try:
        # O_NONBLOCK: opening a FIFO returns at once; what it was is seen before a byte is read.
        fd = syscalls.open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise StartFailed(f"{path}: {error.strerror}", step="user", path=path) from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise StartFailed(f"{path} is not a regular file", step="user", path=path)
        data = b""
        while len(data) <= _MAX_SIZE:
            chunk = os.read(fd, 1 << 16)
            if not chunk:
                return data
            data += chunk
        raise StartFailed(f"{path} is larger than {_MAX_SIZE >> 20} MiB", step="user", path=path)
    except OSError as error:  # a link into /proc
        raise StartFailed(f"{path}: {error.strerror}", step="user", path=path) from error
    finally:
        os.close(fd)


def _lines(data: bytes) -> list[list[str]]:
    text = data.decode("utf-8", "surrogateescape")
    return [line.split(":") for line in text.split("\n") if line and not line.startswith("#")]


def parse_passwd(data: bytes) -> list[_User]:
    """name:password:uid:gid:gecos:home:shell (passwd(5)); lines that are not that are skipped."""
    found = []
    for fields in _lines(data):
        if len(fields) < 4:
            continue
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is not None and gid is not None:
            found.append(_User(fields[0], uid, gid, fields[5] if len(fields) > 5 else ""))
    return found


def parse_group(data: bytes) -> list[_Group]:
    """name:password:gid:member,member (group(5)); lines that are not that are skipped."""
    found = []
    for fields in _lines(data):
        gid = _number(fields[2]) if len(fields) > 2 else None
        if gid is not None:
            members = fields[3].split(",") if len(fields) > 3 else []
            found.append(_Group(fields[0], gid, members))
    return found
