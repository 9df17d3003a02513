"""What a process of ours does to itself: identity, protection from containers, an end to imports.

Why the interpreter is protected (CVE-2019-5736): a process of ours that stands inside a container, between clone3
and execve, has ``/proc/PID/exe``; a hostile program there could open it and write into the interpreter of the host.
So the engine re-executes itself once from a private read-only bind of its own binary (open_tree + mount_setattr, no
copy), and is not dumpable: /proc/PID belongs to root and ptrace is refused.

Why imports end (``seal_imports``): after pivot_root ``sys.path`` names folders of the *container*; an import there,
even the ``import traceback`` of an error path, would run the container's code with the host's root rights.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback

from core.linux import syscalls
from core.linux.features import kernel_features

__all__ = [
    "handles",
    "hide_self",
    "kernel_features",
    "protect_self",
    "readonly_executable",
    "seal_imports",
    "start_time",
]

#: Set in the environment of the re-executed process, so that it does not do it again.
_PROTECTED = "DOCKYARD_PROTECTED"


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat in clock ticks: with the pid, the identity of a process (proc(5)).

    Raises ProcessLookupError when there is no such process.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), str(pid)) from None
    # The name in parentheses may itself hold parentheses and spaces: fields count from the last one.
    return int(data[data.rindex(b")") + 2 :].split()[19])


def handles(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal (SigCgt of /proc/PID/status); True when that is not known.

    The first process of a pid namespace gets no signal that it has no handler for (pid_namespaces(7)).
    """
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            caught = next(line for line in file if line.startswith(b"SigCgt:"))
    except (OSError, StopIteration):
        return True
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def hide_self() -> None:
    """Not dumpable: no core file, no ptrace, /proc/PID owned by root (prctl(2)). execve undoes it."""
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


def readonly_executable(path: str) -> int:
    """An fd of ``path`` through a mount of its own that is read-only, whoever opens it by /proc/PID/exe."""
    fd = syscalls.open_tree(syscalls.AT_FDCWD, path, syscalls.OPEN_TREE_CLONE)
    try:
        syscalls.mount_setattr(fd, set=syscalls.MOUNT_ATTR_RDONLY)
    except BaseException:
        os.close(fd)
        raise
    return fd


def protect_self() -> str:
    """Re-execute this interpreter, with the same arguments, from a read-only bind of itself; then hide it.

    Returns "" when protected. Where the kernel lacks the calls (before 5.12) or the right is missing it goes on
    unprotected but hidden, and returns why. ``argv[0]`` stays the real path, or Python finds no standard library.
    """
    if os.environ.pop(_PROTECTED, "") == str(os.getpid()):
        hide_self()
        return ""
    real = os.path.realpath("/proc/self/exe")
    try:
        fd = readonly_executable(real)
    except OSError as error:
        hide_self()
        return f"the interpreter is not protected from containers: {error.strerror} ({error.filename})"
    arguments = [sys.executable or real, *sys.orig_argv[1:]]
    os.environ[_PROTECTED] = str(os.getpid())
    try:
        # Inherited fds (the zygote's socket) must stay open across this execve, and they do: only ours is closed.
        os.execve(f"/proc/self/fd/{fd}", arguments, dict(os.environ))
    except OSError as error:
        os.close(fd)
        del os.environ[_PROTECTED]
        hide_self()
        return f"the interpreter is not protected from containers: {error.strerror}"


def seal_imports() -> None:
    """From now on nothing can be imported any more; call it before the first step into a container's files.

    Preloads what Python itself imports lazily on error paths: traceback and what that uses, the codecs.
    """
    for name in ("utf-8", "ascii", "latin-1"):
        with open(os.devnull, encoding=name):
            pass  # str.encode has short cuts; a file's codec is looked up, and its module imported
    try:
        raise ValueError("preload")
    except ValueError as error:
        traceback.format_exception(error)
    # A traceback wants source lines: they would be read from the container's files of that name.
    linecache = sys.modules.get("linecache")
    if linecache is not None:
        vars(linecache).update(cache={}, getline=_no_line, getlines=_no_lines, updatecache=_no_lines)
    sys.path.clear()
    # Not left empty: the interpreter would warn about that, and a warning is shown by more imports.
    sys.meta_path[:] = [_Sealed()]
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()


class _Sealed:
    """The only finder left: it finds nothing, and says so at once."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        raise ModuleNotFoundError(f"{name}: nothing is imported inside a container", name=name)

    def invalidate_caches(self) -> None:
        """Part of the protocol; there are none."""


def _no_line(filename: str, lineno: int, module_globals: object = None) -> str:
    return ""


def _no_lines(filename: str, module_globals: object = None) -> list[str]:
    return []
