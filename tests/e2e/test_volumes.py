"""Volumes: made on use, filled from the image, kept, shared, removed; also by Docker's own client."""

from __future__ import annotations

import tarfile

from tests import images
from tests.support import Engine


def volume_image(engine: Engine, *paths: str) -> str:
    """An image whose /data has a file of user 1000, with ``paths`` as its VOLUMEs."""
    entries = [images.Entry("data/file", b"from the image\n", uid=1000, gid=1000, mode=0o640)]
    layers = [images.busybox_rootfs(), images.layer(entries)]
    config = images.image_config(layers, Cmd=["sh"], Volumes={path: {} for path in paths})
    engine.load(images.docker_archive(layers, config, ["vol:1"]))
    return "vol:1"


def run(engine: Engine, *args: str) -> str:
    return str(engine.docker("run", "--rm", "--network", "none", *args, check=True).stdout)


def names(engine: Engine) -> list[str]:
    return [volume["Name"] for volume in engine.api("GET", "/volumes").body["Volumes"]]


def test_a_named_volume_is_filled_once_and_kept(own_engine: Engine) -> None:
    image = volume_image(own_engine)
    assert run(own_engine, "-v", "keep:/data", image, "stat", "-c", "%u %a", "/data/file") == "1000 640\n"
    run(own_engine, "-v", "keep:/data", image, "sh", "-c", "echo mine > /data/file")
    assert run(own_engine, "-v", "keep:/data:ro", image, "cat", "/data/file") == "mine\n"
    assert run(own_engine, "-v", "bare:/data:nocopy", image, "ls", "/data") == ""
    assert own_engine.docker("volume", "ls", "-q", check=True).stdout == "bare\nkeep\n"


def test_anonymous_volumes_go_with_rm(own_engine: Engine) -> None:
    image = volume_image(own_engine, "/data")
    assert run(own_engine, image, "cat", "/data/file") == "from the image\n"
    assert names(own_engine) == []
    own_engine.docker("create", "--name", "box", image, check=True)
    (mount,) = own_engine.inspect("box")["Mounts"]
    assert (mount["Type"], mount["Destination"], mount["Driver"], mount["RW"]) == ("volume", "/data", "local", True)
    refused = own_engine.docker("volume", "rm", mount["Name"])
    assert refused.returncode == 1
    assert f"volume is in use - [{own_engine.inspect('box')['Id']}]" in refused.stderr
    assert run(own_engine, "--volumes-from", "box:ro", image, "cat", "/data/file") == "from the image\n"
    own_engine.docker("rm", "box", check=True)
    assert names(own_engine) == [mount["Name"]]
    assert "Total reclaimed space: 15B" in own_engine.docker("volume", "prune", "-f", check=True).stdout
    assert names(own_engine) == []


def test_a_link_in_the_image_leads_nowhere_else(own_engine: Engine) -> None:
    layers = [images.busybox_rootfs(), images.layer([images.Entry("evil", type=tarfile.SYMTYPE, target="/../../etc")])]
    own_engine.load(images.docker_archive(layers, images.image_config(layers, Cmd=["sh"]), ["evil:1"]))
    own_engine.docker("create", "-v", "caught:/evil", "evil:1", check=True)
    found = own_engine.root / "volumes" / "caught" / "_data"
    assert not (found / "shadow").exists()


def test_the_command_line(own_engine: Engine) -> None:
    image = volume_image(own_engine)
    do = own_engine.dockyard
    assert do("volume", "create", "--label", "a=b", "one", check=True).stdout == "one\n"
    do("run", "--rm", "--network", "none", "-v", "one:/data", "-v", "/more", image, "touch", "/more/x", check=True)
    mount = "type=volume,source=one,target=/d,readonly"
    out = do("run", "--rm", "--network", "none", "--mount", mount, image, "cat", "/d/file", check=True).stdout
    assert out == "from the image\n"
    assert do("volume", "ls", "-q", "--filter", "label=a=b", check=True).stdout == "one\n"
    assert do("volume", "inspect", "-f", "{{.Driver}}", "one", check=True).stdout == "local\n"
    assert "Deleted Volumes:\none\n" in do("volume", "prune", "-af", check=True).stdout
    assert "no such volume" in do("volume", "rm", "one").stderr


def test_a_subpath_never_leaves_its_volume(own_engine: Engine) -> None:
    image = volume_image(own_engine)
    run(own_engine, "-v", "sub:/v", image, "sh", "-c", "mkdir /v/in && echo x >/v/in/f && ln -s /etc /v/out")
    mount = "type=volume,src=sub,dst=/m,volume-subpath="
    assert run(own_engine, "--mount", mount + "in", image, "cat", "/m/f") == "x\n"
    done = own_engine.docker("run", "--rm", "--network", "none", "--mount", mount + "out", image, "ls", "/m")
    assert done.returncode != 0
    assert "does not exist" in done.stderr


def test_a_tmpfs_volume_is_shared_and_ends_with_its_users(own_engine: Engine) -> None:
    image = volume_image(own_engine)
    own_engine.docker(
        "volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "scratch", check=True
    )
    args = ("run", "-d", "--name", "box", "--network", "none", "-v", "scratch:/t", image, "sleep", "1000")
    own_engine.docker(*args, check=True)
    run(own_engine, "-v", "scratch:/t", image, "touch", "/t/seen")
    assert own_engine.docker("exec", "box", "ls", "/t", check=True).stdout == "seen\n"
    own_engine.docker("rm", "-f", "box", check=True)
    assert run(own_engine, "-v", "scratch:/t", image, "ls", "/t") == ""


def test_volumes_are_found_by_a_pattern_and_go_with_rm_v(own_engine: Engine) -> None:
    image = volume_image(own_engine)
    own_engine.docker("volume", "create", "--label", "kind=cache", "one", check=True)
    own_engine.docker("create", "--name", "box", "-v", "two:/data", "-v", "/more", image, check=True)
    found = {
        pattern: own_engine.docker("volume", "ls", "-q", "--filter", pattern, check=True).stdout.split()
        for pattern in ("name=^o", "name=(", "label=kind=cache", "label=kind=other", "dangling=true")
    }
    assert found == {
        "name=^o": ["one"],
        "name=(": [],
        "label=kind=cache": ["one"],
        "label=kind=other": [],
        "dangling=true": ["one"],
    }
    own_engine.docker("rm", "-v", "box", check=True)
    assert names(own_engine) == ["one", "two"]
    assert own_engine.api("GET", "/info").body["Plugins"]["Volume"] == ["local"]
