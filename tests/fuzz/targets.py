"""What is run on an input. A target's ``run`` returns, or raises what is a finding."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import zstandard

from core.api import images as api
from core.container import merge
from core.container.config import parse_create
from core.errors import DockyardError
from core.image import archive, documents, layers, model, recipe, tar
from tests import images
from tests.fuzz.mutate import Mutator, summed
from tests.image import tars
from tests.image.tars import Member

_DIGEST = "sha256:" + "ab" * 32


class Target(Protocol):
    """``words`` of its format, the ``corpus`` it begins with, and how an input is made from another."""

    words: Sequence[bytes]
    corpus: list[bytes]

    def mutate(self, mutator: Mutator, data: bytes, other: bytes) -> bytes: ...

    def run(self, data: bytes) -> None: ...


class Finding(Exception):
    """An input did what none may do."""


# --- layers ----------------------------------------------------------------------------------------


def _layer_corpus() -> list[bytes]:
    plain = [
        Member("a", content=b"x" * 600, mtime=1),
        Member("d", tar.FOLDER, mode=0o2755, gid=5),
        Member("d/f", uid=2**31),
        Member("s", tar.SYMLINK, target="d"),
        Member("s/g", content=b"y"),
        Member("h", tar.HARDLINK, target="a"),
        Member("n", tar.CHAR, device=(1, 3)),
        Member("p", tar.FIFO),
        Member("a", content=b"again"),
        Member("deep/" * 40 + "f"),
        Member("out", tar.SYMLINK, target="../../outside"),
        Member("out/f", content=b"z"),
    ]
    marks = [Member(".wh.a"), Member("d/.wh..wh..opq"), Member("d", tar.FOLDER), Member(".wh.d"), Member(".wh..wh.x/y")]
    pax = [
        Member(
            "x", content=b"q", xattrs={"user.note": b"\xff\0", "trusted.overlay.opaque": b"y"}, mtime=-1_500_000_000
        ),
        Member("sparse", holes=((10, b"island"), (9000, b"end")), size=20_000),
    ]
    return [
        tars.write(plain, "gnu"),
        tars.write([*plain, *pax], "pax"),
        tars.write(plain[:2], "ustar"),
        tars.write(marks, "pax"),
        tars.write(pax, "pax"),
        _old_sparse(),
        b"",
    ]


def _old_sparse() -> bytes:
    header = bytearray(tars.write([Member("old", content=b"island")], "gnu"))
    header[156:157] = b"S"
    header[386:410] = b"%011o\0%011o\0" % (4096, 6)
    header[483:495] = b"%011o\0" % 9000
    return summed(bytes(header))


class Layers:
    """Extraction beside a canary, and the recipe's replay."""

    words: Sequence[bytes] = (
        b"path=",
        b"linkpath=",
        b"size=",
        b"mtime=",
        b"uid=",
        b"11 path=..\n",
        b"GNU.sparse.map=0,1,5,2",
        b"../",
        b"/",
        b"..",
        b"GNU.sparse.major=1",
        b"GNU.sparse.minor=0",
        b"GNU.sparse.realsize=99",
        b"SCHILY.xattr.user.a=b",
        b".wh.",
        b".wh..wh..opq",
        b"ustar\x0000",
        b"ustar  \0",
        b"x",
        b"g",
        b"L",
        b"K",
        b"S",
        b"1",
        b"2",
        b"5",
        b"../../outside",
        b"outside/canary",
        b"\x80\0\0\0\0\0\0\0\0\0\1\0",
        b"\xff" * 12,
        b"77777777777\0",
        b"\0" * 512,
        b"\0" * 1024,
    )

    def __init__(self) -> None:
        self.corpus = _layer_corpus()

    def mutate(self, mutator: Mutator, data: bytes, other: bytes) -> bytes:
        """Inputs are plain tars; some are compressed at the end, and then damaged once more."""
        changed = mutator.mutate(data, other)
        if not mutator.one_in(6):
            changed = summed(changed)
        for compress in (gzip.compress, zstandard.compress, bz2.compress, _xz):
            if mutator.one_in(24):
                changed = compress(changed)
                return mutator.mutate(changed) if mutator.one_in(2) else changed
        return changed

    def run(self, data: bytes) -> None:
        outer = Path(tempfile.mkdtemp(prefix="dockyard-fuzz-"))
        try:
            self._extract(data, outer)
            if sorted(os.listdir(outer)) != ["layer", "outside", "recipe"]:
                raise Finding(f"made beside its folder: {os.listdir(outer)}")
            if os.listdir(outer / "outside") != ["canary"] or (outer / "outside/canary").read_text() != "untouched":
                raise Finding("changed outside its folder")
        finally:
            shutil.rmtree(outer)

    def _extract(self, data: bytes, outer: Path) -> None:
        (outer / "outside").mkdir()
        (outer / "outside/canary").write_text("untouched")
        (outer / "layer").mkdir()
        try:
            with (outer / "recipe").open("xb") as file:
                diff_id, _ = layers.extract(io.BytesIO(data), str(outer / "layer"), recorder=recipe.Recorder(file))
        except DockyardError:
            return
        # It was taken: then it must come out again as it was, and Corrupt is a finding.
        for _ in recipe.replay(str(outer / "recipe"), str(outer / "layer"), diff_id):
            continue


