"""The tables of networks: what is in memory is what is in the file."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from core.errors import Conflict, InvalidArgument, NotFound
from core.network.model import Endpoint, Network, Published, Subnet
from core.network.store import NetworkStore
from tests.conftest import OpenDatabase

RANGE = Subnet(ip_network("10.1.0.0/24"), ip_network("10.1.0.0/25"), ip_address("10.1.0.1"), {"a": "10.1.0.9"}, True)
NETWORK = Network("ab" * 32, "app", 5, "bridge", "br0", (RANGE,), True, True, options={"x": "y"}, labels={"l": "m"})
ENDPOINT = Endpoint("e1".ljust(64, "0"), NETWORK.id, "c" * 64, 0, {"Aliases": ["db"]})


def test_everything_is_there_again(tmp_path: Path, open_database: OpenDatabase) -> None:
    store = NetworkStore(open_database(tmp_path / "db"))
    store.insert(NETWORK)
    store.connect(ENDPOINT)
    used = store.use(ENDPOINT, address4="10.1.0.2", address6="fd00::2", mac="02:42:0a:01:00:02", interface="eth0")
    published = Published("c" * 64, "tcp", "0.0.0.0", 8080, 80)
    store.publish([published])
    again = NetworkStore(open_database(tmp_path / "db"))
    assert again.all() == [NETWORK]
    assert again.endpoints_of("c" * 64) == [used] == again.endpoints_on(NETWORK)
    assert again.published_by("c" * 64) == [published]
    assert again.addresses_on(NETWORK).keys() == {"10.1.0.2", "fd00::2"}


def test_an_address_has_one_owner(tmp_path: Path, open_database: OpenDatabase) -> None:
    store = NetworkStore(open_database(tmp_path / "db"))
    store.insert(NETWORK)
    other = replace(ENDPOINT, id="e2".ljust(64, "0"), container="d" * 64)
    store.connect(ENDPOINT)
    store.connect(other)
    store.use(ENDPOINT, address4="10.1.0.2")
    with pytest.raises(Conflict, match="Address already in use"):
        store.use(other, address4="10.1.0.2")
    store.use(ENDPOINT, address4="")
    store.use(other, address4="10.1.0.2")
    with pytest.raises(Conflict, match="is on network app already"):
        store.connect(replace(ENDPOINT, id="e3".ljust(64, "0")))


def test_who_was_on_a_network_goes_with_it(tmp_path: Path, open_database: OpenDatabase) -> None:
    store = NetworkStore(open_database(tmp_path / "db"))
    store.insert(NETWORK)
    store.connect(ENDPOINT)
    store.use(ENDPOINT, address4="10.1.0.2")
    store.delete(NETWORK)
    assert (store.all(), store.all_endpoints()) == ([], [])
    assert NetworkStore(open_database(tmp_path / "db")).all_endpoints() == []


def test_networks_are_found_by_name_and_by_id(tmp_path: Path, open_database: OpenDatabase) -> None:
    store = NetworkStore(open_database(tmp_path / "db"))
    store.insert(NETWORK)
    store.insert(replace(NETWORK, id="ab" * 31 + "00", name="other", subnets=()))
    assert store.get("app").id == store.get(NETWORK.id).id == NETWORK.id
    with pytest.raises(InvalidArgument, match="ambiguous"):
        store.get("abab")
    with pytest.raises(NotFound, match="network nope not found"):
        store.get("nope")
    with pytest.raises(Conflict, match="network with name app already exists"):
        store.insert(replace(NETWORK, id="f" * 64))


def test_ports_are_forgotten_one_by_one_and_all(tmp_path: Path, open_database: OpenDatabase) -> None:
    store = NetworkStore(open_database(tmp_path / "db"))
    rows = [Published("c" * 64, "tcp", "0.0.0.0", number, 80) for number in range(1, 4)]
    store.publish(rows)
    store.unpublish("c" * 64, rows[:1])
    assert store.published_by("c" * 64) == rows[1:]
    assert store.unpublish("c" * 64) == rows[1:]
    assert NetworkStore(open_database(tmp_path / "db")).all_published() == []
