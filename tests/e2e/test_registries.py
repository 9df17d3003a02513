"""Images come from registries and go there: by the API, by Docker's client, by skopeo, and to and from dockerd."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.images import architecture
from tests.network.dockerd import Dockerd
from tests.network.namespace import NetNs
from tests.registry import build
from tests.registry.client import SOMEBODY, pull, push
from tests.registry.faults import Elsewhere, FaultProxy
from tests.registry.fixtures import Configure
from tests.registry.server import Registry, free_port
from tests.support import Engine

_SENT = r"(PATCH|PUT|POST) /v2/.*/blobs/uploads/.*"


def skopeo(engine: Engine, *words: str) -> str:
    return str(engine.netns_run(["skopeo", *words], check=True).stdout)


def run(engine: Engine, name: str, *words: str) -> str:
    return str(engine.docker("run", "--rm", "--network", "none", name, *words, check=True).stdout)


def test_what_a_pull_and_a_push_say(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    made = build.busybox(build.noise_layer(100, 300_000))
    registry.put("team/said", "1", made)
    name = proxy.name("team/said")
    first = pull(puller, f"{name}:1")
    assert first.error == ""
    assert first.messages[0] == {"status": "Pulling from team/said", "id": "1"}
    for digest in made.layers:
        states = first.states(digest[7:19])
        assert states[0] == "Pulling fs layer"
        assert states[-1] == "Pull complete"
        assert {"Downloading", "Verifying Checksum", "Download complete", "Extracting"} <= set(states)
    texts = [f"Digest: {made.digest}", f"Status: Downloaded newer image for {name}:1"]
    assert first.texts == texts
    again = pull(puller, f"{name}:1")
    assert again.texts == [f"Digest: {made.digest}", f"Status: Image is up to date for {name}:1"]
    assert run(puller, f"{name}:1", "wc", "-c", "/noise/100") == "300000 /noise/100\n"

    puller.docker("tag", f"{name}:1", proxy.name("team/said:2"), check=True)
    pushed = push(puller, name, "2")
    assert pushed.texts[0] == f"The push refers to repository [{name}]"
    assert pushed.texts[-1] == f"2: digest: {made.digest} size: {len(made.manifest)}"
    assert pushed.aux == {"Tag": "2", "Digest": made.digest, "Size": len(made.manifest)}
    assert len(pushed.with_state("Layer already exists")) == 2


def test_layers_that_are_here_are_not_fetched(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """Layers belong to no image: two that share one share it here."""
    shared, mine = build.noise_layer(110, 200_000), build.noise_layer(111, 1000)
    below, above = build.image([shared]), build.image([shared, mine])
    registry.put("one", "1", below)
    registry.put("two", "1", above)
    assert pull(puller, proxy.name("one:1")).error == ""
    proxy.seen.clear()
    found = pull(puller, proxy.name("two:1"))
    assert found.states(above.layers[0][7:19]) == ["Already exists"]
    assert above.layers[0] not in {one.path.rpartition("/")[2] for one in proxy.asked("GET .*/blobs/.*")}
    puller.docker("rmi", proxy.name("one:1"), check=True)
    assert len(json.loads(puller.docker("inspect", proxy.name("two:1"), check=True).stdout)[0]["RootFS"]["Layers"]) == 2


def test_a_push_sends_what_the_registry_has_not(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """What is in another repository is mounted from there; what is in this one is not sent again."""
    made = build.image([build.noise_layer(120, 200_000), build.noise_layer(121, 10)])
    registry.put("origin", "1", made)
    assert pull(puller, proxy.name("origin:1")).error == ""
    puller.docker("tag", proxy.name("origin:1"), proxy.name("target:1"), check=True)
    proxy.seen.clear()
    pushed = push(puller, proxy.name("target"), "1")
    assert pushed.error == ""
    assert len(pushed.with_state("Mounted from origin")) == 2
    mounts = [one.query.get("mount") for one in proxy.asked("POST .*/uploads/") if "mount" in one.query]
    assert sorted(filter(None, mounts)) == sorted(made.layers)
    # The configuration is all that was sent.
    assert sum(one.received for one in proxy.asked(_SENT)) < 3000
    assert registry.digest("target", "1") == made.digest
    proxy.seen.clear()
    again = push(puller, proxy.name("target"), "1")
    assert len(again.with_state("Layer already exists")) == 2
    assert proxy.asked(_SENT) == []


def test_a_layer_from_elsewhere_is_mounted_too(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """It came from another registry, and was found here when this one's image was pulled."""
    made = build.image([build.noise_layer(125, 200_000)])
    registry.put("lent/one", "1", made)
    for name in (proxy.name("lent/one:1"), registry.name("lent/one:1")):
        assert pull(puller, name).error == ""
    puller.docker("tag", registry.name("lent/one:1"), registry.name("lent/two:1"), check=True)
    assert len(push(puller, registry.name("lent/two"), "1").with_state("Mounted from lent/one")) == 1
    assert registry.digest("lent/two", "1") == made.digest


