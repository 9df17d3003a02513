"""The `dockyard` script finds its own Python from wherever it is called, and forks nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import CHECKOUT

LAUNCHER = CHECKOUT / "tui/cli/dockyard"
#: Stands in for the environment's Python: tells how it was called, and the parent that execed it.
PYTHON = '#!/bin/sh\nprintf "%s\\n" "$PPID" "$@"\n'


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An installed layout in a folder with spaces."""
    venv = tmp_path / "a venv"
    package = venv / "lib/python3.11/site-packages/tui/cli"
    package.mkdir(parents=True)
    (package / "__main__.py").touch()
    (venv / "bin").mkdir()
    shutil.copy(LAUNCHER, venv / "bin/dockyard")
    (venv / "bin/python").write_text(PYTHON)
    (venv / "bin/python").chmod(0o755)
    return venv


def call(argv: list[str], *, cwd: Path | None = None, path: str = "/nowhere") -> list[str]:
    done = subprocess.run(argv, cwd=cwd, env={"PATH": path}, capture_output=True, text=True, check=True)
    parent, *arguments = done.stdout.splitlines()
    assert int(parent) == os.getpid(), "a shell was left between the caller and Python"
    return arguments


def expected(bin_folder: str, *arguments: str) -> list[str]:
    return ["-IS", f"{bin_folder}/../lib/python3.11/site-packages/tui/cli/__main__.py", *arguments]


def test_by_its_path_with_nothing_else_on_path(venv: Path) -> None:
    # An empty PATH: whatever the script would fork would not be found.
    assert call([f"{venv}/bin/dockyard", "run", "a b", "*", ""]) == expected(f"{venv}/bin", "run", "a b", "*", "")


def test_by_path_lookup(venv: Path) -> None:
    path = f"{venv}/bin:/usr/bin:/bin"
    found = subprocess.run(
        ["sh", "-c", "exec dockyard ps"], env={"PATH": path}, capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[1:] == expected(f"{venv}/bin", "ps")


def test_as_an_argument_of_sh_in_its_folder(venv: Path) -> None:
    assert call(["/bin/sh", "dockyard", "ps"], cwd=venv / "bin") == expected(".", "ps")


def test_through_symbolic_links(venv: Path, tmp_path: Path) -> None:
    (tmp_path / "absolute").symlink_to(venv / "bin/dockyard")
    (tmp_path / "relative").symlink_to("a venv/bin/dockyard")
    (tmp_path / "twice").symlink_to("relative")
    for name in ("absolute", "relative", "twice"):
        (main,) = call([str(tmp_path / name)], path="/usr/bin:/bin")[1:]
        assert Path(main).resolve() == (venv / "lib/python3.11/site-packages/tui/cli/__main__.py").resolve()


def test_without_the_package_it_says_what_to_do(venv: Path) -> None:
    shutil.rmtree(venv / "lib")
    done = subprocess.run([venv / "bin/dockyard"], capture_output=True, text=True)
    assert done.returncode == 127
    assert "make" in done.stderr
