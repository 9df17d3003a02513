"""Any layer becomes what the model says, or is refused where it says so; and its tar comes out again byte for byte."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Corrupt
from core.image import layers, recipe, tar
from tests import images
from tests.image import tars
from tests.image.model import Model, Refused
from tests.image.tars import Member
from tests.image.trees import describe

pytestmark = pytest.mark.root

_names = st.sampled_from(
    ["a", "b", "a/b", "a/c", "a/b/c", "b/a", "./a/", "b/../a", ".", "ü/\udcff", "a/" + "y" * 200, "z" * 120 + "/z",
     "\x1b[2J"]
)  # fmt: skip
_marks = st.sampled_from([".wh.a", "a/.wh.b", "a/.wh..wh..opq", ".wh..wh..opq", ".wh..wh.plnk/x", "b/.wh.a", "a/.wh."])
_members = st.one_of(
    tars.files(_names),
    tars.files(_names),
    tars.folders(_names),
    tars.folders(_names),
    # Parents are never links: the model does not follow any.
    tars.links(st.sampled_from(["s", "a/s", "t"]), st.one_of(_names, st.sampled_from(["s", "t", "a/s"]))),
    tars.devices(_names),
    _marks.map(Member),
)


@contextmanager
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def unpack(data: bytes, at: Path) -> tuple[str, int]:
    (at / "layer").mkdir(mode=0o755)
    with (at / "recipe").open("xb") as file:
        return layers.extract(io.BytesIO(data), str(at / "layer"), recorder=recipe.Recorder(file))


def expected(members: list[Member]) -> dict[str, Any] | None:
    """What the folder should hold; None for a tar that is to be refused."""
    model = Model()
    try:
        for member in members:
            model.apply(member)
    except Refused:
        return None
    return model.describe()


def normal(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Times that no entry gave are the clock's; links of one file name the same first one."""
    names: dict[str, str] = {}
    for path in sorted(found):
        item = found[path]
        if path in wanted and wanted[path]["mtime"] is None:
            item["mtime"] = None
        if "same as" in item:
            item["same as"] = names.setdefault(item["same as"], path)
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(_members, max_size=9), st.sampled_from(["gnu", "pax"]), st.sampled_from(["", "gzip", "zstd"]))
def test_a_layer_becomes_what_the_model_says(members: list[Member], format: str, compression: str) -> None:
    members = [tars.as_written(member, format) for member in members]
    data = tars.write(members, format)
    wanted = expected(members)
    with scratch() as at:
        try:
            diff_id, size = unpack(images.compress(data, compression), at)
        except Corrupt:
            assert wanted is None
            assert sorted(os.listdir(at)) == ["layer", "recipe"]
            return
        assert wanted is not None
        assert normal(describe(at / "layer"), wanted) == normal(wanted, wanted)
        assert diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert b"".join(recipe.replay(str(at / "recipe"), str(at / "layer"), diff_id)) == data
        assert size >= 0


_anything = st.sampled_from(["a", "b", "a/b", "l", "l/x", "l/y/z", "m", "m/x", "a/l", "a/l/x"])
_targets = st.sampled_from(["a", "/", "..", "../../x", "a/b", "l", "/a", ".", "../a", "m/x"])


@st.composite
def _linked(draw: st.DrawFn) -> Member:
    kind = draw(st.sampled_from([tar.FILE, tar.FOLDER, tar.SYMLINK, tar.HARDLINK, tar.FIFO]))
    member = Member(draw(_anything), kind)
    if kind in (tar.SYMLINK, tar.HARDLINK):
        return replace(member, target=draw(_targets))
    return replace(member, content=draw(st.binary(max_size=9))) if kind == tar.FILE else member


@settings(max_examples=200, deadline=None)
@given(st.lists(_linked(), max_size=9))
def test_what_came_through_links_comes_out_again(members: list[Member]) -> None:
    """Parents that are links: whatever they lead to, the tar can be written again."""
    data = tars.write(members, "pax")
    with scratch() as at:
        try:
            diff_id, _ = unpack(data, at)
        except Corrupt:
            return
        finally:
            assert sorted(os.listdir(at)) == ["layer", "recipe"]
        assert b"".join(recipe.replay(str(at / "recipe"), str(at / "layer"), diff_id)) == data


def test_folders_that_no_entry_names_are_roots(short_folder: Path) -> None:
    """Also below one that hands its group down (setgid)."""
    data = tars.write([Member("g", tar.FOLDER, mode=0o2775, gid=50), Member("g/implied/f"), Member("g/own")], "pax")
    unpack(data, short_folder)
    found = describe(short_folder / "layer")
    assert (found["g"]["owner"], found["g"]["mode"]) == ((0, 50), "0o42775")
    assert (found["g/implied"]["owner"], found["g/implied"]["mode"]) == ((0, 0), "0o40755")
    assert found["g/own"]["owner"] == found["g/implied/f"]["owner"] == (0, 0)


def test_a_name_longer_than_a_path_is_refused(short_folder: Path) -> None:
    deepest = "/".join(["d" * 200] * 20)  # 4019 bytes
    unpack(tars.write([Member(f"{deepest}/{'f' * 73}")], "pax"), short_folder)
    (short_folder / "again").mkdir()
    with pytest.raises(Corrupt, match="more than 4093 bytes"):
        unpack(tars.write([Member(f"{deepest}/{'f' * 74}")], "pax"), short_folder / "again")
