"""The small parts: messages, growing files, kept blobs, refusals in words, platforms, catalogues."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Corrupt, DockyardError, InvalidArgument, NotFound
from core.image import platforms
from core.image.platforms import Platform
from core.image.registry import failures
from core.image.registry.growing import Abandoned, Growing, Spool
from core.image.registry.ingest import Ingests
from core.image.registry.progress import Progress, bar, size
from core.image.registry.service import domain_of, to_pull
from tests.image.registry.ground import Ground

DIGEST = "sha256:" + "a" * 64


# --- messages --------------------------------------------------------------------------------------


async def test_a_slow_client_gets_each_state_and_the_newest_bytes() -> None:
    progress = Progress()
    progress.state("layer", "Pulling fs layer")
    for count in (1, 50, 100):
        progress.bytes("layer", "Downloading", count, 100)
    progress.state("layer", "Download complete")
    progress.end()
    told = [text async for batch in progress.messages() for text in batch]
    assert [(text["status"], text["progressDetail"].get("current")) for text in told] == [
        ("Pulling fs layer", None),
        ("Downloading", 100),
        ("Download complete", None),
    ]
    assert told[1]["progress"].startswith("[=")


def test_sizes_and_bars() -> None:
    assert [size(n) for n in (0, 999, 1000, 1_234_567, 5_000_000_000)] == ["0B", "999B", "1kB", "1.235MB", "5GB"]
    assert bar(50, 100) == "[" + "=" * 25 + ">" + " " * 24 + "]      50B/100B"
    assert len(bar(100, 100).partition("]")[0]) == len(bar(1, 100).partition("]")[0]) == 51
    assert bar(7, 0) == "7B"


# --- growing files ---------------------------------------------------------------------------------


def test_a_reader_waits_for_what_has_not_come(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abcdef")
    fd = os.open(path, os.O_RDONLY)
    growing = Growing(fd)
    got: list[bytes] = []

    def read() -> None:
        while piece := growing.read(2):
            got.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    for length in (1, 4, 6):
        growing.grow(length)
    growing.complete()
    reader.join(10)
    assert b"".join(got) == b"abcdef"
    growing.seek(3)
    assert growing.read() == b"def"
    growing.fail(Abandoned("given up"))
    with pytest.raises(Abandoned):
        growing.read(1)
    os.close(fd)


async def test_a_spool_is_read_while_it_is_written(tmp_path: Path) -> None:
    with (tmp_path / "f").open("w+b") as file:
        spool = Spool(file.fileno(), asyncio.get_running_loop())

        def write() -> None:
            for _ in range(100):
                spool.write(b"x" * 1000)

        writing = asyncio.get_running_loop().run_in_executor(None, write)
        writing.add_done_callback(lambda done: spool.finish(done.exception()))
        assert sum([len(block) async for block in spool.read(0, 777)]) == 100_000
        assert sum([len(block) async for block in spool.read(99_990)]) == 10
        spool.stop()
        with pytest.raises(Abandoned):
            spool.write(b"x")


async def test_what_ends_the_writing_reaches_the_reader(tmp_path: Path) -> None:
    with (tmp_path / "f").open("w+b") as file:
        spool = Spool(file.fileno(), asyncio.get_running_loop())
        spool.finish(Corrupt("damaged"))
        with pytest.raises(Corrupt):
            [block async for block in spool.read(0)]
        with pytest.raises(Corrupt):
            await spool.written()


# --- kept blobs ------------------------------------------------------------------------------------


async def test_a_blob_is_kept_until_it_is_done(tmp_path: Path) -> None:
    ingests = Ingests(str(tmp_path))
    async with ingests.open(DIGEST, 10) as ingest:
        os.write(ingest.fd, b"12345")
        ingest.length = 5
        assert ingests.is_busy(DIGEST)
        assert ingests.prune() == 0
    assert ingests.kept()[0] == 1
    async with ingests.open(DIGEST, 3) as ingest:
        assert ingest.length == 3  # never more than the blob has
        ingest.is_done = True
    assert os.listdir(tmp_path / "ingest") == []


async def test_old_blobs_are_swept(tmp_path: Path) -> None:
    ingests = Ingests(str(tmp_path))
    path = tmp_path / "ingest" / ("b" * 64)
    path.write_bytes(b"x" * 5000)
    assert ingests.prune(3600) == 0
    os.utime(path, (1, 1))
    assert ingests.prune(3600) > 0
    assert not path.exists()


async def test_one_at_a_time_goes_on_with_a_blob(tmp_path: Path) -> None:
    ingests = Ingests(str(tmp_path))
    order: list[int] = []

    async def one(number: int) -> None:
        async with ingests.open(DIGEST, 9):
            order.append(number)
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(one(1), one(2), one(3))
    assert order == [1, 1, 2, 2, 3, 3]


# --- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"errors":[{"code":"DENIED","message":"no \\u001b[31mred"}]}', "denied: no  [31mred"),
        (b'{"errors":[{"code":"NAME_UNKNOWN"},7]}', "name unknown"),
        (b'{"details":"incorrect password"}', "incorrect password"),
        (b'{"message":"m"}', "m"),
        (b"<html>", "404 Not Found"),
        (b"[" * 100_000, "404 Not Found"),
        (b'{"errors":{}}', "404 Not Found"),
    ],
)
def test_the_registrys_words_are_one_clean_line(data: bytes, words: str) -> None:
    assert failures.message(404, data) == words


@given(st.binary(max_size=200), st.integers(100, 999))
def test_any_refusal_becomes_an_error(data: bytes, status: int) -> None:
    found = failures.refusal("r.lan", status, data, "app:1", "repository:app:pull")
    assert isinstance(found, DockyardError)
    assert "\n" not in str(found)


def test_how_long_to_wait() -> None:
    assert failures.seconds_to_wait("7") == 7
    assert failures.seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert failures.seconds_to_wait("9" * 50) == 999_999_999
    for text in ("", "-1", "soon", "²"):
        assert failures.seconds_to_wait(text) is None


# --- platforms -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("x86_64", Platform("linux", "amd64")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("linux/arm64/v8", Platform("linux", "arm64")),
        ("linux/arm", Platform("linux", "arm")),
        ("armhf", Platform("linux", "arm")),
        ("LINUX/ARM/v6", Platform("linux", "arm", "v6")),
        ("windows/amd64", Platform("windows", "amd64")),
        ("linux", platforms.here()),
        ("", platforms.here()),
    ],
)
def test_platforms_are_read(text: str, platform: Platform) -> None:
    assert platforms.parse(text) == platform


@pytest.mark.parametrize("text", ["/", "a/b/c/d", "linux/", "linux amd64", "linux/ä"])
def test_platforms_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid platform"):
        platforms.parse(text)


def test_the_best_that_runs_is_chosen() -> None:
    v6, v7 = Platform("linux", "arm", "v6"), Platform("linux", "arm")
    assert platforms.choose([v6, v7], v7) == 1
    assert platforms.choose([v6], v7) == 0
    assert platforms.choose([v7], v6) is None
    assert platforms.choose([Platform("linux", "amd64", "v3")], Platform("linux", "amd64")) is None


# --- names of requests -----------------------------------------------------------------------------


def test_what_a_pull_names() -> None:
    def name(*arguments: str) -> str:
        found = to_pull(*arguments)
        return found.canonical if found else ""

    assert name("busybox", "1") == "docker.io/library/busybox:1"
    assert name("busybox:1", "") == "docker.io/library/busybox:1"
    assert name("r.lan:5000/a/b", "") == ""
    assert (
        name("a", DIGEST) == name(f"a@{DIGEST}", "") == name(f"a@{DIGEST}", DIGEST) == f"docker.io/library/a@{DIGEST}"
    )


def test_what_a_login_names() -> None:
    for text in ("", "https://index.docker.io/v1/", "docker.io"):
        assert domain_of(text) == "docker.io"
    assert domain_of("https://r.lan:5000/v2/") == "r.lan:5000"
    assert domain_of("ghcr.io") == "ghcr.io"
    with pytest.raises(InvalidArgument):
        domain_of("https://r_lan/")


async def test_tags_come_in_pages(ground: Ground) -> None:
    ground.add("app", {"a": b"1"}, tag="1")
    ground.add("app", {"a": b"2"}, tag="2")

    async def pages(request: web.Request) -> web.StreamResponse | None:
        if not request.path.endswith("/tags/list"):
            return None
        if request.query.get("last"):
            return web.json_response({"tags": ["2"]})
        link = '</v2/app/tags/list?last=1&n=1>; rel="next"'
        return web.json_response({"tags": ["1"]}, headers={"Link": link})

    ground.registry.misdeed = pages
    await ground.pull("app", "")
    assert ground.store.images.get(ground.name("app:2")).tags == (ground.name("app:2"),)


async def test_tags_without_an_end(ground: Ground) -> None:
    async def pages(request: web.Request) -> web.StreamResponse | None:
        return web.json_response({"tags": ["1"] * 1000}, headers={"Link": f"<{request.path}>; rel=next"})

    ground.registry.misdeed = pages
    with pytest.raises(Corrupt, match="more than 10000 tags"):
        await ground.pull("app", "")


async def test_a_search_falls_back_to_the_catalogue(ground: Ground) -> None:
    ground.add("team/app", {"a": b"1"})
    ground.add("other", {"a": b"1"})
    found = await ground.service.search(f"{ground.registry.host}/app", 25)
    assert [item.name for item in found] == [ground.name("team/app")]
    with pytest.raises(InvalidArgument, match="outside the range"):
        await ground.service.search("x", 101)


async def test_looking_without_pulling(ground: Ground) -> None:
    ground.add("app", {"a": b"1"})
    descriptor, found = await ground.service.distribution(ground.name("app:1"), ground.nobody)
    assert descriptor["size"] == len(ground.registry.manifests["app:1"][1])
    assert [item["os"] for item in found] == ["linux"]
    answer = await ground.service.manifests(ground.name("app:1"), ground.nobody, True)
    assert answer["Raw"].encode() == ground.registry.manifests["app:1"][1]
    with pytest.raises(NotFound):
        await ground.service.manifests(ground.name("app:2"), ground.nobody, False)
