"""``host``: a throw-away sandbox of this server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import Engine
from tests.terminal import Pty

CANARY = "dockyard-canary-6b1f"
PLACES = ["/root", "/home", "/var/lib", "/srv", "/opt", "/etc", "/tmp", "/usr/local/etc"]


@pytest.fixture
def canaries() -> Iterator[list[Path]]:
    """Files with a secret in every place that must stay outside, and one below /usr only root may read."""
    made = []
    try:
        for place in PLACES:
            path = Path(place, f".{CANARY}")
            path.write_text(CANARY)
            path.chmod(0o600 if place.startswith(("/etc", "/usr")) else 0o644)
            made.append(path)
        yield made
    finally:
        for path in made:
            path.unlink()


def run(engine: Engine, script: str, *args: str) -> str:
    done = engine.dockyard(
        "run", "--rm", "--network", "none", *args, "host", "bash", "-c", script, check=True, timeout=120
    )
    return str(done.stdout)


def test_it_is_this_server(engine: Engine) -> None:
    out = run(engine, "cat /etc/os-release; ls /usr/bin | wc -l; id -un")
    assert Path("/etc/os-release").read_text() in out
    assert out.splitlines()[-1] == "root"


def test_nothing_written_reaches_the_host(engine: Engine) -> None:
    before = Path("/etc/hostname").read_bytes() if Path("/etc/hostname").exists() else b""
    run(
        engine,
        f"rm -rf /usr/share/doc /etc/passwd; echo x >/usr/bin/{CANARY}; echo y >/etc/{CANARY}; echo z >/root/{CANARY}",
    )
    assert not Path(f"/usr/bin/{CANARY}").exists()
    assert not Path(f"/etc/{CANARY}").exists()
    assert not Path(f"/root/{CANARY}").exists()
    assert Path("/etc/passwd").exists()
    assert (Path("/etc/hostname").read_bytes() if before else b"") == before


def test_no_canary_is_found(engine: Engine, canaries: list[Path]) -> None:
    places = "/etc /root /home /var /srv /opt /tmp /run /mnt /media /boot"
    search = f"grep -rslF {CANARY} {places} 2>/dev/null; find / -xdev -name '*{CANARY}*' -not -path '/usr/*'"
    script = f"{search}; echo done"
    assert run(engine, script) == "done\n"


@pytest.mark.parametrize(
    "path",
    ["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssl/private"],
)
def test_secrets_of_etc_are_not_there(engine: Engine, path: str) -> None:
    assert run(engine, f"ls -A {path} 2>/dev/null | head -1") in ("", f"{path}\n" if path == "" else "")


def test_an_interactive_bash(pty_of: Callable[..., Pty]) -> None:
    shell = pty_of("run", "-it", "--rm", "host", "bash", rows=40, cols=132)
    shell.expect("#")
    shell.send("echo $((6*7)); stty size; exit 3\r")
    shell.expect("42")
    shell.expect("40 132")
    assert shell.wait() == 3


@pytest.mark.parametrize("verb", [["rmi", "host"], ["rmi", "-f", "host"], ["import", "-", "host"]])
def test_it_cannot_be_changed(engine: Engine, verb: list[str]) -> None:
    done = engine.dockyard(*verb, input="")
    assert done.returncode == 1
    assert "host" in done.stderr


def test_it_is_listed(engine: Engine) -> None:
    out = engine.dockyard("images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}", check=True).stdout
    assert "host:latest 0B" in out
