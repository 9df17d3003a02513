"""The packages that an installation needs, fetched once for a machine that has no network."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.images import cache_folder
from tests.support import CHECKOUT


def folder() -> Path:
    """Wheels of the project's dependencies and of setuptools, in the cache folder; fetched on first use."""
    wanted = "\n".join([*_dependencies(), "setuptools>=77"])
    kept = cache_folder() / f"wheels-{sys.version_info.major}.{sys.version_info.minor}"
    stamp = kept / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        _fetch(kept, stamp, wanted)
    return kept


def environment() -> dict[str, str]:
    """The settings that make pip take them, and compile nothing: what is not imported need not be."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder()), "PIP_NO_COMPILE": "1"}


def _dependencies() -> list[str]:
    with (CHECKOUT / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["project"]["dependencies"])


def _fetch(kept: Path, stamp: Path, wanted: str) -> None:
    kept.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write(wanted)
        requirements.flush()
        pip = [sys.executable, "-m", "pip", "-qq", "download", "--disable-pip-version-check", "--only-binary=:all:"]
        subprocess.run([*pip, "--dest", str(kept), "--requirement", requirements.name], check=True)
    stamp.write_text(wanted)
