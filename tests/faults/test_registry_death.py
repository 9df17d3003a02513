"""A pull that ends before its end: the daemon dies, the client leaves, the disk is full, the image is removed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.network.namespace import NetNs
from tests.registry import build
from tests.registry.client import pull
from tests.registry.faults import Fault, FaultProxy
from tests.registry.server import Registry
from tests.support import Engine, wait_until

#: At most so much of a layer waits in memory to be written (a block, core.image.registry.fetch).
_BLOCK = 1 << 20


@pytest.fixture
def small_disk(make_engine: Callable[..., Engine], home: NetNs) -> Iterator[Engine]:
    """An engine whose root folder is a file system of 200 MiB."""
    engine = make_engine(start=False, netns=home)
    engine.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "small", engine.root], check=True)
    try:
        yield engine.start()
    finally:
        engine.stop()
        subprocess.run(["umount", engine.root], check=True)


def begun(engine: Engine, name: str) -> subprocess.Popen[bytes]:
    """``docker pull`` left running."""
    return engine.in_netns(
        lambda: subprocess.Popen(
            ["docker", "pull", name], env=engine.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    )


def ended(client: subprocess.Popen[bytes]) -> str:
    """Its output when it is over."""
    out, _ = client.communicate(timeout=30)
    return out.decode()


class Half(NamedTuple):
    """An image of two layers whose second does not come beyond its half. ``name`` is its reference."""

    name: str
    made: build.Built
    engine: Engine
    proxy: FaultProxy

    @property
    def held(self) -> int:
        """Bytes of the second layer that come."""
        return len(self.made.blobs[self.made.layers[1]]) // 2

    def file(self, layer: int) -> Path:
        """Where the bytes of a layer are while it comes."""
        return Path(self.engine.root / "ingest" / self.made.layers[layer][7:])

    def wait(self) -> None:
        """Until the first layer is finished, and what comes of the second is here but for a last block."""

        def is_there() -> bool:
            second = self.file(1)
            return not self.file(0).exists() and second.exists() and second.stat().st_size > self.held - _BLOCK

        wait_until(is_there, 20, "one layer and a half are here")

    def assert_resumes(self) -> None:
        """The next pull fetches the rest of the second layer, and nothing else of both."""
        kept = self.file(1).stat().st_size
        self.proxy.heal()
        found = pull(self.engine, self.name)
        assert found.error == ""
        assert found.states(self.made.layers[0][7:19]) == ["Already exists"]
        assert self.proxy.asked(f"GET .*/blobs/{self.made.layers[0]}") == []
        (rest,) = self.proxy.asked(f"GET .*/blobs/{self.made.layers[1]}")
        assert rest.range == f"bytes={kept}-"
        assert self.held - _BLOCK < kept <= self.held
        assert not self.file(1).exists()


def half(engine: Engine, proxy: FaultProxy, registry: Registry, name: str, *layers: bytes) -> Half:
    """Put it into the registry."""
    made = build.image(layers)
    registry.put(name, "1", made)
    found = Half(proxy.name(f"{name}:1"), made, engine, proxy)
    proxy.when(f"GET .*/blobs/{made.layers[1]}", Fault(hold=found.held), times=1)
    return found


@pytest.fixture
def own_puller(make_engine: Callable[..., Engine], home: NetNs) -> Engine:
    """A fresh engine where the registry is."""
    return make_engine(netns=home)


def assert_swept(engine: Engine) -> None:
    """What was unpacked aside goes."""
    wait_until(lambda: os.listdir(engine.root / "tmp") == [], 10, "nothing is left in tmp")


def test_the_daemon_is_killed(own_puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """The next start cleans up; the next pull takes the finished layer as it is, and goes on with the other."""
    image = half(
        own_puller, proxy, registry, "killed", build.noise_layer(300, 300_000), build.noise_layer(301, 7 << 20)
    )
    client = begun(own_puller, image.name)
    image.wait()
    own_puller.kill()
    ended(client)
    own_puller.start()
    assert_swept(own_puller)
    assert image.name not in str(own_puller.api("GET", "/images/json").body)
    image.assert_resumes()


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_the_daemon_dies_at_a_step(own_puller: Engine, registry: Registry, step: int) -> None:
    """1 the manifest is known, 2 a blob is whole, 3 a layer is placed, 4 the image is here."""
    made = build.image([build.noise_layer(310, 300_000)])
    registry.put("step", "1", made)
    own_puller.stop()
    own_puller.start(env={"DOCKYARD_FAULT": f"pull:{step}"})
    client = begun(own_puller, registry.name("step:1"))
    assert own_puller.wait_exit() == -9
    ended(client)
    own_puller.start()
    assert_swept(own_puller)
    with FaultProxy(registry) as again:
        assert pull(own_puller, registry.name("step:1")).error == ""
        assert pull(own_puller, again.name("step:1")).error == ""
        assert again.asked("GET .*/blobs/" + made.layers[0]) == []


def test_the_client_leaves(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    image = half(puller, proxy, registry, "left", build.noise_layer(320, 300_000), build.noise_layer(321, 7 << 20))
    client = begun(puller, image.name)
    image.wait()
    client.kill()
    ended(client)
    assert_swept(puller)
    image.assert_resumes()


def test_a_registry_that_never_answers(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """The client can leave at once."""
    registry.put("silent", "1", build.image([build.noise_layer(330, 10)]))
    proxy.when("HEAD .*", Fault(is_silent=True))
    client = begun(puller, proxy.name("silent:1"))
    wait_until(lambda: proxy.seen, 10, "the registry was asked")
    client.kill()
    ended(client)
    proxy.heal()
    assert pull(puller, proxy.name("silent:1")).error == ""


def test_a_full_disk(small_disk: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """Told in words; what came stays, and with room again it goes on from there."""
    made = build.image([build.noise_layer(340, 1_000_000), build.noise_layer(341, 40_000_000)])
    registry.put("full", "1", made)
    filler = small_disk.root / "fill"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        file.write(bytes(100 << 20))
    error = pull(small_disk, proxy.name("full:1")).error
    assert "no space left" in error
    assert "free some disk space" in error
    assert_swept(small_disk)
    filler.unlink()
    proxy.seen.clear()
    assert pull(small_disk, proxy.name("full:1")).error == ""
    (rest,) = proxy.asked(f"GET .*/blobs/{made.layers[1]}")
    assert rest.range
    assert rest.sent < 40_000_000


def test_an_image_that_is_removed_while_it_is_pulled(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """The layers of another image that the pull has found here stay until it has its own image."""
    shared = build.noise_layer(350, 300_000)
    registry.put("older", "1", build.image([shared]))
    assert pull(puller, proxy.name("older:1")).error == ""
    image = half(puller, proxy, registry, "newer", shared, build.noise_layer(351, 3 << 20))
    client = begun(puller, image.name)
    image.wait()
    assert puller.docker("rmi", image.name).returncode == 1
    puller.docker("rmi", proxy.name("older:1"), check=True)
    puller.docker("image", "prune", "-f", "-a", check=True)
    proxy.release()
    assert "Downloaded newer image" in ended(client)
    assert client.returncode == 0
    made_of_it = puller.docker("create", "--network", "none", image.name, "x", check=True).stdout.strip()
    files = puller.docker("export", made_of_it, check=True, text=False).stdout
    assert b"noise/350" in files
    assert b"noise/351" in files


def test_an_image_that_is_in_use(puller: Engine, proxy: FaultProxy, registry: Registry) -> None:
    """Pulled anew under the same name, a running container keeps the old one, which loses its name."""
    first, second = (build.busybox(build.noise_layer(seed, 1000)) for seed in (360, 361))
    registry.put("moving", "1", first)
    name = proxy.name("moving:1")
    assert pull(puller, name).error == ""
    old = puller.docker("inspect", "--format", "{{.Id}}", name, check=True).stdout.strip()
    puller.docker("run", "-d", "--name", "user", "--network", "none", name, "sleep", "1000", check=True)
    assert puller.docker("rmi", name).returncode == 1
    registry.put("moving", "1", second)
    assert f"Status: Downloaded newer image for {name}" in pull(puller, name).texts
    assert puller.inspect("user")["Image"] == old
    assert puller.docker("exec", "user", "wc", "-c", "/noise/360", check=True).stdout == "1000 /noise/360\n"
    refused = puller.docker("rmi", old)
    assert refused.returncode == 1
    assert "is being used by running container" in refused.stderr
    puller.docker("rm", "-f", "user", check=True)
    puller.docker("rmi", old, check=True)
