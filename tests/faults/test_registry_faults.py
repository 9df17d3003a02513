"""What goes wrong between an engine and a registry: each is passed over, or told in words that help."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.network.namespace import NetNs
from tests.registry import build
from tests.registry.client import pull, push
from tests.registry.fake import FakeRegistry
from tests.registry.faults import Fault, FaultProxy
from tests.registry.server import Registry, free_port
from tests.registry.tokens import TokenProxy
from tests.support import Engine

_BLOB = r"GET /v2/.*/blobs/{}"
_MANIFEST = r"(HEAD|GET) /v2/.*/manifests/.*"


def stored(registry: Registry, repository: str, seed: int, size: int = 20_000) -> build.Built:
    """An image with a layer of noise."""
    made = build.image([build.noise_layer(seed, size)])
    registry.put(repository, "1", made)
    return made


def blob_of(made: build.Built) -> str:
    """A pattern of the requests for its layer."""
    return _BLOB.format(made.layers[0])


# --- nobody there, or somebody who cannot be trusted ---------------------------------------------------------------


def test_an_unknown_host(puller: Engine) -> None:
    assert "the host nowhere.invalid is not known" in pull(puller, "nowhere.invalid/team/app:1").error


def test_refused(puller: Engine, home: NetNs) -> None:
    host = f"127.0.0.1:{free_port(home)}"
    assert f"no connection to {host}: Connection refused" in pull(puller, f"{host}/team/app:1").error


def test_tls_that_is_not_trusted(puller: Engine, base_folder: Path, home: NetNs) -> None:
    """The message says where the authority's certificate is to be put."""
    with Registry(base_folder, home, secure=True) as secure:
        error = pull(puller, secure.name("team/app:1")).error
    assert f"the TLS certificate of {secure.host} is not trusted" in error
    assert f"certs.d/{secure.host}/ca.crt" in error
    assert f'ca = "FILE" below [registries."{secure.host}"]' in error


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_no_right_to_pull(puller: Engine, proxy: FaultProxy, status: int) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"not yours"}]}'
    proxy.when(_MANIFEST, Fault(status=status, body=body))
    found = pull(puller, proxy.name("team/app:1"))
    assert found.status == 404  # as Docker has it: nobody is told whether it exists
    for words in ("denied", "the scope repository:team/app:pull", f"dockyard login {proxy.host}"):
        assert words in found.error


def test_no_right_to_push(puller: Engine, registry: Registry) -> None:
    made = stored(registry, "open/app", 1)
    with TokenProxy(registry, public={"open/app"}) as tokens:
        assert pull(puller, tokens.name("open/app:1")).error == ""
        found = push(puller, tokens.name("open/app"), "1")
        assert found.status == 200  # Docker's client would ask for a password
        assert "the scope repository:open/app:pull,push" in found.error
    assert registry.digest("open/app", "1") == made.digest


