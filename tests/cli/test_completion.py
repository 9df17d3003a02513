"""The shells take the scripts; bash completes verbs, flags, the verbs of nouns, and the names of things."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.fake import dockyard


def script(shell: str) -> str:
    return dockyard(None, "completion", shell).stdout.decode()


def completed(words: str, before: str = "", path: str = "") -> set[str]:
    """What bash offers for the last of ``words``; ``before`` runs between the script and the question."""
    parts = ["dockyard", *words.split(" ")]
    quoted = " ".join(f"'{part}'" for part in parts)
    text = (
        f"{script('bash')}\n{before}\nCOMP_WORDS=({quoted}) COMP_CWORD={len(parts) - 1}\n_dockyard\n"
        'echo "${COMPREPLY[@]}"'
    )
    env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    return set(subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True, env=env).stdout.split())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("lo", {"load", "login", "logout", "logs"}),
        ("stop --s", {"--signal"}),
        ("container ki", {"kill"}),
        ("container stop --s", {"--signal"}),
        ("run --cap-a", {"--cap-add"}),
        ("run --pub", {"--publish", "--publish-all"}),
        ("ne", {"network"}),
        ("network c", {"connect", "create"}),
        ("network connect --al", {"--alias"}),
        ("network create --i", {"--internal", "--ip-range", "--ipam-driver", "--ipam-opt", "--ipv4", "--ipv6"}),
    ],
)
def test_bash_completes(words: str, found: set[str]) -> None:
    assert completed(words) == found


@pytest.fixture
def engine(tmp_path: Path) -> str:
    """A folder with a command line that names two of each kind."""
    command = tmp_path / "dockyard"
    command.write_text(
        '#!/bin/sh\ncase "$1 $2" in\n"network ls") echo net1 net2 ;;\n"ps -a") echo box1 box2 ;;\n'
        '"volume ls") echo vol1 vol2 ;;\nimages*) echo image1 image2 ;;\nesac\n'
    )
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("network rm ", {"net1", "net2"}),
        ("network remove net1 ", {"net1", "net2"}),
        ("network inspect ", {"net1", "net2"}),
        ("network connect ", {"net1", "net2", "box1", "box2"}),
        ("network connect net1 b", {"box1", "box2"}),
        ("network create ", set()),
        ("run --network ", {"net1", "net2"}),
        ("run ", {"image1", "image2"}),
        ("create --link ", {"box1", "box2"}),
        ("port ", {"box1", "box2"}),
        ("rm ", {"box1", "box2"}),
        ("container rm ", {"box1", "box2"}),
        ("volume rm ", {"vol1", "vol2"}),
        ("image rm ", {"image1", "image2"}),
    ],
)
def test_bash_completes_names(engine: str, words: str, found: set[str]) -> None:
    # `[` also compares numbers in the script: only the question for the socket is answered here.
    running = '[() { case $1 in -S) return 0 ;; *) builtin [ "$@" ;; esac; }'
    assert completed(words, before=running, path=engine) == found


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(shell: str) -> None:
    text = script(shell)
    assert "logs" in text
    assert "cap-add" in text
    assert "network" in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("network c", {"connect", "create"}),
        ("network rm --f", {"--force"}),
        ("rm --v", {"--volumes"}),
        ("network rm --v", set()),
        ("run --publish-a", {"--publish-all"}),
    ],
)
def test_fish_completes(words: str, found: set[str]) -> None:
    text = f"{script('fish')}\ncomplete -C 'dockyard {words}'"
    done = subprocess.run(["fish", "--no-config", "-c", text], capture_output=True, text=True, check=True)
    assert {line.partition("\t")[0] for line in done.stdout.splitlines()} == found


def test_an_unknown_shell_is_refused() -> None:
    done = dockyard(None, "completion", "csh")
    assert done.returncode == 1
    assert b"bash, zsh or fish" in done.stderr
