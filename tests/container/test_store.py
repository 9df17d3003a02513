"""Rows come back as they went in; names are unique; only legal transitions are stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.container.status import Container, Status
from core.container.store import ContainerStore
from core.errors import Conflict, InvalidArgument, NotFound
from tests.conftest import OpenDatabase
from tests.container.records import make_container


@pytest.fixture
def store(tmp_path: Path, open_database: OpenDatabase) -> ContainerStore:
    return ContainerStore(open_database(tmp_path / "db"))


def test_a_row_survives_the_daemon(tmp_path: Path, open_database: OpenDatabase) -> None:
    path = tmp_path / "db"
    box = make_container({"Memory": 64 << 20}, Env=["A=ä"], warnings=("w",))
    db = open_database(path)
    ContainerStore(db).insert(box)
    db.close()
    assert ContainerStore(open_database(path)).get("box") == box


def test_look_up_by_name_id_and_beginning(store: ContainerStore) -> None:
    store.insert(make_container(id="aa11" + "0" * 60, name="one"))
    store.insert(make_container(id="aa22" + "0" * 60, name="two"))
    assert store.get("/one").name == "one"
    assert store.get("aa22").name == "two"
    with pytest.raises(InvalidArgument, match="multiple"):
        store.get("aa")
    for missing in ("three", ""):
        with pytest.raises(NotFound, match="No such container"):
            store.get(missing)


def test_a_name_in_use_names_its_holder(store: ContainerStore) -> None:
    box = make_container()
    store.insert(box)
    with pytest.raises(Conflict, match=box.id):
        store.insert(make_container(id="f" * 64))
    store.delete(box.id)
    store.insert(make_container(id="f" * 64))
    assert store.get("box").id == "f" * 64


def test_only_legal_transitions(tmp_path: Path, open_database: OpenDatabase, store: ContainerStore) -> None:
    box = make_container()
    store.insert(box)
    with pytest.raises(Conflict, match="cannot become"):
        store.update(box.id, status=Status.EXITED)
    store.update(box.id, status=Status.STARTING)
    store.update(box.id, status=Status.RUNNING, pid=5)
    with pytest.raises(Conflict, match="cannot become"):
        store.update(box.id, status=Status.REMOVING)
    assert ContainerStore(open_database(tmp_path / "db")).get("box").status is Status.RUNNING


def test_every_status_but_the_last_has_a_way_on() -> None:
    for status in Status:
        ways = [target for target in Status if status.may_become(target)]
        assert bool(ways) is (status is not Status.REMOVING)


def test_newest_first(store: ContainerStore) -> None:
    store.insert(make_container(id="a" * 64, name="old", created=1))
    store.insert(make_container(id="b" * 64, name="new", created=2))
    assert [c.name for c in store.all()] == ["new", "old"]


def test_the_record_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Container.__setattr__(make_container(), "name", "x")


def test_a_renamed_row_has_one_name(tmp_path: Path, open_database: OpenDatabase, store: ContainerStore) -> None:
    box = make_container()
    store.insert(box)
    store.insert(make_container(id="f" * 64, name="other"))
    assert store.rename(box.id, "crate").name == "crate"
    with pytest.raises(NotFound):
        store.get("box")
    with pytest.raises(Conflict, match="f" * 64):
        store.rename(box.id, "other")
    again = ContainerStore(open_database(tmp_path / "db"))
    assert {c.name for c in again.all()} == {c.name for c in store.all()} == {"crate", "other"}
    store.delete(box.id)
    store.insert(make_container(name="crate"))


def test_a_record_of_an_older_version_gets_the_members_that_came_later(
    tmp_path: Path, open_database: OpenDatabase, store: ContainerStore
) -> None:
    box = make_container()
    old = {key: value for key, value in box.host_config.items() if key not in ("Annotations", "BlkioWeight")}
    store.insert(replace(box, host_config=old))
    again = ContainerStore(open_database(tmp_path / "db")).get("box")
    assert again.host_config == box.host_config
