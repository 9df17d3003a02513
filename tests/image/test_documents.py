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
    ],
)
def test_what_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(Corrupt, match=words):
        documents.image(data)
