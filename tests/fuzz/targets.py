"""What is fed, the corpus it begins with, and what it promises: a DockyardError, or a result that is right."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from core.errors import DockyardError
from core.image import documents, intake, recipe, trees
from core.image.content import check_digest
from tests.images import Entry, docker_archive, folder, layer

_DIGEST = "sha256:" + "ab" * 32


class Target(NamedTuple):
    """``feed`` raises nothing but AssertionError, for a promise that was broken."""

    feed: Callable[[bytes], None]
    corpus: Callable[[], list[bytes]]


# --- the layer reader ------------------------------------------------------------------------------


def feed_layer(data: bytes) -> None:
    """Unpack it beside a file that must stay, and write it again from its recipe."""
    base = Path(tempfile.mkdtemp(prefix="dkfuzz"))
    made = intake.Unpacked()
    try:
        (base / "stays").write_text("as it was")
        before = sorted(os.listdir(base))
        tmp = base / "tmp"
        tmp.mkdir()
        try:
            diff_id = intake.unpack(io.BytesIO(data), str(tmp), "layer", made)
        except DockyardError:
            diff_id = ""
        assert sorted(set(os.listdir(base)) - {"tmp"}) == before, "something was made outside"
        assert (base / "stays").read_text() == "as it was", "something outside was changed"
        if diff_id:
            name = made[diff_id][0]
            for _ in recipe.replay(intake.recipe_path(str(tmp), name), str(tmp / name), diff_id):
                continue
    finally:
        for name in made.names:
            trees.discard(str(base / "tmp" / name))
        shutil.rmtree(base)


def layers() -> list[bytes]:
    """Layers with everything that a layer may have."""
    plain = layer(
        [
            folder("etc"),
            Entry("etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
            Entry("bin/sh", b"#!" * 400, mode=0o4755),
            Entry("bin/ash", type=tarfile.LNKTYPE, target="bin/sh"),
            Entry("lib", type=tarfile.SYMTYPE, target="/usr/lib"),
            Entry("lib/x", b"1"),
            Entry("etc/.wh.shadow"),
            Entry("var/.wh..wh..opq"),
            Entry("dev/null", type=tarfile.CHRTYPE, device=(1, 3)),
            Entry("run/pipe", type=tarfile.FIFOTYPE),
            Entry("a/" * 60 + "deep", b"x", pax={"SCHILY.xattr.user.a": "b", "mtime": "1.5"}),
        ]
    )
    found = [plain, gzip.compress(plain, 1, mtime=0), bytes(1024), b""]
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            for name, size in (("f", 700), ("n" * (90 if form == tarfile.USTAR_FORMAT else 300), 3)):
                entry = tarfile.TarInfo(name)
                entry.size = size
                tar.addfile(entry, io.BytesIO(b"z" * size))
        found.append(buffer.getvalue())
    found.append(_sparse())
    return found


def _sparse() -> bytes:
    """GNU's sparse format 1.0: a map of decimal numbers before the content."""
    text = b"2\n0\n3\n4096\n2\n".ljust(512, b"\0")
    entry = tarfile.TarInfo("GNUSparseFile.0/holes")
    entry.size = len(text) + 5
    entry.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "holes", "GNU.sparse.realsize": "8192",
    }  # fmt: skip
    return entry.tobuf(tarfile.PAX_FORMAT) + (text + b"abcde").ljust(1024, b"\0") + bytes(1024)


# --- manifests, indexes, configs -------------------------------------------------------------------


def feed_document(data: bytes) -> None:
    """Read it as each of them; what is accepted holds what the engine relies on."""
    try:
        found = documents.manifest(data)
    except DockyardError:
        found = {}
    try:
        if "manifests" in found:
            chosen = documents.choose(found, platform="linux/amd64")
            assert isinstance(chosen["digest"], str)
            assert isinstance(chosen["size"], int)
        for item in [found["config"], *found["layers"]] if "layers" in found else []:
            check_digest(item["digest"])
            assert isinstance(item["size"], int)
    except DockyardError:
        pass
    try:
        image = documents.image(data)
    except DockyardError:
        return
    assert all(isinstance(digest, str) for digest in image["rootfs"]["diff_ids"])
    assert isinstance(image["architecture"], str)
    json.dumps(image).encode()


def texts() -> list[bytes]:
    """One of each, and what hides in archives."""
    descriptor = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": _DIGEST, "size": 7}
    platform = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    config = {
        "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {
            "Cmd": ["sh"], "Env": ["A=b"], "Labels": {"a": "b"}, "Volumes": {"/data": {}}, "User": "0:0",
            "ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["CMD", "true"]}, "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [_DIGEST]},
        "history": [{"created_by": "RUN x", "empty_layer": True}],
    }  # fmt: skip
    manifest = {"schemaVersion": 2, "config": descriptor, "layers": [descriptor] * 3}
    index = {"schemaVersion": 2, "manifests": [{**descriptor, "platform": platform}, descriptor]}
    archive = docker_archive([layer([Entry("a", b"b")])], {}, ["x:1"])
    return [json.dumps(one).encode() for one in (config, manifest, index)] + [archive[:2048]]


TARGETS = {"layers": Target(feed_layer, layers), "documents": Target(feed_document, texts)}
