"""The rows of registries: a large image from a registry on loopback, and to it.

Each side has a docker-registry of its own on its own host, with the same image in it. What a side makes of the image
is removed before the next sample, and the disk has written all before it begins.
"""

from __future__ import annotations

import gzip
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests import images, leaks
from tests.bench.measure import Plan, Row, interleave, timed
from tests.bench.sides import Side, all_pids
from tests.bench.verbs import few
from tests.images import Entry, digest, folder
from tests.registry import build
from tests.registry.server import Registry

FILES = 13_000
MEGABYTES = 500
#: The parts of the image's files that its layers have, as images on hubs have them.
_SHARES = (0.4, 0.25, 0.15, 0.1, 0.07, 0.03)
_SMALL = 100_000
_LARGE = 20_000_000
_LOOK_SECONDS = 0.05
_NAME = "bench/large:1"


def rows(sides: Sequence[Side], plan: Plan) -> list[Row]:
    """Pull, pull again, memory, push."""
    tars = _layers()
    made = build.image(_compressed(tars), kind="docker", Cmd=["true"])
    with ExitStack() as stack:
        at = {side.name: stack.enter_context(Registry(plan.folder, side.engine.netns)) for side in sides}
        for registry in at.values():
            repository, _, tag = _NAME.partition(":")
            registry.put(repository, tag, made)
        names = {side.name: at[side.name].name(_NAME) for side in sides}
        found = _pull_rows(sides, few(plan), names)
        archive = plan.folder / "large.tar"
        archive.write_bytes(images.docker_archive(tars, images.image_config(tars, Cmd=["true"]), ["large:1"]))
        found.append(_push_row(sides, few(plan), at, archive))
        archive.unlink()
    return found


def _pull_rows(sides: Sequence[Side], plan: Plan, names: dict[str, str]) -> list[Row]:
    def pull(side: Side) -> float:
        os.sync()
        took = timed(side, "pull", names[side.name])
        side.call("rmi", names[side.name], timeout=300)
        return took

    def memory(side: Side) -> float:
        daemon = side.engine.pid
        idle = _pss(daemon)
        with _peak(daemon) as peak:
            side.call("pull", names[side.name], timeout=300)
        side.call("rmi", names[side.name], timeout=300)
        return (peak[0] - idle) / 1000

    first = interleave(sides, plan, pull)
    above = interleave(sides, plan, memory)
    for side in sides:
        side.call("pull", names[side.name], timeout=300)
    again = interleave(sides, plan._replace(repeat=21), lambda side: timed(side, "pull", names[side.name]))
    for side in sides:
        side.call("rmi", names[side.name], timeout=300)
    what = f"an image of {MEGABYTES} MB in {FILES} files"
    return [
        Row(f"`pull` of {what}, registry on loopback", "ms", first, "≤ 0.5"),
        Row("`pull` of it again", "ms", again, "≤ 150 ms"),
        Row("the engine's memory while it pulls, PSS above idle", "MB", above, "≤ 150 MB"),
    ]


def _push_row(sides: Sequence[Side], plan: Plan, at: dict[str, Registry], archive: Path) -> Row:
    for side in sides:
        side.call("load", "-q", "-i", str(archive), timeout=300)
        side.call("tag", "large:1", at[side.name].name("pushed:1"))

    def push(side: Side) -> float:
        registry = at[side.name]
        registry.stop()
        shutil.rmtree(registry.folder / "data", ignore_errors=True)
        registry.start()
        os.sync()
        took = timed(side, "push", registry.name("pushed:1"))
        assert registry.digest("pushed", "1"), "nothing was pushed"
        return took

    samples = interleave(sides, plan, push)
    for side in sides:
        side.call("rmi", "large:1", at[side.name].name("pushed:1"), timeout=300)
    return Row("`push` of such an image, nothing of it there", "ms", samples, "≤ 0.4")


# --- memory --------------------------------------------------------------------------------------------------------


def _pss(daemon: int) -> int:
    """kB of a daemon and its children, those that end meanwhile left out."""
    total = 0
    for pid in (daemon, *(pid for pid in all_pids() if leaks.parent(pid) == daemon)):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


@contextmanager
def _peak(daemon: int) -> Iterator[list[int]]:
    """The largest sum, in kB, that was seen inside the block."""
    peak = [0]
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(_LOOK_SECONDS):
            peak[0] = max(peak[0], _pss(daemon))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


# --- the image -----------------------------------------------------------------------------------------------------


def _files() -> list[tuple[str, int]]:
    """Files of this machine's /usr with their sizes: many small ones, and large ones up to the wanted sum."""
    every = []
    for root in ("/usr/bin", "/usr/lib", "/usr/share"):
        for parent, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                found = os.lstat(path := os.path.join(parent, name))
                if os.path.isfile(path) and not os.path.islink(path) and 0 < found.st_size < _LARGE:
                    every.append((path, found.st_size))
    small = [one for one in every if one[1] < _SMALL]
    large = [one for one in every if one[1] >= _SMALL]
    count = min(len(small), FILES - 1000)
    chosen = [small[number * len(small) // count] for number in range(count)]
    left = MEGABYTES * 1_000_000 - sum(size for _, size in chosen)
    for one in large:
        if len(chosen) < FILES and one[1] <= left:
            chosen.append(one)
            left -= one[1]
    # The smallest of the rest make the number full.
    rest = sorted(set(small) - set(chosen), key=lambda one: (one[1], one[0]))
    chosen += rest[: FILES - len(chosen)]
    assert len(chosen) == FILES, f"this machine's /usr has too few files: {len(chosen)}"
    return sorted(chosen)


def _layers() -> list[bytes]:
    """The same tars for the same machine, one below the other."""
    files = _files()
    whole = sum(size for _, size in files)
    tars, begin = [], 0
    for share in _SHARES[:-1]:
        end, size = begin, 0
        while size < share * whole and end < len(files):
            size += files[end][1]
            end += 1
        tars.append(_tar(files[begin:end]))
        begin = end
    return [*tars, _tar(files[begin:])]


def _tar(files: Sequence[tuple[str, int]]) -> bytes:
    parents = sorted({str(parent) for path, _ in files for parent in Path(path).parents})[1:]
    entries = [folder(parent.lstrip("/")) for parent in parents]
    entries += [Entry(path.lstrip("/"), Path(path).read_bytes(), mode=0o755) for path, _ in files]
    return images.layer(entries)


def _compressed(tars: Sequence[bytes]) -> list[build.Layer]:
    """As hubs have them: gzip at the usual level."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        blobs = list(pool.map(partial(gzip.compress, compresslevel=6, mtime=0), tars))
    return [build.Layer(blob, digest(tar)) for blob, tar in zip(blobs, tars, strict=True)]
