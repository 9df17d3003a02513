"""The store: what comes in is whole or not there; names; removal as Docker does it; what is left after accidents."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import sqlite3
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import Conflict, Corrupt, InvalidArgument, NotFound, Unsupported
from core.image import host
from core.image.documents import MAX_LAYERS
from tests.image.stores import Store, stream
from tests.images import Entry, docker_archive, folder, image_config, layer, oci_archive
from tests.support import wait_until_async

pytestmark = pytest.mark.root

BASE = layer([folder("."), folder("bin"), Entry("bin/a", b"base" * 1000)])
TOP = layer([Entry("top", b"top")])


def archive(*layers: bytes, tags: tuple[str, ...] = ("x:1",), **config: Any) -> bytes:
    return docker_archive(layers, image_config(layers, **config), tags)


async def test_load_and_read_again(store: Store, make_store: Callable[[Path], Store]) -> None:
    assert await store.load(archive(BASE, TOP, Cmd=["a"])) == ["Loaded image: x:1"]
    await store.check()
    image = store.images.get("x:1")
    assert image.tags == ("x:1",)
    assert image.size == 4003
    assert image.created == 1704067200 * 10**9
    assert len(store.images.layer_folders(image)) == 2
    again = make_store(store.root).images
    assert again.get("x:1") == image
    assert again.count() == 2
    assert store.events == ["load"]


async def test_layers_are_shared(store: Store) -> None:
    await store.load(archive(BASE))
    await store.load(oci_archive([BASE, TOP], image_config([BASE, TOP]), "y:1"))
    assert store.rows()["layers"] == 2
    assert await store.load(archive(BASE)) == ["Loaded image: x:1"]  # again
    await store.check()


async def test_an_archive_without_names(store: Store) -> None:
    message = (await store.load(archive(BASE, tags=())))[0]
    assert message.startswith("Loaded image ID: sha256:")
    assert store.images.get(message.rpartition(" ")[2]).tags == ()


async def test_a_name_moves_to_the_newest(store: Store) -> None:
    await store.load(archive(BASE))
    await store.load(archive(TOP))
    assert [image.tags for image in store.images.all() if not image.is_host] == [(), ("x:1",)]
    await store.check()


async def test_import(store: Store) -> None:
    image = await store.import_(BASE, "mine", ("CMD top", "ENV A=b"))
    assert image.tags == ("mine:latest",)
    assert image.config["config"] == {"Cmd": ["/bin/sh", "-c", "top"], "Env": ["A=b"]}
    assert (await store.import_(BASE)).tags == ()
    await store.check()


async def test_changes(store: Store) -> None:
    changes = (
        "ENV A=1 B='two words'", "ENV A 3", "EXPOSE 80 53/udp 8000-8001", 'VOLUME ["/data"]', "ONBUILD RUN x",
        "HEALTHCHECK --interval=1m30s --timeout=500ms --retries=2 CMD curl -f localhost", "LABEL a=b",
        'ENTRYPOINT ["/x", "y"]', "stopsignal SIGINT", "USER 1:2", "WORKDIR /w",
    )  # fmt: skip
    image = await store.import_(BASE, None, changes)
    assert image.config["config"] == {
        "Env": ["A=3", "B=two words"],
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}},
        "Volumes": {"/data": {}},
        "OnBuild": ["RUN x"],
        "Healthcheck": {
            "Test": ["CMD-SHELL", "curl -f localhost"], "Interval": 90 * 10**9, "Timeout": 5 * 10**8, "Retries": 2,
        },
        "Labels": {"a": "b"},
        "Entrypoint": ["/x", "y"],
        "StopSignal": "SIGINT",
        "User": "1:2",
        "WorkingDir": "/w",
    }  # fmt: skip
    assert (await store.import_(BASE, None, ("HEALTHCHECK NONE",))).config["config"] == {
        "Healthcheck": {"Test": ["NONE"]}
    }


async def test_an_import_that_was_cut_between_two_entries(store: Store) -> None:
    """No digest promises anything here: the missing end marker is all that tells."""
    data = layer([Entry("a", b"x"), Entry("b", b"y"), Entry("c", b"z")])
    for cut in (1024, 2048, 3072):
        with pytest.raises(Corrupt, match=f"cut short at byte {cut}"):
            await store.import_(data[:cut])
    assert (await store.import_(data[: 3072 + 512])).size == 3
    await store.check()


def lying_blob() -> bytes:
    """A layer whose content is right and whose digest is not: one byte of its gzip header says another time."""
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(oci_archive([BASE], image_config([BASE]), "x:1"))) as source,
        tarfile.open(fileobj=out, mode="w") as target,
    ):
        for member in source:
            file = source.extractfile(member)
            data = bytearray(file.read() if file else b"")
            if data[:2] == b"\x1f\x8b":
                data[4] ^= 1
            target.addfile(member, io.BytesIO(data))
    return out.getvalue()


def linked_blob() -> bytes:
    """A blob that is a link to another, whose digest is right."""
    honest = oci_archive([BASE], image_config([BASE]), "x:1", compression="")
    wanted = "blobs/sha256/" + hashlib.sha256(BASE).hexdigest()
    other = "blobs/sha256/" + hashlib.sha256(TOP).hexdigest()
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(honest)) as source,
        tarfile.open(fileobj=out, mode="w") as target,
    ):
        for member in source:
            file = source.extractfile(member)
            data = file.read() if file else b""
            if member.name == wanted:
                link = tarfile.TarInfo(wanted)
                link.type, link.linkname = tarfile.LNKTYPE, other
                target.addfile(link)
                # As large as the manifest says.
                member.name = other
            target.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(("make", "says"), [(lying_blob, "not what its name says"), (linked_blob, "is a link")])
async def test_a_layer_that_is_not_its_digest(store: Store, make: Callable[[], bytes], says: str) -> None:
    with pytest.raises(Corrupt, match=says):
        await store.load(make())
    assert store.images.count() == 1
    await store.check()


@pytest.mark.parametrize(
    "change",
    [
        "EXPOSE 0",
        "EXPOSE 70000",
        "EXPOSE 5-3",
        "EXPOSE x",
        "ENV A",
        "LABEL a",
        "HEALTHCHECK --interval=1 CMD x",
        "HEALTHCHECK --interval=1s",
        "HEALTHCHECK --what=1 CMD x",
        "HEALTHCHECK NONE x",
        "ONBUILD FROM x",
        "RUN x",
        "VOLUME ../x",
        "VOLUME x",
        "NONSENSE",
        "ENV",
        "CMD [1]",
        'CMD ["a\\u0000b"]',
        'CMD ["\\ud800"]',
        "USER a\0b",
    ],
)
async def test_bad_changes(store: Store, change: str) -> None:
    with pytest.raises(InvalidArgument):
        await store.import_(BASE, "mine", (change,))
    await store.check()


async def test_finding(store: Store) -> None:
    await store.load(archive(BASE, tags=("one:1", "me/two", "reg.io/three:x")))
    image = store.images.get("one:1")
    for ref in ("docker.io/library/one:1", "me/two:latest", "me/two", "reg.io/three:x", image.id, image.id[7:],
                image.id[7:19], image.id[7:8]):  # fmt: skip
        assert store.images.get(ref) is image, ref
    for ref in ("host", "host:latest", "docker.io/library/host", host.IMAGE_ID, host.IMAGE_ID[7:19]):
        if not image.id.startswith(ref):
            assert store.images.get(ref).is_host, ref
    for ref in ("one", "two", "sha256:" + "0" * 64, "0" * 64, "host:other", "one@sha256:" + "0" * 64):
        with pytest.raises(NotFound, match="No such image: "):
            store.images.get(ref)
    for ref in ("", "One", "a b", ":1", "sha256:"):
        with pytest.raises(InvalidArgument):
            store.images.get(ref)


async def test_a_name_goes_before_an_id(store: Store) -> None:
    await store.load(archive(BASE))
    first = store.images.get("x:1")
    await store.load(archive(TOP, tags=(f"{first.id[7:19]}:latest",)))
    assert store.images.get(first.id[7:19]) is not first
    assert store.images.get(first.id[7:20]) is first


async def test_an_ambiguous_id(store: Store) -> None:
    for number in range(17):
        await store.load(archive(BASE, tags=(), Labels={"n": str(number)}))
    ids = [image.id[7:8] for image in store.images.all()]
    twice = next(letter for letter in ids if ids.count(letter) > 1)
    with pytest.raises(InvalidArgument, match="multiple images"):
        store.images.get(twice)


@pytest.mark.parametrize("name", ["host", "host:1", "docker.io/library/host:x"])
async def test_host_is_taken(store: Store, name: str) -> None:
    await store.load(archive(BASE))
    with pytest.raises(InvalidArgument, match="reserved"):
        store.images.tag("x:1", name)
    with pytest.raises(InvalidArgument, match="reserved"):
        await store.load(archive(TOP, tags=(name,)))
    with pytest.raises(InvalidArgument, match="reserved"):
        await store.import_(TOP, name)
    with pytest.raises(InvalidArgument):
        await store.images.remove(host.IMAGE_ID[7:30], force=True)
    await store.check()


# --- bad archives ----------------------------------------------------------------------------------


async def test_the_most_layers(store: Store) -> None:
    many = [layer([Entry(f"f{n}", b"%d" % n)]) for n in range(MAX_LAYERS + 1)]
    await store.load(archive(*many[:-1]))
    assert len(store.images.layer_folders(store.images.get("x:1"))) == MAX_LAYERS
    with pytest.raises(Unsupported, match=r"128 layers.*at most 127"):
        await store.load(archive(*many, tags=("y:1",)))
    await store.check()


async def test_all_or_nothing_for_several_images(store: Store) -> None:
    """The second image of an archive lies: the first is not kept either."""
    good, bad = image_config([BASE]), image_config([TOP])
    bad["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]
    listed = [
        {"Config": "a.json", "RepoTags": ["a:1"], "Layers": ["base"]},
        {"Config": "b.json", "RepoTags": ["b:1"], "Layers": ["top"]},
    ]
    data = layer([
        Entry("a.json", json.dumps(good).encode()), Entry("b.json", json.dumps(bad).encode()),
        Entry("base", BASE), Entry("top", TOP), Entry("manifest.json", json.dumps(listed).encode()),
    ])  # fmt: skip
    with pytest.raises(Corrupt, match="DiffID"):
        await store.load(data)
    await store.check()
    assert store.rows()["images"] == 0


async def test_a_failure_of_the_database_takes_all_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.load(archive(BASE, tags=("old:1",)))
    real = store.db.execute

    def failing(sql: str, params: Any = ()) -> sqlite3.Cursor:
        if sql.startswith("INSERT INTO tags"):
            raise sqlite3.OperationalError("disk I/O error")
        return real(sql, params)

    monkeypatch.setattr(store.db, "execute", failing)
    with pytest.raises(sqlite3.OperationalError):
        await store.load(archive(BASE, TOP))
    monkeypatch.undo()
    await store.check()
    assert [image.tags for image in store.images.all()] == [("old:1",), ("host:latest",)]
    await store.load(archive(BASE, TOP))
    await store.check()


async def test_loads_of_one_image_at_once(store: Store) -> None:
    data = archive(BASE, TOP)
    assert await asyncio.gather(*(store.load(data) for _ in range(4))) == [["Loaded image: x:1"]] * 4
    await store.check()


async def test_a_layer_stays_while_a_load_counts_on_it(store: Store) -> None:
    """The image that owns a layer is removed while another with the same layer is being loaded."""
    await store.load(archive(BASE, tags=("old:1",)))
    removed: list[Any] = []

    def progress(text: str) -> None:
        removed.append(asyncio.get_running_loop().create_task(store.images.remove("old:1")))

    await store.images.load(stream(archive(BASE, TOP)), progress)
    await removed[0]
    assert all(map(os.path.isdir, store.images.layer_folders(store.images.get("x:1"))))
    await store.check()


async def test_a_load_that_is_cancelled_leaves_nothing(store: Store) -> None:
    arrived = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield BASE[:600]
        arrived.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.images.import_rootfs(slow(), "x", []))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.check()
    await store.import_(BASE, "x")


async def test_cancelled_while_unpacking(store: Store) -> None:
    big = layer([Entry(f"f{n}", b"x" * 2000) for n in range(3000)])
    task = asyncio.create_task(store.import_(big, "x"))
    await wait_until_async(lambda: os.listdir(store.root / "tmp"), 10, "a folder of the layer")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.check()


# --- removal ---------------------------------------------------------------------------------------


async def test_remove(store: Store) -> None:
    await store.load(archive(BASE))
    await store.load(archive(BASE, TOP, tags=("y:1",)))
    image = store.images.get("y:1")
    chain = image.chain_id
    assert await store.images.remove("y:1") == [{"Untagged": "y:1"}, {"Deleted": image.id}, {"Deleted": chain}]
    await store.check()
    assert store.rows()["layers"] == 1
    await store.images.remove("x:1")
    await store.check()
    assert store.rows() == dict.fromkeys(store.rows(), 0)


async def test_one_name_of_several(store: Store) -> None:
    await store.load(archive(BASE, tags=("a:1", "b:1")))
    store.images.in_use = lambda image_id: [("c" * 64, True)]
    assert await store.images.remove("a:1") == [{"Untagged": "a:1"}]
    store.images.in_use = lambda image_id: []
    assert (await store.images.remove("b:1"))[0] == {"Untagged": "b:1"}
    await store.check()


async def test_by_id(store: Store) -> None:
    await store.load(archive(BASE, tags=("a:1", "b:1")))
    id_ = store.images.get("a:1").id
    with pytest.raises(Conflict, match=r"must be forced\) - image is referenced in multiple repositories"):
        await store.images.remove(id_[7:19])
    report = await store.images.remove(id_[7:19], force=True)
    assert report[:3] == [{"Untagged": "a:1"}, {"Untagged": "b:1"}, {"Deleted": id_}]
    await store.check()


@pytest.mark.parametrize("running", [False, True])
async def test_in_use_by_name(store: Store, running: bool) -> None:
    await store.load(archive(BASE))
    store.images.in_use = lambda image_id: [("c" * 64, running)]
    with pytest.raises(Conflict, match=r"reference .x:1. \(must force\) - container c{12} is using its referenced"):
        await store.images.remove("x:1")
    assert store.images.get("x:1").tags == ("x:1",)
    report = await store.images.remove("x:1", force=True)
    if running:  # as Docker: the name goes, the image stays for its container
        assert report == [{"Untagged": "x:1"}]
        assert store.images.count() == 2
    else:
        assert len(report) == 3
    await store.check()


async def test_in_use_by_id(store: Store) -> None:
    await store.load(archive(BASE))
    id_ = store.images.get("x:1").id
    store.images.in_use = lambda image_id: [("c" * 64, True)]
    with pytest.raises(Conflict, match=r"cannot be forced\) - image is being used by running container c{12}"):
        await store.images.remove(id_, force=True)
    store.images.in_use = lambda image_id: [("c" * 64, False)]
    with pytest.raises(Conflict, match=r"must be forced\) - image is being used by stopped container c{12}"):
        await store.images.remove(id_)
    assert len(await store.images.remove(id_, force=True)) == 3


async def test_layers_stay_below_a_container(store: Store, make_store: Callable[[Path], Store]) -> None:
    """Removed by force under a stopped container: its layers stay until it goes."""
    await store.load(archive(BASE, TOP))
    image = store.images.get("x:1")
    store.snapshots.prepare("c" * 64, image)
    lower = store.snapshots.mounts("c" * 64)[0]["lower"]
    assert await store.images.remove("x:1", force=True) == [{"Untagged": "x:1"}, {"Deleted": image.id}]
    await store.images.layers.settle()
    assert all(map(os.path.isdir, lower))
    again = make_store(store.root)
    await again.snapshots.sweep({"c" * 64})
    await again.images.sweep()
    await again.check()
    assert all(map(os.path.isdir, lower))
    await again.load(archive(BASE))  # the layer is taken up again
    assert again.images.layer_folders(again.images.get("x:1")) == lower[1:]
    await again.snapshots.remove("c" * 64)
    await again.images.sweep()
    await again.check()
    assert [os.path.isdir(path) for path in lower] == [False, True]


# --- the sweep -------------------------------------------------------------------------------------


async def test_sweep_removes_what_no_row_names(store: Store, make_store: Callable[[Path], Store]) -> None:
    await store.load(archive(BASE))
    (store.root / "layers/orphan/deep").mkdir(parents=True)
    (store.root / "tmp/layer-half").mkdir()
    (store.root / "tmp/blob-half").write_bytes(b"x")
    (store.root / "blobs/sha256" / ("0" * 64)).write_bytes(b"x")
    (store.root / "snapshots/gone").mkdir()
    again = make_store(store.root)
    await again.snapshots.sweep(set())
    await again.images.sweep()
    await again.check()
    assert again.rows()["images"] == 1
    assert len(os.listdir(store.root / "host")) == 1
