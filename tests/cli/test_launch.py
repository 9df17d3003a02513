"""The engine is started by the first client that finds none, once, and says itself when it is ready."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import CHECKOUT, wait_until
from tui.cli.transport import unreachable

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root starts an engine"),
]

#: A client that finds no engine: starts the stand-in daemon of the third argument, then connects.
CLIENT = f"""
import sys
sys.path.insert(0, {str(CHECKOUT)!r})
from tui.cli import errors, launch
from tui.cli.transport import Connection
root, run, daemon = sys.argv[1:]
launch.command = lambda arguments: [sys.executable, "-I", "-c", daemon, *arguments]
try:
    launch.start(root, run)
    Connection(run + "/dockyard.sock")
except errors.CliError as error:
    sys.exit(error.message)
sys.stdout.write(str(launch.started))
"""
#: A stand-in daemon: listens, notes its pid, tells that it is ready, and waits for its end.
DAEMON = """
import os, signal, socket, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
listener = socket.socket(socket.AF_UNIX)
listener.bind(options["--run"] + "/dockyard.sock")
listener.listen()
with open(options["--root"] + "/pids", "a") as pids:
    pids.write(f"{os.getpid()} {os.getsid(0)} {os.getcwd()}\\n")
os.write(int(options["--ready-fd"]), b"ready\\n")
os.close(int(options["--ready-fd"]))
print("listening", flush=True)
signal.pause()
"""


@pytest.fixture
def folders(short_folder: Path) -> Iterator[tuple[Path, Path]]:
    root, run = short_folder / "root", short_folder / "run"
    yield root, run
    for pid in pids(root):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, pids(root))), 10, "the daemon ended")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


def pids(root: Path) -> list[int]:
    try:
        return [int(line.split()[0]) for line in (root / "pids").read_text().splitlines()]
    except FileNotFoundError:
        return []


def client(folders: tuple[Path, Path], daemon: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-IS", "-c", CLIENT, str(folders[0]), str(folders[1]), daemon]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)


def test_the_engine_is_started_and_left_running(folders: tuple[Path, Path]) -> None:
    first = client(folders, DAEMON)
    assert first.communicate(timeout=20) == (b"True", b"")
    root, run = folders
    pid, session, cwd = (root / "pids").read_text().split()
    assert (pid, cwd) == (session, "/"), "it has a session of its own and holds no folder"
    assert (root / "daemon.log").read_text() == "listening\n"
    assert root.stat().st_mode & 0o777 == 0o700
    assert run.stat().st_mode & 0o777 == 0o711
    with socket.socket(socket.AF_UNIX) as again:
        again.connect(str(run / "dockyard.sock"))


def test_of_many_clients_one_starts_it_and_all_are_connected(folders: tuple[Path, Path]) -> None:
    clients = [client(folders, DAEMON) for _ in range(4)]
    answers = sorted(one.communicate(timeout=20) for one in clients)
    assert answers == [(b"False", b"")] * 3 + [(b"True", b"")]
    assert len(pids(folders[0])) == 1


@pytest.mark.parametrize(
    ("daemon", "words"),
    [
        ("import os, sys; os.write(int(sys.argv[-1]), b'error: the disk is full\\n')", "the disk is full"),
        ("raise SystemExit('no such module')", "no such module"),
        ("pass", "it ended before it was ready"),
    ],
    ids=["its words", "its log", "nothing"],
)
def test_an_engine_that_does_not_start_is_explained(folders: tuple[Path, Path], daemon: str, words: str) -> None:
    failed = client(folders, daemon)
    _, err = failed.communicate(timeout=20)
    assert failed.returncode == 1
    first, second = err.decode().splitlines()
    assert first == f"the engine did not start: {words}"
    assert second == f"Its log is {folders[0]}/daemon.log"


SYSTEMCTL = """#!/bin/sh
echo "$*" >>{root}/asked
[ -z "{fails}" ] || {{ echo "{fails}" >&2; exit 5; }}
exec {python} -I -c 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1])' {run}/dockyard.sock
"""
#: The client of a machine whose systemd knows the engine as a service.
UNIT_CLIENT = f"""
import os, sys
sys.path.insert(0, {str(CHECKOUT)!r})
from tui.cli import errors, launch
root, run, tools = sys.argv[1:]
os.environ["PATH"] = tools + ":" + os.environ["PATH"]
launch.ROOT, launch.RUN, launch.has_unit = root, run, lambda: True
try:
    launch.start(root, run)
except errors.CliError as error:
    sys.exit(error.message)
sys.stdout.write(str(launch.started))
"""


@pytest.mark.parametrize("fails", ["", "Unit dockyard.service is masked."])
def test_where_there_is_a_unit_the_service_is_started(folders: tuple[Path, Path], tmp_path: Path, fails: str) -> None:
    root, run = folders
    tool = tmp_path / "systemctl"
    tool.write_text(SYSTEMCTL.format(root=root, run=run, python=sys.executable, fails=fails))
    tool.chmod(0o755)
    argv = [sys.executable, "-IS", "-c", UNIT_CLIENT, str(root), str(run), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert (root / "asked").read_text() == "start dockyard.service\n"
    assert not (root / "daemon.log").exists(), "no engine beside the service"
    if fails:
        assert done.returncode == 1
        assert done.stderr == f"the engine did not start: {fails}\nIts log: journalctl -u dockyard.service\n"
    else:
        assert (done.stdout, done.stderr, done.returncode) == ("True", "", 0)
        assert (run / "dockyard.sock").is_socket()


def test_no_right_on_the_socket_names_the_group() -> None:
    error = unreachable("/run/x.sock", PermissionError(13, "Permission denied"))
    assert "permission denied on the engine's socket /run/x.sock" in error.message
    assert "usermod -aG dockyard" in error.message
    assert not error.missing
