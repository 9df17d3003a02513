"""What stays of pulls, and what prune takes: protected names, broken-off blobs, leased layers, digests."""

from __future__ import annotations

import pytest

from core.errors import InvalidArgument, NotFound
from core.image.pruning import ImagePruner
from tests.image.registry.ground import Ground, make_image
from tests.image.stores import Store


def pruner(ground: Ground) -> ImagePruner:
    return ImagePruner(ground.store.images, ground.service.ingests, ground.store._publish)


async def test_a_protected_name_is_left_by_prune(ground: Ground) -> None:
    ground.add("app", {"a": b"1"}, tag="1")
    ground.add("app", {"a": b"2"}, tag="2")
    await ground.pull("app", "1")
    await ground.pull("app", "2")
    ground.store.images.protect(ground.name("app:1"), True)
    assert ground.store.images.get(ground.name("app:1")).protected
    gone, _ = await pruner(ground).prune({"dangling": ["false"]})
    assert {item["Untagged"] for item in gone if "Untagged" in item} >= {ground.name("app:2")}
    assert ground.store.images.get(ground.name("app:1")).protected
    with pytest.raises(NotFound):
        ground.store.images.get(ground.name("app:2"))
    ground.store.images.protect(ground.name("app:1"), False)
    await pruner(ground).prune({"dangling": ["false"]})
    assert ground.store.images.count() == 1
    await ground.store.check()


async def test_protection_is_the_names_and_outlives_the_engine(ground: Ground) -> None:
    ground.add("app", {"a": b"1"})
    old, _ = await ground.pull("app")
    with pytest.raises(InvalidArgument, match=r"is not the name of an image: a name is protected, as 127"):
        ground.store.images.protect(old.id, True)
    ground.store.images.protect(ground.name("app:1"), True)
    ground.add("app", {"a": b"2"})
    new, _ = await ground.pull("app")
    ground.store.db.close()
    ground.store = Store(ground.root)
    assert ground.store.images.get(new.id).protected
    assert not ground.store.images.get(old.id).protected
    await ground.store.images.remove(ground.name("app:1"))


async def test_prune_takes_what_broken_off_pulls_left(ground: Ground) -> None:
    (ground.root / "ingest" / ("c" * 64)).write_bytes(b"x" * 10_000)
    config, layers = make_image({"a": b"12345"}, {"b": b"1"})
    digest = ground.registry.add_image("app", "1", config, layers)
    ground.registry.owners["app"].discard(digest)
    del ground.registry.blobs[max(ground.registry.blobs, key=lambda key: key == _second(layers))]
    ground.registry.owners["app"].discard(_second(layers))
    with pytest.raises(NotFound):
        await ground.pull("app")
    leased = ground.store.images.layers.leased_bytes()
    _, freed = await pruner(ground).prune({})
    assert freed >= 10_000 + leased
    assert ground.partial() == {}
    await ground.store.check()


def _second(layers: list[bytes]) -> str:
    from tests.image.registry.fake import digest_of

    return digest_of(layers[1])


async def test_leases_end_in_time(ground: Ground) -> None:
    ground.add("app", {"a": b"1"})
    image, _ = await ground.pull("app")
    layers = ground.store.images.layers
    assert layers.leased_bytes() == 0
    ground.store.db.execute("INSERT INTO leases VALUES (?, 1)", (image.layers[0],))
    await ground.store.images.remove(image.id)
    assert layers.has(image.layers[0])
    layers.sweep()
    assert not layers.has(image.layers[0])
    await ground.store.check()


async def test_an_image_goes_with_its_last_name_whatever_its_digests(ground: Ground) -> None:
    ground.add("app", {"a": b"1"})
    image, _ = await ground.pull("app")
    ground.store.images.tag(image.id, "mine:1")
    report = await ground.store.images.remove(ground.name("app:1"))
    assert [next(iter(item)) for item in report] == ["Untagged", "Untagged"]
    assert ground.store.images.get("mine:1").digests == ()
    report = await ground.store.images.remove("mine:1")
    assert report[-1] == {"Deleted": image.id} or {"Deleted": image.id} in report


async def test_an_id_is_enough_for_one_repository(ground: Ground) -> None:
    ground.add("app", {"a": b"1"})
    image, _ = await ground.pull("app")
    report = await ground.store.images.remove(image.id)
    assert sum("Untagged" in item for item in report) == 2
    await ground.store.check()
