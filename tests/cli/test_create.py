"""Flags → Docker's create request. The bodies agree with those that docker 28.2 sends for the same command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tui.cli import create, flags, verbs
from tui.cli.errors import CliError, UsageError
from tui.cli.mounts import absolute


def body(*words: str, verb: str = "run", detach: bool = False) -> dict[str, Any]:
    found = verbs.find(verb)
    assert found is not None
    options = flags.parse(flags.Flags(found.table), list(words), interspersed=False)
    return create.request(options, detach=detach)


def host(*words: str) -> dict[str, Any]:
    return body(*words, "busybox")["HostConfig"]


def test_the_plain_request() -> None:
    assert body("busybox") == {
        "Image": "busybox", "Hostname": "", "Domainname": "", "User": "", "WorkingDir": "", "Tty": False,
        "OpenStdin": False, "StdinOnce": False, "AttachStdin": False, "AttachStdout": True, "AttachStderr": True,
        "Env": [], "Labels": {}, "HostConfig": {"NetworkMode": "default", "AutoRemove": False},
    }  # fmt: skip


def test_the_command_is_everything_behind_the_image() -> None:
    assert body("--rm", "busybox", "ls", "-l", "--", "x")["Cmd"] == ["ls", "-l", "--", "x"]
    assert "Cmd" not in body("busybox")
    assert body("--entrypoint", "e", "busybox", "a")["Entrypoint"] == ["e"]
    assert body("--entrypoint=", "busybox")["Entrypoint"] == [""]
    assert "Entrypoint" not in body("busybox")


@pytest.mark.parametrize(
    ("words", "attached", "once"),
    [
        (["-i"], (True, True, True), True),
        ([], (False, True, True), False),
        (["-a", "stdout"], (False, True, False), False),
        (["-a", "STDIN", "-i"], (True, False, False), True),
        (["-a", "stderr", "-i"], (False, False, True), False),
    ],
)
def test_streams(words: list[str], attached: tuple[bool, ...], once: bool) -> None:
    found = body(*words, "busybox")
    assert tuple(found[f"Attach{name}"] for name in ("Stdin", "Stdout", "Stderr")) == attached
    assert found["StdinOnce"] is once


def test_a_detached_container_keeps_its_stdin_open() -> None:
    found = body("-it", "busybox", detach=True)
    assert (found["OpenStdin"], found["Tty"], found["StdinOnce"], found["AttachStdout"]) == (True, True, False, False)


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import posix

    monkeypatch.setitem(posix.environ, b"HERE", b"value \xff")
    monkeypatch.delitem(posix.environ, b"NOT_HERE", raising=False)
    file = tmp_path / "env"
    file.write_text("\ufeff# comment\n\n  FOO=bar baz\nHERE\nNOT_HERE\nEMPTY=\r\n")
    found = body("-e", "A=1=2", "-e", "HERE", "-e", "NOT_HERE", "--env-file", str(file), "busybox")["Env"]
    assert found == ["FOO=bar baz", "HERE=value \udcff", "EMPTY=", "A=1=2", "HERE=value \udcff", "NOT_HERE"]


@pytest.mark.parametrize(
    ("line", "why"),
    [("=x", "no variable name on line '=x'"), ("a b=c", "variable 'a b' contains whitespaces")],
)
def test_a_wrong_environment_file(tmp_path: Path, line: str, why: str) -> None:
    (tmp_path / "env").write_text(line + "\n")
    with pytest.raises(CliError) as caught:
        body("--env-file", str(tmp_path / "env"), "busybox")
    assert why in caught.value.message
    assert caught.value.code == 125


def test_labels(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("from=file\nbare\n")
    found = body("--label-file", str(tmp_path / "labels"), "-l", "a=b=c", "-l", "d", "busybox")["Labels"]
    assert found == {"from": "file", "bare": "", "a": "b=c", "d": ""}


def test_limits() -> None:
    words = "-m 64m --memory-swap -1 --memory-reservation 32m --cpus 1.5 --pids-limit 10 --shm-size 1m".split()
    found = host(*words)
    assert found["Memory"] == 64 << 20
    assert found["MemorySwap"] == -1
    assert found["MemoryReservation"] == 32 << 20
    assert found["NanoCpus"] == 1_500_000_000
    assert found["PidsLimit"] == 10
    assert found["ShmSize"] == 1 << 20
    assert host("--ulimit", "nofile=10:20", "--ulimit", "core=5")["Ulimits"] == [
        {"Name": "nofile", "Soft": 10, "Hard": 20},
        {"Name": "core", "Soft": 5, "Hard": 5},
    ]


def test_rights(tmp_path: Path) -> None:
    profile = tmp_path / "p.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW",\n "x": [1, 2]}')
    found = host(
        "--cap-add", "SYS_ADMIN", "--cap-drop", "ALL", "--privileged", "--read-only", "--init",
        "--security-opt", "no-new-privileges", "--security-opt", f"seccomp={profile}",
        "--security-opt", "systempaths=unconfined", "--security-opt", "label:disable",
    )  # fmt: skip
    assert (found["CapAdd"], found["CapDrop"]) == (["SYS_ADMIN"], ["ALL"])
    assert (found["Privileged"], found["ReadonlyRootfs"], found["Init"]) == (True, True, True)
    assert found["SecurityOpt"] == [
        "no-new-privileges",
        'seccomp={"defaultAction":"SCMP_ACT_ALLOW","x":[1,2]}',
        "label:disable",
    ]
    assert (found["MaskedPaths"], found["ReadonlyPaths"]) == ([], [])
    assert "Init" not in host()
    assert host("--init=false")["Init"] is False


def test_logging_and_stopping() -> None:
    found = body("--log-opt", "max-size=1m", "--log-opt", "max-file=2", "--stop-signal", "HUP", "--stop-timeout", "0",
                 "busybox")  # fmt: skip
    assert found["HostConfig"]["LogConfig"] == {"Type": "", "Config": {"max-size": "1m", "max-file": "2"}}
    assert (found["StopSignal"], found["StopTimeout"]) == ("HUP", 0)
    assert "StopTimeout" not in body("busybox")


def test_mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert host("-v", "/a/../b:/c:ro,rslave", "-v", "./x:/y")["Mounts"] == [
        {"Type": "bind", "Source": "/b", "Target": "/c", "BindOptions": {"Propagation": "rslave"}, "ReadOnly": True},
        {"Type": "bind", "Source": f"{tmp_path}/x", "Target": "/y", "BindOptions": {}},
    ]
    assert host("--mount", "type=bind,src=/tmp,dst=/x,readonly,bind-propagation=rslave")["Mounts"] == [
        {"Type": "bind", "Source": "/tmp", "Target": "/x", "ReadOnly": True, "BindOptions": {"Propagation": "rslave"}}
    ]
    assert host("--mount", "type=bind,source=./x,target=/y,bind-create-src")["Mounts"][0]["BindOptions"] == {
        "CreateMountpoint": True
    }
    assert host("--mount", "type=tmpfs,dst=/x,tmpfs-size=64k,tmpfs-mode=1777")["Mounts"] == [
        {"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"SizeBytes": 65536, "Mode": 0o1777}}
    ]
    assert host("--mount", 'type=bind,"src=/a,b",dst=/x')["Mounts"][0]["Source"] == "/a,b"
    assert host("--tmpfs", "/t", "--tmpfs", "/u:size=1m")["Tmpfs"] == {"/t": "", "/u": "size=1m"}
    assert absolute("..") == str(tmp_path.parent)
    assert absolute("/../..") == "/"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-v", "a:b:c:d"], "invalid volume specification: 'a:b:c:d'"),
        (["-v", "/a::ro"], "invalid volume specification"),
        (["-v", "/a:/b:z"], "option 'z'"),
        (["-v", "~/a:/b"], "home folder"),
        (["--mount", "foo=bar"], "unexpected key 'foo' in 'foo=bar'"),
        (["--mount", "dst=/x,volume-odd=1"], "unexpected key 'volume-odd'"),
        (["--mount", "type=npipe,dst=/x"], "type=npipe"),
        (["--mount", "type=bind,dst=/x"], "source is required"),
        (["--mount", "type=tmpfs"], "target is required"),
        (["--mount", "type=tmpfs,dst=/x,tmpfs-size=lots"], "invalid value for tmpfs-size: lots"),
        (["--mount", "type=tmpfs,dst=/x,tmpfs-mode=9"], "invalid value for tmpfs-mode: 9"),
        (["--mount", "type=bind,src=/a,dst=/x,ro=maybe"], "invalid value for ro: maybe"),
        (["--mount", "type=tmpfs,dst=/x,bind-propagation=shared"], "cannot mix"),
        (["--restart", ":3"], "no policy provided before colon"),
        (["-a", "stdfoo"], "valid streams are STDIN, STDOUT and STDERR"),
        (["-e", "=x"], "invalid environment variable: =x"),
        (["-l", "=x"], "invalid label format"),
        (["--ulimit", "nofile=x"], "nofile=1024:2048"),
        (["--log-opt", "max-size"], "NAME=VALUE"),
        (["--security-opt", "seccomp=/no/such"], "opening seccomp profile (/no/such) failed"),
        (["--env-file", "/no/such"], "/no/such: No such file"),
        (["--env-file", "/etc"], "Is a directory"),
    ],
)
def test_wrong_values_are_named(words: list[str], text: str) -> None:
    with pytest.raises(CliError) as caught:
        body(*words, "busybox")
    assert text in caught.value.message
    assert caught.value.code == 125


def test_devices_and_their_limits() -> None:
    found = host("--device", "/dev/a", "--device", "/dev/a:r", "--device", "/dev/a:/dev/b:rw")
    assert [tuple(item.values()) for item in found["Devices"]] == [
        ("/dev/a", "/dev/a", "rwm"), ("/dev/a", "/dev/a", "r"), ("/dev/a", "/dev/b", "rw"),
    ]  # fmt: skip
    assert host("--device-read-bps", "/dev/a:1mb")["BlkioDeviceReadBps"] == [{"Path": "/dev/a", "Rate": 1 << 20}]
    assert host("--device-write-iops", "/dev/a:5")["BlkioDeviceWriteIOps"] == [{"Path": "/dev/a", "Rate": 5}]


def test_exposed_ports() -> None:
    assert body("--expose", "80-81/udp", "--expose", "9", "busybox")["ExposedPorts"] == {
        "80/udp": {}, "81/udp": {}, "9/tcp": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("--device", ""),
        ("--device", "a:b:c:d"),
        ("--device-read-bps", "/dev/a"),
        ("--device-write-iops", "/dev/a:1k"),
        ("--expose", "9-8"),
        ("--expose", "70000"),
        ("--expose", "80/quic"),
        ("--sysctl", "=1"),
        ("--annotation", "=1"),
    ],
)
def test_what_cannot_be_meant(words: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=words[1].rpartition("/")[2] or "device"):
        body(*words, "busybox")


def test_volumes() -> None:
    assert host("-v", "data:/x:ro", "--volumes-from", "box:ro")["Binds"] == ["data:/x:ro"]
    assert host("--volumes-from", "box:ro")["VolumesFrom"] == ["box:ro"]
    assert host("--mount", "src=data,dst=/x,volume-nocopy,volume-subpath=a/b")["Mounts"] == [
        {"Type": "volume", "Source": "data", "Target": "/x", "VolumeOptions": {"NoCopy": True, "Subpath": "a/b"}}
    ]
