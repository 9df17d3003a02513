"""The targets say what to do when they cannot do it, and an installation leaves no service behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import CHECKOUT


def run(*argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    # The suite itself runs below a make: its flags are not for these.
    kept = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return subprocess.run(argv, cwd=CHECKOUT, env={**kept, **(env or {})}, capture_output=True, text=True, timeout=60)


def test_make_alone_prints_the_targets() -> None:
    done = run("make")
    assert done.returncode == 0
    for target in ("run", "test", "lint", "bench", "peers"):
        assert f"make {target}" in done.stdout


@pytest.mark.parametrize("target", ["run", "test", "bench", "peers", "install", "uninstall"])
def test_without_root_it_says_what_to_do(target: str, tmp_path: Path) -> None:
    # Another user could not enter a checkout below /root: only `id` says so.
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    done = run("make", target, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode != 0
    assert "as root" in done.stderr
    assert done.stdout == ""


def test_find_python_gives_a_real_interpreter() -> None:
    found = run(".ci/find-python").stdout.strip()
    assert found
    code = "import sys; print(sys.prefix == sys.base_prefix, sys.version_info >= (3, 11))"
    assert run(found, "-I", "-c", code).stdout.split() == ["True", "True"]


def test_find_python_refuses_what_is_none(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    done = run(".ci/find-python", env={"PYTHON": str(fake)})
    assert done.returncode == 1
    assert str(fake) in done.stderr


@pytest.mark.parametrize("outcome", [0, 100])
def test_packages_are_installed_under_a_policy_that_starts_nothing(tmp_path: Path, outcome: int) -> None:
    """With apt and dpkg replaced: at the time of the install the policy refuses, afterwards the old one is back."""
    tools = tmp_path / "bin"
    tools.mkdir()
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    policy.chmod(0o755)
    seen = tmp_path / "seen"
    scripts = {
        "dpkg-query": "exit 1",
        "apt-cache": "exit 0",
        "id": "echo 0",
        "systemctl": f'echo systemctl "$@" >>{seen}',
        "apt-get": f'case "$*" in *install*) {policy} docker start; echo $? "$@" >>{seen}; exit {outcome} ;; esac',
    }
    for name, body in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    script = tmp_path / "packages"
    source = (CHECKOUT / ".ci/packages").read_text()
    script.write_text(source.replace("policy=/usr/sbin/policy-rc.d", f"policy={policy}"))
    script.chmod(0o755)
    done = run(str(script), "peers", env={"PATH": f"{tools}:{os.environ['PATH']}"})
    assert done.returncode == (1 if outcome else 0), done.stderr
    lines = seen.read_text().splitlines()
    assert lines[0].startswith("101 ")
    assert "docker.io" in lines[0]
    assert ("systemctl --quiet disable docker.service" in seen.read_text()) == (outcome == 0)
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "packages", "policy-rc.d", "seen"]


def test_what_is_placed_below_a_folder_is_removed_again(tmp_path: Path) -> None:
    where = {"DESTDIR": str(tmp_path), "PREFIX": "/usr", "OPT": "/opt/yard"}
    program = tmp_path / "opt/yard/bin/dockyard"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    done = run(".ci/deploy", "place", env=where)
    assert done.returncode == 0, done.stderr
    assert os.readlink(tmp_path / "usr/bin/dockyard") == "/opt/yard/bin/dockyard"
    scripts = ("bash-completion/completions/dockyard", "zsh/site-functions/_dockyard",
               "fish/vendor_completions.d/dockyard.fish")  # fmt: skip
    assert [(tmp_path / "usr/share" / name).read_text() for name in scripts] == [
        f"completion {shell}\n" for shell in ("bash", "zsh", "fish")
    ]
    unit = (tmp_path / "etc/systemd/system/dockyard.service").read_text()
    assert "ExecStart=/opt/yard/bin/dockyard serve\n" in unit
    assert "KillMode=process\n" in unit
    done = run("make", "uninstall", env=where)
    assert done.returncode == 0, done.stderr
    assert "images, containers and volumes stay in /var/lib/dockyard" in done.stdout
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
    assert not (tmp_path / "opt/yard").exists()
