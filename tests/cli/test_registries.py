"""``pull push login logout search manifest`` and what ``run`` does without its image."""

from __future__ import annotations

import base64
import json
import os
import pty
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fake import Exchange, FakeEngine, Handler, dockyard
from tests.cli.test_commands import refuses
from tests.support import CHECKOUT

Fake = Callable[[dict[str, Handler]], FakeEngine]


def streams(*messages: dict[str, Any]) -> Handler:
    """A handler that answers with these messages, a line each."""

    def handler(exchange: Exchange) -> None:
        exchange.chunked(*(json.dumps(message).encode() + b"\n" for message in messages), kind="application/json")

    return handler


def said(status: str, layer: str = "", current: int = 0, total: int = 0) -> dict[str, Any]:
    detail = {"current": current, "total": total} if total else {}
    return {"status": status, **({"id": layer, "progressDetail": detail} if layer else {})}


def auth_of(exchange: Exchange) -> Any:
    text = exchange.headers.get("x-registry-auth", "")
    return json.loads(base64.urlsafe_b64decode(text)) if text else None


@pytest.fixture
def home(tmp_path: Path) -> dict[str, Any]:
    return {"HOME": str(tmp_path)}


def keep(home: dict[str, Any], document: Any) -> Path:
    path = Path(home["HOME"], ".docker", "config.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


PULLED = (
    said("Pulling from library/app", ""),
    said("Pulling fs layer", "aaaa"),
    said("Downloading", "aaaa", 5, 10),
    said("Pull complete", "aaaa"),
    said("Status: Downloaded newer image for app:latest"),
)


def test_pull_prints_states_and_the_full_name(fake: Fake, home: dict[str, Any]) -> None:
    engine = fake({"POST /images/create": streams(*PULLED)})
    done = dockyard(engine, "pull", "app", **home)
    assert done.stdout.decode() == (
        "Using default tag: latest\nPulling from library/app\naaaa: Pulling fs layer\naaaa: Pull complete\n"
        "Status: Downloaded newer image for app:latest\ndocker.io/library/app:latest\n"
    )
    assert engine.requests[0].target == "/images/create?fromImage=app&tag=latest"
    done = dockyard(engine, "pull", "-q", "--platform", "linux/arm64", f"r.lan:5000/a/b@sha256:{'0' * 64}", **home)
    assert done.stdout.decode() == f"r.lan:5000/a/b@sha256:{'0' * 64}\n"
    assert engine.requests[-1].target == (
        f"/images/create?fromImage=r.lan:5000/a/b&tag=sha256:{'0' * 64}&platform=linux/arm64"
    )
    dockyard(engine, "pull", "-a", "app", **home)
    assert engine.requests[-1].target == "/images/create?fromImage=app"


@pytest.mark.parametrize("name", ["app:", "app@", "r.lan:5000/app:"])
def test_half_a_name_is_not_all_of_its_tags(fake: Fake, home: dict[str, Any], name: str) -> None:
    engine = fake({"POST /images/create": refuses(400, "invalid reference format")})
    assert dockyard(engine, "pull", name, **home).returncode == 1
    assert engine.requests[0].target == f"/images/create?fromImage={name}"


def test_an_error_in_the_stream_ends_it(fake: Fake, home: dict[str, Any]) -> None:
    broken = streams(said("Pulling"), {"errorDetail": {"message": "no \x1b[31m space"}, "error": "no \x1b[31m space"})
    done = dockyard(fake({"POST /images/create": broken}), "pull", "app:1", **home)
    assert (done.returncode, done.stderr.decode()) == (1, "no \\x1b[31m space\n")
    done = dockyard(fake({"POST /images/create": refuses(404, "pull access denied")}), "pull", "app:1", **home)
    assert (done.returncode, done.stderr.decode()) == (1, "Error response from daemon: pull access denied\n")


def test_credentials_go_with_the_request_for_their_registry(fake: Fake, home: dict[str, Any]) -> None:
    keep(home, {"auths": {"r.lan": {"auth": base64.b64encode(b"me:pass:word").decode()},
                          "https://index.docker.io/v1/": {"identitytoken": "token"}}})  # fmt: skip
    engine = fake({"POST /images/create": streams(), "POST /images/r.lan/x/push": streams()})
    dockyard(engine, "pull", "r.lan/x:1", **home)
    dockyard(engine, "pull", "x:1", **home)
    dockyard(engine, "pull", "other.lan/x:1", **home)
    dockyard(engine, "push", "r.lan/x:1", **home)
    me = {"username": "me", "password": "pass:word", "serveraddress": "r.lan"}
    assert list(map(auth_of, engine.requests)) == [
        me,
        {"username": "", "identitytoken": "token", "serveraddress": "https://index.docker.io/v1/"},
        None,
        me,
    ]


def helper(folder: Path, name: str, script: str) -> None:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_helpers_give_credentials(fake: Fake, home: dict[str, Any], tmp_path: Path) -> None:
    helper(tmp_path, "one", """read server; echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"$1 $server\\"}\"""")
    helper(tmp_path, "none", 'echo "credentials not found in native keychain"; exit 1')
    helper(tmp_path, "broken", 'echo "the keychain is locked"; exit 1')
    keep(home, {"credsStore": "none", "credHelpers": {"r.lan": "one", "s.lan": "broken", "t.lan": "missing"}})
    path = {**home, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    engine = fake({"POST /images/create": streams()})
    dockyard(engine, "pull", "r.lan/x:1", **path)
    assert auth_of(engine.requests[0])["identitytoken"] == "get r.lan"
    dockyard(engine, "pull", "x:1", **path)
    assert auth_of(engine.requests[1]) is None
    done = dockyard(engine, "pull", "s.lan/x:1", **path)
    assert (done.returncode, "the keychain is locked" in done.stderr.decode()) == (1, True)
    done = dockyard(engine, "pull", "t.lan/x:1", **path)
    assert "docker-credential-missing, which" in done.stderr.decode()
    assert len(engine.requests) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is damaged"),
        ("[]", "is no JSON object"),
        ('{"auths": 1}', "auths is not an object"),
        ('{"auths": {"r.lan": {"auth": "?"}}}', "the credentials of r.lan are damaged"),
    ],
)
def test_a_damaged_file_is_named(fake: Fake, home: dict[str, Any], text: str, words: str) -> None:
    path = keep(home, text)
    done = dockyard(fake({}), "pull", "r.lan/x:1", **home)
    assert done.returncode == 1
    assert done.stderr.decode().startswith(str(path))
    assert words in done.stderr.decode()


