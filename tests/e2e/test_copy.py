"""cp, diff, export and commit, with real containers, by our command line and by Docker's."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Engine, wait_until

Client = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def only_busybox(engine: Engine) -> Iterator[None]:
    """The images that a test makes go with it."""
    yield
    engine.remove_containers()
    for image in engine.api("GET", "/images/json?all=1").body:
        for name in image["RepoTags"] or [image["Id"]]:
            if name not in ("host:latest", "busybox:test"):
                engine.api("DELETE", f"/images/{name}?force=1")


@pytest.fixture(params=["dockyard", "docker"])
def client(engine: Engine, request: pytest.FixtureRequest) -> Client:
    """Either command line."""
    return engine.dockyard if request.param == "dockyard" else engine.docker


@pytest.fixture(params=["running", "paused", "down"])
def box(engine: Engine, request: pytest.FixtureRequest) -> str:
    """A container called box in each state, with some files and a volume."""
    make(engine)
    if request.param == "paused":
        engine.dockyard("pause", "box", check=True)
    elif request.param == "down":
        engine.dockyard("stop", "-t", "0", "box", check=True)
    return "box"


def make(engine: Engine, *flags: str) -> None:
    engine.busybox()
    engine.dockyard(
        "run", "-d", "--name", "box", "-v", "data:/data", *flags, "busybox:test", "sleep", "1000", check=True
    )
    script = "mkdir -p /w/d; echo hi > /w/f; echo deep > /w/d/g; ln -s /w/f /l; ln -s nowhere /broken; echo v > /data/v"
    engine.dockyard("exec", "-u", "0", "box", "sh", "-c", script, check=True)


def content(engine: Engine, path: str) -> str:
    """A file of the container, whatever its state is."""
    done = subprocess.run(
        [*engine.command, "cp", f"box:{path}", "-"], env=engine.environment(), capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        file = archive.extractfile(archive.getmembers()[0])
        assert file is not None
        return file.read().decode()


# --- out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("/w/f", "new", {"new": "hi\n"}),
        ("/w/f", ".", {"f": "hi\n"}),
        ("/w/f", "there/", {"there/f": "hi\n"}),
        ("/w/f", "old", {"old": "hi\n"}),
        ("/w", "new", {"new/f": "hi\n", "new/d/g": "deep\n"}),
        ("/w", "there", {"there/w/f": "hi\n", "there/w/d/g": "deep\n"}),
        ("/w/.", "new", {"new/f": "hi\n", "new/d/g": "deep\n"}),
        ("/w/.", "there", {"there/f": "hi\n", "there/d/g": "deep\n"}),
        ("w/d/", "new", {"new/g": "deep\n"}),
        ("/data/v", "new", {"new": "v\n"}),
    ],
)
def test_where_it_lands_here(
    client: Client, box: str, tmp_path: Path, source: str, target: str, expected: dict[str, str]
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "old").write_text("old")
    client("cp", f"{box}:{source}", target, cwd=tmp_path, check=True)
    found = {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == ({"old": "old"} | expected)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("/none", ".", "Could not find the file /none in container box"),
        ("/w", "old", "cannot copy directory"),
        ("/w/f", "no/such/place", "does not exist"),
        ("/w/f", "none/", "no such directory"),
    ],
)
def test_what_cannot_come_out(client: Client, box: str, tmp_path: Path, source: str, target: str, message: str) -> None:
    (tmp_path / "old").write_text("old")
    done = client("cp", f"{box}:{source}", target, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


def test_links(client: Client, box: str, tmp_path: Path) -> None:
    client("cp", f"{box}:/l", "l", cwd=tmp_path, check=True)
    assert os.readlink(tmp_path / "l") == "/w/f"
    client("cp", "-L", f"{box}:/l", "followed", cwd=tmp_path, check=True)
    assert (tmp_path / "followed").read_text() == "hi\n"
    (tmp_path / "there").mkdir()
    client("cp", "-L", f"{box}:/l", "there", cwd=tmp_path, check=True)
    assert (tmp_path / "there" / "l").read_text() == "hi\n"


def test_a_link_in_the_container_leads_nowhere_else(engine: Engine, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    make(engine)
    engine.dockyard("exec", "box", "sh", "-c", f"ln -s {secret} /s; ln -s {tmp_path} /t; ln -s ../../../.. /up")
    for path in ("/s/.", "/t/secret", f"/up{secret}"):
        done = engine.dockyard("cp", f"box:{path}", str(tmp_path / "got"))
        assert "Could not find the file" in done.stderr or "is not a directory" in done.stderr
    (tmp_path / "evil").write_text("x")
    engine.dockyard("cp", str(tmp_path / "evil"), "box:/s")
    engine.dockyard("cp", str(tmp_path / "evil"), "box:/t/secret")
    assert secret.read_text() == "of the host"


def test_a_link_that_would_lead_out_is_refused(client: Client, engine: Engine, tmp_path: Path) -> None:
    make(engine)
    engine.dockyard("exec", "box", "sh", "-c", "mkdir /out; echo x > /out/a; ln -s ../../../../w/f /out/b", check=True)
    done = client("cp", "box:/out", "got", cwd=tmp_path)
    assert done.returncode == 1
    assert "invalid symlink" in done.stderr
    assert (tmp_path / "got" / "a").read_text() == "x\n"
    assert stat.S_IMODE((tmp_path / "got").stat().st_mode) == 0o755


def test_modes_and_owners(client: Client, engine: Engine, tmp_path: Path) -> None:
    make(engine)
    engine.dockyard("exec", "box", "sh", "-c", "chown 1000:1001 /w/f; chmod 4750 /w/f", check=True)
    client("cp", "box:/w/f", "f", cwd=tmp_path, check=True)
    found = (tmp_path / "f").stat()
    assert stat.S_IMODE(found.st_mode) == 0o4750
    assert found.st_uid == os.getuid()
    client("cp", "f", "box:/w/back", cwd=tmp_path, check=True)
    assert engine.dockyard("exec", "box", "stat", "-c", "%u %a", "/w/back").stdout == f"{os.getuid()} 4750\n"


def test_with_a_the_files_become_the_users(client: Client, engine: Engine, tmp_path: Path) -> None:
    make(engine, "-u", "1234:5678")
    (tmp_path / "f").write_text("x")
    client("cp", "-a", str(tmp_path / "f"), "box:/data/mine", check=True)
    assert engine.dockyard("exec", "box", "stat", "-c", "%u:%g", "/data/mine").stdout == "1234:5678\n"


# --- in --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "lands"),
    [
        ("f", "/w", "/w/f"),
        ("f", "/w/", "/w/f"),
        ("f", "/w/renamed", "/w/renamed"),
        ("f", "/l", "/w/f"),
        ("d", "/w/new", "/w/new/g"),
        ("d", "/w", "/w/d/g"),
        ("d/.", "/w", "/w/g"),
        ("f", "/data/", "/data/f"),
        ("f", "/", "/f"),
    ],
)
def test_where_it_lands_there(
    client: Client, engine: Engine, box: str, tmp_path: Path, source: str, target: str, lands: str
) -> None:
    (tmp_path / "f").write_text("new")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "g").write_text("new")
    client("cp", source, f"{box}:{target}", cwd=tmp_path, check=True)
    assert content(engine, lands) == "new"


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("f", "/none/such/f", "Could not find the file /none/such in container box"),
        ("f", "/none/", "no such directory"),
        ("d", "/w/f", "cannot copy directory"),
        ("f", "/w/f/", ""),
        ("missing", "/w", "missing"),
    ],
)
def test_what_cannot_go_in(client: Client, box: str, tmp_path: Path, source: str, target: str, message: str) -> None:
    (tmp_path / "f").write_text("new")
    (tmp_path / "d").mkdir()
    done = client("cp", source, f"{box}:{target}", cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_and_a_file_do_not_replace_each_other(client: Client, engine: Engine, tmp_path: Path) -> None:
    make(engine)
    (tmp_path / "d").write_text("a file")
    done = client("cp", "d", "box:/w", cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot overwrite directory" in done.stderr
    assert content(engine, "/w/d/g") == "deep\n"


def test_read_only_places(client: Client, engine: Engine, tmp_path: Path) -> None:
    engine.busybox()
    (tmp_path / "f").write_text("x")
    flags = ("--read-only", "-v", f"{tmp_path}:/ro:ro", "-v", "data:/data")
    engine.dockyard("run", "-d", "--name", "box", *flags, "busybox:test", "sleep", "1000", check=True)
    assert "container rootfs is marked read-only" in client("cp", str(tmp_path / "f"), "box:/etc/").stderr
    assert "mounted volume is marked read-only" in client("cp", str(tmp_path / "f"), "box:/ro/g").stderr
    assert client("cp", str(tmp_path / "f"), "box:/data/").returncode == 0
    engine.dockyard("stop", "-t", "0", "box", check=True)
    assert "container rootfs is marked read-only" in client("cp", str(tmp_path / "f"), "box:/etc/").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("box:/a", "box:/b"), "copying between containers is not supported"),
        (("a", "b"), "must specify at least one container source"),
        (("none:/a", "."), "No such container: none"),
        (("-", "box:/w/f"), "must be a directory"),
        (("box:/w",), "requires"),
    ],
)
def test_wrong_arguments(client: Client, engine: Engine, arguments: tuple[str, ...], message: str) -> None:
    make(engine)
    done = client("cp", *arguments)
    assert done.returncode != 0
    assert message in done.stderr


# --- tar streams -----------------------------------------------------------------------------------


def archive(*entries: tuple[str, dict[str, Any], bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, members, data in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            for key, value in members.items():
                setattr(entry, key, value)
            made.addfile(entry, io.BytesIO(data))
    return file.getvalue()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("../../etc/evil", {}, b"x")], "leads out"),
        ([("a", {"type": tarfile.LNKTYPE, "linkname": "../../../../etc/passwd"}, b"")], "leads out"),
        ([("a", {"uid": 2**40}, b"x")], ""),
    ],
)
def test_hostile_tars(engine: Engine, box: str, entries: list[Any], message: str) -> None:
    answer = engine.api("PUT", f"/containers/{box}/archive?path=/w", archive(*entries))
    assert 400 <= answer.status < 500
    assert message in answer.body["message"]


def test_a_link_in_the_tar_leads_nowhere_else(engine: Engine, box: str, tmp_path: Path) -> None:
    data = archive(
        ("out", {"type": tarfile.SYMTYPE, "linkname": str(tmp_path)}, b""),
        ("out/evil", {}, b"x"),
    )
    engine.api("PUT", f"/containers/{box}/archive?path=/w", data)
    assert list(tmp_path.iterdir()) == []


def test_half_a_tar_is_told(engine: Engine, box: str) -> None:
    data = archive(("a", {}, b"x" * 5000))[:3000]
    answer = engine.api("PUT", f"/containers/{box}/archive?path=/w", data)
    assert answer.status == 400
    assert "the tar ends in the middle" in answer.body["message"]


def test_the_path_stat(engine: Engine, box: str) -> None:
    def look(path: str) -> dict[str, Any]:
        answer = engine.api("HEAD", f"/containers/{box}/archive?path={path}")
        found: dict[str, Any] = json.loads(base64.b64decode(answer.headers["x-docker-container-path-stat"]))
        return found

    assert look("/w") | {"mtime": "", "size": 0} == {
        "name": "w", "size": 0, "mode": 0o755 | 1 << 31, "mtime": "", "linkTarget": "",
    }  # fmt: skip
    assert look("/w/f")["size"] == 3
    assert look("/l")["mode"] & 1 << 27
    assert look("/l")["linkTarget"] == "/w/f"
    assert look("/broken")["linkTarget"] == "/nowhere"
    assert look("/")["name"] == "/"


def test_a_file_that_shrinks_is_no_whole_archive(engine: Engine, tmp_path: Path) -> None:
    make(engine)
    script = "while :; do head -c 30000000 /dev/zero > /w/big; : > /w/big; done"
    engine.dockyard("exec", "-d", "box", "sh", "-c", script, check=True)

    def broken_off() -> bool:
        done = subprocess.run(
            [*engine.command, "cp", "box:/w", "-"], env=engine.environment(), capture_output=True, check=False
        )
        if done.returncode == 0:
            with tarfile.open(fileobj=io.BytesIO(done.stdout)) as whole:
                assert len(whole.getmembers()) >= 3
            return False
        assert b"closed the connection in the middle" in done.stderr
        return True

    wait_until(broken_off, 60, "the file shrinks while it is read")


# --- diff ------------------------------------------------------------------------------------------


def test_diff(client: Client, engine: Engine) -> None:
    engine.busybox()
    engine.dockyard("run", "-d", "--name", "box", "busybox:test", "sleep", "1000", check=True)
    assert client("diff", "box", check=True).stdout == ""
    script = "echo x > /etc/new; rm /etc/passwd; mkdir -p /a/b; rm -r /tmp; mkdir /tmp; touch /tmp/t; chmod 700 /bin"
    engine.dockyard("exec", "box", "sh", "-c", script, check=True)
    expected = ["A /a", "A /a/b", "A /etc/new", "A /tmp/t", "C /bin", "C /etc", "C /tmp", "D /etc/passwd"]
    assert sorted(client("diff", "box", check=True).stdout.splitlines()) == expected
    engine.dockyard("stop", "-t", "0", "box", check=True)
    assert sorted(client("diff", "box", check=True).stdout.splitlines()) == expected
    assert "No such container" in client("diff", "none").stderr


# --- export ----------------------------------------------------------------------------------------


def test_export(client: Client, engine: Engine, box: str, tmp_path: Path) -> None:
    client("export", "-o", str(tmp_path / "x.tar"), box, check=True)
    with tarfile.open(tmp_path / "x.tar") as made:
        names = made.getnames()
        assert {"w/f", "w/d/g", "l", "bin/busybox", "etc/passwd", "data"} <= set(names)
        assert "data/v" not in names
        assert not [name for name in names if name.startswith(("proc/", "sys/"))]
    assert stat.S_IMODE((tmp_path / "x.tar").stat().st_mode) == 0o600
    assert "No such container" in client("export", "-o", str(tmp_path / "y.tar"), "none").stderr
    assert not (tmp_path / "y.tar").exists()


def test_what_was_exported_can_be_imported(engine: Engine, tmp_path: Path) -> None:
    make(engine)
    engine.dockyard("export", "-o", str(tmp_path / "x.tar"), "box", check=True)
    engine.dockyard("import", str(tmp_path / "x.tar"), "back:1", check=True)
    assert engine.dockyard("run", "--rm", "back:1", "cat", "/w/d/g", check=True).stdout == "deep\n"


# --- commit ----------------------------------------------------------------------------------------


def test_commit(client: Client, engine: Engine, box: str) -> None:
    flags = ("-a", "me", "-m", "why", "-c", 'CMD ["cat", "/w/f"]', "-c", "ENV A=b", "-c", "LABEL x=y")
    made = client("commit", *flags, box, "made:1", check=True).stdout.strip()
    assert engine.dockyard("run", "--rm", "made:1", check=True).stdout == "hi\n"
    found = json.loads(engine.dockyard("inspect", "made:1", check=True).stdout)[0]
    assert found["Id"] == made
    assert found["Author"] == "me"
    assert "A=b" in found["Config"]["Env"]
    assert found["Config"]["Labels"]["x"] == "y"
    history = engine.api("GET", "/images/made:1/history").body
    assert history[0]["Comment"] == "why"
    assert history[0]["CreatedBy"] == "sleep 1000"
    state = engine.inspect(box)["State"]["Status"]
    assert state in ("running", "paused", "exited")


def test_deletions_and_opaque_folders_are_committed(engine: Engine) -> None:
    make(engine)
    script = "rm /etc/passwd /l; rm -r /home; mkdir /home; echo n > /home/n; chmod 711 /w"
    engine.dockyard("exec", "box", "sh", "-c", script, check=True)
    engine.dockyard("commit", "box", "made:1", check=True)
    done = engine.dockyard("run", "--rm", "made:1", "sh", "-c", "ls /home; ls /etc/passwd /l; stat -c %a /w")
    assert done.stdout == "n\n711\n"
    assert done.stderr.count("No such file") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none",), "No such container: none"),
        (("box", "Upper"), "must be lowercase"),
        (("-c", "FROM x", "box"), "FROM is not a valid change command"),
        (("box", "host"), "reserved"),
    ],
)
def test_commits_that_cannot_be(client: Client, engine: Engine, arguments: tuple[str, ...], message: str) -> None:
    make(engine)
    before = engine.api("GET", "/images/json").body
    done = client("commit", *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert engine.api("GET", "/images/json").body == before


def test_files_change_during_a_commit(engine: Engine) -> None:
    make(engine)
    script = "while :; do head -c 3000000 /dev/urandom > /w/big; sleep 0.01; done"
    engine.dockyard("exec", "-d", "box", "sh", "-c", script, check=True)
    for number in range(5):
        engine.dockyard("commit", "box", f"made:{number}", check=True)
        assert engine.inspect("box")["State"]["Status"] == "running"
    assert engine.dockyard("run", "--rm", "made:4", "cat", "/w/f", check=True).stdout == "hi\n"
