"""The one place where an error becomes an HTTP status and Docker's ``{"message": …}``."""

from __future__ import annotations

from core.errors import DockyardError, StartFailed

STATUS: dict[str, int] = {
    "invalid_argument": 400,
    "corrupt": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "not_modified": 304,
    "unsupported": 501,
    "unavailable": 503,
    "exhausted": 500,
    "kernel": 500,
    "start_failed": 500,
    "internal": 500,
}

#: Docker's client finds its exit code (127, 126) by looking for these words in the message.
_PHRASES: dict[int, tuple[str, ...]] = {
    127: ("executable file not found", "no such file or directory"),
    126: ("permission denied", "is a directory"),
}


def status_of(error: DockyardError) -> int:
    """The HTTP status for ``error``. A program that is missing or not executable is the request's fault."""
    if isinstance(error, StartFailed) and error.exit_code in _PHRASES:
        return 400
    return STATUS.get(error.kind, 500)


def message_of(error: DockyardError) -> str:
    """The sentence for a person, with the words that Docker's client looks for."""
    message = str(error)
    if isinstance(error, StartFailed):
        phrases = _PHRASES.get(error.exit_code, ())
        if phrases and not any(phrase in message.lower() for phrase in phrases):
            message += f" ({phrases[0]})"
    return message
