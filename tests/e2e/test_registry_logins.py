"""Registries that want to know who asks: TLS with a password, and tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.network.namespace import NetNs
from tests.registry import build
from tests.registry.client import SOMEBODY, pull
from tests.registry.fixtures import Configure
from tests.registry.server import PASSWORD, USER, Registry
from tests.registry.tokens import TokenProxy
from tests.support import Engine


@pytest.fixture(scope="module")
def secure(base_folder: Path, home: NetNs) -> Iterator[Registry]:
    with Registry(base_folder, home, secure=True) as made:
        yield made


@pytest.fixture
def tokens(registry: Registry) -> Iterator[TokenProxy]:
    with TokenProxy(registry, public={"open/app"}) as made:
        yield made


@pytest.fixture
def signed_out(puller: Engine) -> Iterator[Engine]:
    """The engine; what Docker's client remembers of logins is gone afterwards."""
    yield puller
    (puller.folder / ".docker/config.json").unlink(missing_ok=True)


def login(engine: Engine, host: str, password: str = PASSWORD) -> tuple[int, str]:
    done = engine.docker("login", "-u", USER, "--password-stdin", host, input=password)
    return done.returncode, done.stdout + done.stderr


def image(engine: Engine, registry: Registry, name: str, seed: int) -> build.Built:
    """An image that is in the registry, and here by that name."""
    made = build.image([build.noise_layer(seed, 20_000)])
    repository, _, tag = name.partition(":")
    registry.put(repository, tag, made)
    assert pull(engine, registry.name(name)).error == ""
    return made


def test_tls_and_a_password(signed_out: Engine, registry: Registry, secure: Registry, configure: Configure) -> None:
    """The certificate's authority comes by the configuration, the password by ``docker login``."""
    engine, name = signed_out, secure.name("team/app:1")
    image(engine, registry, "secret:1", 200)
    engine.docker("tag", registry.name("secret:1"), name, check=True)
    code, said = login(engine, secure.host)
    assert code == 1
    assert "not trusted" in said
    assert f'[registries."{secure.host}"]' in said

    configure(f'[registries."{secure.host}"]\nca = "{secure.ca}"\n')
    code, said = login(engine, secure.host, "wrong")
    assert (code, "unauthorized" in said) == (1, True)
    refused = engine.docker("push", name)
    assert refused.returncode == 1
    assert "denied" in refused.stderr
    code, said = login(engine, secure.host)
    assert (code, "Login Succeeded" in said) == (0, True)
    engine.docker("push", name, check=True)
    trusting = ["--cert-dir", str(Path(secure.ca or "").parent), "--creds", f"{USER}:{PASSWORD}"]
    seen = engine.netns_run(["skopeo", "inspect", *trusting, f"docker://{name}"], check=True).stdout
    assert json.loads(seen)["Digest"] in engine.docker("inspect", name, check=True).stdout
    engine.docker("rmi", name, registry.name("secret:1"), check=True)
    assert "Downloaded newer image" in engine.docker("pull", name, check=True).stdout
    engine.docker("logout", secure.host, check=True)
    refused = engine.docker("pull", name)
    assert refused.returncode == 1
    assert "denied" in refused.stderr


def test_certificates_in_dockers_folder(
    signed_out: Engine, secure: Registry, configure: Configure, short_folder: Path
) -> None:
    trusted = short_folder / secure.host
    trusted.mkdir()
    (trusted / "ca.crt").write_bytes(Path(secure.ca or "").read_bytes())
    configure(f'certs = "{short_folder}"\n')
    assert login(signed_out, secure.host)[0] == 0


