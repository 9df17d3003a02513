"""What a resolver knows: files of the daemon and the host's resolv.conf, whole or not."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.runtime import names as module
from core.runtime.names import Names

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["web", "10.0.0.2"])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


def _near(members: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Documents that are nearly right: any member may be anything, or missing."""
    return st.fixed_dictionaries({}, optional={name: found | JSON for name, found in members.items()}) | JSON


ADDRESSES = st.dictionaries(st.sampled_from(["web", "db"]), st.lists(st.just("10.0.0.2")) | JSON)
OWN = _near(
    {
        "networks": st.just(["table.json"]),
        "own": ADDRESSES,
        "upstream": st.lists(st.sampled_from(["192.0.2.1", "::1", "host.example", "127.0.0.11", "", "\0"])),
        "forward": st.booleans(),
    }
)
TABLE = _near(
    {
        "name": st.sampled_from(["app", ""]),
        "names": ADDRESSES,
        "reverse": st.dictionaries(st.just("10.0.0.2"), st.just("web") | JSON),
    }
)


class Folder:
    """A run folder with tables that are replaced as the daemon does it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY)
        self.names = Names(self.fd, str(path / "resolv.conf"))

    def write(self, name: str, content: Any) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (self.path / f"{name}.new").write_text(text)
        (self.path / f"{name}.new").rename(self.path / name)

    def own(self, **members: Any) -> None:
        self.write("dns.json", {"networks": ["table.json"], "own": {}, "upstream": [], "forward": True} | members)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    os.close(made.fd)


@given(own=OWN, table=TABLE)
@settings(deadline=None)
def test_whatever_the_files_say(own: Any, table: Any) -> None:
    with tempfile.TemporaryDirectory() as path:
        made = Folder(Path(path))
        try:
            made.write("dns.json", own)
            made.write("table.json", table)
            for name in ("web", "web.app", "db", ""):
                found = made.names.addresses(name)
                assert found is None or all(type(address) is str for address in found)
            assert type(made.names.name_of("10.0.0.2")) is str
            upstream = made.names.upstream()
            assert upstream is None or set(upstream[0]) <= {"192.0.2.1", "::1"}
        finally:
            os.close(made.fd)


def test_private_names_come_first(folder: Folder) -> None:
    folder.own(own={"web": ["10.9.9.9"], "gone": []})
    folder.write("table.json", {"name": "App", "names": {"web": ["10.0.0.2"], "web.app": ["10.0.0.3"]}})
    assert folder.names.addresses("WEB") == ["10.9.9.9"]
    assert folder.names.addresses("gone") == []
    assert folder.names.addresses("web.APP") == ["10.0.0.3", "10.0.0.2"]
    assert folder.names.addresses("app") is None
    assert folder.names.addresses(".app") is None


def test_several_networks(folder: Folder) -> None:
    folder.own(networks=["one.json", "two.json", "none.json"])
    folder.write("one.json", {"name": "one", "names": {"web": ["10.0.0.2"]}, "reverse": {"10.0.0.2": "web"}})
    folder.write("two.json", {"name": "two", "names": {"web": ["10.0.1.2"]}, "reverse": {"10.0.1.2": "web"}})
    assert folder.names.addresses("web") == ["10.0.0.2", "10.0.1.2"]
    assert folder.names.addresses("web.two") == ["10.0.1.2"]
    assert [folder.names.name_of(address) for address in ("10.0.1.2", "10.0.0.2", "10.0.2.2")] == [
        "web.two",
        "web.one",
        "",
    ]
    folder.own(networks=["two.json"])
    assert folder.names.addresses("web") == ["10.0.1.2"]
    assert folder.names.name_of("10.0.0.2") == ""


def test_a_table_that_could_not_be_read_is_read_later(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.own()
    folder.write("table.json", {"name": "app", "names": {"web": ["10.0.0.2"]}})
    assert folder.names.addresses("web") == ["10.0.0.2"]
    folder.write("table.json", {"name": "app", "names": {"web": ["10.0.0.3"]}})
    with monkeypatch.context() as patch:

        def refuse(file: object) -> bytes:
            raise OSError(errno.EMFILE, "Too many open files")

        patch.setattr(module._File, "_read", refuse)
        assert folder.names.addresses("web") == ["10.0.0.2"]
    assert folder.names.addresses("web") == ["10.0.0.3"]


@pytest.mark.parametrize(
    "damaged", ["", "{", "[]", '{"names": {"web": 5}}', '{"name": 5}', '{"reverse": {"1": 2}}', "[" * 9999]
)
def test_a_damaged_table_is_not_believed(folder: Folder, damaged: str) -> None:
    folder.own()
    folder.write("table.json", damaged)
    assert folder.names.addresses("web") is None
    folder.write("table.json", {"name": "app", "names": {"web": ["10.0.0.2"]}})
    assert folder.names.addresses("web") == ["10.0.0.2"]
    folder.write("table.json", damaged)
    assert folder.names.addresses("web") == ["10.0.0.2"]
    (folder.path / "table.json").unlink()
    assert folder.names.addresses("web") == ["10.0.0.2"]


def test_who_is_asked(folder: Folder) -> None:
    conf = folder.path / "resolv.conf"
    conf.write_text("nameserver 192.0.2.1\n")
    assert folder.names.upstream() == ([], True)  # nothing is known yet, also not whether it may be asked
    folder.own()
    assert folder.names.upstream() == (["192.0.2.1"], True)
    folder.own(
        upstream=["192.0.2.7", "host.example", "127.0.0.11", "::ffff:127.0.0.11", "::1", "192.0.2.8", "192.0.2.9"]
    )
    assert folder.names.upstream() == (["192.0.2.7", "::1", "192.0.2.8"], False)
    folder.own(forward=False)
    assert folder.names.upstream() is None
    # The person's own server, asked from where the container is: it may be a neighbour.
    folder.own(forward=False, upstream=["192.0.2.7"])
    assert folder.names.upstream() == (["192.0.2.7"], False)
    folder.own(upstream=["127.0.0.11"])
    assert folder.names.upstream() == ([], False)


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("", []),
        ("nameserver 127.0.0.11\n", []),
        ("nameserver\nsearch a.example\noptions edns0\n# nameserver 192.0.2.1\n;nameserver 192.0.2.2\n", []),
        ("nameserver 127.0.0.11\nnameserver 127.0.0.53\n", ["127.0.0.53"]),
        ("nameserver dns.example.com\nnameserver 192.0.2.300\n  nameserver\t192.0.2.2 # x", ["192.0.2.2"]),
        ("nameserver ::1\nnameserver fe80::1%eth0\nnameserver fe80::1%3\n", ["::1", "fe80::1%eth0", "fe80::1%3"]),
        ("".join(f"nameserver 192.0.2.{n}\n" for n in range(1, 6)), ["192.0.2.1", "192.0.2.2", "192.0.2.3"]),
        ("nameserver 192.0.2.1\0\nnameserver fe80::1%\0\nname\xffserver 192.0.2.1\n", []),
    ],
)
def test_the_hosts_servers(folder: Folder, text: str, servers: list[str]) -> None:
    folder.own()
    folder.write("resolv.conf", "nameserver 192.0.2.99\n")
    assert folder.names.upstream() == (["192.0.2.99"], True)
    folder.write("resolv.conf", text)
    assert folder.names.upstream() == (servers, True)
