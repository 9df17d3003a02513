"""The configuration file: which servers stand for a registry."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import InvalidArgument
from core.image.registry.hosts import Endpoint, Hosts, is_loopback


def write(path: Path, text: str) -> Hosts:
    path.write_text(text)
    return Hosts(str(path))


def test_without_a_file_a_registry_is_its_host(tmp_path: Path) -> None:
    hosts = Hosts(str(tmp_path / "none"))
    assert hosts.to_pull("docker.io") == [Endpoint("registry-1.docker.io")]
    assert hosts.to_pull("ghcr.io") == [Endpoint("ghcr.io")]
    assert hosts.origin("localhost:5000") == Endpoint("localhost:5000", may_fall_back=True)
    with pytest.raises(InvalidArgument, match="there is no configuration file"):
        Hosts(str(tmp_path / "none"), explicit=True).check()


def test_mirrors_plain_http_and_certificates(tmp_path: Path) -> None:
    certs = tmp_path / "certs.d" / "registry.lan:5000"
    certs.mkdir(parents=True)
    for name in ("a.crt", "me.cert", "me.key", "alone.cert"):
        (certs / name).write_text("")
    hosts = write(
        tmp_path / "engine.toml",
        f"""
        certs = "{tmp_path}/certs.d"
        [registries."docker.io"]
        mirrors = ["https://mirror.lan", "http://10.0.0.2:5000/v2/hub/"]
        [registries."mirror.lan"]
        ca = "/ca"
        realms = ["login.lan"]
        [registries."plain.lan"]
        plain-http = true
        """,
    )
    assert hosts.to_pull("docker.io") == [
        Endpoint("mirror.lan", is_mirror=True, ca=("/ca",), realms=("login.lan",)),
        Endpoint("10.0.0.2:5000", "http", "hub/", True),
        Endpoint("registry-1.docker.io"),
    ]
    assert hosts.origin("plain.lan").url == "http://plain.lan"
    assert hosts.origin("registry.lan:5000") == Endpoint(
        "registry.lan:5000", ca=(str(certs / "a.crt"),), cert=str(certs / "me.cert"), key=str(certs / "me.key")
    )


def test_a_change_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "engine.toml"
    hosts = write(path, "")
    assert hosts.origin("r.lan").scheme == "https"
    path.write_text('[registries."r.lan"]\nplain-http = true\n')
    os.utime(path, (1, 1))
    assert hosts.origin("r.lan").scheme == "http"
    path.unlink()
    assert hosts.origin("r.lan").scheme == "https"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x =", "engine.toml: "),
        ("mirror = 1", "mirror is not known"),
        ("registries = 1", "registries is not known here, or not of its kind"),
        ("[registries]\nx = 1", r'\[registries."x"\] is not a table'),
        ('[registries."x"]\nplain_http = true', "plain_http is not known: known are mirrors, plain-http"),
        ('[registries."x"]\nplain-http = "yes"', "plain-http must be true or false"),
        ('[registries."x"]\nmirrors = "https://m"', "mirrors must be a list of strings"),
        ('[registries."x"]\nmirrors = ["m.lan"]', "mirror 'm.lan' is not http"),
        ('[registries."x"]\nmirrors = ["https://me:secret@m.lan"]', "is not http"),
        ('[registries."x"]\ncert = "c"', "cert and key belong together"),
        ("x = " + "[" * 2000, "engine.toml: "),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        write(tmp_path / "engine.toml", text).check()


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:80", "[::1]"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.lan", "127.0.0.1.evil.example", "10.0.0.1:5000", "[::2]:80", "x"])
def test_no_loopback(host: str) -> None:
    assert not is_loopback(host)
