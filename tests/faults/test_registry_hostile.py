"""Images that mean harm: refused in words, or kept where they are; the engine lives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import images
from tests.registry import build, hostile
from tests.registry.client import pull
from tests.registry.fake import FakeRegistry
from tests.support import Engine


def fails(engine: Engine, fake: FakeRegistry, name: str) -> str:
    """What a pull is told that must fail; nothing of it stays."""
    error = pull(engine, fake.name(name)).error
    assert error, f"{name} was pulled"
    assert engine.api("GET", f"/images/{fake.name(name)}/json").status == 404
    assert os.listdir(engine.root / "tmp") == []
    return error


def test_a_large_manifest(puller: Engine, fake: FakeRegistry) -> None:
    fake.put("large", "1", hostile.large_manifest(10_000_000))
    assert "is larger than" in fails(puller, fake, "large:1")


def test_deep_documents(puller: Engine, fake: FakeRegistry) -> None:
    fake.put("deep", "manifest", build.Built(hostile.deep_json(10_000), build.OCI_MANIFEST))
    fake.put("deep", "config", hostile.deep_config(10_000))
    assert "manifest of" in fails(puller, fake, "deep:manifest")
    assert "config of" in fails(puller, fake, "deep:config")


def test_a_thousand_layers(puller: Engine, fake: FakeRegistry) -> None:
    """More than overlayfs takes: refused before the first is fetched."""
    made = hostile.many_layers(1000)
    fake.put("many", "1", made)
    assert "1000" in fails(puller, fake, "many:1")


def test_as_many_layers_as_docker_takes(puller: Engine, fake: FakeRegistry) -> None:
    fake.put("many", "2", hostile.many_layers(127))
    assert pull(puller, fake.name("many:2")).error == ""
    run = ["run", "--rm", "--network", "none", fake.name("many:2"), "cat", "/n/1", "/n/126"]
    assert puller.docker(*run, check=True).stdout == "1\n126\n"


def test_a_decompression_bomb(puller: Engine, fake: FakeRegistry) -> None:
    """10 GB that come as 10 MB: given up long before the end, with nothing left of them."""
    bomb = hostile.bomb(10_000_000_000)
    assert len(bomb.blob) < 12_000_000
    fake.put("bomb", "1", build.image([images.busybox_rootfs(), bomb]))
    before = os.statvfs(puller.root).f_bavail
    assert "decompression bomb" in fails(puller, fake, "bomb:1")
    assert before - os.statvfs(puller.root).f_bavail < 200_000


@pytest.fixture
def outside(short_folder: Path) -> Iterator[Path]:
    """A folder of the machine that is the same afterwards."""
    folder = short_folder / "outside"
    folder.mkdir()
    (folder / "canary").write_text("untouched")
    before = _marks(folder / "canary")
    yield folder
    assert os.listdir(folder) == ["canary"]
    assert _marks(folder / "canary") == before


def _marks(path: Path) -> tuple[object, ...]:
    found = path.stat()
    return path.read_text(), found.st_ino, found.st_mode, found.st_mtime_ns, found.st_ctime_ns, found.st_nlink


def test_paths_that_lead_out(puller: Engine, fake: FakeRegistry, outside: Path) -> None:
    """By names, links and hard links: unpacked or refused, and run, the folder outside stays as it was."""
    for number, (what, tar) in enumerate(hostile.traversals(str(outside))):
        tag = f"n{number}"
        fake.put("traversal", tag, build.busybox(tar))
        error = pull(puller, fake.name(f"traversal:{tag}")).error
        assert "traceback" not in error.lower(), what
        if not error:
            run = ["run", "--rm", "--network", "none", fake.name(f"traversal:{tag}"), "true"]
            assert puller.docker(*run).returncode == 0, what
        assert os.listdir(outside) == ["canary"], what


def test_device_nodes(puller: Engine, fake: FakeRegistry) -> None:
    """They are made, as Docker makes them; the container cannot open the disk."""
    fake.put("devices", "1", build.busybox(hostile.devices()))
    assert pull(puller, fake.name("devices:1")).error == ""
    run = ["run", "--rm", "--network", "none", fake.name("devices:1"), "sh", "-c"]
    listing = puller.docker(*run, "echo into >/nodes/null; ls -l /nodes", check=True).stdout
    assert sorted(line[0] for line in listing.splitlines() if "nodes" not in line and "total" not in line) == [
        "b",
        "c",
        "p",
    ]
    refused = puller.docker(*run, "cat /nodes/disk")
    assert refused.returncode == 1
    assert "not permitted" in refused.stderr
