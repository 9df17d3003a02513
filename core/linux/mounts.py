"""Mount options, and the overlay that is a container's root file system.

Two ways lead to an overlay. ``fsopen`` (the new mount API with ``lowerdir+``, Linux 6.8): a detached mount that the
monitor makes and keeps by fd, so that the container's end does not pay for the sync of its upper file system.
``mount`` (mount(2), every kernel): the option string is a page at most, so each layer is opened and named by the
number of its fd, from inside /proc/self/fd: ``lowerdir=11:12:…`` stays short whatever the paths are, and no colon
or comma in a path needs escaping. It is done in the container's own mount namespace: an overlay takes private copies
of the mounts its folders are on, and they must belong to the mounter's namespace.

Options are explicit, whatever the distribution's module defaults are: with ``redirect_dir`` or ``metacopy`` an upper
folder is no layer any more, and ``index=on`` refuses a lower that was copied.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple, NotRequired, TypedDict

from core.linux import syscalls

OVERLAY_OPTIONS = ("redirect_dir=off", "metacopy=off", "index=off")

#: The switch for tests and for trouble: ``fsopen`` or ``mount``.
METHOD_VARIABLE = "DOCKYARD_OVERLAY"

_FSCONFIG_STRING_MAX = 255

#: A bind's option: only this folder or file below the source, looked up without leaving it. The source belongs to a
#: container, which may put a link there at any moment.
SUBPATH_OPTION = "x-dockyard.subpath="

#: fstab word → (flag to set, flag to clear) of mount(2).
_FLAGS: dict[str, tuple[int, int]] = {
    "defaults": (0, 0),
    "ro": (syscalls.MS_RDONLY, 0),
    "rw": (0, syscalls.MS_RDONLY),
    "nosuid": (syscalls.MS_NOSUID, 0),
    "suid": (0, syscalls.MS_NOSUID),
    "nodev": (syscalls.MS_NODEV, 0),
    "dev": (0, syscalls.MS_NODEV),
    "noexec": (syscalls.MS_NOEXEC, 0),
    "exec": (0, syscalls.MS_NOEXEC),
    "sync": (syscalls.MS_SYNCHRONOUS, 0),
    "async": (0, syscalls.MS_SYNCHRONOUS),
    "dirsync": (syscalls.MS_DIRSYNC, 0),
    "mand": (syscalls.MS_MANDLOCK, 0),
    "nomand": (0, syscalls.MS_MANDLOCK),
    "noatime": (syscalls.MS_NOATIME, 0),
    "atime": (0, syscalls.MS_NOATIME),
    "nodiratime": (syscalls.MS_NODIRATIME, 0),
    "diratime": (0, syscalls.MS_NODIRATIME),
    "relatime": (syscalls.MS_RELATIME, 0),
    "norelatime": (0, syscalls.MS_RELATIME),
    "strictatime": (syscalls.MS_STRICTATIME, 0),
    "nostrictatime": (0, syscalls.MS_STRICTATIME),
    "lazytime": (syscalls.MS_LAZYTIME, 0),
    "nosymfollow": (syscalls.MS_NOSYMFOLLOW, 0),
    "symfollow": (0, syscalls.MS_NOSYMFOLLOW),
    "silent": (syscalls.MS_SILENT, 0),
    "remount": (syscalls.MS_REMOUNT, 0),
    "bind": (syscalls.MS_BIND, 0),
    "rbind": (syscalls.MS_BIND | syscalls.MS_REC, 0),
}
_PROPAGATION = {
    "private": syscalls.MS_PRIVATE,
    "slave": syscalls.MS_SLAVE,
    "shared": syscalls.MS_SHARED,
    "unbindable": syscalls.MS_UNBINDABLE,
}
#: Words that mean "this and everything below it" (runtime-spec config.md, Linux mount options).
_RECURSIVE = {"rro": "ro", "rrw": "rw", "rnosuid": "nosuid", "rnodev": "nodev", "rnoexec": "noexec"}

#: mount(2) flag → attribute of mount_setattr(2), for what belongs to a mount and not to its file system.
_ATTRIBUTES = {
    syscalls.MS_RDONLY: syscalls.MOUNT_ATTR_RDONLY,
    syscalls.MS_NOSUID: syscalls.MOUNT_ATTR_NOSUID,
    syscalls.MS_NODEV: syscalls.MOUNT_ATTR_NODEV,
    syscalls.MS_NOEXEC: syscalls.MOUNT_ATTR_NOEXEC,
    syscalls.MS_NODIRATIME: syscalls.MOUNT_ATTR_NODIRATIME,
    syscalls.MS_NOSYMFOLLOW: syscalls.MOUNT_ATTR_NOSYMFOLLOW,
}
_ATIME = {
    syscalls.MS_NOATIME: syscalls.MOUNT_ATTR_NOATIME,
    syscalls.MS_STRICTATIME: syscalls.MOUNT_ATTR_STRICTATIME,
    syscalls.MS_RELATIME: syscalls.MOUNT_ATTR_RELATIME,
}
_ATIME_FLAGS = syscalls.MS_NOATIME | syscalls.MS_STRICTATIME | syscalls.MS_RELATIME


class RootfsMount(TypedDict):
    """One piece of a root file system: the shape of :class:`core.runtime.protocol.RootfsMount`.

    ``target`` is "/" for the root itself, else a folder inside it. ``lower`` is topmost first. ``upper`` and ``work``
    are on one file system; with ``ephemeral`` they are made in a tmpfs. Without both it is read-only.
    """

    target: str
    lower: list[str]
    upper: NotRequired[str]
    work: NotRequired[str]
    ephemeral: NotRequired[bool]


class Options(NamedTuple):
    """A list of fstab words, sorted out.

    ``set`` and ``clear`` are MS_* flags, ``recursive_set`` and ``recursive_clear`` those for the whole tree,
    ``propagation`` MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE (with MS_REC), 0 when none was named, ``data``
    what the file system itself takes.
    """

    set: int
    clear: int
    recursive_set: int
    recursive_clear: int
    propagation: int
    data: list[str]


def parse_options(words: list[str]) -> Options:
    """``["rbind", "ro", "rslave", "size=64m"]`` sorted out; the last word wins. Unknown words are data."""
    set_, clear, recursive_set, recursive_clear, propagation = 0, 0, 0, 0, 0
    data: list[str] = []
    for word in words:
        plain = _RECURSIVE.get(word)
        if plain is not None:
            on, off = _FLAGS[plain]
            recursive_set, recursive_clear = (recursive_set & ~off) | on, (recursive_clear & ~on) | off
        elif word in _FLAGS:
            on, off = _FLAGS[word]
            set_, clear = (set_ & ~off) | on, (clear & ~on) | off
        elif word in _PROPAGATION:
            propagation = _PROPAGATION[word]
        elif word[:1] == "r" and word[1:] in _PROPAGATION:
            propagation = _PROPAGATION[word[1:]] | syscalls.MS_REC
        else:
            data.append(word)
    return Options(set_, clear, recursive_set, recursive_clear, propagation, data)


def attributes(flags: int) -> int:
    """MS_* flags as MOUNT_ATTR_*; what has no attribute (sync, mand …) is left out."""
    found = sum(attribute for flag, attribute in _ATTRIBUTES.items() if flags & flag)
    return found | next((attribute for flag, attribute in _ATIME.items() if flags & flag), 0)


def set_attributes(fd: int, set_: int, clear: int, *, recursive: bool) -> None:
    """Change a mount's attributes by MS_* flags; attributes that are not named stay as they are.

    Needs no remount and so cannot lose flags that a user namespace has locked (Linux 5.12).
    """
    on, off = attributes(set_), attributes(clear) & ~attributes(set_)
    if (set_ | clear) & _ATIME_FLAGS:
        off |= syscalls.MOUNT_ATTR__ATIME  # a field, not single bits: it is cleared as a whole, then set
    if on or off:
        syscalls.mount_setattr(fd, set=on, clear=off, recursive=recursive)


# --- new file systems ------------------------------------------------------------------------------


def make_detached(kind: str, flags: int, data: list[str], source: str = "") -> int:
    """A detached mount of a new file system; ``data`` as ``key=value`` or ``key``, ``flags`` as MS_*.

    The kernel's own words about a refused option are in the error.
    """
    context = syscalls.fsopen(kind)
    try:
        if source:
            syscalls.fsconfig_string(context, "source", source)
        for word in data:
            key, equals, value = word.partition("=")
            if equals:
                syscalls.fsconfig_string(context, key, value)
            else:
                syscalls.fsconfig_flag(context, key)
        for flag, key in ((syscalls.MS_SYNCHRONOUS, "sync"), (syscalls.MS_DIRSYNC, "dirsync")):
            if flags & flag:
                syscalls.fsconfig_flag(context, key)
        syscalls.fsconfig_create(context)
        return syscalls.fsmount(context, attributes(flags))
    except OSError as error:
        said = "; ".join(line[2:] for line in syscalls.context_messages(context))
        if not said:
            raise
        raise OSError(error.errno, f"{os.strerror(error.errno or 0)} ({said})", error.filename) from None
    finally:
        os.close(context)


# --- overlay ---------------------------------------------------------------------------------------

_method = ""


def overlay_method() -> str:
    """``fsopen`` or ``mount``: what this kernel can, unless the environment says otherwise. Asked once."""
    global _method
    if not _method:
        wanted = os.environ.get(METHOD_VARIABLE, "")
        _method = wanted if wanted in ("fsopen", "mount") else ("fsopen" if knows_lowerdir_plus() else "mount")
    return _method


def knows_lowerdir_plus() -> bool:
    """Up to 6.4 overlayfs swallows *any* parameter until the mount is made: a bad one must be refused as well."""
    try:
        context = syscalls.fsopen("overlay")
    except OSError:
        return False
    try:
        syscalls.fsconfig_string(context, "lowerdir+", "/")
        try:
            syscalls.fsconfig_string(context, "no-such-parameter", "/")
        except OSError:
            return True
        return False
    except OSError:
        return False
    finally:
        os.close(context)


def is_plain(piece: RootfsMount) -> bool:
    """One read-only folder: overlayfs wants two; a read-only bind is the same thing."""
    return len(piece["lower"]) == 1 and not piece.get("upper") and not piece.get("ephemeral")


def readonly_bind(folder: str) -> int:
    """A detached, read-only, private copy of the mount that ``folder`` is on, without what is mounted below."""
    fd = syscalls.open_tree(syscalls.AT_FDCWD, folder, syscalls.OPEN_TREE_CLONE)
    try:
        syscalls.mount_setattr(fd, set=syscalls.MOUNT_ATTR_RDONLY, propagation=syscalls.MS_PRIVATE)
    except BaseException:
        os.close(fd)
        raise
    return fd


def overlay_detached(piece: RootfsMount, *, userxattr: bool = False) -> int:
    """The overlay as a detached mount fd (``fsopen``). Not for ``ephemeral`` pieces: see ``rootfs.mount_root``.

    Raises OSError that names the folder the kernel refused.
    """
    if is_plain(piece):
        return readonly_bind(piece["lower"][0])
    opened: list[int] = []
    context = syscalls.fsopen("overlay")
    try:
        syscalls.fsconfig_string(context, "source", "overlay")
        for folder in piece["lower"]:
            syscalls.fsconfig_string(context, "lowerdir+", _short(folder, opened))
        if piece.get("upper"):
            syscalls.fsconfig_string(context, "upperdir", _short(piece["upper"], opened))
            syscalls.fsconfig_string(context, "workdir", _short(piece["work"], opened))
        for option in OVERLAY_OPTIONS:
            key, _, value = option.partition("=")
            syscalls.fsconfig_string(context, key, value)
        if userxattr:
            syscalls.fsconfig_flag(context, "userxattr")
        syscalls.fsconfig_create(context)
        return syscalls.fsmount(context)
    except OSError as error:
        raise _explained(error, piece, syscalls.context_messages(context)) from None
    finally:
        for fd in (context, *opened):
            os.close(fd)


def mount_overlay(piece: RootfsMount, target: str, *, userxattr: bool = False) -> None:
    """The overlay by mount(2) on the absolute path ``target``, in the caller's mount namespace.

    Changes the working directory and restores it. /proc must be mounted.
    """
    if is_plain(piece):
        fd = readonly_bind(piece["lower"][0])
        try:
            syscalls.move_mount(fd, syscalls.AT_FDCWD, target)
        finally:
            os.close(fd)
        return
    opened: list[int] = []
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        lower = ":".join(str(_open(folder, opened)) for folder in piece["lower"])
        words = [f"lowerdir={lower}"]
        if piece.get("upper"):
            words.append(f"upperdir={_open(piece['upper'], opened)}")
            words.append(f"workdir={_open(piece['work'], opened)}")
        words += OVERLAY_OPTIONS
        if userxattr:
            words.append("userxattr")
        os.chdir("/proc/self/fd")
        syscalls.mount("overlay", target, "overlay", 0, ",".join(words))
    except OSError as error:
        raise _explained(error, piece, []) from None
    finally:
        os.fchdir(here)
        for fd in (here, *opened):
            os.close(fd)


def _open(folder: str, opened: list[int]) -> int:
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opened.append(fd)
    return fd


def _short(folder: str, opened: list[int]) -> str:
    """``folder`` as the kernel takes it: at most 255 bytes and without the backslash that overlayfs unescapes."""
    if len(os.fsencode(folder)) <= _FSCONFIG_STRING_MAX and "\\" not in folder:
        return folder
    return f"/proc/self/fd/{_open(folder, opened)}"


def _explained(error: OSError, piece: RootfsMount, said: list[str]) -> OSError:
    """The kernel's ENOENT or EINVAL names nothing: name the first folder that is missing."""
    folders = [*piece["lower"], *(piece[key] for key in ("upper", "work") if piece.get(key))]
    missing = next((folder for folder in folders if not os.path.isdir(folder)), "")
    if missing:
        return OSError(errno.ENOENT, "a layer's folder is missing", missing)
    words = "; ".join(line[2:] for line in said)
    text = os.strerror(error.errno or 0) + (f" ({words})" if words else "")
    return OSError(error.errno, text, error.filename)
