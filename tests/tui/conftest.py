"""Fixtures of the screens' tests: a scripted engine and the workstation on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.tui.fake_engine import FakeEngine, fake_engine
from tui.client import Client
from tui.config import Config
from tui.workstation import Workstation


@pytest.fixture(autouse=True)
def person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A person without settings, in a terminal with every colour and UTF-8."""
    for name in ("NO_COLOR", "SSH_CONNECTION", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
async def fake(short_folder: Path) -> AsyncIterator[FakeEngine]:
    """A scripted engine without containers."""
    async with fake_engine(str(short_folder / "s")) as engine:
        yield engine


@pytest.fixture
def config() -> Config:
    """The defaults."""
    return Config("/home/person/.config/dockyard/config.toml")


@pytest.fixture
def workstation(fake: FakeEngine, config: Config) -> Callable[[], Workstation]:
    """Makes a workstation on the scripted engine."""
    return lambda: Workstation(Client(fake.path), config)
