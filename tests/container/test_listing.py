"""Docker's list filters."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.container.listing import list_containers
from core.container.status import Status
from core.container.store import ContainerStore
from core.errors import InvalidArgument, NotFound
from tests.conftest import OpenDatabase
from tests.container.records import make_container

#: As a NetworkStore in which nobody is on any network.
NO_NETWORKS: Any = SimpleNamespace(endpoints_of=lambda container: [], published_by=lambda container: [])


@pytest.fixture
def store(tmp_path: Path, open_database: OpenDatabase) -> ContainerStore:
    found = ContainerStore(open_database(tmp_path / "db"))
    found.insert(
        make_container(id="a" * 64, name="web", created=1, status=Status.RUNNING, Labels={"app": "x", "tier": "1"})
    )
    found.insert(
        make_container(
            {"Binds": ["/srv:/data"]},
            id="b" * 64,
            name="db",
            created=2,
            status=Status.EXITED,
            exit_code=3,
            finished_at=1,
        )
    )
    found.insert(make_container(id="c" * 64, name="web2", created=3, image="other:1", Labels={"app": "y"}))
    return found


def names(store: ContainerStore, *, all: bool = True, limit: int = 0, **filters: Any) -> list[str]:
    found = list_containers(store, NO_NETWORKS, all=all, limit=limit, filters=filters)
    return [item["Names"][0][1:] for item in found]


def test_only_the_running_by_default(store: ContainerStore) -> None:
    assert names(store, all=False) == ["web"]
    assert names(store) == ["web2", "db", "web"]
    assert names(store, all=False, limit=2) == ["web2", "db"]


@pytest.mark.parametrize(
    ("key", "values", "found"),
    [
        ("name", ["web"], ["web2", "web"]),
        ("name", ["^web$"], ["web"]),
        ("name", ["^/web$", "db"], ["db", "web"]),
        ("id", ["bb"], ["db"]),
        ("label", ["app"], ["web2", "web"]),
        ("label", ["app=x", "tier"], ["web"]),
        ("status", ["exited", "created"], ["web2", "db"]),
        ("exited", ["3"], ["db"]),
        ("exited", ["0"], []),
        ("ancestor", ["img"], ["db", "web"]),
        ("ancestor", ["other:1"], ["web2"]),
        ("ancestor", ["sha256:" + "a" * 64], ["web2", "db", "web"]),
        ("volume", ["/data"], ["db"]),
        ("volume", ["/srv"], ["db"]),
        ("network", ["bridge"], []),
        ("before", ["db"], ["web"]),
        ("since", ["db"], ["web2"]),
    ],
)
def test_filters(store: ContainerStore, key: str, values: list[str], found: list[str]) -> None:
    options: Any = {key: values}
    assert names(store, **options) == found


def test_a_status_filter_shows_the_stopped_too(store: ContainerStore) -> None:
    assert names(store, all=False, status=["exited"]) == ["db"]


@pytest.mark.parametrize(
    ("filters", "error"),
    [
        ({"odd": ["x"]}, InvalidArgument),
        ({"status": ["sleeping"]}, InvalidArgument),
        ({"exited": ["x"]}, InvalidArgument),
        ({"name": ["("]}, InvalidArgument),
        ({"health": ["well"]}, InvalidArgument),
        ({"before": ["nobody"]}, NotFound),
    ],
)
def test_bad_filters(store: ContainerStore, filters: dict[str, list[str]], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(filters)) if error is not NotFound else "nobody"):
        list_containers(store, NO_NETWORKS, all=True, limit=0, filters=filters)