def _xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


# --- documents -------------------------------------------------------------------------------------


def _dump(document: Any) -> bytes:
    return json.dumps(document).encode()


def _config() -> dict[str, Any]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "variant": "v2",
        "created": "2024-01-01T00:00:00.5Z",
        "author": "me",
        "config": {
            "Env": ["PATH=/bin", "A"],
            "Cmd": ["sh"],
            "Entrypoint": ["/e"],
            "User": "1:2",
            "WorkingDir": "/w",
            "Labels": {"a": "b", "\x1b[31m": "\u202e"},
            "Volumes": {"/v": {}},
            "ExposedPorts": {"80/tcp": {}},
            "StopSignal": "SIGTERM",
            "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1000000000, "Retries": 3},
            "Shell": ["/bin/sh"],
            "OnBuild": ["RUN x"],
        },
        "rootfs": {"type": "layers", "diff_ids": [_DIGEST]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "x", "comment": "c"}, {"empty_layer": True}],
    }


def _manifest() -> dict[str, Any]:
    one = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": _DIGEST, "size": 10}
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": one,
        "layers": [one],
        "annotations": {"a": "b"},
    }


def _index() -> dict[str, Any]:
    platform = {"architecture": "amd64", "os": "linux", "variant": "v3"}
    one = {"digest": _DIGEST, "size": 10, "platform": platform, "annotations": {"vnd.docker.reference.type": "x"}}
    return {"schemaVersion": 2, "manifests": [one, {**one, "annotations": {}}, {"digest": _DIGEST, "size": 1}]}


class Documents:
    """An input as config, as manifest or index, and as the documents of an archive; then what uses them."""

    words: Sequence[bytes] = (
        b"null",
        b"true",
        b"-1",
        b"1e999",
        b"9" * 30,
        b"NaN",
        b'""',
        b"[]",
        b"{}",
        b"[[[[",
        b'{"a":',
        b"\\ud800",
        b"\\u0000",
        b"\xff",
        b"\xed\xa0\x80",
        b'"layers":',
        b'"manifests":',
        b'"config":',
        b'"digest":',
        b'"size":',
        b'"rootfs":',
        b'"history":',
        b'"created":',
        b'"Healthcheck":',
        b'"ExposedPorts":',
        b'"Volumes":{"/../x":{}}',
        b'"mediaType":',
        b'"sha512:',
        b'"Layers":',
        b"windows",
        b'"platform":null',
        b'"0001-01-01T00:00:00Z"',
        b'"9999-12-31T23:59:59+23:59"',
    )

    def __init__(self) -> None:
        self.corpus = [_dump(_config()), _dump(_manifest()), _dump(_index()), b"{}", b""]
        # Short ones get further: most of a long one's changes end in its first object.
        parts: list[dict[str, Any]] = [
            {"Volumes": {"/v": {}}},
            {"Healthcheck": {"Test": []}},
            {"ExposedPorts": {"1": {}}},
        ]
        self.corpus += [
            _dump({"rootfs": {"diff_ids": [_DIGEST]}, "architecture": "a", "os": "linux", "config": part})
            for part in parts
        ]

    def mutate(self, mutator: Mutator, data: bytes, other: bytes) -> bytes:
        return mutator.mutate(data, other)

    def run(self, data: bytes) -> None:
        for use in (self._as_config, self._as_manifest, self._as_archive):
            try:
                use(data)
            except DockyardError:
                continue

    def _as_config(self, data: bytes) -> None:
        config = documents.image(data)
        found = model.Image(
            _DIGEST, config, tuple(config["rootfs"]["diff_ids"]), 0, model.nanoseconds(config.get("created") or "")
        )
        assert found.chain_id
        shown = [api.summary(found), *(api.step(told, found, 0) for told in api.steps(found)), config]
        json.dumps(shown, allow_nan=False).encode()
        model.rfc3339(found.created)
        request = parse_create({"Image": "x", "Cmd": ["true"]})
        merge.merge_image_config(request.config, config.get("config") or {})

    def _as_manifest(self, data: bytes) -> None:
        document = documents.manifest(data)
        json.dumps(document, allow_nan=False).encode()
        if "manifests" in document:
            documents.choose(document)
            documents.choose(document, platform="linux/arm/v7")

    def _as_archive(self, data: bytes) -> None:
        blob = f"blobs/sha256/{images.digest(data)[7:]}"
        index = _index() | {"manifests": [{"digest": images.digest(data), "size": len(data)}]}
        for names in ({"index.json": _dump(index), blob: data}, {"manifest.json": data}, {"index.json": data}):
            written = tars.write([Member(name, content=content) for name, content in names.items()], "ustar")
            try:
                with archive.Archive(io.BytesIO(written)) as opened:
                    opened.images()
            except DockyardError:
                continue


TARGETS: dict[str, type[Layers | Documents]] = {"layers": Layers, "documents": Documents}
