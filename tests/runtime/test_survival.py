"""Who may die, and what stays: the daemon, the zygote, a monitor; and what a container does to its monitor."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import NotFound, Unavailable
from core.runtime import protocol
from core.runtime.client import read_exit
from tests.runtime.harness import Bench, Box, Client, Stock, unframe
from tests.support import CHECKOUT, wait_until, wait_until_async

pytestmark = pytest.mark.root


class Daemon:
    """``tests.runtime.daemon`` at the point where it was asked to wait."""

    def __init__(self, bench: Bench, stock: Stock, point: str, client: socket.socket | None = None) -> None:
        argv = [sys.executable, "-m", "tests.runtime.daemon", str(bench.folder), str(stock.rootfs.parent), point]
        passed = []
        if client is not None:
            passed.append(client.fileno())
            argv.append(str(client.fileno()))
        self.process = subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, pass_fds=passed)
        if client is not None:
            client.close()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the daemon did not come to its point"
        self.facts: dict[str, Any] = json.loads(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def box(self, bench: Bench) -> Box:
        """Its container, to be adopted by ``bench``."""
        return bench.box()


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes_below(folder: Path) -> list[str]:
    """Processes that have something below ``folder`` open: monitors hold their run folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            targets = [os.readlink(fd) for fd in (entry / "fd").iterdir()]
        except OSError:
            continue
        if any(target.startswith(str(folder)) for target in targets):
            found.append(entry.name)
    return found


@pytest.mark.parametrize("point", ["spawned", "created"])
async def test_a_daemon_that_dies_before_the_start_leaves_nothing(bench: Bench, stock: Stock, point: str) -> None:
    daemon = Daemon(bench, stock, point)
    daemon.kill()
    box = bench.box()
    await wait_until_async(lambda: not processes_below(bench.folder / "run"), what="the monitor leaves")
    assert not box.cgroups()
    assert not (box.run_dir / "monitor.sock").exists()
    assert read_exit(str(box.run_dir)) is None
    with pytest.raises(NotFound):
        await bench.runtime.adopt(str(box.run_dir))


@pytest.mark.parametrize("point", ["start-sent", "started"])
async def test_a_daemon_that_dies_after_the_start_is_followed_by_the_next(
    bench: Bench, stock: Stock, point: str
) -> None:
    daemon = Daemon(bench, stock, point)
    daemon.kill()
    box = bench.box()
    box.use(await bench.runtime.adopt(str(box.run_dir)))
    task = box.task
    assert task is not None
    assert (task.pid, task.monitor_pid) == (daemon.facts["pid"], daemon.facts["monitor"])
    assert task.phase in ("starting", "running")
    await wait_until_async(lambda: box.logged() == b"begun\n", what="the program writes")
    client = await box.attach()
    _, other = await box.run_exec("echo", "hello")
    assert other is not None
    assert unframe(await other.read_all()) == {1: b"hello\n"}
    await task.signal(signal.SIGKILL)
    assert (await box.ended()).exit_code == 137
    assert await client.read_all() == b""
    for one in (client, other):
        one.close()


async def test_a_monitor_can_be_found_as_soon_as_it_is_known(bench: Bench) -> None:
    """What Created allows, Start, must never be lost on a daemon that dies right after it."""
    box = bench.box("/bin/sleep", "100")
    task = await box.spawn()
    assert (box.run_dir / "monitor.sock").exists()
    await task.start()


async def test_a_shell_survives_the_daemon(bench: Bench, stock: Stock) -> None:
    ours, theirs = socket.socketpair()
    daemon = Daemon(bench, stock, "started", theirs)
    shell = Client(ours)
    await shell.write(b"echo before\n")
    await shell.read_until(b"before\r\n")
    daemon.kill()
    await shell.write(b"echo aft''er\n")
    await shell.read_until(b"after\r\n")
    box = bench.box()
    box.use(await bench.runtime.adopt(str(box.run_dir)))
    assert box.task is not None
    assert [(one[0], one[2]) for one in box.task.execs] == [("shell", True)]
    await box.task.resize(50, 150, "shell")
    await shell.write(b"stty size; exit 6\n")
    assert b"50 150" in await shell.read_all()
    assert (await box.message(protocol.ExecExited, exec_id="shell")).exit_code == 6
    shell.close()


async def test_an_end_that_no_daemon_saw_is_recorded(bench: Bench, stock: Stock) -> None:
    daemon = Daemon(bench, stock, "started")
    daemon.kill()
    os.kill(daemon.facts["pid"], signal.SIGKILL)
    box = bench.box()
    record = await wait_until_async(lambda: read_exit(str(box.run_dir)), what="the exit is recorded")
    assert record is not None
    assert (record.exit_code, record.signal) == (137, 9)
    await wait_until_async(lambda: not alive(daemon.facts["monitor"]), what="the monitor leaves")
    assert not box.cgroups()


