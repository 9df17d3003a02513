"""Mount targets inside a hostile root file system, found and made without ever following a link out of it.

(CVE-2021-30465, CVE-2024-45310.) Nothing here takes a path twice: what was looked up is held by fd, and the mount goes
onto that fd.
"""

from __future__ import annotations

import errno
import os
import stat

from core.linux import syscalls

_MAX_LINKS = 40


def ensure_target(root_fd: int, path: str, *, directory: bool) -> int:
    """An O_PATH fd of ``path`` below ``root_fd``; what is missing is made: folders 0755, a last file 0644.

    Links are followed inside the root, also dangling ones (a Debian image's ``/etc/resolv.conf`` points into an empty
    ``/run``): what they name is made. Raises OSError (ENOTDIR, ELOOP, EROFS …) with ``path``.
    """
    try:
        return syscalls.open_in_root(root_fd, path, os.O_PATH)
    except FileNotFoundError:
        pass
    try:
        return _walk(root_fd, path, directory)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from None


def copy_below(source: str, subpath: str, flags: int) -> int:
    """A detached copy (open_tree's ``flags``) of what is at ``subpath`` below ``source``, links staying inside it."""
    folder = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = syscalls.open_in_root(folder, subpath, os.O_PATH)
    finally:
        os.close(folder)
    try:
        return syscalls.open_tree(found, "", flags)
    finally:
        os.close(found)


def _walk(root_fd: int, path: str, directory: bool) -> int:
    """Component by component, each opened with O_NOFOLLOW; ``..`` goes back on the stack, not through the kernel."""
    stack = [os.open(".", os.O_PATH | os.O_CLOEXEC, dir_fd=root_fd)]
    rest = _components(path)
    links = 0
    try:
        while rest:
            name = rest.pop()
            if name == "..":
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            fd = _open_or_make(stack[-1], name, directory or bool(rest))
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                stack.append(fd)
                continue
            target = os.readlink("", dir_fd=fd)
            os.close(fd)
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                while len(stack) > 1:
                    os.close(stack.pop())
            rest += _components(target)
        return stack.pop()
    finally:
        for fd in stack:
            os.close(fd)


def _components(path: str) -> list[str]:
    """The parts of ``path``, last first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _open_or_make(parent: int, name: str, directory: bool) -> int:
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        pass
    try:
        if directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            made = os.open(name, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent)
            os.close(made)
    except FileExistsError:
        pass  # somebody was faster: what is there now is opened and looked at like anything else
    return os.open(name, flags, dir_fd=parent)
