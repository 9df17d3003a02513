"""Fixtures of the tests that let an engine and registries meet. Their ``conftest.py`` takes them from here.

``home``      the module's network namespace: all of the following are there
``registry``  a plain registry
``proxy``     a ``FaultProxy`` before it, without rules and record at the start of each test
``fake``      a ``FakeRegistry``
``puller``    an engine whose configuration file is ``configure``'s; images stay from test to test
``configure`` ``configure("text of engine.toml")``, gone after the test
``dockerd``   Docker's daemon
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.network.dockerd import Dockerd
from tests.network.namespace import NetNs
from tests.registry.fake import FakeRegistry
from tests.registry.faults import FaultProxy
from tests.registry.server import Registry
from tests.support import Engine

Configure = Callable[[str], None]


@pytest.fixture(scope="module")
def home() -> Iterator[NetNs]:
    with NetNs() as made:
        yield made


@pytest.fixture(scope="module")
def registry(base_folder: Path, home: NetNs) -> Iterator[Registry]:
    with Registry(base_folder, home) as made:
        yield made


@pytest.fixture(scope="module")
def module_proxy(registry: Registry) -> Iterator[FaultProxy]:
    with FaultProxy(registry) as made:
        yield made


@pytest.fixture
def proxy(module_proxy: FaultProxy) -> Iterator[FaultProxy]:
    module_proxy.heal()
    yield module_proxy
    module_proxy.release()


@pytest.fixture(scope="module")
def fake(home: NetNs) -> Iterator[FakeRegistry]:
    with FakeRegistry(home) as made:
        yield made


@pytest.fixture(scope="module")
def module_puller(base_folder: Path, home: NetNs) -> Iterator[Engine]:
    made = Engine(base_folder, netns=home)
    path = made.folder / "engine.toml"
    path.touch()
    made.serve_args += ["--config", str(path)]
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def puller(module_puller: Engine) -> Iterator[Engine]:
    if not module_puller.answers():
        module_puller.restart()
    yield module_puller
    module_puller.remove_containers()
    assert "Traceback" not in module_puller.log


@pytest.fixture
def configure(puller: Engine) -> Iterator[Configure]:
    path = puller.folder / "engine.toml"

    def write(text: str) -> None:
        path.write_text(text)

    yield write
    path.write_text("")


@pytest.fixture(scope="module")
def dockerd(base_folder: Path, home: NetNs) -> Iterator[Dockerd]:
    made = Dockerd(base_folder, netns=home, serve_args=["--bridge=none", "--iptables=false"])
    try:
        made.start()
        yield made
    finally:
        made.close()
