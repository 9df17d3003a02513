"""What the driver ``local`` takes: nothing (a folder), a bind of another folder, or a tmpfs.

Docker hands ``type``, ``device`` and ``o`` to mount(2). Here file systems that need a server or a block device are
refused by name: they would have to be mounted on the host, where a dead server hangs whoever looks.
"""

from __future__ import annotations

from collections.abc import Callable

from core.errors import InvalidArgument, Unsupported

_KNOWN = ("type", "device", "o", "size")
_BINDS = ("bind", "rbind")
_TMPFS_WORDS = ("size", "mode", "uid", "gid", "nr_inodes")
_FLAGS = ("ro", "rw", "nosuid", "nodev", "noexec", "noatime", "relatime")


def check(options: dict[str, str]) -> None:
    """Refuse what this driver does not do. InvalidArgument or Unsupported name the option."""
    for key in options:
        if key not in _KNOWN:
            raise InvalidArgument(f'invalid option: "{key}"', hint="type, device and o are known")
    if "size" in options:
        raise Unsupported(
            "volume option size (a quota) is not supported", hint="a tmpfs has one: type=tmpfs, o=size=64m"
        )
    if not any(options.values()):
        return
    if is_tmpfs(options):
        _check_words(options, lambda word: word in _FLAGS or word.partition("=")[0] in _TMPFS_WORDS)
    elif bind_device(options):
        _check_words(options, lambda word: word in (*_BINDS, "ro", "rw"))
    else:
        raise _refusal(options)


def _refusal(options: dict[str, str]) -> InvalidArgument | Unsupported:
    kind = options.get("type", "")
    if kind not in ("", "none", "bind"):
        return Unsupported(f"volume type {kind!r} is not supported", hint="type=tmpfs, and type=none with o=bind are")
    if not options.get("device"):
        return InvalidArgument("missing device in volume options", hint="add -o device=/absolute/path")
    if not options["device"].startswith("/"):
        return InvalidArgument(f"volume device {options['device']!r} must be an absolute path")
    return Unsupported(f"volume device {options['device']} without o=bind is not supported", hint="add -o o=bind")


def _check_words(options: dict[str, str], known: Callable[[str], bool]) -> None:
    for word in words(options):
        if not known(word):
            raise Unsupported(f"volume option o={word} is not supported")


def words(options: dict[str, str]) -> list[str]:
    """The words of ``o``."""
    return [word for word in options.get("o", "").split(",") if word]


def is_tmpfs(options: dict[str, str]) -> bool:
    """Whether the volume is a tmpfs, empty whenever nobody uses it."""
    return options.get("type") == "tmpfs"


def bind_device(options: dict[str, str]) -> str:
    """The folder of the host that the volume is, empty when it is none."""
    device = options.get("device", "")
    if options.get("type", "none") not in ("", "none", "bind") or not device.startswith("/") or "\0" in device:
        return ""
    return device if any(word in _BINDS for word in words(options)) else ""


def is_read_only(options: dict[str, str]) -> bool:
    """Whether nobody may write to it."""
    return "ro" in words(options)
