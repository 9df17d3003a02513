"""Images that mean harm, small where they are kept."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterator

from tests import images
from tests.images import Entry, digest, folder, hardlink, symlink
from tests.registry.build import Built, Layer, dump, image

_MEMBER = 64 << 20


def bomb(size: int, *, with_diff_id: bool = False) -> Layer:
    """A gzip layer with one file ``zeros`` of ``size`` bytes, about a thousandth of that as a blob.

    It is made of one compressed piece that is repeated, so that it takes no time. Its DiffID is a lie unless asked
    for, which hashes all of it.
    """
    info = tarfile.TarInfo("zeros")
    info.size = size
    head = info.tobuf(tarfile.GNU_FORMAT)
    tail = bytes(-size % 512 + 1024)
    parts = [_gzip(head)]
    whole, rest = divmod(size, _MEMBER)
    parts += [_gzip(bytes(_MEMBER))] * whole
    parts.append(_gzip(bytes(rest) + tail))
    diff_id = images.digest(b"a lie")
    if with_diff_id:
        hasher = hashlib.sha256(head)
        for _ in range(whole):
            hasher.update(bytes(_MEMBER))
        hasher.update(bytes(rest) + tail)
        diff_id = f"sha256:{hasher.hexdigest()}"
    return Layer(b"".join(parts), diff_id)


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def deep_json(depth: int) -> bytes:
    """A manifest whose ``annotations`` are lists in lists."""
    return b'{"schemaVersion":2,"annotations":' + b"[" * depth + b"]" * depth + b"}"


def deep_config(depth: int) -> Built:
    """An image whose config is nested so deep."""
    found = image([images.busybox_rootfs()])
    manifest = json.loads(found.manifest)
    was = manifest["config"]["digest"]
    data = found.blobs[was][:-1] + b',"deep":' + b"[" * depth + b"]" * depth + b"}"
    manifest["config"].update(digest=digest(data), size=len(data))
    blobs = {key: value for key, value in found.blobs.items() if key != was}
    return Built(dump(manifest), found.media_type, {**blobs, digest(data): data}, (), found.layers)


def large_manifest(size: int) -> Built:
    """An image with annotations of ``size`` bytes."""
    return image([images.busybox_rootfs()], members={"annotations": {"large": "x" * size}})


def many_layers(count: int) -> Built:
    """busybox below ``count - 1`` layers with a file each, ``/n/NUMBER``."""
    first = images.busybox_rootfs()
    small = (images.layer([folder("n"), Entry(f"n/{number}", b"%d\n" % number)]) for number in range(1, count))
    return image([first, *small], Cmd=["sh"])


def traversals(target: str) -> Iterator[tuple[str, bytes]]:
    """Layers that want to write, change or remove what is in the folder ``target``: (what it tries, tar)."""
    up = "../" * 12
    bare = target.lstrip("/")
    yield "a name with ..", images.layer([Entry(f"{up}{bare}/planted", b"x")])
    yield "an absolute name", images.layer([Entry(f"{target}/planted", b"x")])
    yield "through a link", images.layer([symlink("out", target), Entry("out/planted", b"x")])
    yield "through a link upwards", images.layer([symlink("out", f"{up}{bare}"), Entry("out/planted", b"x")])
    yield "onto a link", images.layer([symlink("out", f"{target}/canary"), Entry("out", b"x")])
    yield "a hard link to the outside", images.layer([hardlink("in", f"{up}{bare}/canary"), Entry("in", b"x")])
    yield (
        "a hard link through a link",
        images.layer([symlink("out", target), hardlink("in", "out/canary"), Entry("in", b"x")]),
    )
    yield "a whiteout of the outside", images.layer([Entry(f"{up}{bare}/.wh.canary")])
    yield "a whiteout through a link", images.layer([symlink("out", target), Entry("out/.wh.canary")])


def devices() -> bytes:
    """A layer with the nodes of /dev/null and of the first disk, and a pipe."""
    return images.layer(
        [
            folder("nodes"),
            Entry("nodes/null", type=tarfile.CHRTYPE, mode=0o666, device=(1, 3)),
            Entry("nodes/disk", type=tarfile.BLKTYPE, mode=0o666, device=(8, 0)),
            Entry("nodes/pipe", type=tarfile.FIFOTYPE, mode=0o666),
        ]
    )
