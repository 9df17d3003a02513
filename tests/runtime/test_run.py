"""Containers from their start to their end: exit codes, signals, failed starts, what the program finds."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from core.errors import Conflict, StartFailed, Unavailable
from core.runtime import protocol
from core.runtime.client import read_exit
from tests.runtime.harness import Bench, unframe
from tests.support import wait_until_async

pytestmark = pytest.mark.root


async def output(bench: Bench, script: str, **config: Any) -> str:
    """What a shell script writes, on both streams in their order."""
    box = await bench.run("/bin/sh", "-c", script, **config)
    assert box.exited is not None
    assert box.exited.exit_code == 0, box.logged()
    return box.logged().decode()


@pytest.mark.parametrize("code", [0, 1, 3, 126, 127, 255])
async def test_the_exit_code_is_the_programs(bench: Bench, code: int) -> None:
    box = await bench.run("/bin/sh", "-c", f"exit {code}")
    assert box.exited is not None
    assert (box.exited.exit_code, box.exited.signal) == (code, 0)
    assert read_exit(str(box.run_dir)) == box.exited


async def test_the_log_has_both_streams(bench: Bench) -> None:
    box = await bench.run("/bin/sh", "-c", "echo out; echo err >&2")
    assert box.logged(1) == b"out\n"
    assert box.logged(2) == b"err\n"


async def test_no_log_when_none_is_wanted(bench: Bench) -> None:
    box = await bench.run("/bin/sh", "-c", "echo out", log=None)
    assert not box.log_folder.exists()


async def test_a_signal_reaches_pid_1_and_counts_in_the_exit_code(bench: Bench) -> None:
    box = bench.box("/bin/sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 1; done")
    task = await box.spawn()
    client = await box.attach()
    await task.start()
    await client.read_until(b"ready")
    await task.signal(signal.SIGTERM)
    await task.signal(signal.SIGKILL)
    exited = await box.ended()
    assert exited.exit_code in (9, 137)
    client.close()
    killed = bench.box("/bin/sleep", "100")
    await (await killed.start()).signal(signal.SIGKILL)
    assert (await killed.ended())[:2] == (137, 9)


async def test_kill_all_ends_everything(bench: Bench) -> None:
    box = bench.box("/bin/sh", "-c", "sleep 100 & sleep 100 & wait")
    task = await box.start()
    await task.signal(signal.SIGKILL, all=True)
    assert (await box.ended()).signal == 9


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ("foo", 127, 'exec: "foo": executable file not found in $PATH'),
        ("/x", 127, 'exec: "/x": stat /x: no such file or directory'),
        ("/etc", 126, 'exec: "/etc": is a directory'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
    ],
)
async def test_a_program_that_cannot_run_says_why(bench: Bench, command: str, code: int, text: str) -> None:
    box = bench.box(command)
    with pytest.raises(StartFailed) as caught:
        await box.start()
    assert caught.value.exit_code == code
    assert caught.value.step == "exec"
    assert str(caught.value) == text
    assert read_exit(str(box.run_dir)) is None


async def test_another_architecture_is_named(bench: Bench, tmp_path: Path) -> None:
    box = bench.box("/alien")
    foreign = 183 if os.uname().machine == "x86_64" else 62
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + foreign.to_bytes(2, "little") + bytes(64)
    (box.folder / "upper").mkdir(parents=True)
    (box.folder / "upper/alien").write_bytes(header)
    (box.folder / "upper/alien").chmod(0o755)
    with pytest.raises(StartFailed, match="exec format error") as caught:
        await box.start()
    assert caught.value.exit_code == 126
    assert "arm64" in str(caught.value)
    assert "amd64" in str(caught.value)


async def test_a_script_without_its_interpreter_names_it(bench: Bench) -> None:
    box = bench.box("/script")
    (box.folder / "upper").mkdir(parents=True)
    (box.folder / "upper/script").write_text("#!/no/such/shell\n")
    (box.folder / "upper/script").chmod(0o755)
    with pytest.raises(StartFailed, match="interpreter /no/such/shell") as caught:
        await box.start()
    assert caught.value.exit_code == 127


async def test_an_unknown_user_is_refused(bench: Bench) -> None:
    with pytest.raises(
        StartFailed, match="unable to find user nobodyhere: no matching entries in passwd file"
    ) as caught:
        await bench.box("/bin/true", user="nobodyhere").start()
    assert caught.value.step == "user"


async def test_a_working_directory_that_is_a_file_is_refused(bench: Bench) -> None:
    box = bench.box("/bin/true")
    box.spec["process"]["cwd"] = "/etc/passwd"
    with pytest.raises(StartFailed, match="/etc/passwd") as caught:
        await box.start()
    assert caught.value.step == "cwd"


async def test_a_missing_working_directory_is_made(bench: Bench) -> None:
    box = bench.box("/bin/pwd")
    box.spec["process"]["cwd"] = "/srv/new/place"
    await box.start()
    await box.ended()
    assert box.logged() == b"/srv/new/place\n"


async def test_a_missing_layer_is_named(bench: Bench) -> None:
    box = bench.box("/bin/true")
    box.config["rootfs"][0]["lower"] = ["/no/such/layer"]
    with pytest.raises(StartFailed, match="layer") as caught:
        await box.start()
    assert caught.value.step == "rootfs"
    await wait_until_async(lambda: not box.cgroups(), what="the cgroup is removed")


async def test_a_log_that_cannot_be_opened_fails_the_start(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = {"folder": f"{tmp_path}/file/log", "max_size": 100_000, "max_files": 2}
    with pytest.raises(StartFailed, match="log"):
        await bench.box("/bin/true", log=log).start()


async def test_a_damaged_bundle_is_an_error(bench: Bench) -> None:
    box = bench.box("/bin/true")
    box.write()
    (box.run_dir / "config.json").write_text("{")
    with pytest.raises(StartFailed, match="bundle"):
        await bench.runtime.spawn(str(box.run_dir))


async def test_a_second_start_of_the_same_task_is_a_conflict(bench: Bench) -> None:
    box = bench.box("/bin/sleep", "100")
    task = await box.start()
    task._running = task._known.get_loop().create_future()
    with pytest.raises(Conflict):
        await task.start()


async def test_the_environment_is_what_was_given(bench: Bench) -> None:
    os.environ["DOCKYARD_SECRET_OF_THE_DAEMON"] = "1"
    try:
        box = bench.box("/bin/env")
        box.spec["process"]["env"] += ["A=1", "A=2", "EMPTY=", "U=ü"]
        await box.start()
        await box.ended()
    finally:
        del os.environ["DOCKYARD_SECRET_OF_THE_DAEMON"]
    lines = sorted(box.logged().decode().splitlines())
    assert lines == sorted([*box.environment, "A=2", "EMPTY=", "U=ü", "HOME=/root"])


async def test_the_user_owns_its_streams_and_home(bench: Bench) -> None:
    text = await output(bench, "id -u; id -g; echo $HOME; echo again > /dev/stdout", user="1000:1000")
    assert text.split() == ["1000", "1000", "/", "again"] or text.split()[2].startswith("/home")


async def test_nothing_of_ours_is_open_in_the_program(bench: Bench) -> None:
    text = await output(bench, "ls /proc/self/fd | wc -w; cat /proc/self/status | grep -e SigIgn -e SigBlk")
    count, *signals = text.split("\n")
    assert int(count) == 4  # 0, 1, 2 and ls's own
    assert all(int(line.split()[1], 16) == 0 for line in signals if line)


async def test_identity_of_pid_1(bench: Bench) -> None:
    box = bench.box("/bin/sleep", "100")
    task = await box.start()
    stat = Path(f"/proc/{task.pid}/stat").read_text()
    assert int(stat.rpartition(")")[2].split()[19]) == task.start_time
    assert Path(f"/proc/{task.monitor_pid}/comm").read_text() == "dockyard-mon\n"
    status = Path(f"/proc/{task.pid}/status").read_text()
    assert f"PPid:\t{task.monitor_pid}\n" in status
    assert f"NSpid:\t{task.pid}\t1\n" in status
    assert "CapEff:\t00000000a80425fb\n" in status
    assert "Seccomp:\t2\n" in status


async def test_the_init_passes_signals_on_and_reaps(bench: Bench) -> None:
    script = "trap 'echo got; exit 9' TERM; (sleep 0.01 &); cat /proc/1/comm; echo ready; while :; do sleep 0.05; done"
    box = bench.box("/bin/sh", "-c", script, init=True)
    task = await box.spawn()
    client = await box.attach()
    await task.start()
    seen = await client.read_until(b"ready")
    assert b"dockyard-init" in seen
    await task.signal(signal.SIGTERM)
    assert (await box.ended())[:2] == (9, 0)
    assert unframe(seen + await client.read_all())[1].endswith(b"got\n")
    client.close()


async def test_the_init_has_no_more_rights_than_its_program(bench: Bench) -> None:
    text = await output(bench, "grep -e Cap -e Seccomp: -e Uid /proc/1/status; ls /proc/1/fd | wc -w", init=True)
    assert "CapEff:\t00000000a80425fb" in text
    assert "Seccomp:\t2" in text


@pytest.mark.parametrize("command", ["foo", "/etc"])
async def test_the_init_reports_a_failed_start_too(bench: Bench, command: str) -> None:
    with pytest.raises(StartFailed, match="exec"):
        await bench.box(command, init=True).start()


async def test_an_out_of_memory_kill_is_counted(bench: Bench) -> None:
    box = bench.box("/bin/sh", "-c", "head -c 200m /dev/zero | tail")
    box.spec["linux"]["resources"] = {"memory": {"limit": 32 << 20, "swap": 32 << 20}}
    await box.start()
    exited = await box.ended()
    assert exited.oom_kills >= 1
    assert exited.memory_limit == 32 << 20
    assert (await box.message(protocol.Oom)).oom_kills >= 1


async def test_the_same_container_starts_again_at_once(bench: Bench) -> None:
    """Its last monitor may not be gone yet: its cgroup has the same name."""
    box = bench.box("/bin/true")
    for _ in range(4):
        await box.start()
        await box.ended()
        box.exited = None
        box._ended.clear()


async def test_many_start_at_once(bench: Bench) -> None:
    boxes = [bench.box("/bin/sh", "-c", f"exit {n}") for n in range(12)]
    starting = [box.start() for box in boxes]
    for start in starting:
        await start
    assert [(await box.ended()).exit_code for box in boxes] == list(range(12))


async def test_a_run_folder_that_is_missing_is_unavailable(bench: Bench) -> None:
    with pytest.raises((Unavailable, StartFailed)):
        await bench.runtime.spawn("/no/such/folder")


async def test_joined_network_is_the_others(bench: Bench) -> None:
    first = bench.box("/bin/sleep", "100")
    task = await first.start()
    second = bench.box("/bin/readlink", "/proc/self/ns/net")
    for namespace in second.spec["linux"]["namespaces"]:
        if namespace["type"] == "network":
            namespace["path"] = f"/proc/{task.pid}/ns/net"
    await second.start()
    await second.ended()
    assert second.logged().decode().strip() == os.readlink(f"/proc/{task.pid}/ns/net")


async def test_without_a_pid_namespace_nothing_outlives_pid_1(bench: Bench) -> None:
    box = bench.box("/bin/sh", "-c", "sleep 1000 & echo $!")
    namespaces = box.spec["linux"]["namespaces"]
    namespaces[:] = [entry for entry in namespaces if entry["type"] != "pid"]
    await box.start()
    await box.ended()
    other = int(box.logged())
    await wait_until_async(lambda: not Path(f"/proc/{other}").exists(), what="the rest is killed")
