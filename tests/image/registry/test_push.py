"""Pushing: what is there is not sent, and what is sent survives broken connections."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from core.errors import Corrupt, Forbidden, InvalidArgument, NotFound, Unavailable
from core.image.registry.client import ONCE, Client
from core.image.registry.hosts import Hosts
from tests.image.registry.fake import OCI_MANIFEST, FakeRegistry, digest_of, error
from tests.image.registry.ground import Ground
from tests.image.registry.test_pull import BIG
from tests.images import Entry, layer


async def imported(ground: Ground, path: str, *contents: bytes, tag: str = "1") -> list[str]:
    """An image of this machine for the registry; its layers' DiffIDs."""
    image = await ground.store.import_(layer([Entry("a", contents[0])]), ground.name(f"{path}:{tag}"))
    return list(image.layers)


async def test_an_image_goes_and_comes_back_the_same(ground: Ground) -> None:
    (diff_id,) = await imported(ground, "team/app", BIG)
    before = ground.store.images.get(ground.name("team/app:1"))
    told = await ground.push("team/app")
    assert told[0] == f"The push refers to repository [{ground.name('team/app')}]"
    assert list(dict.fromkeys(told[1:-1])) == ["Preparing", "Pushing", "Pushed"]
    media_type, manifest = ground.registry.manifests["team/app:1"]
    digest = digest_of(manifest)
    assert told[-1] == f"1: digest: {digest} size: {len(manifest)}"
    assert ground.told[-1]["aux"] == {"Tag": "1", "Digest": digest, "Size": len(manifest)}
    assert media_type == OCI_MANIFEST
    (described,) = json.loads(manifest)["layers"]
    assert digest_of(gzip.decompress(ground.registry.blobs[described["digest"]])) == diff_id
    assert ground.store.images.get(before.id).digests == (f"{ground.name('team/app')}@{digest}",)
    await ground.store.images.remove(before.id)
    after, _ = await ground.pull("team/app")
    assert (after.id, after.layers) == (before.id, before.layers)
    assert ground.store.events == ["import", "push", "untag", "untag", "delete", "pull"]


async def test_what_is_there_is_not_sent_again(ground: Ground) -> None:
    await imported(ground, "app", b"x")
    await ground.push("app")
    ground.registry.seen.clear()
    told = await ground.push("app")
    assert "Layer already exists" in told
    assert not ground.registry.requests("PATCH")


async def test_another_repository_of_the_registry_lends_its_blobs(ground: Ground) -> None:
    await imported(ground, "one", b"x")
    await ground.push("one")
    ground.store.images.tag(ground.name("one:1"), ground.name("two:1"))
    ground.registry.seen.clear()
    told = await ground.push("two")
    assert "Mounted from one" in told
    assert not ground.registry.requests("PATCH")
    assert ground.registry.manifests["two:1"] == ground.registry.manifests["one:1"]


async def test_a_lender_that_lost_the_blob(ground: Ground) -> None:
    await imported(ground, "one", b"x")
    await ground.push("one")
    ground.store.images.tag(ground.name("one:1"), ground.name("two:1"))
    ground.registry.owners.clear()
    assert "Pushed" in await ground.push("two")
    assert ground.registry.manifests["two:1"] == ground.registry.manifests["one:1"]


async def test_a_pulled_image_leaves_with_the_manifest_it_came_with(ground: Ground) -> None:
    ground.add("app", {"a": b"one"}, {"b": b"two"}, kind="zstd")
    image, _ = await ground.pull("app")
    ground.store.images.tag(image.id, ground.name("copy:9"))
    await ground.push("copy", "9")
    assert ground.registry.manifests["copy:9"] == ground.registry.manifests["app:1"]


async def test_to_another_registry_it_goes_as_new_blobs(ground: Ground) -> None:
    ground.add("app", {"a": b"one"}, kind="zstd")
    image, _ = await ground.pull("app")
    async with FakeRegistry().running() as other:
        ground.registry = other
        ground.store.images.tag(image.id, ground.name("app:1"))
        await ground.push("app")
        manifest = json.loads(other.manifests["app:1"][1])
        assert [item["mediaType"].rpartition("+")[2] for item in manifest["layers"]] == ["gzip"]
        assert manifest["config"]["digest"] == image.id


