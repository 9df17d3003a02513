"""The registries of the tests do what they say, to skopeo and to a bare HTTP client."""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
from pathlib import Path

import pytest

from tests.images import architecture
from tests.registry import build, hostile
from tests.registry.fake import FakeRegistry
from tests.registry.faults import Elsewhere, Fault, FaultProxy
from tests.registry.loopback import Named
from tests.registry.server import PASSWORD, USER, Registry
from tests.registry.tokens import SERVICE, TokenProxy

pytestmark = [pytest.mark.root]


def skopeo(at: Named, *words: str) -> subprocess.CompletedProcess[str]:
    return at.netns.inside(
        lambda: subprocess.run(["skopeo", *words], capture_output=True, text=True, check=False, timeout=60)
    )


# Docker's schema 2 has no zstd.
@pytest.mark.parametrize(
    ("kind", "compression"), [("oci", ""), ("oci", "gzip"), ("oci", "zstd"), ("docker", ""), ("docker", "gzip")]
)
def test_a_built_image_is_one_to_skopeo(registry: Registry, kind: str, compression: str) -> None:
    made = build.image([build.noise_layer(1, 1000)], kind=kind, compression=compression, Cmd=["x"])
    assert registry.put("team/app", f"{kind}{compression}", made) == made.digest
    done = skopeo(
        registry, "inspect", "--tls-verify=false", f"docker://{registry.name(f'team/app:{kind}{compression}')}"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Digest"] == made.digest
    assert json.loads(done.stdout)["Layers"] == [*made.layers]


def test_an_index_and_a_second_start(registry: Registry) -> None:
    made = build.index({f"linux/{architecture()}": build.image([]), "linux/riscv64": build.image([], Cmd=["r"])})
    registry.put("team/many", "1", made)
    registry.stop()
    registry.start()
    assert registry.digest("team/many", "1") == made.digest


def test_tls_and_a_password(base_folder: Path, registry: Registry, short_folder: Path) -> None:
    with Registry(base_folder, registry.netns, secure=True) as secure:
        assert secure.certificates is not None
        assert secure.ask("GET", "/v2/").status == 401
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        assert secure.ask("GET", "/v2/_catalog", headers={"Authorization": f"Basic {basic}"}).status == 200
        folder = short_folder / "image"
        words = ["--dest-cert-dir", str(secure.certificates.folder), "--dest-creds", f"{USER}:{PASSWORD}"]
        registry.put("a", "1", build.image([build.noise_layer(1, 10)]))
        source = f"docker://{registry.name('a:1')}"
        done = skopeo(registry, "copy", "--src-tls-verify=false", source, f"dir:{folder}")
        assert done.returncode == 0, done.stderr
        done = skopeo(secure, "copy", *words, f"dir:{folder}", f"docker://{secure.name('b:1')}")
        assert done.returncode == 0, done.stderr


def test_tokens_by_scope(registry: Registry, short_folder: Path) -> None:
    registry.put("open", "1", build.image([build.noise_layer(1, 10)]))
    with TokenProxy(registry, public=["open"]) as tokens:
        refused = tokens.ask("GET", "/v2/closed/manifests/1")
        assert refused.status == 401
        assert 'scope="repository:closed:pull"' in refused.headers["www-authenticate"]
        source = f"docker://{tokens.name('open:1')}"
        done = skopeo(tokens, "copy", "--src-tls-verify=false", source, f"dir:{short_folder}/a")
        assert done.returncode == 0, done.stderr
        assert {(one.user, one.service, one.scopes) for one in tokens.token_requests} == {
            ("", SERVICE, ("repository:open:pull",))
        }
        words = ["copy", "--dest-tls-verify=false", f"dir:{short_folder}/a", f"docker://{tokens.name('closed:1')}"]
        assert skopeo(tokens, *words).returncode == 1
        done = skopeo(tokens, *words, "--dest-creds", f"{USER}:{PASSWORD}")
        assert done.returncode == 0, done.stderr
        form = f"grant_type=password&service={SERVICE}&client_id=x&username={USER}&password=wrong".encode()
        assert tokens.ask("POST", "/token", form).status == 401
        given = tokens.ask("POST", "/token", form.replace(b"wrong", PASSWORD.encode())).json
        again = f"grant_type=refresh_token&service={SERVICE}&refresh_token={given['refresh_token']}"
        assert tokens.ask("POST", "/token", again.encode()).status == 200


def body(at: Named, target: str, headers: dict[str, str] | None = None) -> tuple[int, bytes, bool]:
    """Status, body, and whether it ended where its Content-Length says."""

    def get() -> tuple[int, bytes, bool]:
        connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=10)
        connection.request("GET", target, headers=headers or {})
        response = connection.getresponse()
        try:
            return response.status, response.read(), True
        except http.client.IncompleteRead as error:
            return response.status, error.partial, False
        finally:
            connection.close()

    return at.netns.inside(get)


