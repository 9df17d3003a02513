"""A root file system to work in, without mounting anything on the host.

Of a running container it is that of its first process, through /proc/PID/root: with its mounts, as it sees them. Of
one that is down it is mounted in a mount namespace that belongs to one thread and ends with it; all work in it is done
by that thread.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, TypeVar

from core.errors import from_os_error
from core.linux import rootfs, syscalls
from core.linux.mounts import RootfsMount
from core.linux.paths import copy_below, ensure_target

T = TypeVar("T")

_CLONE = syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE


class Bind(NamedTuple):
    """A folder or file of the host that shows at ``target``; ``subpath`` is looked up inside ``source``."""

    source: str
    target: str
    read_only: bool = False
    subpath: str = ""


class View:
    """A root to work in. Use as ``async with View(...) as view: await view.run(work, argument)``."""

    def __init__(self, open_root: Callable[[], int]) -> None:
        """``open_root`` is called in the view's own thread and returns the root's descriptor."""
        self._open_root = open_root
        self._thread = ThreadPoolExecutor(1, "view")
        self._root = -1

    async def __aenter__(self) -> View:
        try:
            self._root = await self._submit(self._open_root)
        except OSError as error:
            self._thread.shutdown(wait=False)
            raise from_os_error(error, "look into the container") from error
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._submit(os.close, self._root)
        # Its mounts end with the thread.
        self._thread.shutdown(wait=False)

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """``work(root_fd, *arguments)`` in the view's thread. Who is cancelled waits for it: it uses our files."""
        return await self._submit(work, self._root, *arguments)

    async def _submit(self, work: Callable[..., T], *arguments: object) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()  # nobody is left to be told
            raise


def of_process(pid: int) -> View:
    """What the process ``pid`` sees. The descriptor outlives the process."""
    return View(lambda: os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))


def of_pieces(pieces: Sequence[RootfsMount], binds: Sequence[Bind], at: str) -> View:
    """The pieces of a snapshot, mounted at the empty folder ``at`` for the view alone, and the binds in it."""

    def open_root() -> int:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        root = rootfs.mount_root(list(pieces), None, at)
        try:
            for bind in binds:
                _attach(root, bind)
        except BaseException:
            os.close(root)
            raise
        return root

    return View(open_root)


def frozen(pieces: Sequence[RootfsMount]) -> list[RootfsMount]:
    """The pieces to be read only: what was written is one more layer, and nothing that is mounted now is disturbed."""
    return [
        {
            "target": piece["target"],
            "lower": [piece["upper"], *piece["lower"]] if piece.get("upper") else piece["lower"],
            "ephemeral": True,
        }
        for piece in pieces
    ]


def below(pieces: Sequence[RootfsMount]) -> list[RootfsMount]:
    """The pieces without what was written: the image alone."""
    return [{"target": piece["target"], "lower": piece["lower"]} for piece in pieces]


def _attach(root: int, bind: Bind) -> None:
    """A source that is gone shows nothing, as the container could not start with it either."""
    try:
        fd = (
            copy_below(bind.source, bind.subpath, _CLONE)
            if bind.subpath
            else syscalls.open_tree(syscalls.AT_FDCWD, bind.source, _CLONE)
        )
    except FileNotFoundError:
        return
    try:
        if bind.read_only:
            syscalls.mount_setattr(fd, set=syscalls.MOUNT_ATTR_RDONLY, recursive=True)
        target = ensure_target(root, bind.target, directory=_is_folder(fd))
        try:
            syscalls.move_mount(fd, target)
        finally:
            os.close(target)
    finally:
        os.close(fd)


def _is_folder(fd: int) -> bool:
    return os.path.isdir(f"/proc/self/fd/{fd}")