def test_login_keeps_credentials_beside_what_was_there(fake: Fake, home: dict[str, Any]) -> None:
    path = keep(home, {"psFormat": "x", "auths": {"other": {"auth": "eDp5"}}})
    engine = fake({"POST /auth": lambda exchange: exchange.reply({"Status": "Login Succeeded"})})
    done = dockyard(engine, "login", "-u", "me", "--password-stdin", "https://r.lan/v2/", input=b"secret\n", **home)
    assert (done.returncode, done.stdout) == (0, b"Login Succeeded\n")
    assert f"stored unencrypted in '{path}'" in done.stderr.decode()
    assert json.loads(engine.requests[0].body) == {"username": "me", "password": "secret", "serveraddress": "r.lan"}
    document = json.loads(path.read_text())
    assert document["psFormat"] == "x"
    assert document["auths"]["r.lan"] == {"auth": base64.b64encode(b"me:secret").decode()}
    assert "other" in document["auths"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert dockyard(engine, "logout", "r.lan", **home).stdout == b"Removing login credentials for r.lan\n"
    assert list(json.loads(path.read_text())["auths"]) == ["other"]
    assert dockyard(engine, "logout", "r.lan", **home).stdout == b"Not logged in to r.lan\n"


def test_a_refused_login_keeps_nothing(fake: Fake, home: dict[str, Any]) -> None:
    engine = fake({"POST /auth": refuses(401, "unauthorized: incorrect username or password")})
    done = dockyard(engine, "login", "-u", "me", "-p", "bad", "r.lan", **home)
    assert done.returncode == 1
    assert "incorrect username or password" in done.stderr.decode()
    assert "WARNING! Using --password via the CLI is insecure" in done.stderr.decode()
    assert not Path(home["HOME"], ".docker").exists()


def test_login_into_a_helper(fake: Fake, home: dict[str, Any], tmp_path: Path) -> None:
    helper(tmp_path, "file", f"cat > {tmp_path}/$1")
    path = keep(home, {"credsStore": "file"})
    engine = fake({"POST /auth": lambda exchange: exchange.reply({"Status": "Login Succeeded", "IdentityToken": "t"})})
    environment = {**home, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = dockyard(engine, "login", "-u", "me", "-p", "secret", **environment)
    assert "unencrypted" not in done.stderr.decode()
    kept = json.loads((tmp_path / "store").read_text())
    assert kept == {"ServerURL": "https://index.docker.io/v1/", "Username": "<token>", "Secret": "t"}
    assert json.loads(path.read_text())["auths"] == {"https://index.docker.io/v1/": {}}
    dockyard(engine, "logout", **environment)
    assert (tmp_path / "erase").read_text() == "https://index.docker.io/v1/"


def test_run_pulls_what_is_missing(fake: Fake, home: dict[str, Any]) -> None:
    here: list[bool] = []

    def create(exchange: Exchange) -> None:
        if here:
            exchange.reply({"Id": "c" * 64, "Warnings": []}, 201)
        else:
            refuses(404, "No such image: app:latest")(exchange)

    def pull(exchange: Exchange) -> None:
        here.append(True)
        streams(*PULLED)(exchange)

    engine = fake({"POST /containers/create": create, "POST /images/create": pull})
    done = dockyard(engine, "create", "app", **home)
    assert (done.returncode, done.stdout) == (0, b"c" * 64 + b"\n")
    first, *rest = done.stderr.decode().splitlines()
    assert first == "Unable to find image 'app:latest' locally"
    assert "aaaa: Pull complete" in rest
    dockyard(engine, "create", "--pull", "always", "-q", "app", **home)
    assert [one.target.partition("?")[0] for one in engine.requests[-2:]] == ["/images/create", "/containers/create"]


def test_search_and_manifests(fake: Fake, home: dict[str, Any]) -> None:
    item = {"name": "a", "description": "x" * 50, "star_count": 7, "is_official": True, "is_automated": False}
    manifest = {"Ref": "docker.io/library/a:1", "Descriptor": {"size": 1}, "Raw": '{"b": [1], "a": {}}'}
    engine = fake(
        {
            "GET /images/search": lambda exchange: exchange.reply([item]),
            "GET /dockyard/v1/manifests/a:1": lambda exchange: exchange.reply(manifest),
            "GET /dockyard/v1/manifests/b": refuses(404, "manifest for b:latest not found: manifest unknown"),
        }
    )
    done = dockyard(engine, "search", "--filter", "stars=3", "a", **home)
    assert done.stdout.decode().splitlines()[1].split() == ["a", "x" * 44 + "…", "7", "[OK]"]
    assert (
        dockyard(engine, "search", "--no-trunc", "--format", "{{.Description}}", "a", **home).stdout
        == b"x" * 50 + b"\n"
    )
    done = dockyard(engine, "manifest", "inspect", "a:1", **home)
    assert done.stdout.decode() == '{\n\t"b": [\n\t\t1\n\t],\n\t"a": {}\n}\n'
    done = dockyard(engine, "manifest", "inspect", "-v", "a:1", **home)
    assert json.loads(done.stdout)["Manifest"] == {"b": [1], "a": {}}
    done = dockyard(engine, "manifest", "inspect", "b", **home)
    assert done.stderr.decode().startswith("no such manifest: docker.io/library/b:latest\n")


def test_names_are_protected(fake: Fake) -> None:
    engine = fake({"PUT /dockyard/v1/images/a:1/protection": lambda exchange: exchange.reply(None, 204)})
    done = dockyard(engine, "image", "protect", "a:1", "b:1")
    assert (done.returncode, done.stdout) == (1, b"a:1\n")
    assert "no route PUT" in done.stderr.decode()


def terminal(engine: FakeEngine, *arguments: str, columns: int = 100, typed: bytes = b"", **variables: str) -> str:
    """What a command shows on a terminal of its own."""
    import fcntl
    import struct
    import subprocess
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "DOCKYARD_HOST": f"unix://{engine.path}", **variables}
    process = subprocess.Popen(
        [sys.executable, "-m", "tui.cli", *arguments],  # as installed: with rich on the path
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=CHECKOUT, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while True:
            try:
                block = os.read(ours, 65536)
            except OSError:
                break
            shown += block
            if typed and shown.endswith(b": "):
                line, _, typed = typed.partition(b"\n")
                os.write(ours, line + b"\n")
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return shown.decode()


@pytest.mark.parametrize("columns", [40, 100])
def test_bars_on_a_terminal(fake: Fake, home: dict[str, Any], columns: int) -> None:
    many = [said("Pull complete", f"layer{number}") for number in range(60)]
    engine = fake({"POST /images/create": streams(*PULLED, *many)})
    shown = terminal(engine, "pull", "app:1", columns=columns, **home)
    assert "aaaa" in shown
    assert "Pull complete" in shown
    assert shown.rstrip().endswith("docker.io/library/app:1")
    assert "Traceback" not in shown


def test_a_dumb_terminal_gets_lines(fake: Fake, home: dict[str, Any]) -> None:
    engine = fake({"POST /images/create": streams(*PULLED)})
    shown = terminal(engine, "pull", "app:1", **home, TERM="dumb")
    assert "\x1b" not in shown
    assert "aaaa: Pull complete\r\n" in shown


def test_the_password_is_not_shown(fake: Fake, home: dict[str, Any]) -> None:
    engine = fake({"POST /auth": lambda exchange: exchange.reply({"Status": "Login Succeeded"})})
    shown = terminal(engine, "login", "r.lan", typed=b"me\nsecret\n", **home)
    assert "Username: me" in shown
    assert "secret" not in shown
    assert "Login Succeeded" in shown
    assert json.loads(engine.requests[0].body)["password"] == "secret"
