"""What a container, or another user of the machine, reaches of the engine's own files on the host."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core import engine as composition
from tests.support import Engine

pytestmark = [pytest.mark.root, pytest.mark.security]


def test_generated_files_of_etc_do_not_fill_the_hosts_run(engine: Engine, busybox: str) -> None:
    """They may be written to, without an end; /run is a tmpfs that the whole machine needs."""
    engine.dockyard("run", "-d", "--name", "filler", busybox, "sleep", "100", check=True)
    write = "echo mine > /etc/hosts; echo mine > /etc/hostname; echo mine > /etc/resolv.conf"
    engine.dockyard("exec", "filler", "sh", "-c", write, check=True)
    found = engine.inspect("filler")
    for member in ("HostsPath", "HostnamePath", "ResolvConfPath"):
        path = Path(found[member])
        assert path.is_relative_to(engine.root)
        assert path.read_text() == "mine\n"
    assert [path for path in _files(Path(engine.run)) if path.stat().st_mode & 0o222 and _says(path, "mine")] == []


def test_generated_files_are_new_at_each_start(engine: Engine, busybox: str) -> None:
    spoil = "cat /etc/hosts | grep -c spoiled; echo spoiled > /etc/hosts; chmod 0 /etc/hosts; chown 7:7 /etc/hosts"
    engine.dockyard("run", "--name", "again", busybox, "sh", "-c", spoil, check=True)
    assert engine.dockyard("start", "-a", "again", check=True).stdout == "0\n"


def _files(folder: Path) -> Iterator[Path]:
    for above, _, names in os.walk(folder):
        yield from (Path(above, name) for name in names if stat.S_ISREG(os.lstat(Path(above, name)).st_mode))


def _says(path: Path, text: str) -> bool:
    return text in path.read_text(errors="replace")


def test_others_read_nothing_in_a_root_folder_that_was_there_before(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(start=False)
    for folder in (engine.root, engine.run):
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
    old = os.umask(0o022)
    try:
        engine.start()
    finally:
        os.umask(old)
    engine.dockyard("create", "-e", "SECRET=x", engine.busybox(), "true", check=True)
    exposed = {
        str(path): oct(mode)
        for top in (Path(engine.root), Path(engine.run))
        for path in top.iterdir()
        if (mode := stat.S_IMODE(path.lstat().st_mode)) & 0o077
    }
    assert exposed == {str(engine.socket): "0o660"}  # by its group


def test_folders_of_an_older_engine_are_closed(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir(mode=0o755)
    composition.make_private(str(tmp_path))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o700}