async def test_all_tags(ground: Ground) -> None:
    await imported(ground, "app", b"1", tag="1")
    await imported(ground, "app", b"2", tag="2")
    told = await ground.push("app", "")
    assert [text.partition(":")[0] for text in told if "digest:" in text] == ["1", "2"]
    assert {"app:1", "app:2"} <= set(ground.registry.manifests)


async def test_a_cut_upload_goes_on_from_where_the_registry_says(ground: Ground) -> None:
    await imported(ground, "app", BIG)
    left = [1]

    async def broken(request: web.Request) -> web.StreamResponse | None:
        if request.method != "PATCH" or not left[0]:
            return None
        left[0] -= 1
        taken = await request.content.readexactly(1 << 20)
        upload = ground.registry.uploads[request.path.rpartition("/")[2]]
        upload += taken
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    ground.registry.misdeed = broken
    await ground.push("app")
    assert len(ground.registry.requests("PATCH")) == 2
    ground.registry.misdeed = None
    await ground.store.images.remove(ground.name("app:1"))
    image, _ = await ground.pull("app")
    assert (Path(ground.store.images.layer_folders(image)[0]) / "a").read_bytes() == BIG


async def test_an_upload_that_is_always_cut_ends(ground: Ground) -> None:
    await imported(ground, "app", BIG)

    async def broken(request: web.Request) -> web.StreamResponse | None:
        if request.method != "PATCH":
            return None
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    ground.registry.misdeed = broken
    with pytest.raises(Unavailable, match="broke"):
        await ground.push("app")
    await ground.store.check()


async def test_refusals(ground: Ground) -> None:
    await imported(ground, "app", b"x")
    with pytest.raises(NotFound, match="does not exist locally with the tag"):
        await ground.push("app", "9")
    with pytest.raises(InvalidArgument, match="cannot push a digest"):
        await ground.push(f"app@sha256:{'0' * 64}", "")
    with pytest.raises(InvalidArgument, match="host is part of the engine"):
        await ground.service.push("host", "latest", ground.nobody, ground.silent)

    async def denied(request: web.Request) -> web.StreamResponse | None:
        return error(403, "DENIED", "no pushing here") if "/app/" in request.path else None

    ground.registry.misdeed = denied
    with pytest.raises(Forbidden) as raised:
        await ground.push("app")
    assert "no pushing here" in raised.value.message or "403" in raised.value.message
    assert "repository:app:pull,push" in raised.value.message


async def test_a_layer_that_was_damaged_is_not_pushed(ground: Ground) -> None:
    (diff_id,) = await imported(ground, "app", BIG)
    folder, _ = ground.store.images.layers.paths(diff_id)
    changed = bytearray(BIG)
    changed[random.Random(1).randrange(len(BIG))] ^= 1
    (Path(folder) / "a").write_bytes(changed)
    with pytest.raises(Corrupt, match="was damaged on disk"):
        await ground.push("app")
    assert "app:1" not in ground.registry.manifests


async def test_a_break_at_the_very_end_of_a_body_is_told_once(ground: Ground) -> None:
    """To who waits for the answer; no task is left with an exception that nobody takes (the log would show it)."""
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    async with Client(Hosts(str(ground.file)).origin(ground.registry.host)) as client:

        async def body() -> AsyncIterator[bytes]:
            yield b"x"
            # From Python 3.12 on a body begins before anybody waits for the answer.
            turn = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(turn.set_result, None)
            await turn
            # What a peer's reset does, at a moment that it can be relied on to do it.
            for connection in client._session.connector._acquired:  # type: ignore[union-attr]
                assert connection.transport is not None
                connection.transport.abort()

        with pytest.raises(Unavailable, match="broke"):
            async with client.open("PUT", "/v2/x", name="x", body=body, attempts=ONCE):
                pass
    gc.collect()
    assert told == []