def test_a_committed_image_sends_its_own_layer(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    made = build.busybox()
    registry.put("base", "1", made)
    assert pull(puller, proxy.name("base:1")).error == ""
    puller.docker(
        "run", "--name", "work", "--network", "none", proxy.name("base:1"), "sh", "-c", "echo new >/new", check=True
    )
    puller.docker("commit", "work", proxy.name("base:2"), check=True)
    pushed = push(puller, proxy.name("base"), "2")
    assert len(pushed.with_state("Layer already exists")) == 1
    assert len(pushed.with_state("Pushed")) == 1
    document = json.loads(skopeo(puller, "inspect", "--raw", "--tls-verify=false", f"docker://{proxy.name('base:2')}"))
    assert document["layers"][0]["digest"] == made.layers[0]
    puller.docker("rm", "work", check=True)


def test_all_tags_and_digests(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    built = {str(number): build.image([build.noise_layer(130 + number, 1000)]) for number in range(3)}
    for tag, made in built.items():
        registry.put("many", tag, made)
    out = puller.docker("pull", "-a", proxy.name("many"), check=True).stdout
    assert out.count("Pull complete") == 3
    listed = puller.docker("images", "--format", "{{.Tag}}", proxy.name("many"), check=True).stdout.split()
    assert sorted(listed) == ["0", "1", "2"]
    by_digest = proxy.name(f"many@{built['1'].digest}")
    out = puller.docker("pull", by_digest, check=True).stdout
    assert f"Image is up to date for {by_digest}" in out
    assert (
        puller.docker("inspect", "--format", "{{json .RepoDigests}}", by_digest, check=True).stdout.count("sha256:")
        == 1
    )
    # A push without a tag is of all of them.
    for tag in built:
        puller.docker("tag", proxy.name(f"many:{tag}"), proxy.name(f"copies:{tag}"), check=True)
    puller.docker("push", "-a", proxy.name("copies"), check=True)
    assert {tag: registry.digest("copies", tag) for tag in built} == {tag: made.digest for tag, made in built.items()}


def test_an_index(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """This machine's platform is taken, another when it is asked for; the digest is the index's."""
    ours, theirs = (
        build.busybox(Env=["IT=ours"]),
        build.image([build.noise_layer(135, 10)], architecture="riscv64", Env=["IT=theirs"]),
    )
    made = build.index({"linux/riscv64": theirs, f"linux/{architecture()}": ours})
    registry.put("platforms", "1", made)
    name = proxy.name("platforms:1")
    assert pull(puller, name).texts[0] == f"Digest: {made.digest}"
    assert "IT=ours" in puller.docker("inspect", name, check=True).stdout
    assert pull(puller, name, platform="linux/riscv64").error == ""
    assert "IT=theirs" in puller.docker("inspect", name, check=True).stdout
    answer = puller.api("GET", f"/distribution/{name}/json").body
    assert answer["Descriptor"] == {"mediaType": build.OCI_INDEX, "digest": made.digest, "size": len(made.manifest)}
    assert {one["architecture"] for one in answer["Platforms"]} == {"riscv64", architecture()}
    answer = puller.api("GET", f"/dockyard/v1/manifests/{name}?verbose=1").body
    assert answer["Raw"].encode() == made.manifest
    assert [one["Raw"].encode() for one in answer["Manifests"]] == [theirs.manifest, ours.manifest]


# --- other tools ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "compression"), [("oci", "gzip"), ("oci", "zstd"), ("oci", ""), ("docker", "gzip")])
def test_skopeo_brings_and_takes(
    puller: Engine, registry: Registry, short_folder: Path, kind: str, compression: str
) -> None:
    name, plain = f"skopeo{kind}{compression}", "--src-tls-verify=false"
    layers = [build.noise_layer(140, 5000, f"{name}/1"), build.noise_layer(141, 5000, f"{name}/2")]
    made = build.image(layers, kind=kind, compression=compression)
    registry.put(name, "given", made)
    tool = ("copy", plain, "--dest-tls-verify=false", "--preserve-digests")
    skopeo(puller, *tool, f"docker://{registry.name(f'{name}:given')}", f"docker://{registry.name(f'{name}:1')}")
    assert pull(puller, registry.name(f"{name}:1")).texts[0] == f"Digest: {made.digest}"
    puller.docker("tag", registry.name(f"{name}:1"), registry.name(f"back/{name}:1"), check=True)
    assert push(puller, registry.name(f"back/{name}"), "1").aux["Digest"] == made.digest
    skopeo(puller, "copy", plain, f"docker://{registry.name(f'back/{name}:1')}", f"dir:{short_folder}/back")
    assert (short_folder / "back/manifest.json").read_bytes() == made.manifest
    for digest in made.layers:
        assert (short_folder / "back" / digest[7:]).read_bytes() == made.blobs[digest]


def test_dockerd_pushes_and_we_pull(puller: Engine, dockerd: Dockerd, registry: Registry) -> None:
    source, name = registry.name("from/docker:0"), registry.name("from/docker:1")
    registry.put("from/docker", "0", build.busybox(build.noise_layer(150, 5000), kind="docker", Env=["A=b c"]))
    dockerd.docker("pull", source, check=True)
    dockerd.docker("create", "--name", "made", source, check=True)
    dockerd.docker("commit", "-c", "ENV BY=docker", "made", name, check=True)
    said = dockerd.docker("push", name, check=True).stdout
    digest = registry.digest("from/docker", "1")
    assert digest in said
    assert pull(puller, name).texts[0] == f"Digest: {digest}"
    assert run(puller, name, "sh", "-c", "echo $BY $A; wc -c </noise/150") == "docker b c\n5000\n"
    ids = [
        engine.docker("inspect", "--format", "{{.Id}} {{.RepoDigests}}", name, check=True).stdout
        for engine in (puller, dockerd)
    ]
    assert ids[0] == ids[1]


def test_we_push_and_dockerd_pulls(puller: Engine, dockerd: Dockerd, registry: Registry) -> None:
    base, name = registry.name("to/docker:0"), registry.name("to/docker:1")
    registry.put("to/docker", "0", build.busybox())
    assert pull(puller, base).error == ""
    work = [
        "run",
        "--name",
        "work",
        "--network",
        "none",
        base,
        "sh",
        "-c",
        "echo hello >/said; rm /etc/group; ln /said /too",
    ]
    puller.docker(*work, check=True)
    puller.docker("commit", "-c", 'CMD ["cat", "/said", "/too"]', "work", name, check=True)
    pushed = push(puller, registry.name("to/docker"), "1")
    said = dockerd.docker("pull", name, check=True).stdout
    assert f"Digest: {pushed.aux['Digest']}" in said
    assert run(dockerd, name) == "hello\nhello\n"
    assert dockerd.docker("run", "--rm", "--network", "none", name, "ls", "/etc/group").returncode == 1
    ids = [
        engine.docker("inspect", "--format", "{{.Id}} {{.RepoDigests}}", name, check=True).stdout
        for engine in (puller, dockerd)
    ]
    assert ids[0] == ids[1]


# --- where they come from ------------------------------------------------------------------------------------------


def test_mirrors(puller: Engine, proxy: FaultProxy, registry: Registry, home: NetNs, configure: Configure) -> None:
    """The first is dead, the second serves, below its path and without credentials; nobody else is asked."""
    made = build.image([build.noise_layer(160, 1000)])
    registry.put("hub/library/mirrored", "1", made)
    dead = free_port(home)
    configure(f'[registries."docker.io"]\nmirrors = ["http://127.0.0.1:{dead}", "{proxy.url}/hub"]\n')
    found = pull(puller, "mirrored:1", auth=SOMEBODY)
    assert found.error == ""
    assert found.texts[-1] == "Status: Downloaded newer image for mirrored:1"
    assert {one.authorization for one in proxy.seen} == {""}
    assert puller.docker("images", "-q", "mirrored:1", check=True).stdout


def test_blobs_from_elsewhere(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """A registry that sends us on to another host for blobs: our credentials do not go there."""
    made = build.image([build.noise_layer(161, 1000)])
    registry.put("sent/on", "1", made)
    with FaultProxy(registry) as cdn:
        proxy.when("GET .*/blobs/.*", Elsewhere(url=cdn.url))
        assert pull(puller, proxy.name("sent/on:1"), auth=SOMEBODY).error == ""
        assert {one.authorization for one in cdn.seen} == {""}
        assert len(cdn.asked("GET .*/blobs/.*")) == 2


def test_plain_http_is_said(puller: Engine, registry: Registry, home: NetNs, configure: Configure) -> None:
    """Off loopback plain HTTP is spoken to those alone of whom the configuration says so."""
    registry.put("plain", "1", build.image([build.noise_layer(162, 1000)]))
    home.ip("address", "add", "10.77.0.1/32", "dev", "lo")
    with FaultProxy(registry, address="10.77.0.1") as away:
        refused = pull(puller, away.name("plain:1"))
        assert (refused.status, away.seen) == (503, [])
        assert "does not speak TLS" in refused.error
        configure(f'[registries."{away.host}"]\nplain-http = true\n')
        assert pull(puller, away.name("plain:1")).error == ""
