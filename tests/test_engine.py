"""The composition root's own decisions: the lock, the kernel, the engine's name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.engine import Configuration, check_kernel, take_lock
from core.errors import Conflict, Unsupported
from core.linux.features import Feature

PRESENT = Feature("clone3", True, "containers cannot be made", True)


def test_what_is_only_missed_is_said() -> None:
    assert check_kernel([PRESENT, Feature("mqueue", False, "no /dev/mqueue")]) == ["mqueue: no /dev/mqueue"]


def test_what_is_needed_stops_the_start() -> None:
    with pytest.raises(Unsupported, match="openat2 is missing: paths cannot be resolved"):
        check_kernel([PRESENT, Feature("openat2", False, "paths cannot be resolved", True)])


def test_the_lock_names_its_holder(tmp_path: Path) -> None:
    fd = take_lock(str(tmp_path))
    with pytest.raises(Conflict, match=str(os.getpid())):
        take_lock(str(tmp_path))
    os.close(fd)
    os.close(take_lock(str(tmp_path)))


def test_engines_are_told_apart_by_their_root() -> None:
    assert Configuration().name == "main"
    first, second = Configuration("/a").name, Configuration("/b").name
    assert first != second
    assert Configuration("/a/").name == first
