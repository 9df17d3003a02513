"""Other processes in a container."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from core.errors import Conflict, NotFound, StartFailed, Unavailable
from core.linux import cgroups
from core.runtime import protocol
from tests.runtime import harness
from tests.runtime.harness import Bench, Box, unframe
from tests.support import wait_until_async

pytestmark = pytest.mark.root


@pytest.fixture(params=[False, True], ids=["", "guided"], autouse=True)
def guided(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways in: a container that may trace processes gets its own."""
    if request.param:
        monkeypatch.setattr(harness, "DEFAULT_CAPABILITIES", [*harness.DEFAULT_CAPABILITIES, "CAP_SYS_PTRACE"])
    return bool(request.param)


async def sleeper(bench: Bench, **config: object) -> Box:
    box = bench.box("/bin/sleep", "1000", **config)
    await box.start()
    return box


async def test_streams_and_exit_code(bench: Bench) -> None:
    box = await sleeper(bench)
    exec_id, client = await box.run_exec("sh", "-c", "echo out; echo err >&2; cat; exit 7", stdin=True)
    assert client is not None
    await client.write(b"typed\n")
    client.end_input()
    assert unframe(await client.read_all()) == {1: b"out\ntyped\n", 2: b"err\n"}
    assert (await box.message(protocol.ExecExited, exec_id=exec_id)).exit_code == 7
    assert (await box.message(protocol.ExecStarted, exec_id=exec_id)).pid > 0
    assert box.logged() == b""
    client.close()


async def test_it_is_inside(bench: Bench, guided: bool) -> None:
    box = await sleeper(bench)
    assert box.task is not None
    script = (
        "for n in mnt uts ipc pid net cgroup; do readlink /proc/self/ns/$n; done; "
        "grep -e CapEff -e Seccomp: /proc/self/status"
    )
    _, client = await box.run_exec("sh", "-c", script)
    assert client is not None
    *namespaces, capabilities, filtered = unframe(await client.read_all())[1].decode().splitlines()
    pid1 = Path(f"/proc/{box.task.pid}/ns")
    assert namespaces == [str((pid1 / name).readlink()) for name in ("mnt", "uts", "ipc", "pid", "net", "cgroup")]
    assert capabilities == ("CapEff:\t00000000a80c25fb" if guided else "CapEff:\t00000000a80425fb")
    assert filtered == "Seccomp:\t2"
    client.close()


async def test_it_is_in_the_cgroup(bench: Bench) -> None:
    box = await sleeper(bench)
    exec_id, _ = await box.run_exec("sleep", "1000", attached=False)
    pid = (await box.message(protocol.ExecStarted, exec_id=exec_id)).pid
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    inside = [line for line in lines if line.endswith(f"/{box.id}")]
    assert len(inside) >= len(box.cgroups())


@pytest.mark.parametrize(("command", "code"), [("foo", 127), ("/x", 127), ("/etc", 126)])
async def test_a_program_that_cannot_run(bench: Bench, command: str, code: int) -> None:
    box = await sleeper(bench)
    with pytest.raises(StartFailed) as caught:
        await box.run_exec(command)
    assert caught.value.exit_code == code
    assert not list(box.run_dir.glob("exec-*.json"))


async def test_an_unknown_user(bench: Bench) -> None:
    box = await sleeper(bench)
    with pytest.raises(StartFailed, match="unable to find user"):
        await box.run_exec("true", user="nobodyhere")


async def test_a_terminal_of_its_own(bench: Bench) -> None:
    box = await sleeper(bench)
    script = "tty; stty size; echo ready; read line; stty size; echo got $line"
    exec_id, client = await box.run_exec("sh", "-c", script, tty=True, stdin=True, console_size=[33, 99])
    assert client is not None
    assert await client.read_until(b"ready\r\n") == b"/dev/pts/0\r\n33 99\r\nready\r\n"
    assert box.task is not None
    await box.task.resize(44, 111, exec_id)
    await client.write(b"word\n")
    rest = await client.read_all()
    assert b"44 111" in rest
    assert b"got word" in rest
    client.close()


async def test_detaching_leaves_it_running(bench: Bench) -> None:
    box = await sleeper(bench)
    keys = "EBE="  # ^P ^Q
    exec_id, client = await box.run_exec("cat", tty=True, stdin=True, detach_keys=keys)
    assert client is not None
    await client.write(b"\x10\x11")
    assert await client.read_all() == b""
    assert box.task is not None
    await box.task.signal(signal.SIGKILL, exec_id=exec_id)
    assert (await box.message(protocol.ExecExited, exec_id=exec_id)).exit_code == 137
    client.close()


async def test_a_client_that_went_away_does_not_hold_it_up(bench: Bench) -> None:
    box = await sleeper(bench)
    exec_id, client = await box.run_exec("sh", "-c", f"head -c {4 << 20} /dev/zero; exit 3")
    assert client is not None
    client.close()
    assert (await box.message(protocol.ExecExited, exec_id=exec_id)).exit_code == 3


async def test_many_at_once(bench: Bench) -> None:
    box = await sleeper(bench)
    started = await asyncio.gather(*(box.run_exec("sh", "-c", f"exit {n}", attached=False) for n in range(10)))
    codes = [(await box.message(protocol.ExecExited, exec_id=exec_id)).exit_code for exec_id, _ in started]
    assert codes == list(range(10))


async def test_the_containers_end_ends_them(bench: Bench) -> None:
    box = await sleeper(bench)
    exec_id, client = await box.run_exec("sh", "-c", "echo ready; sleep 1000")
    assert client is not None
    assert box.task is not None
    await client.read_until(b"ready")
    await box.task.signal(signal.SIGKILL)
    assert await client.read_all() == b""
    assert (await box.message(protocol.ExecExited, exec_id=exec_id)).exit_code == 137
    await box.ended()
    kinds = [type(message) for message in box.seen]
    assert kinds.index(protocol.ExecExited) < kinds.index(protocol.Exited)
    client.close()


async def test_not_before_the_start_and_not_after_the_end(bench: Bench) -> None:
    box = bench.box("/bin/true")
    task = await box.spawn()
    with pytest.raises(Conflict):
        await box.run_exec("true")
    await task.start()
    await box.ended()
    with pytest.raises((Conflict, Unavailable)):
        await box.run_exec("true")


async def test_an_id_only_once_and_unknown_ids(bench: Bench) -> None:
    box = await sleeper(bench)
    await box.run_exec("sleep", "100", attached=False, exec_id="same")
    with pytest.raises(Conflict):
        await box.run_exec("sleep", "100", attached=False, exec_id="same")
    assert box.task is not None
    with pytest.raises(NotFound):
        await box.task.resize(1, 1, "unknown")


async def test_in_a_container_with_init_it_is_reaped(bench: Bench) -> None:
    box = await sleeper(bench, init=True)
    exec_id, _ = await box.run_exec("sh", "-c", "sleep 0.01 & exit 4", attached=False)
    assert (await box.message(protocol.ExecExited, exec_id=exec_id)).exit_code == 4
    assert box.task is not None
    children = Path(f"/proc/{box.task.pid}/task/{box.task.pid}/children")
    await wait_until_async(lambda: len(children.read_text().split()) == 1, what="the orphan is reaped")


async def test_a_frozen_container_refuses(bench: Bench) -> None:
    box = await sleeper(bench)
    group = cgroups.reopen(bench.placement, box.id)
    group.freeze()
    with pytest.raises(Conflict, match="paused"):
        await box.run_exec("true")
    assert box.task is not None
    await box.task.signal(signal.SIGKILL)
    assert (await box.ended()).signal == 9
