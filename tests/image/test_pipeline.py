"""Reading and hashing in threads: in order, whole, and gone afterwards."""

from __future__ import annotations

import hashlib
import io
import random
import sys
import threading
from typing import BinaryIO, cast

import pytest

from core.image.pipeline import Pipeline


class Failing(io.BytesIO):
    """Fails when it is read to its end."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise ValueError("damaged")
        return data


def layer_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("layer-")]


def test_all_comes_in_order_and_is_hashed() -> None:
    data = random.Random(1).randbytes(1_000_003)
    pipeline = Pipeline(cast(BinaryIO, io.BytesIO(data)), 4096)
    before = sys.getswitchinterval()
    with pipeline as chunks:
        assert sys.getswitchinterval() < before
        assert b"".join(chunks) == data
        assert next(chunks, b"") == b""
    assert pipeline.digest() == "sha256:" + hashlib.sha256(data).hexdigest()
    assert sys.getswitchinterval() == before
    assert layer_threads() == []


def test_leaving_in_the_middle_ends_the_threads() -> None:
    with Pipeline(cast(BinaryIO, io.BytesIO(bytes(10_000_000))), 100) as chunks:
        next(chunks)
    assert layer_threads() == []


def test_an_error_of_the_source_is_the_reason() -> None:
    def use() -> None:
        with Pipeline(cast(BinaryIO, Failing(bytes(5000))), 1000) as chunks:
            assert len(b"".join(chunks)) == 5000
            raise KeyError("what follows from the early end")

    with pytest.raises(ValueError, match="damaged"):
        use()
    assert layer_threads() == []
