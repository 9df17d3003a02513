"""Clients on a running container: terminal, input, detaching, slow readers."""

from __future__ import annotations

import os
import re
import socket

import pytest

from core.errors import Conflict
from core.runtime import protocol
from core.runtime.session import MAX_SESSIONS
from tests.runtime.harness import Bench, unframe
from tests.support import wait_until_async

pytestmark = pytest.mark.root

KEYS = b"\x10\x11"


async def test_a_client_that_came_before_the_start_gets_everything(bench: Bench) -> None:
    box = bench.box("/bin/sh", "-c", "echo first; echo err >&2")
    task = await box.spawn()
    clients = [await box.attach() for _ in range(3)]
    await task.start()
    for client in clients:
        assert unframe(await client.read_all()) == {1: b"first\n", 2: b"err\n"}
        client.close()


async def test_input_reaches_the_program_and_its_end_too(bench: Bench) -> None:
    box = bench.box("/bin/cat", open_stdin=True, stdin_once=True)
    task = await box.spawn()
    client = await box.attach(stdin=True, preread=b"early ")
    await task.start()
    await client.write(b"late")
    client.end_input()
    assert unframe(await client.read_all()) == {1: b"early late"}
    assert (await box.ended()).exit_code == 0
    client.close()


async def test_without_open_stdin_the_input_is_empty(bench: Bench) -> None:
    box = await bench.run("/bin/sh", "-c", "cat; ls -l /proc/self/fd/0")
    assert b"/dev/null" in box.logged()


async def test_the_daemon_can_end_the_input(bench: Bench) -> None:
    box = bench.box("/bin/cat", open_stdin=True)
    task = await box.start()
    client = await box.attach(stdin=True)
    client.end_input()
    await task.signal(0)
    assert box.exited is None
    await task.close_stdin()
    assert (await box.ended()).exit_code == 0
    client.close()


async def test_a_terminal_has_its_size_from_the_first_byte_and_follows(bench: Bench) -> None:
    script = "stty size; tty; ls -l /dev/console | cut -c1; echo ready; read line; stty size; echo got $line"
    box = bench.box("/bin/sh", "-c", script, tty=True, open_stdin=True, console_size=[33, 99])
    task = await box.spawn()
    client = await box.attach(stdin=True)
    await task.start()
    seen = await client.read_until(b"ready\r\n")
    assert seen == b"33 99\r\n/dev/pts/0\r\nc\r\nready\r\n"
    await task.resize(50, 150)
    await client.write(b"word\n")
    rest = await client.read_all()
    assert b"50 150" in rest
    assert b"got word" in rest
    client.close()
    assert box.logged().startswith(b"33 99\r\n")


async def test_interrupt_reaches_the_foreground_of_the_terminal(bench: Bench) -> None:
    for init in (False, True):
        script = "trap 'exit 5' INT; echo ready; while :; do sleep 0.1; done"
        box = bench.box("/bin/sh", "-c", script, tty=True, open_stdin=True, init=init)
        task = await box.spawn()
        client = await box.attach(stdin=True)
        await task.start()
        await client.read_until(b"ready")
        await client.write(b"\x03")
        assert (await box.ended()).exit_code == 5
        client.close()


async def test_detaching_ends_the_client_and_not_the_program(bench: Bench) -> None:
    box = bench.box("/bin/cat", tty=True, open_stdin=True)
    task = await box.spawn()
    client = await box.attach(stdin=True, detach_keys=KEYS)
    await task.start()
    await client.write(b"a\x10")
    await client.write(b"b\n")
    await client.read_until(b"b\r\n")
    await client.write(b"\x10")
    await client.write(b"\x11")
    while await client.read():
        pass
    again = await box.attach(stdin=True)
    await again.write(b"still\n")
    await again.read_until(b"still\r\n")
    assert box.exited is None
    await task.signal(9)
    again.close()
    client.close()


async def test_a_slow_client_makes_the_program_wait_and_loses_nothing(bench: Bench) -> None:
    size = 8 << 20
    box = bench.box("/bin/sh", "-c", f"head -c {size} /dev/zero; echo done >&2")
    task = await box.spawn()
    slow = await box.attach()
    await task.start()
    await wait_until_async(lambda: len(box.logged()) > 1 << 20, what="the program writes")
    first = await slow.read(10)
    assert box.exited is None  # 8 MiB do not fit into what may wait
    data = unframe(first + await slow.read_all())
    assert data == {1: bytes(size), 2: b"done\n"}
    assert (await box.ended()).exit_code == 0
    slow.close()


async def test_a_client_that_leaves_in_the_middle_holds_nothing_up(bench: Bench) -> None:
    box = bench.box("/bin/sh", "-c", f"head -c {8 << 20} /dev/zero")
    task = await box.spawn()
    client = await box.attach()
    await task.start()
    await wait_until_async(lambda: len(box.logged()) > 1 << 20, what="the program writes")
    client.close()
    assert (await box.ended()).exit_code == 0
    assert len(box.logged()) == 8 << 20


async def test_the_monitor_stays_for_a_client_that_has_not_got_everything(bench: Bench) -> None:
    size = 700_000
    box = bench.box("/bin/sh", "-c", f"head -c {size} /dev/zero")
    task = await box.spawn()
    client = await box.attach()
    await task.start()
    assert (await box.ended()).exit_code == 0
    assert len(unframe(await client.read_all())[1]) == size
    client.close()


async def test_too_many_clients_are_refused(bench: Bench) -> None:
    box = bench.box("/bin/sleep", "100")
    task = await box.start()
    clients = [await box.attach() for _ in range(MAX_SESSIONS)]
    with pytest.raises(Conflict, match="attached"):
        await box.attach()
    for client in clients:
        client.close()
    await task.signal(9)


async def test_the_container_does_not_get_the_clients_socket(bench: Bench) -> None:
    """Descriptors that came over a socket are close-on-exec in the monitor, and in a program that starts later."""
    box = bench.box("/bin/sleep", "100")
    await box.start()
    client = await box.attach()
    _, other = await box.run_exec("ls", "-l", "/proc/self/fd")
    assert other is not None
    listing = unframe(await other.read_all())[1].decode()
    assert len(re.findall("socket:", listing)) == 0
    for one in (client, other):
        one.close()


async def test_attach_without_a_socket_is_refused(bench: Bench) -> None:
    box = bench.box("/bin/sleep", "100")
    task = await box.start()
    with pytest.raises(Conflict):
        await task._request(protocol.Attach(next(task._sequence), False, True, True))


async def test_handing_over_closes_the_daemons_copy(bench: Bench) -> None:
    box = bench.box("/bin/sleep", "100")
    task = await box.start()
    ours, theirs = socket.socketpair()
    number = theirs.fileno()
    await task.attach(theirs, stdin=False, stdout=True, stderr=True)
    assert theirs.fileno() == -1
    with pytest.raises(OSError):
        os.fstat(number)
    ours.close()
