"""Identity of processes, the fork with namespaces, what the kernel offers, small calls."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.linux import features, mounts, process, syscalls
from core.linux.syscalls import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_SLAVE
from core.runtime import protocol
from tests.support import CHECKOUT


def test_start_time_is_field_22() -> None:
    text = Path("/proc/self/stat").read_text()
    assert process.start_time(os.getpid()) == int(text.rpartition(")")[2].split()[19])


def test_start_time_of_a_name_with_parentheses() -> None:
    code = "import ctypes; ctypes.CDLL(None).prctl(15, b') R (x) 1'); print(flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    try:
        first = process.start_time(child.pid)
        assert first > process.start_time(1)
    finally:
        child.communicate(b"\n")
    with pytest.raises(ProcessLookupError):
        process.start_time(child.pid)


@pytest.mark.root
def test_clone3_makes_a_whole_interpreter_as_pid_one() -> None:
    read, write = os.pipe()
    pid, pidfd = syscalls.clone3(syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNS)
    if pid == 0:
        gc.collect()
        os.write(write, f"{os.getpid()} {sum(range(1000))}".encode())
        os._exit(7)
    os.close(write)
    try:
        assert not os.get_inheritable(pidfd)
        with open(read, "rb") as file:
            assert file.read() == b"1 499500"
        ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        assert ended is not None
        assert (ended.si_pid, ended.si_status) == (pid, 7)
    finally:
        os.close(pidfd)


@pytest.mark.root
def test_clone3_failure_is_an_error_and_the_parent_goes_on() -> None:
    with pytest.raises(OSError, match="clone3"):
        syscalls.clone3(syscalls.CLONE_NEWNS, cgroup_fd=1 << 20)


def test_pidfd_signal_reaches_only_a_living_process() -> None:
    child = subprocess.Popen(["sleep", "60"])
    fd = os.pidfd_open(child.pid)
    try:
        syscalls.pidfd_send_signal(fd, signal.SIGKILL)
        assert child.wait(10) == -signal.SIGKILL
        with pytest.raises(ProcessLookupError):
            syscalls.pidfd_send_signal(fd, signal.SIGKILL)
    finally:
        os.close(fd)


def test_open_in_root_stays_in_the_root(short_folder: Path) -> None:
    (short_folder / "a").mkdir()
    (short_folder / "a/up").symlink_to("../../../../../../../etc")
    (short_folder / "etc").mkdir()
    (short_folder / "etc/mine").touch()
    fd = os.open(short_folder, os.O_PATH | os.O_DIRECTORY)
    try:
        os.close(syscalls.open_in_root(fd, "/a/up/mine", os.O_RDONLY))
        with pytest.raises(FileNotFoundError):
            syscalls.open_in_root(fd, "/a/up/passwd", os.O_RDONLY)
    finally:
        os.close(fd)


def test_features_name_their_cost() -> None:
    found = {feature.name: feature for feature in process.kernel_features()}
    assert len(found) > 15
    assert all(feature.cost for feature in found.values())
    for name in ("clone3", "pidfd", "openat2", "overlayfs", "seccomp"):
        assert found[name].present
    assert found["overlayfs lowerdir+"].present == mounts.knows_lowerdir_plus()
    lacking = features.missing()
    assert [feature.needed for feature in lacking] == sorted((f.needed for f in lacking), reverse=True)


def test_a_feature_without_its_call_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(syscalls, "mount_setattr", gone)
    monkeypatch.setattr(syscalls, "fsopen", gone)
    names = [feature.name for feature in features.missing()]
    assert {"mount_setattr", "new mount API", "overlayfs", "overlayfs lowerdir+"} <= set(names)


def test_protection_goes_on_without_the_kernels_help() -> None:
    """On a kernel before 5.12 the engine runs, hidden, and says what is missing."""
    script = f"""
import sys
sys.path.insert(0, {str(CHECKOUT)!r})
from core.linux import process, syscalls
def gone(*a, **k): raise OSError(38, "Function not implemented", "mount_setattr")
syscalls.mount_setattr = gone
print(process.protect_self(), syscalls.prctl(syscalls.PR_GET_DUMPABLE))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert "not protected" in done.stdout
    assert done.stdout.endswith(" 0\n")


# --- options of mounts -------------------------------------------------------------------------------


def test_options_are_sorted_out() -> None:
    words = ["rbind", "nosuid", "nodev", "rro", "rslave", "size=64m", "mode=755", "noexec", "exec"]
    found = mounts.parse_options(words)
    assert found.set & (MS_NOSUID | MS_NODEV) == MS_NOSUID | MS_NODEV
    assert (found.set & MS_NOEXEC, found.clear & MS_NOEXEC) == (0, MS_NOEXEC)
    assert found.recursive_set == MS_RDONLY
    assert found.propagation == MS_SLAVE | MS_REC
    assert found.data == ["size=64m", "mode=755"]


@pytest.mark.parametrize(
    ("words", "read_only"), [(["ro"], True), (["ro", "rw"], False), (["rw", "ro"], True), ([], False)]
)
def test_the_last_word_wins(words: list[str], read_only: bool) -> None:
    found = mounts.parse_options(words)
    assert bool(found.set & MS_RDONLY) is read_only
    assert not found.set & found.clear
    assert mounts.parse_options(["rslave", "private"]).propagation == MS_PRIVATE


def test_steps_of_start_errors_are_the_protocols() -> None:
    """core.linux cannot import the enumeration: its words are compared here."""
    words = set()
    for path in (CHECKOUT / "core/linux").glob("*.py"):
        words |= set(re.findall(r'(?:step="|_failed\("|_failed\(\n\s*")(\w+)', path.read_text()))
    assert len(words) >= 12
    assert words <= {step.value for step in protocol.Step}
