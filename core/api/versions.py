"""The versions of Docker's API that are spoken, and the prefix that names one in a path."""

from __future__ import annotations

from core.errors import InvalidArgument

Version = tuple[int, int]

NEWEST: Version = (1, 51)
OLDEST: Version = (1, 24)


def text(version: Version) -> str:
    """``1.51``."""
    return f"{version[0]}.{version[1]}"


def split_version(path: str) -> tuple[Version, str]:
    """The version and the rest of ``/v1.43/containers/json``; a path without one means the newest.

    Raises InvalidArgument, in Docker's words, for a version that is not spoken.
    """
    if not path.startswith("/v"):
        return NEWEST, path
    prefix, slash, rest = path[2:].partition("/")
    major, dot, minor = prefix.partition(".")
    if not (slash and dot and major.isdecimal() and minor.isdecimal() and len(prefix) < 10):
        return NEWEST, path
    version = (int(major), int(minor))
    if version > NEWEST:
        raise InvalidArgument(f"client version {prefix} is too new. Maximum supported API version is {text(NEWEST)}")
    if version < OLDEST:
        raise InvalidArgument(
            f"client version {prefix} is too old. Minimum supported API version is {text(OLDEST)}, "
            "please upgrade your client to a newer version"
        )
    return version, "/" + rest
