"""An engine that cannot start says why in one line, and leaves nothing beside the place it could not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import Engine


@pytest.mark.parametrize(
    ("flag", "value", "told"), [("--root", "", "--root is empty"), ("--run", "", "--run is empty")]
)
def test_an_empty_folder_is_not_the_working_folder(own_engine: Engine, flag: str, value: str, told: str) -> None:
    done = own_engine.dockyard("serve", flag, value)
    assert done.returncode == 1
    assert told in done.stderr


@pytest.mark.parametrize(
    ("socket", "told"),
    [("taken", "Is a directory"), ("missing/s", "No such file"), ("s" * 70, "longer than"), ("s" * 110, "longer than")],
)
def test_a_socket_that_cannot_be_made(own_engine: Engine, short_folder: Path, socket: str, told: str) -> None:
    (short_folder / "taken").mkdir()
    if len(socket) == 70:
        socket += "s" * (106 - len(str(short_folder / socket)))  # fits, but for the number behind it
    folders = ["--root", str(short_folder / "root"), "--run", str(short_folder / "run")]
    done = own_engine.dockyard("serve", *folders, "--socket", str(short_folder / socket))
    assert done.returncode == 1
    words = [line for line in done.stderr.splitlines() if line.startswith("dockyard: ")]
    assert len(words) == 1
    assert told in words[0]
    assert str(short_folder) in words[0]
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in short_folder.iterdir()) == ["root", "run", "taken"]
