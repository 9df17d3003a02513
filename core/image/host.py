"""The embedded image ``host``: a throw-away sandbox of this server, without any download.

Its root is a skeleton made here: the links of a merged /usr as on this host, an /etc filtered by an allow-list, and
empty folders. Over it lie the host's own /usr (and /bin, /sbin, /lib* where they are folders), each with an upper in a
tmpfs of the container: what is written is gone with it, and never reaches the host.

An allow-list, since a deny-list leaks: a copy of a secret under another name (``/etc/shadow-``) is on no list. Of what
is allowed in /etc only regular files that others may read, and links, are copied. Where people keep settings with
passwords in them (``environment``, ``profile.d``, ``wgetrc``: proxies, tokens) is not on the list, a file with a
private key is left out, and the password fields of ``passwd`` and ``group`` are replaced. /usr, /usr/local with it, is
taken as it is: what lies there with other permissions keeps them, but root in a sandbox is root and reads it. /usr is
software (hier(7)); secrets do not belong there.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

from core.errors import from_os_error
from core.image import trees
from core.linux.mounts import RootfsMount

NAME = "host:latest"
#: Not a digest of anything: an id that is the same on every machine.
IMAGE_ID = "sha256:" + "d0c4" * 16

_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_EMPTY = {
    "root": 0o700, "home": 0o755, "var": 0o755, "var/lib": 0o755, "var/cache": 0o755, "var/log": 0o755,
    "var/spool": 0o755, "var/tmp": 0o1777, "srv": 0o755, "opt": 0o755, "tmp": 0o1777, "run": 0o755, "mnt": 0o755,
    "media": 0o755, "proc": 0o755, "sys": 0o755, "dev": 0o755, "usr": 0o755, "etc": 0o755,
}  # fmt: skip

#: What is copied from /etc, files and whole folders.
_ETC = (
    "adduser.conf", "alternatives", "bash.bashrc", "bash_completion", "bash_completion.d", "bindresvport.blacklist",
    "ca-certificates.conf", "console-setup", "debian_version", "default/locale", "deluser.conf",
    "ethertypes", "gai.conf", "group", "host.conf", "inputrc", "issue", "issue.net", "ld.so.cache", "ld.so.conf",
    "ld.so.conf.d", "libaudit.conf", "locale.alias", "locale.conf", "locale.gen", "localtime", "login.defs",
    "logrotate.conf", "lsb-release", "magic", "magic.mime", "mailcap", "mime.types", "nanorc", "networks",
    "nsswitch.conf", "os-release", "pam.conf", "passwd", "perl", "profile", "protocols", "python3",
    "python3.10", "python3.11", "python3.12", "python3.13", "rpc", "security/limits.conf", "selinux/config",
    "services", "shells", "ssl/certs", "ssl/openssl.cnf", "subgid", "subuid", "sysctl.conf", "terminfo",
    "timezone", "vim", "X11/rgb.txt", "xattr.conf", "xdg",
)  # fmt: skip
_MAX_FILE = 4 << 20
_SCRATCH_LEAST = 256 << 20


def scratch_size() -> int:
    """Bytes that one sandbox may write: a quarter of the machine's memory, at least 256 MiB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(total // 4, _SCRATCH_LEAST)


def shell() -> str:
    """The default program: bash where this host has it."""
    return "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"


def mounts(skeleton: str) -> list[RootfsMount]:
    """The pieces of a sandbox's root, the root first."""
    pieces: list[RootfsMount] = [
        {"target": "/", "lower": [skeleton], "ephemeral": True},
        {"target": "/usr", "lower": ["/usr"], "ephemeral": True},
    ]
    for name in _SYSTEM:
        path = f"/{name}"
        if os.path.isdir(path) and not os.path.islink(path):
            pieces.append({"target": path, "lower": [path], "ephemeral": True})
    return pieces


class _Piece(NamedTuple):
    """One thing of the skeleton: where it goes, what it is (stat.S_IFMT), its mode, and where a file comes from."""

    path: str
    kind: int
    mode: int
    source: str = ""
    target: str = ""
    stamp: tuple[int, ...] = ()


