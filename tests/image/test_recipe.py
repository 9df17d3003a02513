"""A layer's tar comes out again byte for byte."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
from pathlib import Path

import pytest

from core.errors import Corrupt
from core.image import layers, recipe
from tests.image.test_layers import make_tree
from tests.images import Entry, folder, hardlink, layer, symlink

pytestmark = pytest.mark.root


def unpack(data: bytes, at: Path) -> tuple[Path, str]:
    """The tar unpacked to ``at/layer``, its recipe's path, its DiffID."""
    (at / "layer").mkdir()
    path = at / "recipe"
    with path.open("xb") as file:
        diff_id, _ = layers.extract(io.BytesIO(data), str(at / "layer"), recorder=recipe.Recorder(file))
    return path, diff_id


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("form", ["gnu", "pax", "ustar"])
def test_what_gnu_tar_made(short_folder: Path, seed: int, form: str) -> None:
    (short_folder / "tree").mkdir()
    make_tree(short_folder / "tree", seed)
    command = ["tar", f"--format={form}", "-C", str(short_folder / "tree"), "-c", "."]
    data = subprocess.run(command, capture_output=True, check=False).stdout
    path, diff_id = unpack(data, short_folder)
    assert b"".join(recipe.replay(str(path), str(short_folder / "layer"), diff_id)) == data
    assert recipe.size(str(path)) == len(data)


@pytest.mark.parametrize(
    "entries",
    [
        [Entry("a", b"x" * 3_000_000), Entry("b", b""), symlink("c", "a"), hardlink("d", "a")],
        [Entry("a", b"first"), Entry("a", b"second")],
        [folder("d"), Entry("d/in", b"x"), Entry("d", b"now a file")],
        [Entry("d", b"a file"), folder("d"), Entry("d/in", b"x")],
        [Entry("a", b"first"), hardlink("b", "a"), Entry("a", b"second")],
        [Entry(".wh.gone", b""), folder("o"), Entry("o/.wh..wh..opq", b""), Entry(".wh..wh.aufs", b"book")],
        [],
    ],
)
def test_strange_tars(short_folder: Path, entries: list[Entry]) -> None:
    data = layer(entries) + b"trailing" * 100
    path, diff_id = unpack(gzip.compress(data), short_folder)
    assert diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert b"".join(recipe.replay(str(path), str(short_folder / "layer"), diff_id)) == data


def test_sparse_files(short_folder: Path) -> None:
    hole = short_folder / "hole"
    with hole.open("wb") as file:
        for position in (0, 5_000_000, 9_000_000):
            file.seek(position)
            file.write(b"island" * 100)
    for form in ("gnu", "pax"):
        at = short_folder / form
        at.mkdir()
        command = ["tar", f"--format={form}", "-S", "-C", str(short_folder), "-c", "hole"]
        data = subprocess.run(command, capture_output=True, check=True).stdout
        path, diff_id = unpack(data, at)
        assert b"".join(recipe.replay(str(path), str(at / "layer"), diff_id)) == data


def test_damage_is_told(short_folder: Path) -> None:
    path, diff_id = unpack(layer([Entry("a", b"x" * 100)]), short_folder)
    (short_folder / "layer" / "a").write_bytes(b"y" * 100)
    with pytest.raises(Corrupt, match="was damaged on disk"):
        list(recipe.replay(str(path), str(short_folder / "layer"), diff_id))
    os.truncate(short_folder / "layer" / "a", 3)
    with pytest.raises(Corrupt, match="a is shorter than it was"):
        list(recipe.replay(str(path), str(short_folder / "layer"), diff_id))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(Corrupt):
        list(recipe.replay(str(path), str(short_folder / "layer"), diff_id))


def test_a_link_in_a_files_place_is_not_followed(short_folder: Path) -> None:
    path, diff_id = unpack(layer([Entry("a", b"x" * 100)]), short_folder)
    (short_folder / "layer" / "a").unlink()
    (short_folder / "layer" / "a").symlink_to("/etc/passwd")
    with pytest.raises(Corrupt, match="cannot be read"):
        list(recipe.replay(str(path), str(short_folder / "layer"), diff_id))
