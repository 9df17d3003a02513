"""What people type every day, written as they type it: each line goes to a shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import Engine, run_command, wait_until


@pytest.fixture
def shell(own_engine: Engine, tmp_path: Path) -> Shell:
    own_engine.busybox()
    return Shell(own_engine, tmp_path)


class Shell:
    """A shell in an empty folder with ``dockyard`` on its PATH."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder / "project"
        self.folder.mkdir()
        tools = folder / "bin"
        tools.mkdir()
        (tools / "dockyard").write_text(f'#!/bin/sh\nexec {" ".join(engine.command)} "$@"\n')
        (tools / "dockyard").chmod(0o755)
        environment = engine.environment()
        self.environment = {**environment, "PATH": f"{tools}:{environment['PATH']}"}

    def __call__(self, line: str, *, ok: bool = True, feed: str | None = None) -> str:
        done: subprocess.CompletedProcess[str] = run_command(
            ["sh", "-c", line], env=self.environment, cwd=self.folder, input=feed
        )
        assert (done.returncode == 0) is ok, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


def test_all_at_once(shell: Shell) -> None:
    for name in ("web", "db", "cache"):
        shell(f"dockyard run -d --name {name} busybox:test sleep 1000")
    assert shell("dockyard ps -q").count("\n") == 3
    shell("dockyard stop -t 0 web")
    shell("dockyard kill $(dockyard ps -q)")
    wait_until(lambda: shell("dockyard ps -q") == "", 10, "all are down")
    assert shell("dockyard ps -a -q").count("\n") == 3
    shell("dockyard start $(dockyard ps -aq -f status=exited)")
    shell("dockyard rm -f $(dockyard ps -aq)")
    assert shell("dockyard ps -aq") == ""
    shell("dockyard commit $(dockyard create busybox:test true) && dockyard rm $(dockyard ps -aq)")
    shell("dockyard rmi $(dockyard images -q -f dangling=true)")
    shell("dockyard rmi $(dockyard images -q busybox)")
    assert "busybox" not in shell("dockyard images")


def test_a_folder_of_the_host(shell: Shell) -> None:
    (shell.folder / "hello").write_text("from the host\n")
    assert shell('dockyard run --rm -v "$(pwd)":/app -w /app busybox:test cat hello') == "from the host\n"
    shell('dockyard run --rm -v "$PWD":/app -w /app busybox:test sh -c "echo back > made"')
    assert (shell.folder / "made").read_text() == "back\n"
    assert shell("dockyard run --rm -v $(pwd):/app:ro busybox:test touch /app/x", ok=False) == ""


def test_one_container_from_first_to_last(shell: Shell) -> None:
    shell("dockyard run -d --name web -e MODE=test -l tier=front --restart unless-stopped busybox:test sleep 1000")
    assert shell("dockyard exec web env | grep MODE") == "MODE=test\n"
    assert shell("dockyard inspect -f '{{.State.Status}} {{.Config.Labels.tier}}' web") == "running front\n"
    shell("echo data > file && dockyard cp file web:/srv && dockyard cp web:/srv - | tar -x -O > copied", ok=True)
    assert (shell.folder / "copied").read_text() == "data\n"
    assert "A /srv" in shell("dockyard diff web")
    shell("dockyard rename web site && dockyard pause site && dockyard unpause site && dockyard restart -t 0 site")
    shell("dockyard update --memory 64m --memory-swap 64m site")
    assert "sleep" in shell("dockyard top site")
    assert "site" in shell("dockyard stats --no-stream")
    shell("dockyard commit -m state site site:saved")
    assert "state" in shell("dockyard history site:saved")
    shell("dockyard stop -t 0 site")
    assert shell("dockyard wait site") == "137\n"
    shell("dockyard rm -v site")


def test_pipes_between_images_and_containers(shell: Shell) -> None:
    assert shell("echo in | dockyard run -i --rm busybox:test cat") == "in\n"
    shell("dockyard save busybox:test | gzip > box.tar.gz && dockyard rmi busybox:test && dockyard load < box.tar.gz")
    shell("dockyard create --name full busybox:test true && dockyard export full | dockyard import - flat:1")
    assert shell("dockyard run --rm flat:1 echo flat") == "flat\n"
    shell("dockyard tag flat:1 registry.example/flat:2 && dockyard rmi flat:1 registry.example/flat:2")


def test_looking_around(shell: Shell) -> None:
    shell("dockyard run --name old busybox:test sh -c 'echo one; echo two >&2; exit 3'", ok=False)
    assert shell("dockyard logs old 2>/dev/null") == "one\n"
    assert shell("dockyard logs --tail 1 old 2>&1").count("\n") == 1
    assert shell("dockyard ps -l --format '{{.Names}} {{.Status}}'").startswith("old Exited (3)")
    assert "Images" in shell("dockyard system df")
    assert "Server Version" in shell("dockyard info")
    assert shell("dockyard version -f '{{.Server.Os}}'") == "linux\n"
    assert "die" in shell("dockyard events --since 5m --until 0s")


def test_cleaning_up(shell: Shell) -> None:
    shell("dockyard volume create data && dockyard run --name old -v data:/data -v /scratch busybox:test true")
    shell("dockyard commit old")
    assert "Deleted Containers:" in shell("dockyard container prune -f")
    assert "Deleted Volumes:" in shell("dockyard volume prune -f")
    assert "Deleted Images:" in shell("dockyard image prune -f")
    assert shell("dockyard volume ls -q") == "data\n"
    shell("dockyard volume prune -af")
    assert "cancelled" not in shell("yes | dockyard system prune -a --volumes")
    assert shell("dockyard images -q busybox") == ""
