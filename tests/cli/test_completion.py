"""The shells take the scripts, and bash completes verbs, flags and the verbs of nouns."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.cli.fake import dockyard


def script(shell: str) -> str:
    return dockyard(None, "completion", shell).stdout.decode()


@pytest.mark.parametrize(
    ("words", "found"),
    [("lo", {"load", "logs"}), ("stop --s", {"--signal"}), ("container ki", {"kill"}), ("run --cap-a", {"--cap-add"})],
)
def test_bash_completes(words: str, found: set[str]) -> None:
    parts = ["dockyard", *words.split()]
    quoted = " ".join(parts)
    text = f'{script("bash")}\nCOMP_WORDS=({quoted}) COMP_CWORD={len(parts) - 1}\n_dockyard\necho "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == found


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(shell: str) -> None:
    text = script(shell)
    assert "logs" in text
    assert "cap-add" in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)


def test_an_unknown_shell_is_refused() -> None:
    done = dockyard(None, "completion", "csh")
    assert done.returncode == 1
    assert b"bash, zsh or fish" in done.stderr
