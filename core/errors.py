"""The engine's errors: what went wrong, and what the caller can do about it.

A class says what the *caller* can do (look elsewhere, wait, change an argument); it is never chosen by
the place that failed. ``core.api`` maps ``kind`` to an HTTP status in one place; the database stores
``kind`` beside the text. Nothing ever looks inside a message to find out what happened.

This module is part of the zygote's closure: it imports nothing heavy.
"""

from __future__ import annotations

import errno
import os

#: kind → class, filled as classes are defined; ``from_kind`` rebuilds an error that crossed a socket.
_KINDS: dict[str, type[DockyardError]] = {}


class DockyardError(Exception):
    """Base of every error that is meant for a person.

    ``message`` is one sentence without a final full stop. ``hint`` says what to do next and may be empty.
    ``str(error)`` joins the two.
    """

    kind = "internal"

    def __init_subclass__(cls) -> None:
        _KINDS.setdefault(cls.kind, cls)

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class NotFound(DockyardError):
    """The named object does not exist; naming another may help."""

    kind = "not_found"


class Conflict(DockyardError):
    """The object is in a state, or a name is in use, that forbids the request until something changes."""

    kind = "conflict"


class InvalidArgument(DockyardError):
    """The request itself is wrong; sending it again unchanged cannot succeed."""

    kind = "invalid_argument"


class NotModified(DockyardError):
    """The object already is in the wanted state (start of a running container)."""

    kind = "not_modified"


class Unsupported(DockyardError):
    """The request is understood and refused by name: this engine does not do that (yet)."""

    kind = "unsupported"


class Unauthorized(DockyardError):
    """A registry does not know who asks, or does not believe it; logging in may help."""

    kind = "unauthorized"


class Forbidden(DockyardError):
    """The caller, or the engine's own privileges, do not allow it."""

    kind = "forbidden"


class Unavailable(DockyardError):
    """A part that is needed does not answer now; the same request may succeed later."""

    kind = "unavailable"


class Exhausted(DockyardError):
    """Disk, memory, addresses or another resource ran out; freeing some helps."""

    kind = "exhausted"


class Corrupt(DockyardError):
    """Data does not match its digest, its format or its own description."""

    kind = "corrupt"


class KernelError(DockyardError):
    """A system call failed. Keeps the call (``what``), the path and the errno for the explanation."""

    kind = "kernel"

    def __init__(self, what: str, path: str, code: int, *, hint: str = "") -> None:
        self.what = what
        self.path = path
        self.errno = code
        where = f" {path}" if path else ""
        super().__init__(f"{what}{where}: {os.strerror(code)}", hint=hint)


class StartFailed(DockyardError):
    """A container's process did not reach its program.

    ``step`` is one of :class:`core.runtime.protocol.Step`'s names, ``path`` the file it failed on (may be
    empty), ``exit_code`` what the container is recorded with: 127 program not found, 126 found but not
    executable, 128 everything else.
    """

    kind = "start_failed"

    def __init__(self, message: str, *, step: str = "", path: str = "", exit_code: int = 128, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.step = step
        self.path = path
        self.exit_code = exit_code


def from_kind(kind: str, message: str, *, hint: str = "") -> DockyardError:
    """The error of class ``kind``, as told by another process; an unknown kind is a plain DockyardError."""
    cls = _KINDS.get(kind, DockyardError)
    if cls is KernelError:
        cls = DockyardError
    return cls(message, hint=hint)


def from_os_error(error: OSError, what: str) -> DockyardError:
    """``error`` as a typed error that names ``what`` was tried; a full disk becomes :class:`Exhausted`."""
    name = error.filename if isinstance(error.filename, str) else os.fsdecode(error.filename or b"")
    code = error.errno or 0
    if code in (errno.ENOSPC, errno.EDQUOT):
        return Exhausted(
            f"{what}{' ' + name if name else ''}: no space left on device",
            hint="free some disk space and try again",
        )
    if code == errno.ENOENT:
        return NotFound(f"{what}{' ' + name if name else ''}: no such file or directory")
    if code in (errno.EACCES, errno.EPERM):
        return Forbidden(f"{what}{' ' + name if name else ''}: {os.strerror(code)}")
    return KernelError(what, name, code)
