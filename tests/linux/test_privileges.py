"""Rights of a container's process, read by the process itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import StartFailed
from core.linux import privileges, syscalls
from tests.linux.sandbox import DEFAULT_CAPABILITIES, Sandbox, capability_sets, default_filter

pytestmark = pytest.mark.root

DEFAULT_BITS = "00000000a80425fb"


def status(sandbox: Sandbox) -> dict[str, str]:
    """/proc/self/status of the program."""
    result = sandbox.run("cat", "/proc/self/status")
    assert result.error is None, result.error
    return {name: value.strip() for name, _, value in (line.partition(":") for line in result.output.splitlines())}


def test_default_capabilities_are_dockers(sandbox: Sandbox) -> None:
    found = status(sandbox)
    assert found["CapPrm"] == found["CapEff"] == found["CapBnd"] == DEFAULT_BITS
    assert found["CapInh"] == found["CapAmb"] == "0" * 16
    assert (found["Seccomp"], found["NoNewPrivs"]) == ("2", "0")


def test_another_user_has_the_bounding_set_alone(sandbox: Sandbox) -> None:
    sandbox.spec["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [1001, 5]}
    found = status(sandbox)
    assert found["Uid"].split() == ["1000"] * 4
    assert found["Gid"].split() == ["1001"] * 4
    assert sorted(found["Groups"].split()) == ["1001", "5"]
    assert found["CapEff"] == found["CapPrm"] == found["CapAmb"] == "0" * 16
    assert found["CapBnd"] == DEFAULT_BITS


def test_ambient_capabilities_reach_another_user(sandbox: Sandbox) -> None:
    names = ["CAP_NET_BIND_SERVICE"]
    sets = capability_sets(names)
    sets["inheritable"] = sets["ambient"] = names
    sandbox.spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    sandbox.spec["process"]["capabilities"] = sets
    assert status(sandbox)["CapEff"] == f"{1 << 10:016x}"


def test_no_capabilities_at_all(sandbox: Sandbox) -> None:
    sandbox.spec["process"]["capabilities"] = {}
    found = status(sandbox)
    assert found["CapEff"] == found["CapBnd"] == "0" * 16


def test_all_capabilities_are_those_of_the_engine(sandbox: Sandbox) -> None:
    """What the engine itself lacks is left out and said, never a failed start."""
    sandbox.spec["process"]["capabilities"] = capability_sets(list(privileges.CAPABILITY_NAMES))
    sandbox.seccomp = b""
    result = sandbox.run("grep", "CapEff", "/proc/self/status")
    assert int(result.output.split()[1], 16) == syscalls.capget().permitted
    lacking = [
        name for bit, name in enumerate(privileges.CAPABILITY_NAMES) if not syscalls.capget().permitted >> bit & 1
    ]
    assert len(result.warnings) == len(lacking)
    for name, warning in zip(lacking, result.warnings, strict=True):
        assert name in warning


def test_no_new_privileges_loads_the_filter_last(sandbox: Sandbox) -> None:
    sandbox.spec["process"]["noNewPrivileges"] = True
    sandbox.spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    found = status(sandbox)
    assert (found["Seccomp"], found["NoNewPrivs"], found["CapBnd"]) == ("2", "1", DEFAULT_BITS)


def test_unconfined_has_no_filter(sandbox: Sandbox) -> None:
    sandbox.seccomp = b""
    assert status(sandbox)["Seccomp"] == "0"


def test_a_broken_filter_is_explained(sandbox: Sandbox) -> None:
    sandbox.seccomp = b"\xff" * 8
    error = sandbox.run("true").error
    assert error is not None
    assert error["step"] == "seccomp"
    assert "not valid" in error["message"]


def test_filter_works_in_the_container(sandbox: Sandbox) -> None:
    sandbox.seccomp = default_filter()
    # Compiled for the default capabilities; this one alone would allow both calls.
    sandbox.spec["process"]["capabilities"] = capability_sets([*DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN"])
    result = sandbox.run("sh", "-c", "mount -t tmpfs x /tmp 2>&1; unshare -m true 2>&1")
    assert "mount: permission denied" in result.output
    assert "unshare(0x20000): Operation not permitted" in result.output


def test_limits_are_set(sandbox: Sandbox) -> None:
    sandbox.spec["process"]["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]
    output = sandbox.run("sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -c").output
    assert output.split() == ["123", "456", "0"]


def test_limits_above_the_engines_own_are_clamped_and_said(sandbox: Sandbox) -> None:
    def without_right() -> None:
        have = syscalls.capget()
        bit = 1 << privileges.CAPABILITY_NAMES.index("CAP_SYS_RESOURCE")
        syscalls.setrlimit(privileges.RLIMITS["RLIMIT_NOFILE"], 1000, 2000)
        syscalls.capset(syscalls.CapabilitySets(have.effective & ~bit, have.permitted & ~bit, 0))

    sandbox.before = without_right
    sandbox.spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1 << 20, "hard": -1}]
    result = sandbox.run("sh", "-c", "ulimit -Sn; ulimit -Hn")
    assert result.output.split() == ["2000", "2000"]
    assert any("RLIMIT_NOFILE" in warning and "CAP_SYS_RESOURCE" in warning for warning in result.warnings)


@pytest.mark.parametrize("limit", [
    {"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}, {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 5},
])  # fmt: skip
def test_wrong_limits_are_named(limit: dict[str, int]) -> None:
    with pytest.raises(StartFailed, match=str(limit["type"])) as caught:
        privileges.apply_rlimits([limit])  # type: ignore[list-item]
    assert caught.value.step == "rlimits"


def test_oom_score_is_written_or_refused_with_a_warning() -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            privileges.set_oom_score(321)
            fine = Path("/proc/self/oom_score_adj").read_text() == "321\n"
            code = 0 if fine and isinstance(privileges.set_oom_score(-1000), list) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_unknown_capability_is_named(sandbox: Sandbox) -> None:
    sandbox.spec["process"]["capabilities"] = capability_sets(["CAP_WALK_ON_WATER"])
    error = sandbox.run("true").error
    assert error is not None
    assert "CAP_WALK_ON_WATER" in error["message"]


@pytest.mark.parametrize(
    "user", [{"uid": 2**31, "gid": 0}, {"uid": 0, "gid": -1}, {"uid": 0, "gid": 0, "additionalGids": [2**32]}]
)
def test_ids_out_of_range_are_refused(sandbox: Sandbox, user: dict[str, int]) -> None:
    sandbox.spec["process"]["user"] = user  # type: ignore[typeddict-item]
    error = sandbox.run("true").error
    assert error is not None
    assert (error["step"], "0-2147483647" in error["message"]) == ("user", True)


def test_capability_names_are_the_kernels() -> None:
    header = Path("/usr/include/linux/capability.h")
    if not header.exists():
        pytest.skip("no kernel headers (linux-libc-dev) on this machine")
    found = {}
    for line in header.read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "#define" and words[1].startswith("CAP_") and words[2].isdecimal():
            found[words[1]] = int(words[2])
    assert {name: number for number, name in enumerate(privileges.CAPABILITY_NAMES)} == found