def build(folder: str, host_root: str = "/") -> str:
    """The path of a skeleton below ``folder``, made when the one that is there is not of this host's files any more.

    An older one stays for the containers that lie on it. Raises what the file system says as a typed error.
    """
    pieces = _pieces(host_root)
    name = "skeleton-" + hashlib.sha256(repr(pieces).encode()).hexdigest()[:16]
    wanted = os.path.join(folder, name)
    if os.path.isdir(wanted):
        return wanted
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        made = tempfile.mkdtemp(prefix="new-", dir=folder)
        os.chmod(made, 0o755)
        for piece in pieces:
            _make(piece, made)
        os.rename(made, wanted)
    except OSError as error:
        raise from_os_error(error, "make the image host in") from error
    return wanted


def _pieces(host_root: str) -> list[_Piece]:
    pieces = [_Piece(name, stat.S_IFDIR, mode) for name, mode in _EMPTY.items()]
    pieces.append(_Piece("var/run", stat.S_IFLNK, 0, target="../run"))
    for name in _SYSTEM:
        source = os.path.join(host_root, name)
        if os.path.islink(source):
            pieces.append(_Piece(name, stat.S_IFLNK, 0, target=os.readlink(source)))
        elif os.path.isdir(source):
            pieces.append(_Piece(name, stat.S_IFDIR, 0o755))
    for name in _ETC:
        pieces += _allowed(os.path.join(host_root, "etc", name), f"etc/{name}")
    return pieces


def forget_others(folder: str, keep: set[str]) -> None:
    """Delete the skeletons that no container lies on."""
    for entry in os.scandir(folder):
        if entry.path not in keep:
            trees.discard(entry.path)


def _allowed(source: str, path: str) -> Iterator[_Piece]:
    """What of ``source`` may be copied: what others may read, and links as links."""
    try:
        found = os.lstat(source)
        if stat.S_ISDIR(found.st_mode):
            if found.st_mode & 0o005 != 0o005:
                return
            yield _Piece(path, stat.S_IFDIR, 0o755)
            for name in sorted(os.listdir(source)):
                if not _is_copy(name):
                    yield from _allowed(os.path.join(source, name), f"{path}/{name}")
        elif stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IROTH and found.st_size <= _MAX_FILE:
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
            yield _Piece(path, stat.S_IFREG, found.st_mode & 0o755, source, stamp=stamp)
        elif stat.S_ISLNK(found.st_mode):
            yield _Piece(path, stat.S_IFLNK, 0, target=os.readlink(source))
    except FileNotFoundError:
        return  # not on this host, or gone since it was listed


def _make(piece: _Piece, root: str) -> None:
    path = os.path.join(root, piece.path)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    if piece.kind == stat.S_IFLNK:
        os.symlink(piece.target, path)
        return
    if piece.kind == stat.S_IFDIR:
        os.mkdir(path)
    else:
        data = _content(piece)
        if data is None:
            return
        with open(path, "wb") as file:
            file.write(data)
    os.chmod(path, piece.mode)


def _content(piece: _Piece) -> bytes | None:
    """What may be seen of a file; None when it is gone, is something else by now, or holds a private key."""
    try:
        fd = os.open(piece.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or not found.st_mode & stat.S_IROTH:
            return None
        data = file.read(_MAX_FILE)
    if b"PRIVATE KEY-----" in data:
        return None
    return _without_passwords(data) if piece.path in ("etc/passwd", "etc/group") else data


def _without_passwords(data: bytes) -> bytes:
    """Old systems keep hashes in the second field (passwd(5), group(5))."""
    lines = [line.split(b":") for line in data.split(b"\n")]
    return b"\n".join(b":".join([*fields[:1], *(b"x" for _ in fields[1:2]), *fields[2:]]) for fields in lines)


def _is_copy(name: str) -> bool:
    """Editors' and packagers' left-overs, and hidden files."""
    return name.startswith(".") or name.endswith(
        ("-", "~", ".bak", ".old", ".dpkg-old", ".dpkg-dist", ".rpmsave", ".key")
    )
