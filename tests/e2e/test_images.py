"""Images on one machine: import, load, images, rmi, and what bad archives do."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from tests import images
from tests.support import Engine


@pytest.fixture
def own(own_engine: Engine) -> Engine:
    return own_engine


def test_import_runs(own: Engine, short_folder: Path) -> None:
    tar = short_folder / "rootfs.tar"
    tar.write_bytes(images.busybox_rootfs())
    done = own.dockyard("import", str(tar), "mine:1", check=True)
    assert done.stdout.startswith("sha256:")
    out = own.dockyard("run", "--rm", "--network", "none", "mine:1", "echo", "hello", check=True)
    assert out.stdout == "hello\n"
    again = own.dockyard(
        "import",
        "-c",
        'CMD ["echo", "by default"]',
        "-c",
        "ENV A=b",
        "-",
        "mine:2",
        input=tar.read_bytes(),
        text=False,
    )
    assert again.returncode == 0, again.stderr
    assert own.dockyard("run", "--rm", "--network", "none", "mine:2", check=True).stdout == "by default\n"
    assert "mine:2" in own.dockyard("images", "--format", "{{.Repository}}:{{.Tag}}", check=True).stdout


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_load_an_oci_archive(own: Engine, short_folder: Path, compression: str) -> None:
    layers = [images.busybox_rootfs(), images.layer([images.Entry("etc/second", b"layer\n")])]
    archive = short_folder / "a.tar"
    archive.write_bytes(
        images.oci_archive(
            layers, images.image_config(layers, Cmd=["cat", "/etc/second"]), "two:1", compression=compression
        )
    )
    done = own.dockyard("load", "-i", str(archive), check=True)
    assert done.stdout == "Loaded image: two:1\n"
    assert own.dockyard("run", "--rm", "--network", "none", "two:1", check=True).stdout == "layer\n"


def test_load_a_docker_archive_and_rmi(own: Engine, short_folder: Path) -> None:
    archive = short_folder / "a.tar"
    archive.write_bytes(images.busybox_archive("bb:1"))
    assert own.dockyard("load", "-i", str(archive), check=True).stdout == "Loaded image: bb:1\n"
    own.dockyard("create", "--name", "user", "bb:1", "true", check=True)
    refused = own.dockyard("rmi", "bb:1")
    assert refused.returncode == 1
    assert "being used by" in refused.stderr or "is using" in refused.stderr
    own.dockyard("rm", "user", check=True)
    done = own.dockyard("rmi", "bb:1", check=True).stdout
    assert "Untagged: bb:1" in done
    assert "Deleted: sha256:" in done
    assert "bb" not in own.dockyard("images", check=True).stdout
    assert list((own.root / "blobs" / "sha256").iterdir()) == []


def test_debian_runs(engine: Engine, debian_tar: Path) -> None:
    engine.dockyard("import", str(debian_tar), "debian:test", check=True, timeout=120)
    out = engine.dockyard(
        "run",
        "--rm",
        "--network",
        "none",
        "debian:test",
        "bash",
        "-c",
        "cat /etc/debian_version; id -un",
        check=True,
    )
    assert out.stdout.splitlines()[1] == "root"
    engine.dockyard("rmi", "debian:test", check=True)


def _tar(name: str, **fields: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        for key, value in fields.items():
            setattr(info, key, value)
        tar.addfile(info)
    return buffer.getvalue()


def _lying() -> bytes:
    layers = [images.busybox_rootfs()]
    config = images.image_config(layers)
    config["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]
    return images.docker_archive(layers, config, ["liar:1"])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"this is no tar at all" * 100, "archive"),
        (images.busybox_archive("x:1")[:-600_000], "the tar is damaged or cut short at byte"),
        (_tar("../../evil"), r"\.\./\.\./evil"),
    ],
    ids=["empty", "garbage", "truncated", "dotdot"],
)
def test_bad_archives(own: Engine, short_folder: Path, data: bytes, text: str) -> None:
    import re

    archive = short_folder / "bad.tar"
    archive.write_bytes(data)
    verb = ["import", str(archive), "bad:1"] if b"evil" in data else ["load", "-i", str(archive)]
    done = own.dockyard(*verb)
    assert done.returncode == 1
    assert re.search(text, done.stderr, re.IGNORECASE), done.stderr
    assert "Traceback" not in done.stderr
    assert "bad" not in own.dockyard("images", check=True).stdout
    assert list((own.root / "tmp").iterdir()) == []


def test_a_manifest_that_lies(own: Engine, short_folder: Path) -> None:
    archive = short_folder / "liar.tar"
    archive.write_bytes(_lying())
    done = own.dockyard("load", "-i", str(archive))
    assert done.returncode == 1
    assert "sha256" in done.stderr
    assert "liar" not in own.dockyard("images", check=True).stdout


def test_images_as_json(engine: Engine, busybox: str) -> None:
    rows = [json.loads(line) for line in engine.dockyard("images", "--format", "json", check=True).stdout.splitlines()]
    assert {"busybox", "host"} <= {row["Repository"] for row in rows}
    quiet = engine.dockyard("images", "-q", "--no-trunc", busybox, check=True).stdout
    assert quiet.startswith("sha256:")
