"""The disk is full, or the engine is killed, in the middle of a load: nothing half kept, and the next load works."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from core.errors import Exhausted
from core.image import layers
from core.linux import syscalls
from tests.image.stores import Store, in_child, stream
from tests.images import Entry, docker_archive, folder, image_config, layer

pytestmark = pytest.mark.root


def big(megabytes: int, seed: int = 1, files: int = 64) -> bytes:
    chance = random.Random(seed)
    each = (megabytes << 20) // files
    return layer([folder("d"), *(Entry(f"d/f{n}", chance.randbytes(each)) for n in range(files))])


def archive(*parts: bytes) -> bytes:
    return docker_archive(parts, image_config(parts), ["x:1"])


def on_small_disk(at: Path, options: str, work: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    """Run the coroutine ``work`` makes, with a store on a file system of its own."""

    def child() -> None:
        at.mkdir()
        syscalls.mount("tmpfs", str(at), "tmpfs", 0, options)
        store = Store(at / "root")
        asyncio.run(work(store))

    in_child(child)


#: Megabytes that other files take of 160: the archive, the layer, or only the reserve does not fit.
@pytest.mark.parametrize("taken", [85, 70, 55, 145])
@pytest.mark.parametrize("verb", ["load", "import"])
@pytest.mark.parametrize("reserve", [layers.DISK_RESERVE, 0])
def test_a_full_disk(short_folder: Path, monkeypatch: pytest.MonkeyPatch, taken: int, verb: str, reserve: int) -> None:
    """With the reserve the engine stops in time; without it the kernel says ENOSPC in the middle of a file."""
    monkeypatch.setattr(layers, "DISK_RESERVE", reserve)
    data = big(24)
    if not reserve:
        taken += layers_room(taken)

    async def work(store: Store) -> None:
        filler = store.root / "filler"
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, taken << 20)
        before = store.rows()
        with pytest.raises(Exhausted, match="no space left on device") as caught:
            await (store.load(archive(data)) if verb == "load" else store.import_(data, "x:1"))
        assert "free some disk space" in str(caught.value)
        await store.check()
        assert store.rows() == before
        assert store.files()["layers"] == []
        filler.unlink()
        await (store.load(archive(data)) if verb == "load" else store.import_(data, "x:1"))
        await store.check()
        assert store.images.get("x:1").size == 24 << 20

    on_small_disk(short_folder / "disk", "size=160m", work)


def layers_room(taken: int) -> int:
    """Without a reserve there is more room: take so much that 24 MB twice never fit."""
    return max(0, 115 - taken)


@pytest.mark.parametrize("inodes", [1100, 1700])
def test_inodes_run_out(short_folder: Path, inodes: int) -> None:
    async def work(store: Store) -> None:
        data = layer([Entry(f"f{n}") for n in range(30_000)])
        with pytest.raises(Exhausted, match=r"inodes|no space left"):
            await store.load(archive(data))
        await store.check()

    on_small_disk(short_folder / "disk", f"size=300m,nr_inodes={inodes + _skeleton()}", work)


def _skeleton() -> int:
    """What the image ``host`` takes of the inodes."""
    from core.image import host

    return len(host._pieces("/")) + 40


def test_killed_in_the_middle(short_folder: Path, make_store: Callable[[Path], Store]) -> None:
    """kill -9 at several moments of a load; what the next engine finds is whole, and swept."""
    root = short_folder / "root"
    first = make_store(root)
    asyncio.run(first.load(docker_archive([layer([Entry("a")])], image_config([layer([Entry("a")])]), ["old:1"])))
    data = archive(big(8, 1, 400), big(8, 2, 400), big(8, 3, 400))
    for moment in ("spooling", "unpacking", "second layer", "placing"):
        _die(root, data, moment)
        again = make_store(root)

        async def recover(again: Store = again) -> None:
            await again.snapshots.sweep(set())
            await again.images.sweep()
            await again.check()

        asyncio.run(recover())
        assert again.rows()["images"] == 1, moment
        assert again.rows()["layers"] == 1, moment
    final = make_store(root)
    asyncio.run(final.load(data))
    asyncio.run(final.check())


def _die(root: Path, data: bytes, moment: str) -> None:
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, (moment, status)
        return
    try:
        store = Store(root)
        asyncio.run(_load_and_die(store, data, moment))
    finally:
        os._exit(7)


async def _load_and_die(store: Store, data: bytes, moment: str) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def source() -> AsyncIterator[bytes]:
        async for chunk in stream(data):
            yield chunk
            if moment == "spooling":
                die()

    seen: list[str] = []

    def progress(text: str) -> None:
        seen.append(text)
        if moment == "second layer" and len(seen) == 2:
            die()
        if moment == "unpacking":
            asyncio.get_running_loop().call_soon(wait_for_files)

    def wait_for_files() -> None:
        if any((store.root / "tmp").glob("layer-*/d/*")):
            die()
        asyncio.get_running_loop().call_soon(wait_for_files)

    if moment == "placing":
        real = store.images.layers.place
        placed: list[str] = []

        def place(diff_id: str, folder: str, size: int) -> None:
            real(diff_id, folder, size)
            placed.append(diff_id)
            if len(placed) == 2:
                die()

        store.images.layers.place = place  # type: ignore[method-assign]
    await store.images.load(source(), progress)