def test_faults(registry: Registry) -> None:
    made = build.image([build.noise_layer(1, 500_000)])
    registry.put("app", "1", made)
    where, data = f"/v2/app/blobs/{made.layers[0]}", made.blobs[made.layers[0]]
    blob = r"GET /v2/app/blobs/.*"
    with FaultProxy(registry) as proxy:
        assert body(proxy, where) == (200, data, True)
        proxy.when(blob, Fault(cut=1000), times=1)
        proxy.when(blob, Fault(cut=0), times=1)
        assert body(proxy, where) == (200, data[:1000], False)
        assert body(proxy, where) == (200, b"", False)
        assert body(proxy, where, {"Range": "bytes=499000-"}) == (206, data[499000:], True)
        assert [one.sent for one in proxy.asked(blob)] == [len(data), 1000, 0, len(data) - 499000]
        assert proxy.seen[-1].range == "bytes=499000-"
        proxy.heal()
        for fault, expected in [
            (Fault(shorter=5), (200, data[:-5], True)),
            (Fault(longer=b"more"), (200, data + b"more", True)),
            (Fault(surplus=b"more"), (200, data, True)),
            (Fault(wrong={70_000: b"????"}), (200, data[:70_000] + b"????" + data[70_004:], True)),
            (Fault(drip=(100_000, 0.001)), (200, data, True)),
            (Fault(status=429, headers={"Retry-After": "1"}, body=b"{}"), (429, b"{}", True)),
        ]:
            proxy.when(blob, fault, times=1)
            assert body(proxy, where) == expected
        proxy.when(blob, Fault(ignores_range=True), times=1)
        assert body(proxy, where, {"Range": "bytes=10-"}) == (200, data, True)
        proxy.when(r"HEAD .*", Fault(headers={"Docker-Content-Digest": "sha256:no"}))
        assert proxy.ask("HEAD", "/v2/app/manifests/1").headers["docker-content-digest"] == "sha256:no"


def test_elsewhere_and_silence(registry: Registry) -> None:
    made = build.image([build.noise_layer(1, 1000)])
    registry.put("app", "1", made)
    where = f"/v2/app/blobs/{made.layers[0]}"
    with FaultProxy(registry) as cdn, FaultProxy(registry) as proxy:
        proxy.when("GET /v2/app/blobs/.*", Elsewhere(url=cdn.url), times=1)
        assert proxy.ask("GET", where).headers["location"] == cdn.url + where
        cdn.when(".*", Fault(is_silent=True))
        with pytest.raises(TimeoutError):
            cdn.netns.inside(lambda: _silent(cdn, where))
        assert cdn.seen[0].status == 0


def _silent(at: Named, where: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=0.2)
    connection.request("GET", where)
    try:
        connection.getresponse()
    finally:
        connection.close()


def test_what_only_a_fake_one_serves(registry: Registry) -> None:
    with FakeRegistry(registry.netns) as fake:
        fake.put("large", "1", hostile.large_manifest(10_000_000))
        assert len(fake.ask("GET", "/v2/large/manifests/1").body) > 10_000_000
        bomb = hostile.bomb(200 << 20, with_diff_id=True)
        made = build.image([bomb])
        fake.put("bomb", "1", made)
        assert (
            fake.ask("GET", f"/v2/bomb/blobs/{made.layers[0]}", headers={"Range": "bytes=5-9"}).body == bomb.blob[5:10]
        )
        done = skopeo(fake, "inspect", "--tls-verify=false", f"docker://{fake.name('bomb:1')}")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["Layers"] == [*made.layers]
