"""Pulling from a registry that behaves, and from one that does not."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from core.errors import Corrupt, DockyardError, Exhausted, InvalidArgument, NotFound, Unavailable, Unsupported
from core.image.registry import client
from core.image.registry.credentials import Credentials
from tests.image.registry.fake import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, FakeRegistry, cut, digest_of, error
from tests.image.registry.ground import Ground, make_image
from tests.images import architecture
from tests.support import wait_until_async

#: Larger than what sockets and buffers hold, and not to be compressed.
BIG = random.Random(5).randbytes(3 << 20)


def once(answer: Callable[[web.Request], Awaitable[web.StreamResponse]], part: str, times: int = 1) -> object:
    """A misdeed at the first ``times`` GETs of a path with ``part``."""
    left = [times]

    async def misdeed(request: web.Request) -> web.StreamResponse | None:
        if request.method != "GET" or part not in request.path or not left[0]:
            return None
        left[0] -= 1
        return await answer(request)

    return misdeed


# --- what is right ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gzip", "zstd", "plain"])
async def test_an_image_comes_with_its_names_and_layers(ground: Ground, kind: str) -> None:
    ground.add("team/app", {"a": b"one"}, {"b": b"two"}, kind=kind)
    image, told = await ground.pull("team/app")
    digest = digest_of(ground.registry.manifests["team/app:1"][1])
    assert image.tags == (ground.name("team/app:1"),)
    assert image.digests == (f"{ground.name('team/app')}@{digest}",)
    folders = ground.store.images.layer_folders(image)
    assert [(Path(folder) / name).read_bytes() for folder, name in zip(folders, "ba", strict=True)] == [b"two", b"one"]
    assert told[0] == "Pulling from team/app"
    assert told[-2:] == [f"Digest: {digest}", f"Status: Downloaded newer image for {ground.name('team/app:1')}"]
    assert told.count("Pull complete") == 2
    assert ground.partial() == {}
    assert ground.store.events == ["pull"]
    await ground.store.check()


async def test_pulling_again_asks_for_the_manifest_alone(ground: Ground) -> None:
    ground.add("app", {"a": b"one"})
    before, _ = await ground.pull("app")
    ground.registry.seen.clear()
    after, told = await ground.pull("app")
    assert after == before
    assert told[-1] == f"Status: Image is up to date for {ground.name('app:1')}"
    assert [one.method for one in ground.registry.seen if one.path != "/v2/"] == ["HEAD"]


async def test_a_layer_that_is_here_is_not_fetched(ground: Ground) -> None:
    shared, _ = ground.add("one", {"a": b"shared"}, {"b": b"1"})
    ground.add("two", {"a": b"shared"}, {"c": b"2"})
    await ground.pull("one")
    ground.registry.seen.clear()
    _, told = await ground.pull("two")
    assert "Already exists" in told
    assert not ground.registry.requests("GET", digest_of(shared))


async def test_by_digest_and_all_tags(ground: Ground) -> None:
    ground.add("app", {"a": b"1"}, tag="1")
    ground.add("app", {"a": b"2"}, tag="2")
    digest = digest_of(ground.registry.manifests["app:2"][1])
    image, _ = await ground.pull("app", digest)
    assert image.tags == ()
    assert ground.store.images.get(f"{ground.name('app')}@{digest}") == image
    await ground.pull("app", "")
    assert ground.store.images.get(ground.name("app:2")).id == image.id
    assert ground.store.images.get(ground.name("app:1")).id != image.id


async def test_a_name_that_moved_leaves_the_old_image_its_digest(ground: Ground) -> None:
    ground.add("app", {"a": b"1"})
    old, _ = await ground.pull("app")
    ground.add("app", {"a": b"2"})
    new, told = await ground.pull("app")
    assert "Downloaded newer image" in told[-1]
    assert ground.store.images.get(ground.name("app:1")) == new
    assert ground.store.images.get(old.id).tags == ()
    assert len(ground.store.images.get(old.id).digests) == 1


def _index(ground: Ground, *platforms: dict[str, str]) -> None:
    items = []
    for number, platform in enumerate(platforms):
        config, layers = make_image({"n": b"%d" % number}, architecture=platform.get("architecture", "x"))
        digest = ground.registry.add_image("multi", f"p{number}", config, layers)
        size = len(ground.registry.manifests[f"multi@{digest}"][1])
        items.append({"mediaType": OCI_MANIFEST, "digest": digest, "size": size, "platform": platform})
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": items}
    ground.registry.add_manifest("multi", "1", document, OCI_INDEX)


async def test_the_platform_is_chosen(ground: Ground) -> None:
    _index(
        ground,
        {"os": "linux", "architecture": "riscv64"},
        {"os": "linux", "architecture": architecture()},
        {"os": "linux", "architecture": "arm", "variant": "v6"},
        {"os": "linux", "architecture": "arm", "variant": "v7"},
    )

    async def number(platform: str) -> bytes:
        image, _ = await ground.pull("multi", platform=platform)
        return (Path(ground.store.images.layer_folders(image)[0]) / "n").read_bytes()

    assert [await number(text) for text in ("", "linux/riscv64", "linux/arm/v7", "linux/arm/v6")] == [
        b"1",
        b"0",
        b"3",
        b"2",
    ]
    # The index's digest is what the name stands for, whichever of its images is here.
    assert ground.store.images.get("sha256:" + (await ground.pull("multi"))[0].id[7:]).digests


async def test_a_platform_that_is_not_there_lists_what_is(ground: Ground) -> None:
    _index(ground, {"os": "linux", "architecture": "riscv64"}, {"os": "windows", "architecture": "amd64"})
    with pytest.raises(Unsupported) as raised:
        await ground.pull("multi", platform="linux/s390x")
    assert raised.value.hint == "it has linux/riscv64, windows/amd64"


async def test_mirrors_come_first_and_the_registry_serves_what_they_lack(ground: Ground) -> None:
    blobs = ground.add("team/app", {"a": b"one"}, {"b": BIG})
    async with FakeRegistry().running() as mirror, FakeRegistry().running() as half:
        half.blobs, half.owners = ground.registry.blobs, {"hub/team/app": {digest_of(blobs[0])}}
        half.manifests = {key.replace("team/", "hub/team/"): v for key, v in ground.registry.manifests.items()}
        config = json.loads(half.manifests["hub/team/app:1"][1])["config"]["digest"]
        half.owners["hub/team/app"].add(config)
        ground.file.write_text(
            f'[registries."{ground.registry.host}"]\nplain-http = true\n'
            f'mirrors = ["http://127.0.0.1:1", "http://{mirror.host}", "http://{half.host}/hub"]\n'
        )
        ground.registry.seen.clear()
        await ground.pull("team/app", who=Credentials("me", "secret"))
        assert [one.path for one in mirror.seen] == ["/v2/team/app/manifests/1"] * len(mirror.seen)
        assert half.requests("GET", digest_of(blobs[0]))
        assert [one.path for one in ground.registry.requests("GET")] == [f"/v2/team/app/blobs/{digest_of(blobs[1])}"]
        assert not any(one.authorization for one in half.seen)


async def test_two_pulls_of_the_same_fetch_once(ground: Ground) -> None:
    (blob,) = ground.add("app", {"a": BIG})
    await asyncio.gather(ground.pull("app"), ground.pull("app"))
    assert len(ground.registry.requests("GET", digest_of(blob))) == 1


async def test_the_limit_is_told(ground: Ground) -> None:
    ground.add("app", {"a": b"1"})

    async def limited(request: web.Request) -> web.StreamResponse | None:
        if request.method != "HEAD":
            return None
        media_type, data = ground.registry.manifests["app:1"]
        return web.Response(
            body=data,
            headers={
                "Content-Type": media_type,
                "ratelimit-limit": "100;w=21600",
                "ratelimit-remaining": "76;w=21600",
            },
        )

    ground.registry.misdeed = limited
    _, told = await ground.pull("app")
    assert "Rate limit: 76 of 100 pulls left in 6 hours" in told


# --- what breaks off -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
async def test_a_cut_layer_goes_on_where_it_was_cut(ground: Ground, seed: int) -> None:
    (blob,) = ground.add("app", {"a": BIG})
    at = random.Random(seed).randrange(len(blob))

    async def broken(request: web.Request) -> web.StreamResponse:
        return await cut(request, blob, at, len(blob))

    ground.registry.misdeed = once(broken, digest_of(blob))  # type: ignore[assignment]
    image, _ = await ground.pull("app")
    ranges = [one.range for one in ground.registry.requests("GET", digest_of(blob))]
    assert len(ranges) == 2
    # What was in the socket when it broke is lost, what was taken out of it is not asked for again.
    resumed = int(ranges[1].removeprefix("bytes=").rstrip("-") or "0")
    assert resumed <= at
    assert (Path(ground.store.images.layer_folders(image)[0]) / "a").read_bytes() == BIG


async def test_a_server_without_ranges_sends_it_all_again(ground: Ground) -> None:
    (blob,) = ground.add("app", {"a": BIG})

    async def broken(request: web.Request) -> web.StreamResponse:
        return await cut(request, blob, len(blob) // 2, len(blob))

    async def whole(request: web.Request) -> web.StreamResponse:
        return web.Response(body=blob)

    first, again = once(broken, digest_of(blob)), once(whole, digest_of(blob), 9)

    async def both(request: web.Request) -> web.StreamResponse | None:
        return await first(request) or await again(request)  # type: ignore[operator]

    ground.registry.misdeed = both
    await ground.pull("app")


async def test_a_pull_that_gives_up_keeps_what_came_and_the_next_goes_on(ground: Ground) -> None:
    small, blob = ground.add("app", {"s": b"small"}, {"a": BIG})

    async def broken(request: web.Request) -> web.StreamResponse:
        return (
            await cut(request, b"", 0, len(blob))
            if request.headers.get("Range")
            else await cut(request, blob, len(blob) // 2, len(blob))
        )

    ground.registry.misdeed = once(broken, digest_of(blob), 99)  # type: ignore[assignment]
    with pytest.raises(Unavailable, match=r"broke|ends after"):
        await ground.pull("app")
    kept = ground.partial()
    assert list(kept) == [digest_of(blob)]
    assert 0 < kept[digest_of(blob)] <= len(blob) // 2
    ground.registry.misdeed = None
    ground.registry.seen.clear()
    image, told = await ground.pull("app")
    assert "Already exists" in told
    assert not ground.registry.requests("GET", digest_of(small))
    (again,) = ground.registry.requests("GET", digest_of(blob))
    assert again.range == f"bytes={kept[digest_of(blob)]}-"
    assert (Path(ground.store.images.layer_folders(image)[0]) / "a").read_bytes() == BIG
    assert ground.partial() == {}


async def test_a_cancelled_pull_keeps_what_came(ground: Ground) -> None:
    small, blob = ground.add("app", {"s": b"small"}, {"a": BIG})
    half = asyncio.Event()

    async def stops(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(blob))})
        await response.prepare(request)
        await response.write(blob[: 2 << 20])
        half.set()
        await asyncio.Event().wait()
        return response

    ground.registry.misdeed = once(stops, digest_of(blob))  # type: ignore[assignment]
    pulling = asyncio.create_task(ground.pull("app"))
    await half.wait()
    leased = ground.store.images.layers.leased_bytes
    await wait_until_async(lambda: ground.partial().get(digest_of(blob), 0) >= 1 << 20 and leased() > 0)
    pulling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pulling
    assert list(ground.partial()) == [digest_of(blob)]
    assert ground.store.images.layers.leased_bytes() == len(b"small")
    await ground.store.images.layers.settle()
    assert ground.store.files()["tmp"] == []
    ground.registry.misdeed = None
    await ground.pull("app")
    assert len(ground.registry.requests("GET", digest_of(small))) == 1


async def test_old_bytes_that_were_damaged_are_fetched_anew(ground: Ground) -> None:
    (blob,) = ground.add("app", {"a": BIG})
    (ground.root / "ingest" / digest_of(blob)[7:]).write_bytes(b"\0" * 1000)
    image, _ = await ground.pull("app")
    assert [one.range for one in ground.registry.requests("GET", digest_of(blob))] == ["bytes=1000-", ""]
    assert (Path(ground.store.images.layer_folders(image)[0]) / "a").read_bytes() == BIG


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_passing_failures_are_tried_again(ground: Ground, status: int) -> None:
    ground.add("app", {"a": b"1"})

    async def busy(request: web.Request) -> web.StreamResponse:
        return error(status, "TOOMANYREQUESTS", "slow down", {"Retry-After": "0"})

    ground.registry.misdeed = once(busy, "/v2/app/", 2)  # type: ignore[assignment]
    await ground.pull("app")


# --- what is refused -------------------------------------------------------------------------------


async def test_a_limit_that_stays_says_how_long(ground: Ground) -> None:
    ground.add("app", {"a": b"1"})

    async def limited(request: web.Request) -> web.StreamResponse | None:
        if "/app/" not in request.path:
            return None
        return error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit", {"Retry-After": "3600"})

    ground.registry.misdeed = limited
    with pytest.raises(Exhausted, match=r"takes no more requests now.*it asks to wait 3600 seconds"):
        await ground.pull("app")


async def test_unknown_names(ground: Ground) -> None:
    ground.add("app", {"a": b"1"})
    with pytest.raises(NotFound, match=r"manifest for .*/app:9 not found: .*manifest unknown"):
        await ground.pull("app", "9")

    async def nameless(request: web.Request) -> web.StreamResponse | None:
        return error(404, "NAME_UNKNOWN", "repository name not known") if "/none/" in request.path else None

    ground.registry.misdeed = nameless
    with pytest.raises(NotFound, match=r"repository .*/none:1 not found"):
        await ground.pull("none")
    with pytest.raises(InvalidArgument, match="host is reserved"):
        await ground.service.pull("host", "latest", "", Credentials(), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_denial_names_the_scope_and_the_login(ground: Ground, status: int) -> None:
    async def denied(request: web.Request) -> web.StreamResponse | None:
        return error(status, "DENIED", "requested access to the resource is denied") if "app" in request.path else None

    ground.registry.misdeed = denied
    with pytest.raises(NotFound) as raised:
        await ground.pull("app")
    assert "pull access denied" in raised.value.message
    assert "repository:app:pull" in raised.value.message
    assert f"dockyard login {ground.registry.host}" in raised.value.hint


async def test_nobody_there(ground: Ground, unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable, match="Connection refused"):
        await ground.pull("app", host=f"127.0.0.1:{unused_tcp_port}")
    with pytest.raises(Unavailable, match=r"the host registry\.invalid is not known"):
        await ground.pull("app", host="registry.invalid")


async def test_a_server_that_says_nothing_is_given_up(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_SILENT_SECONDS", 0.1)
    never = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse | None:
        if "/app/" in request.path:
            await never.wait()
        return None

    ground.registry.misdeed = silent
    with pytest.raises(Unavailable, match="does not answer"):
        await ground.pull("app")
    assert len(ground.registry.requests("HEAD")) == 2
    never.set()


@pytest.mark.parametrize(("extra", "words"), [(b"more", "bytes, its manifest says"), (b"", "ends after|broke")])
async def test_a_body_of_another_length(ground: Ground, extra: bytes, words: str) -> None:
    (blob,) = ground.add("app", {"a": BIG})
    body = blob + extra if extra else blob[:-7]

    async def other(request: web.Request) -> web.StreamResponse:
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        return web.Response(body=body[start:], status=206 if start else 200, headers={
            "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {})  # fmt: skip

    ground.registry.misdeed = once(other, digest_of(blob), 99)  # type: ignore[assignment]
    with pytest.raises(DockyardError, match=words):
        await ground.pull("app")
    assert ground.store.images.count() == 1


async def test_a_wrong_digest(ground: Ground) -> None:
    (blob,) = ground.add("app", {"a": BIG})
    wrong = bytearray(blob)
    wrong[len(wrong) // 2] ^= 1

    async def other(request: web.Request) -> web.StreamResponse:
        return web.Response(body=bytes(wrong))

    ground.registry.misdeed = once(other, digest_of(blob), 99)  # type: ignore[assignment]
    with pytest.raises(Corrupt, match="came with the digest"):
        await ground.pull("app")
    assert ground.partial() == {}
    await ground.store.images.layers.settle()
    assert ground.store.files()["layers"] == []


async def test_a_wrong_diff_id(ground: Ground) -> None:
    config, layers = make_image({"a": b"1"})
    lying = json.loads(config)
    lying["rootfs"]["diff_ids"] = ["sha256:" + "1" * 64]
    ground.registry.add_image("app", "1", json.dumps(lying).encode(), layers)
    with pytest.raises(Corrupt, match=r"has the DiffID sha256:.*, the config says sha256:1111"):
        await ground.pull("app")
    assert ground.partial() == {}


def _manifest(ground: Ground, **changes: object) -> None:
    config, layers = make_image({"a": b"1"})
    ground.registry.add_image("app", "0", config, layers)
    document = json.loads(ground.registry.manifests["app:0"][1])
    ground.registry.add_manifest("app", "1", {**document, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": [{"digest": "sha256:" + "0" * 64, "size": 1}] * 1000}, "lists 1000 items"),
        ({"manifests": []}, "neither a manifest nor an index"),
        ({"mediaType": OCI_INDEX}, "says it is"),
        ({"layers": [{"digest": "sha256:../../etc/passwd", "size": 1}]}, "not a sha256 digest"),
        ({"layers": [{"digest": "sha256:" + "0" * 64, "size": -1, "mediaType": ""}]}, "has the size -1"),
        ({"layers": []}, "config names 1 layers, its manifest 0"),
        ({"layers": [{"digest": "sha256:" + "0" * 64, "size": 1, "mediaType": "text/html"}]}, "a layer of the kind"),
        ({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": "sha256:" + "0" * 64,
                     "size": 2}}, "is no container image"),
    ],
)  # fmt: skip
async def test_manifests_that_lie(ground: Ground, changes: dict[str, object], words: str) -> None:
    _manifest(ground, **changes)
    with pytest.raises(DockyardError, match=words):
        await ground.pull("app")


async def test_documents_out_of_bounds(ground: Ground) -> None:
    ground.registry.add_manifest("app", "big", b'{"layers":[' + b" " * (10 << 20) + b"]}")
    with pytest.raises(Corrupt, match="is larger than"):
        await ground.pull("app", "big")
    ground.registry.add_manifest("app", "deep", b'{"layers":' + b"[" * 10_000 + b"]" * 10_000 + b"}")
    with pytest.raises(Corrupt, match=r"nested|JSON"):
        await ground.pull("app", "deep")
    ground.registry.add_manifest("app", "old", {}, "application/vnd.docker.distribution.manifest.v1+prettyjws")
    with pytest.raises(Unsupported, match="schema 1"):
        await ground.pull("app", "old")


async def test_another_manifest_than_was_asked_for(ground: Ground) -> None:
    ground.add("app", {"a": b"1"})
    wanted = digest_of(ground.registry.manifests["app:1"][1])
    ground.registry.manifests[f"app@{wanted}"] = (OCI_MANIFEST, b'{"config":{},"layers":[]}')
    with pytest.raises(Corrupt, match="was promised"):
        await ground.pull("app", wanted)


async def test_a_config_that_is_another(ground: Ground) -> None:
    config, layers = make_image({"a": b"1"})
    ground.registry.add_image("app", "1", config, layers)
    ground.registry.blobs[digest_of(config)] = config.replace(b"linux", b"lunix")
    with pytest.raises(Corrupt, match="is not what its digest"):
        await ground.pull("app")
    assert OCI_CONFIG in ground.registry.manifests["app:1"][1].decode()


# --- credentials go nowhere else -------------------------------------------------------------------


async def test_a_redirect_gets_no_credentials(ground: Ground) -> None:
    (blob,) = ground.add("app", {"a": BIG})
    async with FakeRegistry().running() as storage:
        storage.blobs, storage.owners = ground.registry.blobs, ground.registry.owners

        async def guarded(request: web.Request) -> web.StreamResponse | None:
            if not request.headers.get("Authorization"):
                return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
            if f"blobs/{digest_of(blob)}" in request.path:
                return web.Response(status=307, headers={"Location": f"http://{storage.host}{request.path}?sig=a%2Fb"})
            return None

        ground.registry.misdeed = guarded
        await ground.pull("app", who=Credentials("me", "secret"))
        (there,) = storage.seen
        assert (there.authorization, there.query) == ("", "sig=a%2Fb")


async def test_endless_redirects(ground: Ground) -> None:
    async def around(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=302, headers={"Location": request.path}) if "/app/" in request.path else None

    ground.registry.misdeed = around
    with pytest.raises(Unavailable, match="more than 5 times"):
        await ground.pull("app")
