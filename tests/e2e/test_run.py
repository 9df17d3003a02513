"""``dockyard run`` and its flags: each is run for real and its effect is looked at inside the container."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support import Engine, wait_until


def run(engine: Engine, *args: str, **options: Any) -> str:
    return str(engine.dockyard("run", "--rm", *args, check=True, **options).stdout)


def test_output_and_exit_code(engine: Engine, busybox: str) -> None:
    done = engine.dockyard("run", "--rm", busybox, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert "err\n" in done.stderr
    assert engine.containers() == []


def test_nothing_is_said_about_an_ordinary_start(engine: Engine, busybox: str) -> None:
    for flags in ((), ("--network", "none"), ("--network", "host")):
        assert engine.dockyard("run", "--rm", *flags, busybox, "true", check=True).stderr == ""


def test_detached_prints_the_id_and_runs_on(engine: Engine, busybox: str) -> None:
    done = engine.dockyard("run", "-d", "--name", "web", busybox, "sleep", "1000", check=True)
    assert re.fullmatch(r"[0-9a-f]{64}\n", done.stdout)
    assert engine.inspect("web")["State"]["Running"] is True


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["busybox:test", "no-such-program"], 127, "no-such-program"),
        (["busybox:test", "/no/such/file"], 127, "/no/such/file"),
        (["busybox:test", "/etc/passwd"], 126, "/etc/passwd"),
        (["busybox:test", "/etc"], 126, "/etc"),
        (["nobody/has:this", "true"], 125, "nobody/has:this"),
        (["-u", "nobody-here", "busybox:test", "true"], 125, "nobody-here"),
        (["-w", "/etc/passwd", "busybox:test", "true"], 125, "/etc/passwd"),
        (["-v", "/no/such/folder:/x", "busybox:test", "true"], 125, "bind-create-src"),
        (["--memory", "1k", "busybox:test", "true"], 125, "6MB"),
        (["--memory", "lots", "busybox:test", "true"], 125, "lots"),
        (["--cpus", "much", "busybox:test", "true"], 125, "much"),
        (["--cap-add", "FLY", "busybox:test", "true"], 125, "FLY"),
        (["-e", "=x", "busybox:test", "true"], 125, "environment"),
        (["--network", "mynet", "busybox:test", "true"], 125, "mynet"),
        (["--gpus", "all", "busybox:test", "true"], 125, "gpus"),
        (["--no-such-flag", "busybox:test", "true"], 125, "no-such-flag"),
        ([], 125, "argument"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(
    engine: Engine, busybox: str, args: list[str], code: int, text: str
) -> None:
    done = engine.dockyard("run", "--rm", *args)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    wait_until(lambda: engine.containers() == [], 5, "nothing is left")


def test_a_name_in_use_names_the_holder(engine: Engine, busybox: str) -> None:
    holder = engine.dockyard("create", "--name", "one", busybox, check=True).stdout.strip()
    done = engine.dockyard("run", "--name", "one", busybox, "true")
    assert done.returncode == 125
    assert holder in done.stderr


def test_environment(engine: Engine, busybox: str, short_folder: Path) -> None:
    (short_folder / "env").write_text("# comment\nFROM_FILE=file\nINHERITED\n")
    out = run(
        engine, "-e", "A=1 2", "-e", "INHERITED", "--env-file", str(short_folder / "env"), "-h", "box", busybox, "env",
        env={"INHERITED": "yes", "SECRET": "no"},
    )  # fmt: skip
    found = dict(line.split("=", 1) for line in out.splitlines())
    assert found["A"] == "1 2"
    assert found["FROM_FILE"] == "file"
    assert found["INHERITED"] == "yes"
    assert found["HOSTNAME"] == "box"
    assert found["HOME"] == "/root"
    assert set(found) == {"A", "FROM_FILE", "INHERITED", "HOSTNAME", "HOME", "PATH"}


def test_working_directory_is_made(engine: Engine, busybox: str) -> None:
    assert run(engine, "-w", "/not/yet/there", busybox, "pwd") == "/not/yet/there\n"


@pytest.mark.parametrize(("user", "ids"), [("4321", "4321 0"), ("4321:2000", "4321 2000"), ("root", "0 0")])
def test_users(engine: Engine, busybox: str, user: str, ids: str) -> None:
    assert run(engine, "-u", user, busybox, "sh", "-c", "echo $(id -u) $(id -g)") == ids + "\n"


def test_the_entrypoint_is_replaced(engine: Engine, busybox: str) -> None:
    assert run(engine, "--entrypoint", "echo", busybox, "a", "b") == "a b\n"


def test_bind_mounts(engine: Engine, busybox: str, short_folder: Path) -> None:
    (short_folder / "f").write_text("from the host\n")
    source = str(short_folder)
    assert (
        run(engine, "-v", f"{source}:/data", busybox, "sh", "-c", "cat /data/f; echo new >/data/g") == "from the host\n"
    )
    assert (short_folder / "g").read_text() == "new\n"
    done = engine.dockyard("run", "--rm", "-v", f"{source}:/data:ro", busybox, "touch", "/data/h")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    out = run(engine, "--mount", f"type=bind,source={source}/f,target=/etc/one,readonly", busybox, "cat", "/etc/one")
    assert out == "from the host\n"
    made = f"{source}/made/here"
    run(engine, "--mount", f"type=bind,src={made},dst=/m,bind-create-src", busybox, "touch", "/m/x")
    assert Path(made, "x").exists()


def test_tmpfs(engine: Engine, busybox: str) -> None:
    out = run(
        engine,
        "--tmpfs",
        "/scratch:size=1m,mode=700",
        busybox,
        "sh",
        "-c",
        "grep /scratch /proc/mounts; stat -c %a /scratch",
    )
    assert "tmpfs /scratch tmpfs rw,nosuid,nodev,noexec" in out
    assert "size=1024k" in out
    assert out.endswith("700\n")
    assert "tmpfs /t " in run(
        engine, "--mount", "type=tmpfs,target=/t,tmpfs-size=64k", busybox, "grep", " /t ", "/proc/mounts"
    )


def test_a_read_only_root(engine: Engine, busybox: str) -> None:
    done = engine.dockyard(
        "run", "--rm", "--read-only", "--tmpfs", "/tmp", busybox, "sh", "-c", "touch /tmp/ok && touch /no"
    )
    assert done.returncode == 1
    assert "/no: Read-only file system" in done.stderr


def test_capabilities(engine: Engine, busybox: str) -> None:
    def effective(*args: str) -> str:
        return run(engine, *args, busybox, "grep", "CapEff", "/proc/self/status").split()[1]

    assert effective() == "00000000a80425fb"
    assert effective("--cap-drop", "ALL") == "0" * 16
    assert effective("--cap-drop", "ALL", "--cap-add", "CHOWN") == "0" * 15 + "1"
    assert effective("--cap-add", "SYS_TIME") == f"{0xA80425FB | 1 << 25:016x}"
    assert effective("-u", "1000") == "0" * 16
    assert int(effective("--privileged"), 16) > 0xA80425FB


def test_no_new_privileges_and_seccomp(engine: Engine, busybox: str) -> None:
    status = run(engine, busybox, "grep", "-E", "^(NoNewPrivs|Seccomp):", "/proc/self/status").split()
    assert status == ["NoNewPrivs:", "0", "Seccomp:", "2"]
    status = run(
        engine, "--security-opt", "no-new-privileges", busybox, "grep", "NoNewPrivs", "/proc/self/status"
    ).split()
    assert status[1] == "1"
    status = run(
        engine, "--security-opt", "seccomp=unconfined", busybox, "grep", "Seccomp:", "/proc/self/status"
    ).split()
    assert status[1] == "0"
    denied = engine.dockyard("run", "--rm", busybox, "unshare", "-U", "true")
    assert denied.returncode != 0
    assert "not permitted" in denied.stderr


def test_an_own_seccomp_profile(engine: Engine, busybox: str, short_folder: Path) -> None:
    profile = short_folder / "p.json"
    profile.write_text(
        json.dumps(
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
            }
        )
    )
    done = engine.dockyard("run", "--rm", "--security-opt", f"seccomp={profile}", busybox, "mkdir", "/x")
    assert done.returncode == 1
    assert "not permitted" in done.stderr


def test_init_reaps_and_forwards(engine: Engine, busybox: str) -> None:
    engine.dockyard("run", "-d", "--init", "--name", "box", busybox, "sleep", "1000", check=True)
    first = engine.dockyard("exec", "box", "cat", "/proc/1/cmdline", check=True).stdout
    assert "sleep\x001000" not in first.split("\0")[:1]
    # A plain sleep as pid 1 ignores SIGTERM; behind an init it ends at once.
    engine.dockyard("stop", "-t", "30", "box", check=True, timeout=20)
    assert engine.inspect("box")["State"]["ExitCode"] == 128 + signal.SIGTERM
    engine.dockyard("run", "--rm", "--init", busybox, "sh", "-c", "sleep 0 & exit 5")
    assert engine.dockyard("run", "--rm", "--init", busybox, "sh", "-c", "exit 5").returncode == 5


def test_labels_hostname_and_cidfile(engine: Engine, busybox: str, short_folder: Path) -> None:
    cidfile = short_folder / "cid"
    done = engine.dockyard(
        "run", "--cidfile", str(cidfile), "--label", "a=b", "--label", "c", "-h", "myhost", "--name", "box",
        busybox, "hostname", check=True,
    )  # fmt: skip
    assert done.stdout == "myhost\n"
    found = engine.inspect(cidfile.read_text())
    assert found["Config"]["Labels"] == {"a": "b", "c": ""}
    again = engine.dockyard("run", "--cidfile", str(cidfile), busybox, "true")
    assert again.returncode == 125
    assert str(cidfile) in again.stderr


def test_host_and_container_networks(engine: Engine, busybox: str) -> None:
    def network(*args: str) -> str:
        return run(engine, *args, busybox, "readlink", "/proc/self/ns/net")

    host = engine.netns.name
    assert network("--network", "host") == f"{host}\n"
    assert network("--network", "none") != f"{host}\n"
    engine.dockyard("run", "-d", "--name", "first", "--network", "none", busybox, "sleep", "1000", check=True)
    inside = engine.dockyard("exec", "first", "readlink", "/proc/self/ns/net", check=True).stdout
    assert network("--network", "container:first") == inside
    assert "127.0.0.1" in run(engine, "--network", "none", busybox, "ip", "addr")


def test_stdin_is_passed_on(engine: Engine, busybox: str) -> None:
    data = "line\n" * 50_000
    done = engine.dockyard("run", "--rm", "-i", busybox, "wc", "-c", input=data, check=True)
    assert done.stdout.strip() == str(len(data))


def test_a_signal_reaches_the_container(engine: Engine, busybox: str) -> None:
    client = engine.popen(
        "run",
        "--rm",
        "--name",
        "box",
        busybox,
        "sh",
        "-c",
        "trap 'echo got; exit 3' TERM; echo up; while :; do sleep 0.1; done",
    )
    assert client.stdout is not None
    assert client.stdout.readline() == b"up\n"
    client.send_signal(signal.SIGTERM)
    out, _ = client.communicate(timeout=20)
    assert (client.returncode, out) == (3, b"got\n")


def test_a_client_killed_in_the_middle_loses_nothing(engine: Engine, busybox: str) -> None:
    client = engine.popen("run", "-i", "--name", "box", busybox, "sh", "-c", "echo up; cat; sleep 1000")
    assert client.stdout is not None
    assert client.stdout.readline() == b"up\n"
    client.kill()
    client.communicate()
    assert engine.inspect("box")["State"]["Running"] is True
    assert engine.dockyard("logs", "box", check=True).stdout == "up\n"
    engine.dockyard("rm", "-f", "box", check=True)


def test_the_root_file_system_is_the_containers_own(engine: Engine, busybox: str) -> None:
    assert run(engine, busybox, "sh", "-c", "echo x >/etc/passwd; rm /bin/wget; ls /etc/passwd") == "/etc/passwd\n"
    assert "root" in run(engine, busybox, "cat", "/etc/passwd")
    out = run(engine, busybox, "sh", "-c", "ls /proc | grep -c '^[0-9]'; cat /proc/1/comm; mount | grep -c ' on / '")
    assert out.splitlines()[1:] == ["sh", "1"]


def test_masked_and_read_only_paths(engine: Engine, busybox: str) -> None:
    script = (
        "cat /proc/kcore /proc/keys | wc -c; touch /proc/sys/kernel/hostname; echo x >/proc/sysrq-trigger; touch /sys/x"
    )
    done = engine.dockyard("run", "--rm", busybox, "sh", "-c", script)
    assert done.stdout.strip() == "0"
    assert done.stderr.count("Read-only file system") >= 2
