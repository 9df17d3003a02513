"""An installation under systemd, as a person does it: install, use, stop, upgrade, uninstall; containers run on."""

from __future__ import annotations

import grp
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from core.linux.cgroup_files import read_file
from tests import images
from tests.support import BUSYBOX, CHECKOUT, api_request, wait_until
from tests.vm import wheels
from tests.vm.guest import check

_SOCKET = Path("/run/dockyard/dockyard.sock")
_COMMAND = Path("/usr/local/bin/dockyard")
_UNIT = Path("/etc/systemd/system/dockyard.service")
_GROUPS = ("0::/system.slice/dockyard-main.scope/", "0::/system.slice/dockyard.service")
#: Of the newer version; the folder is the machine's own copy.
_NEWER = "0.1.1"


def _run(*argv: str, timeout: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCK", "MAKE", "MFLAGS"))}
    done = subprocess.run(
        argv, cwd=CHECKOUT, env={**kept, **settings}, capture_output=True, text=True, timeout=timeout, check=False
    )
    print(f"$ {' '.join(argv)}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done


def _ok(*argv: str, timeout: float = 120, **settings: str) -> str:
    done = _run(*argv, timeout=timeout, **settings)
    assert done.returncode == 0, argv
    return done.stdout.strip()


def _dockyard(*words: str) -> str:
    return _ok(str(_COMMAND), *words)


def _install() -> None:
    _ok("make", "install", timeout=600, **wheels.environment())


def _ping() -> None:
    """Answers at the first try."""
    assert api_request(_SOCKET, "GET", "/_ping").status == 200


def _inspect(name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(_dockyard("inspect", name))
    return found[0]


def _pid(name: str) -> int:
    return int(_inspect(name)["State"]["Pid"])


def _main_pid() -> int:
    return int(_ok("systemctl", "show", "-p", "MainPID", "--value", "dockyard.service"))


def _group_of(pid: int) -> str:
    return next(line for line in read_file(f"/proc/{pid}/cgroup").splitlines() if line.startswith("0::"))


def _engines() -> list[int]:
    """The processes that are an engine of the default folder, by what holds its lock."""
    inode = os.stat("/var/lib/dockyard/lock").st_ino
    lines = [line.split() for line in read_file("/proc/locks").splitlines()]
    return [int(words[4]) for words in lines if words[1] == "FLOCK" and words[5].endswith(f":{inode}")]


def _lives_on(name: str, pid: int) -> None:
    assert read_file(f"/proc/{pid}/comm").strip() == "sleep"
    state = _inspect(name)["State"]
    assert (state["Status"], state["Pid"]) == ("running", pid), state
    assert _dockyard("exec", name, "echo", "inside") == "inside"


@check("install", seconds=780)
def an_installation_lives_with_running_containers() -> None:
    _a_client_began_before()
    _install()
    _the_service_is_ready_and_its_group_has_access()
    box = _pid("box")
    _lives_on("box", box)
    _containers_lie_beside_the_service()
    _a_stopped_service_is_started_by_a_client("box", box)
    _ok("systemctl", "restart", "dockyard.service")
    _ping()
    _lives_on("box", box)
    _a_killed_service_comes_back("box", box)
    _upgrade("box", box)
    _uninstall("box", box)


def _a_client_began_before() -> None:
    """An engine that a client started from the checkout, with a container: the installation takes both over."""
    for folder in ("/tmp/lib", "/var/lib/dockyard"):  # an overlay's upper layer cannot lie on the machine's own overlay
        os.makedirs(folder, exist_ok=True)
    _ok("mount", "--bind", "/tmp/lib", "/var/lib/dockyard")
    command = str(CHECKOUT / ".venv/bin/dockyard")
    archive = Path("/tmp/busybox.tar")
    archive.write_bytes(images.busybox_archive(BUSYBOX))
    _ok(command, "load", "-i", str(archive))
    _ok(command, "run", "-d", "--name", "box", BUSYBOX, "sleep", "100000")


def _the_service_is_ready_and_its_group_has_access() -> None:
    _ping()
    assert _ok("systemctl", "is-active", "dockyard.service") == "active"
    assert _ok("systemctl", "is-enabled", "dockyard.service") == "enabled"
    assert _engines() == [_main_pid()]
    there = _SOCKET.stat()
    assert (there.st_mode & 0o777, there.st_gid) == (0o660, grp.getgrnam("dockyard").gr_gid)
    person = ["setpriv", "--reuid=65534", "--regid=65534"]
    assert _ok(*person, f"--groups={there.st_gid}", str(_COMMAND), "ps", "--format", "{{.Names}}") == "box"
    refused = _run(*person, "--clear-groups", str(_COMMAND), "ps")
    assert refused.returncode == 1
    assert "usermod -aG dockyard" in refused.stderr


def _containers_lie_beside_the_service() -> None:
    _dockyard("run", "-d", "--name", "next", BUSYBOX, "sleep", "100000")
    for name in ("box", "next"):
        pid = _pid(name)
        monitor = int(read_file(f"/proc/{pid}/stat").rpartition(")")[2].split()[1])
        assert _group_of(pid).startswith(_GROUPS[0]), _group_of(pid)
        assert _group_of(monitor) == _GROUPS[0] + "monitors"
    assert _group_of(_main_pid()) == _GROUPS[1]


def _a_stopped_service_is_started_by_a_client(name: str, pid: int) -> None:
    """Not an engine beside it: the service could not be started any more."""
    _ok("systemctl", "stop", "dockyard.service")
    assert not _SOCKET.exists()
    assert read_file(f"/proc/{pid}/comm").strip() == "sleep"
    assert set(_dockyard("ps", "--format", "{{.Names}}").split()) == {name, "next"}
    assert _ok("systemctl", "is-active", "dockyard.service") == "active"
    assert _engines() == [_main_pid()]
    beside = _pid("next")
    _ok("systemctl", "stop", "dockyard.service")
    # What happens meanwhile is known afterwards.
    os.kill(beside, signal.SIGKILL)
    _ok("systemctl", "start", "dockyard.service")
    _ping()
    _lives_on(name, pid)
    assert _dockyard("wait", "next") == "137"


def _a_killed_service_comes_back(name: str, pid: int) -> None:
    before = _main_pid()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: _main_pid() not in (0, before), 60, "systemd starts it again")
    wait_until(lambda: _run("systemctl", "is-active", "dockyard.service").returncode == 0, 60, "it is ready")
    _lives_on(name, pid)


def _upgrade(name: str, pid: int) -> None:
    about = CHECKOUT / "core/about.py"
    about.write_text(re.sub(r'(?m)^VERSION = ".*"$', f'VERSION = "{_NEWER}"', about.read_text()))
    before = _main_pid()
    _install()
    _ping()
    assert _main_pid() != before
    assert _dockyard("version", "--format", "{{.Server.Version}}") == _NEWER
    _lives_on(name, pid)
    _dockyard("run", "--rm", BUSYBOX, "true")
    assert _dockyard("rm", "-f", "next") == "next"
    assert not Path("/opt/dockyard.old").exists()


def _uninstall(name: str, pid: int) -> None:
    refused = _run("make", "uninstall")
    assert refused.returncode != 0
    assert f"Containers are running: {name}\n" in refused.stderr
    _lives_on(name, pid)
    kept = shutil.copytree("/opt/dockyard", "/opt/kept", symlinks=True)
    told = _ok("make", "uninstall", RUNNING="keep")
    assert "images, containers and volumes stay" in told
    assert not any(path.exists() for path in (_COMMAND, _UNIT, Path("/opt/dockyard"), _SOCKET))
    assert "could not be found" in _run("systemctl", "status", "dockyard.service").stderr
    assert read_file(f"/proc/{pid}/comm").strip() == "sleep"
    # The next installation takes the container over.
    Path(kept).rename("/opt/dockyard")
    _ok(".ci/deploy", "place")
    _lives_on(name, pid)
    _ok("make", "uninstall", RUNNING="stop")
    assert not Path(f"/proc/{pid}").exists()
    assert not _COMMAND.exists()
