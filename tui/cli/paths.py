"""Docker's rules for what ``cp SOURCE TARGET`` means, by what is there (moby pkg/archive/copy.go)."""

from __future__ import annotations

import os
import posixpath

from tui.cli.errors import CliError


class Place:
    """One side of a copy. ``rebase`` is the name that the copied thing had before a link was followed, else ""."""

    __slots__ = ("exists", "is_folder", "path", "rebase")

    def __init__(self, path: str, exists: bool, is_folder: bool, rebase: str = "") -> None:
        self.path = path
        self.exists = exists
        self.is_folder = is_folder
        self.rebase = rebase


def split_argument(text: str) -> tuple[str, str]:
    """``CONTAINER:PATH`` as two; ("", path) for a local one. A path with a slash or dot before its colon is local."""
    if text.startswith(("/", ".")) or ":" not in text:
        return "", text
    container, _, path = text.partition(":")
    return container, path


def asserts_folder(path: str) -> bool:
    """Whether the path says that it is a folder: by a slash or a dot at its end."""
    return path.endswith("/") or posixpath.basename(path) == "."


def split(path: str) -> tuple[str, str]:
    """(folder, last part) of a path; the last part is "." where the path ends in one."""
    clean = posixpath.normpath(path)
    if clean.startswith("//"):
        clean = clean[1:]
    if posixpath.basename(path) == ".":
        return clean, "."
    folder, base = posixpath.split(clean)
    return folder or ".", base or "/"


def local_source(path: str, follow: bool) -> Place:
    """The local thing that is copied. CliError when it is not there."""
    try:
        found = os.stat(path) if follow or asserts_folder(path) else os.lstat(path)
    except OSError as error:
        raise CliError(f"lstat {path}: {(error.strerror or '').lower()}") from None
    is_folder = _is_folder(found)
    if asserts_folder(path) and not is_folder:
        raise CliError(f"{path}: not a directory")
    rebase = ""
    if follow and os.path.islink(path.rstrip("/")):
        rebase = split(path)[1]
        path = os.path.realpath(path) + ("/." if posixpath.basename(path) == "." else "")
    return Place(path, True, is_folder, rebase)


def local_target(path: str) -> Place:
    """Where it goes. Links are followed; the folder above must be there."""
    real = path
    for _ in range(40):
        if not os.path.islink(real.rstrip("/")):
            break
        real = posixpath.join(posixpath.dirname(real.rstrip("/")), os.readlink(real.rstrip("/")))
    try:
        found = os.stat(real)
    except FileNotFoundError:
        if not os.path.isdir(posixpath.dirname(posixpath.normpath(real)) or "."):
            raise CliError(f'invalid output path: directory "{posixpath.dirname(path)}" does not exist') from None
        return Place(real, False, False)
    except OSError as error:
        raise CliError(f"{path}: {(error.strerror or '').lower()}") from None
    if not (_is_folder(found) or _is_file(found)):
        raise CliError(f'invalid output path: "{path}" must be a directory or a regular file')
    return Place(real, True, _is_folder(found))


def arrange(source: Place, target: Place) -> tuple[str, str, str]:
    """(folder to extract in, old first name, new first name) of the tar's entries; no renaming when they are equal."""
    folder, base = split(target.path)
    name = split(source.path)[1]
    if target.exists and target.is_folder:
        return target.path, (source.rebase and name) or "", source.rebase
    if target.exists and source.is_folder:
        raise CliError("cannot copy directory")
    if not target.exists and not source.is_folder and asserts_folder(target.path):
        raise CliError("no such directory")
    return folder, name, base


def renamed(entry: str, old: str, new: str) -> str:
    """The name of a tar's entry when its first part ``old`` is called ``new`` instead."""
    if old == new:
        return entry
    if old == "/":
        return f"{new}/{entry.lstrip('/')}".rstrip("/")
    if old == ".":
        rest = entry.removeprefix("./") if entry not in (".", "./") else ""
        return f"{new}/{rest}".rstrip("/")
    first, slash, rest = entry.partition("/")
    return (new + slash + rest) if first == old else entry


def _is_folder(found: os.stat_result) -> bool:
    return (found.st_mode & 0o170000) == 0o040000


def _is_file(found: os.stat_result) -> bool:
    return (found.st_mode & 0o170000) == 0o100000
