"""A container's view: marks on a real overlay, layers that occur twice, what is left of it when it goes."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from core.errors import NotFound
from core.image import trees
from tests.image.stores import Store, in_child, mount_view
from tests.images import Entry, docker_archive, folder, image_config, layer, symlink

pytestmark = pytest.mark.root

KEY = "c" * 64


async def loaded(store: Store, *layers: bytes) -> None:
    await store.load(docker_archive(layers, image_config(layers), ["x:1"]))


def walk(root: Path) -> set[str]:
    return {os.path.relpath(path, root) for path in root.rglob("*")}


async def test_whiteouts_hide_lower_layers(store: Store, short_folder: Path) -> None:
    base = layer([
        Entry("file", b"1"), folder("tree"), Entry("tree/a"), folder("opaque"), Entry("opaque/old"),
        folder("both"), Entry("both/old"), Entry("swap", b"file"), folder("kept"), Entry("kept/a"),
    ])  # fmt: skip
    top = layer([
        Entry(".wh.file"), Entry(".wh.tree"), folder("opaque"), Entry("opaque/.wh..wh..opq"), Entry("opaque/new"),
        Entry(".wh.both"), Entry("both/new"), folder("swap"), Entry("swap/in"), Entry("kept/b"), Entry(".wh.nothing"),
    ])  # fmt: skip
    await loaded(store, base, top)

    def look() -> None:
        mount_view(store, store.images.get("x:1"), KEY, short_folder / "m")
        assert walk(short_folder / "m") == {
            "opaque", "opaque/new", "both", "both/new", "swap", "swap/in", "kept", "kept/a", "kept/b",
        }  # fmt: skip
        (short_folder / "m/file").write_text("new")
        assert (short_folder / "m/file").read_text() == "new"

    in_child(look)


async def test_an_opaque_root_hides_all_below(store: Store, short_folder: Path) -> None:
    await loaded(store, layer([Entry("old")]), layer([Entry(".wh..wh..opq"), Entry("new")]), layer([Entry("newest")]))

    def look() -> None:
        mount_view(store, store.images.get("x:1"), KEY, short_folder / "m")
        assert walk(short_folder / "m") == {"new", "newest"}

    in_child(look)


async def test_a_layer_that_occurs_twice(store: Store, short_folder: Path) -> None:
    """Old builders write the empty layer again and again; overlayfs refuses one folder twice."""
    empty = layer([])
    again = layer([Entry("a", b"again"), Entry("b", b"b")])
    await loaded(store, empty, again, empty, layer([Entry(".wh.a"), Entry("b", b"other")]), again, empty)

    def look() -> None:
        mount_view(store, store.images.get("x:1"), KEY, short_folder / "m")
        assert (short_folder / "m/a").read_bytes() == b"again"
        assert (short_folder / "m/b").read_bytes() == b"b"

    in_child(look)
    await store.check()


async def test_the_root_is_the_images(store: Store) -> None:
    await loaded(store, layer([folder(".", 0o1751, 7, 8), Entry("a")]))
    store.snapshots.prepare(KEY, store.images.get("x:1"))
    found = (store.root / "snapshots" / KEY / "upper").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o1751, 7, 8)


async def test_host_has_no_folders_of_its_own(store: Store) -> None:
    store.snapshots.prepare(KEY, store.images.get("host"))
    pieces = store.snapshots.mounts(KEY)
    assert [piece["target"] for piece in pieces][:2] == ["/", "/usr"]
    assert all(piece["ephemeral"] for piece in pieces)
    assert store.snapshots.scratch_size(KEY) >= 256 << 20
    assert os.listdir(store.root / "snapshots" / KEY) == []


async def test_unknown_views(store: Store) -> None:
    with pytest.raises(NotFound):
        store.snapshots.mounts("nobody")
    assert store.snapshots.scratch_size("nobody") == 0
    await store.snapshots.remove("nobody")


async def test_a_failed_row_leaves_no_folder(store: Store) -> None:
    await loaded(store, layer([Entry("a")]))
    store.db.execute("INSERT INTO snapshots VALUES (?, '', '[]')", (KEY,))
    with pytest.raises(Exception, match="UNIQUE"):
        store.snapshots.prepare(KEY, store.images.get("x:1"))
    assert os.listdir(store.root / "snapshots") == []


async def test_sweep_spares_the_living(store: Store) -> None:
    await loaded(store, layer([Entry("a")]))
    for key in ("alive", "dead"):
        store.snapshots.prepare(key, store.images.get("x:1"))
    await store.snapshots.sweep({"alive"})
    await store.images.layers.settle()
    assert store.files()["snapshots"] == ["alive"]
    assert store.rows()["snapshots"] == 1


def nest(root: Path, depth: int) -> None:
    """Folders in folders, as a hostile container makes them: far deeper than a path can be long."""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.mkdir("f", dir_fd=fd)
    os.close(fd)


async def test_no_depth_keeps_a_view_from_going(store: Store) -> None:
    await loaded(store, layer([Entry("a")]))
    store.snapshots.prepare(KEY, store.images.get("x:1"))
    upper = store.root / "snapshots" / KEY / "upper"
    await asyncio.to_thread(nest, upper, 5000)
    await store.snapshots.remove(KEY)
    await store.check()


def test_trees_follow_no_link(short_folder: Path) -> None:
    (short_folder / "outside").mkdir()
    (short_folder / "outside/kept").write_text("x")
    top = short_folder / "top"
    (top / "inner").mkdir(parents=True)
    (top / "inner/link").symlink_to(short_folder / "outside")
    (top / "link").symlink_to("/")
    trees.remove(str(top))
    assert os.listdir(short_folder) == ["outside"]
    assert (short_folder / "outside/kept").exists()
    (short_folder / "link").symlink_to("outside")
    trees.discard(str(short_folder / "link"))
    assert (short_folder / "outside/kept").exists()


def test_a_layer_of_any_depth(short_folder: Path) -> None:
    from tests.image.trees import extract

    steps = ["d" * 3] * 300
    entries = [
        Entry("/".join([*steps, "f"]), b"x"),
        symlink("s", "/".join(steps)),
        Entry("s/" + "/".join(steps) + "/g"),
    ]
    extract(layer(entries), short_folder / "x")
    assert (short_folder / "x" / "/".join([*steps, *steps, "g"])).exists()
    trees.remove(str(short_folder / "x"))
    assert os.listdir(short_folder) == []