def test_tokens(signed_out: Engine, registry: Registry, tokens: TokenProxy) -> None:
    """One token a scope and session; nobody gets it for what is public, the user for the rest."""
    engine = signed_out
    made = build.image([build.noise_layer(210, 20_000), build.noise_layer(211, 20_000)])
    for repository in ("open/app", "closed/app"):
        registry.put(repository, "1", made)
    assert pull(engine, tokens.name("open/app:1")).error == ""
    assert [(one.user, one.scopes) for one in tokens.token_requests] == [("", ("repository:open/app:pull",))]

    refused = engine.docker("pull", tokens.name("closed/app:1"))
    assert refused.returncode == 1
    assert "denied" in refused.stderr
    assert "repository:closed/app:pull" in refused.stderr
    assert login(engine, tokens.host, "wrong")[0] == 1
    assert login(engine, tokens.host)[0] == 0
    tokens.token_requests.clear()
    engine.docker("pull", tokens.name("closed/app:1"), check=True)
    assert [(one.user, one.scopes) for one in tokens.token_requests] == [(USER, ("repository:closed/app:pull",))]

    engine.docker("tag", tokens.name("closed/app:1"), tokens.name("new/app:1"), check=True)
    tokens.token_requests.clear()
    out = engine.docker("push", tokens.name("new/app:1"), check=True).stdout
    assert out.count("Mounted from open/app") + out.count("Mounted from closed/app") == 2
    assert {scope for one in tokens.token_requests for scope in one.scopes} <= {
        "repository:new/app:pull,push",
        "repository:open/app:pull",
        "repository:closed/app:pull",
    }
    assert registry.digest("new/app", "1") == made.digest


def test_a_token_that_ends_meanwhile(puller: Engine, registry: Registry) -> None:
    """A pull goes on with another token: one, though three layers are refused at the same time."""
    registry.put("open/app", "2", build.image([build.noise_layer(220 + n, 1000) for n in range(3)]))
    # The manifest is asked for twice, then comes the configuration.
    with TokenProxy(registry, public={"open/app"}, end_after=3) as short:
        assert pull(puller, short.name("open/app:2")).error == ""
        assert len(short.token_requests) == 2


def test_identity_tokens(puller: Engine, registry: Registry, tokens: TokenProxy) -> None:
    """What a realm gave for a password is used instead of it, by POST."""
    registry.put("closed/app", "3", build.image([build.noise_layer(230, 1000)]))
    form = f"grant_type=password&service=registry.test&client_id=x&username={USER}&password={PASSWORD}"
    identity = tokens.ask("POST", "/token", form.encode()).json["refresh_token"]
    tokens.token_requests.clear()
    auth = {"username": "<token>", "identitytoken": identity}
    assert pull(puller, tokens.name("closed/app:3"), auth=auth).error == ""
    assert {(one.method, one.grant, one.user) for one in tokens.token_requests} == {("POST", "refresh_token", USER)}


def test_a_realm_without_post(puller: Engine, registry: Registry) -> None:
    registry.put("closed/app", "4", build.image([build.noise_layer(231, 1000)]))
    with TokenProxy(registry, has_post=False) as old:
        assert pull(puller, old.name("closed/app:4"), auth=SOMEBODY).error == ""
        assert {one.method for one in old.token_requests} == {"GET"}


def test_docker_py(signed_out: Engine, registry: Registry, tokens: TokenProxy) -> None:
    """Docker's library for Python: pull, push, log in."""
    made = build.image([build.noise_layer(240, 20_000)])
    registry.put("closed/py", "1", made)
    client = docker.DockerClient(base_url=f"unix://{signed_out.socket}")
    try:
        with pytest.raises(docker.errors.NotFound):
            client.images.pull(tokens.name("closed/py"), tag="1")
        assert client.login(USER, PASSWORD, registry=tokens.host)["Status"] == "Login Succeeded"
        with pytest.raises(docker.errors.APIError):
            client.login(USER, "wrong", registry=tokens.host, reauth=True)
        client.login(USER, PASSWORD, registry=tokens.host, reauth=True)
        found = client.images.pull(tokens.name("closed/py"), tag="1")
        assert found.tags == [tokens.name("closed/py:1")]
        assert client.images.get_registry_data(tokens.name("closed/py:1")).id == made.digest
        found.tag(tokens.name("made/py"), "2")
        lines = list(client.images.push(tokens.name("made/py"), tag="2", stream=True, decode=True))
        assert lines[-1]["aux"]["Digest"] == made.digest
        assert registry.digest("made/py", "2") == made.digest
    finally:
        client.close()
