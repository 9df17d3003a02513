"""How a verb fails: one or two lines for the person, and an exit code."""

from __future__ import annotations


class CliError(Exception):
    """Ends the command with ``message`` on stderr and ``code`` as its exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class UsageError(CliError):
    """The command line itself is wrong. The verb's usage line and a pointer to its help follow the message."""

    def __init__(self, message: str, code: int = 125) -> None:
        super().__init__(message, code)


class ApiError(CliError):
    """The engine refused: ``status`` is the HTTP status, ``reason`` the engine's own words."""

    def __init__(self, status: int, reason: str, code: int = 1) -> None:
        super().__init__(f"Error response from daemon: {reason}", code)
        self.status = status
        self.reason = reason


class Unreachable(CliError):
    """Nothing answers on the socket. ``missing``: no socket or nobody listening, so an engine may be started."""

    def __init__(self, message: str, missing: bool) -> None:
        super().__init__(message, 1)
        self.missing = missing


class Exit(Exception):
    """Ends the command with ``code`` and no words: whatever there was to say has been said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
