"""Receiving an upload: spooled to a file without a name, unpacked aside. Nothing here touches a row."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Callable
from typing import IO, BinaryIO, TypeVar, cast

from core.errors import Corrupt, DockyardError, Exhausted, InvalidArgument, from_os_error
from core.image import layers, recipe, streams, trees

_CHECK_EVERY = 8 << 20
PREFIX = "layer-"

T = TypeVar("T")


class Unpacked(dict[str, tuple[str, int]]):
    """DiffID → (name of the folder below ``tmp``, bytes of its files). ``names`` are all folders that were begun."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []


async def spool(source: AsyncIterator[bytes], tmp: str) -> BinaryIO:
    """The whole upload, from its beginning. The disk keeps its reserve; an empty one is InvalidArgument."""
    file = anonymous(tmp)
    unchecked = 0
    try:
        async for chunk in source:
            unchecked += len(chunk)
            if unchecked > _CHECK_EVERY:
                _check_reserve(file.fileno())
                unchecked = 0
            file.write(chunk)
        file.flush()
        if file.tell() == 0:
            raise InvalidArgument("the archive is empty")
        file.seek(0)
    except OSError as error:
        file.close()
        raise from_os_error(error, "receive the archive") from error
    except BaseException:
        file.close()
        raise
    return file


def anonymous(tmp: str) -> BinaryIO:
    """A file without a name (O_TMPFILE, open(2)): it is gone with its last descriptor, also after kill -9."""
    try:
        fd = os.open(tmp, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise from_os_error(error, "make a temporary file in") from error
    return cast(BinaryIO, os.fdopen(fd, "w+b"))


def plain(file: BinaryIO, tmp: str) -> BinaryIO:
    """The archive without its compression, in a file that can be sought in; ``file`` itself when it has none."""
    stream = streams.decompress(file)
    if stream is file:
        return file
    target = anonymous(tmp)
    try:
        unchecked = 0
        while chunk := stream.read(1 << 20):
            unchecked += len(chunk)
            if unchecked > _CHECK_EVERY:
                _check_reserve(target.fileno())
                unchecked = 0
            target.write(chunk)
        target.seek(0)
    except BaseException as error:
        target.close()
        if isinstance(error, OSError):
            raise from_os_error(error, "unpack the archive") from error
        if isinstance(error, DockyardError) or not isinstance(error, Exception):
            raise
        raise Corrupt(f"the archive's compression is damaged: {error}") from error
    return target


def unpack(source: IO[bytes], tmp: str, what: str, made: Unpacked, need_end: bool = False) -> str:
    """Extract one layer into a new folder below ``tmp``; its DiffID. :func:`discard` removes it, whatever happened.

    ``need_end`` as of :func:`core.image.layers.extract`.
    """
    name = f"{PREFIX}{uuid.uuid4().hex[:16]}"
    made.names.append(name)
    path = os.path.join(tmp, name)
    try:
        os.mkdir(path, 0o700)
        os.chmod(path, 0o755)
    except OSError as error:
        raise from_os_error(error, f"unpack {what}") from error
    try:
        with open(recipe_path(tmp, name), "xb") as file:
            diff_id, size = layers.extract(
                cast(BinaryIO, source), path, what, need_end=need_end, recorder=recipe.Recorder(file)
            )
    except OSError as error:
        raise from_os_error(error, f"unpack {what}") from error
    made.setdefault(diff_id, (name, size))
    return diff_id


def recipe_path(tmp: str, name: str) -> str:
    """Where the recipe of the layer that is unpacked to ``name`` is written."""
    return os.path.join(tmp, recipe.PREFIX + name.removeprefix(PREFIX))


def discard(made: Unpacked, tmp: str) -> None:
    """Remove what was unpacked and not kept: what was kept lies elsewhere by now."""
    for name in made.names:
        trees.discard(os.path.join(tmp, name))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(recipe_path(tmp, name))


async def in_thread(work: Callable[..., T], *args: object) -> T:
    """As ``asyncio.to_thread``, but who is cancelled waits for it: a thread cannot be stopped, and uses our files."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # nobody is left to be told
        raise


def _check_reserve(fd: int) -> None:
    found = os.fstatvfs(fd)
    if found.f_bavail * found.f_frsize < layers.DISK_RESERVE:
        raise Exhausted("no space left on device for the archive", hint="free some disk space and try again")
