"""Image configs as hostile text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import Corrupt
from core.image import documents


def image(**members: Any) -> bytes:
    config = members.pop("config", {})
    document = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"diff_ids": ["sha256:" + "0" * 64]},
        "config": config,
        **members,
    }
    return json.dumps(document).encode()


def test_a_plain_one_is_taken() -> None:
    assert documents.image(image(config={"Env": ["A=é\n"]}, created=None))["config"]["Env"] == ["A=é\n"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (image(created=5), "created"),
        (image(config={"WorkingDir": "/x\0y"}), "WorkingDir"),
        (image(config={"User": "root\0"}), "User"),
        (image(config={"Cmd": ["\0"]}), "Cmd"),
        (image(config={"Labels": {"\ud800": "x"}}), "surrogates"),
        (b'{"config": "\xed\xa0\x80"}', "not JSON"),
        (image().decode().encode("utf-16"), "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested"),
        (image()[:-1] + b', "os": "linux"}', "stands twice"),
        (image()[:-1] + b', "x": [{"a": 1, "a": 2}]}', "stands twice"),
        (image()[:-1] + b', "Rootfs": {"diff_ids": []}}', "spells rootfs as 'Rootfs'"),
        (image(x=1e308).replace(b"1e+308", b"1e309"), "too large a number"),
        (image(x=5).replace(b'"x": 5', b'"x": NaN'), "NaN is no number"),
        (image(x=5).replace(b'"x": 5', b'"x": -Infinity'), "-Infinity is no number"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(Corrupt, match=words):
        documents.image(data)


DIGEST = "sha256:" + "0" * 64


def manifest(**members: Any) -> bytes:
    one = {"digest": DIGEST, "size": 1}
    return json.dumps({"config": one, "layers": [one], **members}).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (manifest(manifests=[]), "neither a manifest nor an index"),
        (manifest(Manifests=[]), "spells manifests as 'Manifests'"),
        (manifest(mediatype="x"), "spells mediaType as 'mediatype'"),
        (manifest()[:-1] + b', "layers": []}', "stands twice"),
        *((manifest(layers=[{"digest": DIGEST, "size": size}]), "size") for size in (-1, 2**63, True, "1", 1.5, None)),
        *(
            (manifest(config={"digest": digest, "size": 1}), "not a sha256 digest")
            for digest in (
                DIGEST.upper(), "sha256:" + "A" * 64, "sha512:" + "0" * 128, "md5:" + "0" * 32, "sha256:" + "0" * 63,
                DIGEST + "\n", "SHA256:" + "0" * 64, "sha256+b64:" + "0" * 64, "../../etc/passwd", "0" * 64, "",
            )
        ),
        (manifest(layers=[{"digest": DIGEST, "size": 1}] * 1000), "lists 1000 items"),
        (json.dumps({"manifests": [{"digest": DIGEST, "size": 1}] * 1001}).encode(), "lists 1001 items"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)  # fmt: skip
def test_manifests_that_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(Corrupt, match=words):
        documents.manifest(data)
