"""Compressed layers: whole whatever their members and sizes, Corrupt when cut, and never dearer than their bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
from collections.abc import Callable
from typing import BinaryIO, cast

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Corrupt
from core.image import streams
from core.image.streams import CHUNK, Stream

Compress = Callable[[bytes], bytes]


def xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


FORMS: dict[str, Compress] = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": xz, "zstd": zstandard.compress}
forms = pytest.mark.parametrize("compress", FORMS.values(), ids=FORMS)


def unpacked(data: bytes, size: int = CHUNK) -> bytes:
    source = streams.decompress(cast(BinaryIO, io.BytesIO(data)))
    found = []
    while piece := source.read(size):
        assert len(piece) <= size
        found.append(piece)
    return b"".join(found)


@forms
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK, 3 * CHUNK + 7])
def test_sizes_around_a_chunk(compress: Compress, size: int) -> None:
    """An engine may hold the rest of what it was given when its output was full."""
    for data in (bytes(size), random.Random(size).randbytes(size)):
        assert unpacked(compress(data)) == data


@forms
@given(
    st.lists(st.tuples(st.integers(0, 30_000), st.booleans(), st.integers(0, 9000)), max_size=6), st.integers(1, 9000)
)
@settings(max_examples=40, deadline=None)
def test_members_follow_each_other(compress: Compress, members: list[tuple[int, bool, int]], size: int) -> None:
    pads = compress is not zstandard.compress
    packed, plain = compress(b"first"), b"first"
    for length, is_noise, padding in members:
        data = random.Random(length).randbytes(length) if is_noise else bytes(length)
        packed += bytes(padding if pads else 0) + compress(data)
        plain += data
    assert unpacked(packed, size) == plain


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz"])
def test_cut_anywhere_is_corrupt(form: str) -> None:
    """A cut zstd frame is no error to its reader: the layer's digest tells."""
    data = FORMS[form](random.Random(1).randbytes(3000))
    for cut in range(6, len(data) - 1, 97):
        with pytest.raises(Corrupt, match="ends in its middle"):
            unpacked(data[:cut])


@pytest.mark.timeout(30)
@forms
def test_a_million_empty_members_cost_what_they_weigh(compress: Compress) -> None:
    empty = compress(b"")
    assert unpacked(compress(b"x") + empty * (4 * CHUNK // len(empty))) == b"x"


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(0, 60)))
def test_a_stream_takes_bytes_in_their_order(chunks: list[bytes], sizes: list[int]) -> None:
    told: list[bytes] = []
    stream = Stream(iter([chunk for chunk in chunks if chunk]), lambda data: told.append(bytes(data)))
    data = b"".join(chunks)
    at = 0
    for number, size in enumerate(sizes):
        if number % 3 == 0:
            assert stream.read(size) == data[at : at + size]
        elif number % 3 == 1:
            stream.seek(at + size)
        else:
            piece = bytes(stream.part(size)) if size else b""
            assert data[at:].startswith(piece)
            assert bool(piece) == bool(size and data[at:])
            told.append(piece)
            at += len(piece)
            continue
        at = min(len(data), at + size)
        assert stream.tell() == at
    stream.finish()
    assert b"".join(told) == data
    with pytest.raises(Corrupt, match="leads back"):
        Stream(iter([b"x"])).seek(-1)