def test_a_tag_that_is_not_there(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    stored(registry, "some/app", 2)
    found = pull(puller, proxy.name("some/app:nine"))
    assert found.status == 404
    assert f"manifest for {proxy.name('some/app:nine')} not found" in found.error


def test_a_repository_that_is_not_there(puller: Engine, proxy: FaultProxy) -> None:
    body = b'{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}'
    proxy.when(_MANIFEST, Fault(status=404, body=body))
    found = pull(puller, proxy.name("no/app:1"))
    assert found.status == 404
    assert f"repository {proxy.name('no/app:1')} not found" in found.error


# --- busy, broken, slow --------------------------------------------------------------------------------------------


def test_too_many_requests(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """What the registry asks for is waited for, and told; too long a pause is an error that says how long."""
    made = stored(registry, "busy/app", 3)
    proxy.when(blob_of(made), Fault(status=429, headers={"Retry-After": "1"}, body=b"{}"), times=2)
    found = pull(puller, proxy.name("busy/app:1"))
    assert found.error == ""
    assert len(proxy.asked(blob_of(made))) == 3
    assert any(line.get("status") == "Retrying in 1 second" for line in found.messages)
    proxy.when(_MANIFEST, Fault(status=429, headers={"Retry-After": "7000"}, body=b"{}"))
    error = pull(puller, proxy.name("busy/app:2")).error
    assert "it asks to wait 7000 seconds" in error


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_failures_that_pass(puller: Engine, proxy: FaultProxy, registry: Registry, status: int) -> None:
    made = stored(registry, f"failing/app{status}", status)
    proxy.when(blob_of(made), Fault(status=status), times=1)
    proxy.when(_MANIFEST, Fault(status=status), times=1)
    assert pull(puller, proxy.name(f"failing/app{status}:1")).error == ""
    assert [one.status for one in proxy.asked(blob_of(made))] == [status, 200]


def test_failures_that_stay(puller: Engine, proxy: FaultProxy) -> None:
    proxy.when(_MANIFEST, Fault(status=503))
    found = pull(puller, proxy.name("team/app:1"))
    assert f"{proxy.host} fails" in found.error
    assert 1 < len(proxy.seen) < 10


@pytest.mark.parametrize("seed", [11, 12])
def test_a_connection_that_is_cut(puller: Engine, proxy: FaultProxy, registry: Registry, seed: int) -> None:
    """Ten times at chance places: each time it goes on from the very byte, and none is sent twice."""
    made = stored(registry, f"cut/app{seed}", seed, 3_000_000)
    size = len(made.blobs[made.layers[0]])
    places = sorted(random.Random(seed).sample(range(1, size), 10))
    for before, place in zip([0, *places], places, strict=False):
        proxy.when(blob_of(made), Fault(cut=place - before), times=1)
    found = pull(puller, proxy.name(f"cut/app{seed}:1"))
    assert found.error == ""
    requests = proxy.asked(blob_of(made))
    assert [one.range for one in requests] == ["", *(f"bytes={place}-" for place in places)]
    assert sum(one.sent for one in requests) == size


def test_a_connection_that_is_reset(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    made = stored(registry, "reset/app", 13, 1_000_000)
    proxy.when(blob_of(made), Fault(cut=500_000, reset=True), times=2)
    assert pull(puller, proxy.name("reset/app:1")).error == ""
    assert len(proxy.asked(blob_of(made))) == 3


def test_a_registry_without_ranges(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    made = stored(registry, "whole/app", 14, 300_000)
    proxy.when(blob_of(made), Fault(cut=100_000), times=1)
    proxy.when(blob_of(made), Fault(ignores_range=True))
    assert pull(puller, proxy.name("whole/app:1")).error == ""
    assert [one.status for one in proxy.asked(blob_of(made))] == [200, 200]


def test_a_registry_that_drips(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    made = stored(registry, "slow/app", 15, 100_000)
    proxy.when(blob_of(made), Fault(drip=(10_000, 0.15)))
    found = pull(puller, proxy.name("slow/app:1"))
    assert found.error == ""
    counts = [line["progressDetail"]["current"] for line in found.messages if line.get("status") == "Downloading"]
    assert counts == sorted(counts)
    assert len(counts) > 1


def test_an_upload_that_is_cut(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """The registry is asked how far it got."""
    stored(registry, "up/app", 16, 2_000_000)
    assert pull(puller, registry.name("up/app:1")).error == ""
    puller.docker("tag", registry.name("up/app:1"), proxy.name("down/app:1"), check=True)
    proxy.when("PATCH .*", Fault(cut_upload=1_000_000), times=1)
    pushed = push(puller, proxy.name("down/app"), "1")
    assert pushed.error == ""
    assert [one.status for one in proxy.asked("PATCH .*")] == [0, 202]
    assert len(proxy.asked("GET .*/uploads/.*")) == 1
    puller.docker("rmi", registry.name("up/app:1"), proxy.name("down/app:1"), check=True)
    assert pull(puller, proxy.name("down/app:1")).error == ""


# --- bodies that are not what was promised -------------------------------------------------------------------------


def test_a_body_that_is_shorter(puller: Engine, fake: FakeRegistry, proxy: FaultProxy, registry: Registry) -> None:
    """Once it is a break like others; a blob that has no more is an error."""
    made = stored(registry, "short/app", 20)
    proxy.when(blob_of(made), Fault(shorter=5), times=1)
    assert pull(puller, proxy.name("short/app:1")).error == ""
    assert proxy.asked(blob_of(made))[1].range == f"bytes={len(made.blobs[made.layers[0]]) - 5}-"
    tar = build.noise_layer(21, 1000)
    fake.put("short", "1", build.image([build.Layer(tar, build.digest(tar), size=len(tar) + 5)], compression=""))
    error = pull(puller, fake.name("short:1")).error
    assert f"has {len(tar)} bytes at most, its manifest says {len(tar) + 5}" in error


def test_a_body_that_is_longer(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    made = stored(registry, "long/app", 22)
    size = len(made.blobs[made.layers[0]])
    proxy.when(blob_of(made), Fault(longer=b"more"), times=1)
    assert f"has {size + 4} bytes, its manifest says {size}" in pull(puller, proxy.name("long/app:1")).error
    proxy.when(blob_of(made), Fault(surplus=b"more"), times=1)  # behind Content-Length: nobody's business
    assert pull(puller, proxy.name("long/app:1")).error == ""


def test_a_blob_with_another_digest(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """Nothing of it is kept: the next pull fetches it from its beginning."""
    made = stored(registry, "wrong/app", 23, 200_000)
    proxy.when(blob_of(made), Fault(wrong={100_000: b"other bytes"}), times=1)
    error = pull(puller, proxy.name("wrong/app:1")).error
    assert f"blob {made.layers[0]} came with the digest sha256:" in error
    assert list((puller.root / "ingest").iterdir()) == []
    assert pull(puller, proxy.name("wrong/app:1")).error == ""
    assert [one.range for one in proxy.asked(blob_of(made))] == ["", ""]


def test_a_manifest_with_another_digest(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    made = stored(registry, "other/app", 24)
    lie = build.digest(b"another")
    proxy.when(_MANIFEST, Fault(headers={"Docker-Content-Digest": lie}))
    error = pull(puller, proxy.name("other/app:1")).error
    assert f"has the digest {made.digest}, {lie} was promised" in error


def test_a_layer_with_another_diff_id(puller: Engine, fake: FakeRegistry) -> None:
    tar = build.noise_layer(25, 1000)
    lie = build.digest(b"another")
    fake.put("lie", "1", build.image([build.Layer(tar, lie)], compression=""))
    error = pull(puller, fake.name("lie:1")).error
    assert f"has the DiffID {build.digest(tar)}, the config says {lie}" in error


def test_an_index_without_our_platform(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """What there is is listed."""
    listed = {
        f"linux/{name}": build.image([build.noise_layer(26, 10)], architecture=name) for name in ("s390x", "mips64le")
    }
    registry.put("strange/app", "1", build.index(listed))
    error = pull(puller, proxy.name("strange/app:1")).error
    assert "linux/s390x" in error
    assert "linux/mips64le" in error