async def test_two_daemons_at_once_hear_the_same(bench: Bench) -> None:
    box = bench.box("/bin/sleep", "100")
    await box.start()
    second = await bench.runtime.adopt(str(box.run_dir))
    seen = []

    async def follow() -> None:
        seen.extend([message async for message in second.events])

    following = asyncio.create_task(follow())
    await second.signal(signal.SIGKILL)
    exited = await box.ended()
    await following
    assert seen == [exited]
    await second.close()


async def test_a_dead_monitor_is_noticed_and_the_container_kept(bench: Bench) -> None:
    box = bench.box("/bin/sleep", "100")
    task = await box.start()
    os.kill(task.monitor_pid, signal.SIGKILL)
    await asyncio.wait_for(task.gone.wait(), 10)
    assert box.exited is None
    assert alive(task.pid)
    with pytest.raises(Unavailable):
        await task.signal(signal.SIGTERM)
    with pytest.raises(Unavailable):
        await bench.runtime.adopt(str(box.run_dir))
    os.kill(task.pid, signal.SIGKILL)
    wait_until(lambda: not alive(task.pid), what="the container ends")
    for folder in box.cgroups():
        wait_until(lambda folder=folder: _removed(folder), what=f"{folder} is empty")  # type: ignore[misc]


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


async def test_a_monitor_that_dies_before_the_start_takes_init_along(bench: Bench) -> None:
    box = bench.box("/bin/sleep", "100")
    task = await box.spawn()
    os.kill(task.monitor_pid, signal.SIGKILL)
    await wait_until_async(lambda: not alive(task.pid), what="init ends")
    for folder in box.cgroups():
        wait_until(lambda folder=folder: _removed(folder), what=f"{folder} is empty")  # type: ignore[misc]


async def test_init_killed_before_the_start_is_a_failed_start(bench: Bench) -> None:
    box = bench.box("/bin/true")
    task = await box.spawn()
    os.kill(task.pid, signal.SIGKILL)
    with pytest.raises(Exception, match="killed by signal 9"):
        await task.start()


async def test_a_dead_zygote_is_replaced(bench: Bench) -> None:
    before = bench.box("/bin/sleep", "100")
    await before.start()
    zygote = bench.runtime._zygote
    assert zygote is not None
    os.kill(zygote.pid, signal.SIGKILL)
    await asyncio.wait_for(zygote.exited.wait(), 10)
    box = await bench.run("/bin/sh", "-c", "exit 3")
    assert box.exited is not None
    assert box.exited.exit_code == 3
    assert bench.runtime._zygote is not zygote
    assert before.task is not None
    await before.task.signal(signal.SIGKILL)
    assert (await before.ended()).signal == 9


async def test_a_request_that_the_zygote_took_to_its_grave_is_unavailable(bench: Bench) -> None:
    zygote = bench.runtime._zygote
    assert zygote is not None
    await bench.run("/bin/true")
    os.kill(zygote.pid, signal.SIGSTOP)
    box = bench.box("/bin/true")
    box.write()
    spawning = asyncio.create_task(bench.runtime.spawn(str(box.run_dir)))
    await asyncio.sleep(0)
    os.kill(zygote.pid, signal.SIGKILL)
    with pytest.raises(Unavailable):
        await spawning


async def test_the_zygote_leaves_with_the_daemon(bench: Bench, stock: Stock) -> None:
    daemon = Daemon(bench, stock, "created")
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    assert children
    daemon.kill()
    await wait_until_async(lambda: not any(alive(int(pid)) for pid in children), what="the zygote leaves")


async def test_a_fork_bomb_does_not_keep_the_monitor_from_serving(bench: Bench) -> None:
    box = bench.box("/bin/sh", "-c", "(while :; do sleep 1000 & done) 2>/dev/null; exec sleep 1000")
    box.spec["linux"]["resources"] = {"pids": {"limit": 64}}
    task = await box.start()
    pids = next(Path(parent) for name, parent in bench.placement.parents.items() if name in ("pids", "unified"))
    current = pids / box.id / "pids.current"
    await wait_until_async(lambda: int(current.read_text()) >= 63, what="the container is full")
    await task.resize(10, 10)
    client = await box.attach()
    await task.signal(signal.SIGKILL)
    assert (await box.ended()).signal == 9
    client.close()


async def test_nonsense_on_the_monitors_socket_ends_only_that_connection(bench: Bench) -> None:
    box = bench.box("/bin/sleep", "100")
    task = await box.start()
    for packet in (b"nonsense", b"[]", b'["Start",1]', b"x" * 60000, b'["Exited",1,0,0,false,0,0,0]'):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(10)
            sock.connect(str(box.run_dir / "monitor.sock"))
            assert isinstance(protocol.decode(sock.recv(65536)), protocol.State)
            sock.send(packet)
            answer = sock.recv(65536)
            assert answer == b"" or protocol.decode(answer) == protocol.Reply(
                0, "conflict", "a monitor does not take Exited"
            )
    await task.resize(1, 1)


async def test_the_socket_is_for_root_alone(bench: Bench) -> None:
    box = bench.box("/bin/sleep", "100")
    await box.start()
    assert (box.run_dir / "monitor.sock").stat().st_mode & 0o777 == 0o600
