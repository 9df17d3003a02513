"""Fixtures for every test. What they give is described at the top of ``tests/support.py``.

``engine``        a running daemon, shared by the run; every container is removed after each test
``own_engine``    a fresh daemon for one test, to be killed, restarted or filled
``make_engine``   ``make_engine(serve_args=(), env={}, start=True, kind=Engine)`` → ``Engine``, closed after the test
``busybox``       the reference of a busybox image in ``engine``
``lan``           a ``Lan`` on ``engine``'s host: a neighbour on a cable, and through it the way to everywhere
``debian_tar``    the path of a minimal Debian root file system (tar)
``pty_of``        ``pty_of("run", "-it", …, rows=24, cols=80, engine=None)`` → the command line on a ``Pty``
``tmux_of``       ``tmux_of(*args, rows=40, cols=120, engine=None)`` → the command line in a ``Tmux``
``open_database`` ``open_database(path)`` → ``Database``, closed after the test
``short_folder``  an empty folder with a short path, removed after the test (sockets)

Tests that use them are marked ``root`` and ``e2e`` by that. At the end of the run everything must be gone:
processes, mounts, network namespaces and interfaces, cgroups, folders.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from core.db import Database
from tests import images, leaks
from tests.network.dockerd import DOCKER, Dockerd
from tests.network.lan import Lan
from tests.support import COMMAND, Engine, wait_until
from tests.terminal import Pty, Tmux

# The same examples in every run, and no deadline: a busy machine is no error.
hypothesis.settings.register_profile("dockyard", deadline=None, derandomize=True)
hypothesis.settings.load_profile("dockyard")

_ENGINES = {"engine", "own_engine", "make_engine", "busybox", "lan", "pty_of", "tmux_of", "puller"}


#: Of the tests with real engines, those that every Python runs; the others are long, and the same with each.
_EVERY_PYTHON = {"test_demo", "test_docker_cli", "test_lifecycle", "test_run", "test_tty"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name in ("e2e", "faults") and item.path.stem not in _EVERY_PYTHON:
            item.add_marker(pytest.mark.once)
        if _ENGINES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.root)
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session", autouse=True)
def base_folder() -> Iterator[Path]:
    """The folder of all engines of this run; at the end nothing of the run may be left on the machine."""
    before = leaks.snapshot()
    # Short (a socket's path ends at 107 bytes) and not on an overlay (it cannot be an upper layer).
    base = Path(tempfile.mkdtemp(prefix="dk", dir=os.environ.get("DOCKYARD_TEST_TMP", "/tmp")))
    yield base
    try:
        wait_until(lambda: not leaks.leftovers(base, before), 5)
    except AssertionError:
        found = leaks.leftovers(base, before)
    else:
        found = []
    leaks.kill_leftovers(base)
    shutil.rmtree(base, ignore_errors=True)
    if found:
        pytest.fail("the run left behind:\n" + "\n".join(found), pytrace=False)


OpenDatabase = Callable[[Path | str], Database]


@pytest.fixture
def open_database() -> Iterator[OpenDatabase]:
    with ExitStack() as stack:

        def make(path: Path | str) -> Database:
            made = Database(path)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def short_folder(base_folder: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="t", dir=base_folder))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def shared_engine(base_folder: Path) -> Iterator[Engine]:
    """The run's one daemon; tests take ``engine``, which cleans up after them."""
    engine = Dockerd(base_folder) if DOCKER else Engine(base_folder)
    try:
        yield engine.start()
    finally:
        engine.close()


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    if not shared_engine.answers():
        shared_engine.restart()
    yield shared_engine
    shared_engine.remove_containers()
    shared_engine.remove_networks()


@pytest.fixture
def make_engine(base_folder: Path) -> Iterator[Callable[..., Engine]]:
    with ExitStack() as stack:

        def make(*, start: bool = True, kind: type[Engine] = Engine, **options: Any) -> Engine:
            made = kind(base_folder, **options)
            stack.callback(made.close)
            return made.start() if start else made

        yield make


@pytest.fixture
def own_engine(make_engine: Callable[..., Engine]) -> Engine:
    return make_engine()


@pytest.fixture
def busybox(engine: Engine) -> str:
    return engine.busybox()


@pytest.fixture
def lan(engine: Engine) -> Iterator[Lan]:
    with Lan(engine.netns) as made:
        yield made


@pytest.fixture(scope="session")
def debian_tar() -> Path:
    return images.debian_rootfs()


@pytest.fixture
def pty_of(request: pytest.FixtureRequest) -> Iterator[Callable[..., Pty]]:
    with ExitStack() as stack:

        def make(*args: str, engine: Engine | None = None, env: dict[str, str] | None = None, **options: Any) -> Pty:
            chosen = engine or request.getfixturevalue("engine")
            surroundings = {**chosen.environment(), **(env or {})}
            return stack.enter_context(
                chosen.in_netns(lambda: Pty([*COMMAND, *args], env=surroundings, **options)),
            )

        yield make


@pytest.fixture
def tmux_of(request: pytest.FixtureRequest, base_folder: Path) -> Iterator[Callable[..., Tmux]]:
    with ExitStack() as stack:

        def make(*args: str, engine: Engine | None = None, env: dict[str, str] | None = None, **options: Any) -> Tmux:
            chosen = engine or request.getfixturevalue("engine")
            surroundings = {**chosen.environment(), **(env or {})}
            folder = Path(tempfile.mkdtemp(prefix="m", dir=base_folder))
            stack.callback(shutil.rmtree, folder)
            return stack.enter_context(
                chosen.in_netns(lambda: Tmux(folder, [*COMMAND, *args], env=surroundings, **options)),
            )

        yield make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Show what the daemon of a failed test wrote, and its registries, and what those were asked."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            log = getattr(value, "log", None)
            if isinstance(log, str) and log:
                report.sections.append(
                    (f"{name}: {type(value).__name__}", log[-8000 if isinstance(value, Engine) else -2000 :])
                )
    return report
