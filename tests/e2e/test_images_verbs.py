"""tag, history, save, load, rmi, image prune and the filters of images, by both command lines."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Engine, wait_until

Client = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def only_busybox(engine: Engine) -> Iterator[None]:
    """The images that a test makes go with it."""
    yield
    engine.remove_containers()
    for image in engine.api("GET", "/images/json?all=1").body:
        for name in image["RepoTags"] or [image["Id"]]:
            if name not in ("host:latest", "busybox:test"):
                engine.api("DELETE", f"/images/{name}?force=1")


@pytest.fixture(params=["dockyard", "docker"])
def client(engine: Engine, request: pytest.FixtureRequest) -> Client:
    """Either command line."""
    return engine.dockyard if request.param == "dockyard" else engine.docker


def images(engine: Engine, query: str = "") -> list[dict[str, Any]]:
    found = engine.api("GET", f"/images/json{query}").body
    return [image for image in found if image["RepoTags"] != ["host:latest"]]


def child(engine: Engine, parent: str, name: str, text: str) -> str:
    """An image made from another by commit; its id."""
    engine.dockyard("run", "--name", "maker", parent, "sh", "-c", f"echo {text} > /{text}", check=True)
    made: str = engine.dockyard("commit", "maker", *([name] if name else []), check=True).stdout.strip()
    engine.dockyard("rm", "maker", check=True)
    return made


# --- tag -------------------------------------------------------------------------------------------


def test_tag(client: Client, engine: Engine) -> None:
    engine.busybox()
    assert client("tag", "busybox:test", "other").stdout == ""
    client("tag", "other", "reg.example:5000/a/b:c", check=True)
    tags = next(image["RepoTags"] for image in images(engine))
    assert {"busybox:test", "other:latest", "reg.example:5000/a/b:c"} <= set(tags)
    assert "No such image" in client("tag", "none", "x").stderr
    assert client("tag", "busybox:test", "UPPER").returncode == 1
    client("rmi", "other", "reg.example:5000/a/b:c", check=True)


# --- history ---------------------------------------------------------------------------------------


def test_history(client: Client, engine: Engine) -> None:
    engine.busybox()
    made = child(engine, "busybox:test", "made:1", "hello")
    lines = client("history", "made:1", check=True).stdout.splitlines()
    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert lines[1].startswith(made[7:19])
    assert "sh -c echo hello > /hello" in lines[1]
    assert "6B" in lines[1]
    ids = client("history", "-q", "--no-trunc", "made:1", check=True).stdout.split()
    assert ids[0] == made
    assert ids[1] == engine.api("GET", "/images/busybox:test/json").body["Id"]
    form = client("history", "--format", "{{.Size}} {{.CreatedBy}}", "-H=false", "made:1", check=True).stdout
    assert form.splitlines()[0].startswith("6 sh -c")
    assert "No such image" in client("history", "none").stderr


# --- images ----------------------------------------------------------------------------------------


def test_filters(client: Client, engine: Engine) -> None:
    engine.busybox()
    first = child(engine, "busybox:test", "a/first:1", "one")
    second = child(engine, "busybox:test", "", "two")

    def found(*flags: str) -> set[str]:
        return set(client("images", "-q", "--no-trunc", *flags, check=True).stdout.split())

    base = engine.api("GET", "/images/busybox:test/json").body["Id"]
    assert found("--filter", "dangling=true") == {second}
    assert first in found("--filter", "reference=a/*")
    assert first not in found("--filter", "reference=*")
    assert found("a/first") == {first}
    assert found("--filter", "since=busybox:test") == {first, second}
    assert found("--filter", "before=a/first:1") >= {base}
    assert second not in found("--filter", "before=a/first:1")
    assert found("--filter", "label=none") == set()
    assert base in found("--filter", "until=0s") | found("--filter", "before=a/first:1")
    assert "invalid filter" in client("images", "--filter", "colour=red").stderr
    assert "No such image" in client("images", "--filter", "since=none").stderr


def test_intermediate_images_are_hidden_and_run(client: Client, engine: Engine) -> None:
    engine.busybox()
    middle = child(engine, "busybox:test", "", "one")
    child(engine, middle, "top:1", "two")

    def listed(*flags: str) -> str:
        return client("images", "-q", "--no-trunc", *flags, check=True).stdout

    assert middle not in listed()
    assert middle in listed("-a")
    assert engine.dockyard("run", "--rm", middle[7:19], "cat", "/one", check=True).stdout == "one\n"
    assert engine.api("GET", "/images/top:1/json").body["Parent"] == middle


# --- rmi -------------------------------------------------------------------------------------------


def test_rmi_takes_untagged_parents_along(client: Client, engine: Engine) -> None:
    engine.busybox()
    middle = child(engine, "busybox:test", "", "one")
    top = child(engine, middle, "top:1", "two")
    assert "image has dependent child images" in client("rmi", middle).stderr
    gone = client("rmi", "top:1", check=True).stdout
    assert f"Deleted: {top}" in gone
    assert f"Deleted: {middle}" in gone
    middle = child(engine, "busybox:test", "", "one")
    child(engine, middle, "top:1", "two")
    client("rmi", "--no-prune", "top:1", check=True)
    assert middle in client("images", "-aq", "--no-trunc").stdout
    client("rmi", middle, check=True)


def test_rmi_of_an_image_in_use(client: Client, engine: Engine) -> None:
    engine.busybox()
    made = child(engine, "busybox:test", "made:1", "one")
    engine.dockyard("run", "-d", "--name", "box", "made:1", "sleep", "1000", check=True)
    assert "is using its referenced image" in client("rmi", "made:1").stderr
    assert "is being used by running container" in client("rmi", "-f", made).stderr
    engine.dockyard("stop", "-t", "0", "box", check=True)
    client("rmi", "-f", "made:1", check=True)
    assert engine.dockyard("start", "box").returncode == 0
    engine.dockyard("rm", "-f", "box", check=True)


# --- save and load ---------------------------------------------------------------------------------


def test_save_and_load(client: Client, engine: Engine, tmp_path: Path) -> None:
    engine.busybox()
    made = child(engine, "busybox:test", "made:1", "hello")
    engine.dockyard("tag", "made:1", "made:2", check=True)
    path = tmp_path / "x.tar"
    client("save", "-o", str(path), "made:1", "made:2", check=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    client("rmi", "made:1", "made:2", check=True)
    done = client("load", "-i", str(path), check=True)
    assert done.stdout == "Loaded image: made:1\nLoaded image: made:2\n"
    assert engine.api("GET", "/images/made:2/json").body["Id"] == made
    assert engine.dockyard("run", "--rm", "made:1", "cat", "/hello", check=True).stdout == "hello\n"


def test_what_a_name_means(client: Client, engine: Engine, tmp_path: Path) -> None:
    engine.busybox()
    made = child(engine, "busybox:test", "made:1", "hello")
    engine.dockyard("tag", "made:1", "made:2", check=True)

    def saved(*names: str) -> list[Any]:
        done = subprocess.run(
            ["docker", "save", *names], env=engine.environment(), capture_output=True, check=True, timeout=60
        )
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            file = archive.extractfile("manifest.json")
            assert file is not None
            return [item["RepoTags"] for item in json.load(file)]

    assert saved("made") == [["made:1", "made:2"]]
    assert saved("made:2") == [["made:2"]]
    assert saved(made[7:19]) == [None]
    assert sorted(map(str, saved("made:1", "busybox:test"))) == ["['busybox:test']", "['made:1']"]
    assert "No such image" in client("save", "-o", str(tmp_path / "x"), "none").stderr


def test_the_same_archive_twice(engine: Engine, tmp_path: Path) -> None:
    engine.busybox()
    for name in ("a", "b"):
        engine.dockyard("save", "-o", str(tmp_path / name), "busybox:test", check=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("program", ["gzip", "bzip2", "xz", "zstd"])
def test_compressed_archives(engine: Engine, tmp_path: Path, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    engine.busybox()
    child(engine, "busybox:test", "made:1", "hello")
    engine.dockyard("save", "-o", str(tmp_path / "x"), "made:1", check=True)
    subprocess.run([program, "-q", str(tmp_path / "x")], check=True)
    engine.dockyard("rmi", "made:1", check=True)
    packed = next(path for path in tmp_path.iterdir() if path.suffix)
    assert engine.dockyard("load", "-i", str(packed), check=True).stdout == "Loaded image: made:1\n"


def test_skopeo_reads_what_was_saved(engine: Engine, tmp_path: Path) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    engine.busybox()
    engine.dockyard("save", "-o", str(tmp_path / "x"), "busybox:test", check=True)
    for source in (f"docker-archive:{tmp_path}/x", f"oci-archive:{tmp_path}/x"):
        target = tmp_path / source.partition("-")[0]
        subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "-q", source, f"oci-archive:{target}:back:1"],
            check=True, timeout=60,
        )  # fmt: skip
        engine.dockyard("load", "-i", str(target), check=True)


def test_a_failed_save_leaves_what_was_there(engine: Engine, tmp_path: Path) -> None:
    engine.busybox()
    path = tmp_path / "x"
    path.write_text("old")
    layer = max((engine.root / "layers").iterdir(), key=lambda p: p.stat().st_mtime)
    victim = next(p for p in layer.rglob("*") if p.is_file() and not p.is_symlink() and p.stat().st_size)
    kept = victim.read_bytes()
    try:
        victim.write_bytes(b"#" * len(kept))
        done = engine.dockyard("save", "-o", str(path), "busybox:test")
        assert done.returncode == 1
        assert "closed the connection in the middle" in done.stderr
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["x"]
    finally:
        victim.write_bytes(kept)


# --- image prune -----------------------------------------------------------------------------------


def test_image_prune(client: Client, engine: Engine) -> None:
    engine.busybox()
    nameless = child(engine, "busybox:test", "", "one")
    named = child(engine, "busybox:test", "named:1", "two")
    used = child(engine, "busybox:test", "", "three")
    engine.dockyard("create", "--name", "box", used, "true", check=True)
    asked = client("image", "prune", input="n\n")
    assert "WARNING! This will remove all dangling images." in asked.stdout
    assert client("image", "prune", "-f", "--filter", "label=x", check=True).stdout == "Total reclaimed space: 0B\n"
    done = client("image", "prune", "-f", check=True).stdout
    assert f"deleted: {nameless}" in done
    assert done.endswith("Total reclaimed space: 4B\n")
    assert {image["Id"] for image in images(engine)} >= {named, used}
    done = client("image", "prune", "-af", check=True).stdout
    assert f"untagged: named:1\ndeleted: {named}" in done
    assert used in {image["Id"] for image in images(engine, "?all=1")}
    engine.dockyard("rm", "box", check=True)
    assert "invalid filter 'x'" in client("image", "prune", "-f", "--filter", "x=y").stderr


def test_a_prune_of_all_takes_a_named_parent_with_its_child(client: Client, engine: Engine) -> None:
    engine.busybox()
    parent = child(engine, "busybox:test", "parent:1", "one")
    engine.dockyard("tag", parent, "parent:2", check=True)
    top = child(engine, "parent:1", "top:1", "two")
    done = client("image", "prune", "-af", check=True).stdout
    for line in ("untagged: parent:1", "untagged: parent:2", f"deleted: {parent}", f"deleted: {top}"):
        assert line in done.splitlines()
    assert images(engine, "?all=1") == []


def test_events_of_images(engine: Engine) -> None:
    engine.busybox()
    engine.dockyard("tag", "busybox:test", "x:1", check=True)
    engine.dockyard("rmi", "x:1", check=True)
    engine.dockyard("image", "prune", "-f", check=True)

    def told() -> str:
        text: str = engine.dockyard("events", "--since", "1m", "--until", "0s", "--filter", "type=image").stdout
        return text if "prune" in text else ""

    text = wait_until(told, 10, "the events")
    assert "image tag" in text
    assert "image untag" in text
