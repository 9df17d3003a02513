"""/etc/hosts, resolv.conf and the tables of the resolvers, as text."""

from __future__ import annotations

from core.network import names
from core.network.model import Endpoint, Network
from core.network.names import Hosts, Named

HOST = "nameserver 192.0.2.53\nsearch corp.example\noptions edns0 timeout:1\n"


def endpoint(number: int, *addresses: str) -> Endpoint:
    four = next((a for a in addresses if ":" not in a), "")
    six = next((a for a in addresses if ":" in a), "")
    return Endpoint(f"e{number}", "n", f"c{number}", 0, {}, four, six)


def test_a_shared_alias_has_the_addresses_of_all() -> None:
    network = Network("n", "app", 0, "bridge")
    members = [Named(endpoint(1, "10.0.0.2", "fd00::2"), ["Web", "api"]), Named(endpoint(2, "10.0.0.3"), ["db", "api"])]
    assert names.table(network, members) == {
        "name": "app",
        "names": {"web": ["10.0.0.2", "fd00::2"], "api": ["10.0.0.2", "fd00::2", "10.0.0.3"], "db": ["10.0.0.3"]},
        "reverse": {"10.0.0.2": "Web", "fd00::2": "Web", "10.0.0.3": "db"},
    }


def test_what_the_container_wrote_into_hosts_stays() -> None:
    before = Hosts((("10.0.0.2", "box"),))
    now = Hosts((("10.0.0.2", "box"), ("10.1.0.2", "box")))
    written = before.text() + "192.0.2.7\tmine\n"
    text = now.replaced_in(written, before)
    assert text.endswith("192.0.2.7\tmine\n10.0.0.2\tbox\n10.1.0.2\tbox\n")
    assert text.count("10.0.0.2") == 1
    assert now.replaced_in(text, now) == text


def test_resolv_conf_is_the_hosts_but_for_the_server() -> None:
    text = names.resolv_conf(["127.0.0.11"], None, [], HOST)
    assert text == "nameserver 127.0.0.11\nsearch corp.example\noptions edns0 timeout:1 ndots:0\n"


def test_what_a_person_sets_wins() -> None:
    text = names.resolv_conf(["127.0.0.11"], ["a.example", "b.example"], ["ndots:2"], HOST)
    assert text == "nameserver 127.0.0.11\nsearch a.example b.example\noptions ndots:2\n"
    assert "search" not in names.resolv_conf(["127.0.0.11"], ["."], [], HOST)
    assert names.resolv_conf(["192.0.2.1"], None, [], "") == "nameserver 192.0.2.1\n"
