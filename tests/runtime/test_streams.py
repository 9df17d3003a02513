"""Output to log and clients, input from clients, without a container: pipes, sockets and the monitor's loop."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Conflict
from core.runtime.poller import Poller
from core.runtime.session import MAX_SESSIONS, MAX_WAITING, STDERR, STDOUT, DetachKeys, Slots
from core.runtime.streams import Buffer, Streams
from tests.runtime.harness import unframe

KEYS = b"\x10\x11"


class MemoryLog:
    def __init__(self) -> None:
        self.data = {STDOUT: bytearray(), STDERR: bytearray()}

    def write(self, stream: int, data: memoryview, at_ns: int) -> None:
        assert at_ns > 0
        self.data[stream] += data


class Rig:
    """A program's streams, the program being the test: ``out``, ``err`` to write, ``typed()`` what it may read."""

    def __init__(self, *, tty: bool = False, stdin: bool = False) -> None:
        self.poller = Poller()
        self.log = MemoryLog()
        self.slots = Slots()
        self.streams = Streams(self.poller, Buffer(), self.slots, tty=tty, log=self.log)
        out, self.out = os.pipe()
        err, self.err = os.pipe()
        self.streams.add_output(out, STDOUT)
        self.streams.add_output(err, STDERR)
        self.input = -1
        if stdin:
            self.streams.expect_input()
            self.input, sink = os.pipe()
            os.set_blocking(self.input, False)
            self.streams.set_input(sink)
        self.clients: list[socket.socket] = []

    def client(self, **wanted: Any) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.clients.append(ours)
        self.streams.attach(theirs.detach(), **({"stdin": False, "stdout": True, "stderr": True} | wanted))
        return ours

    def spin(self) -> None:
        """Until nothing happens any more."""
        while self.poller.run_once(0):
            pass

    def until_it_blocks(self, write: Callable[[], int]) -> int:
        """Write again and again; how much was taken before nothing more was."""
        total = 0
        while True:
            try:
                total += write()
            except BlockingIOError:
                return total
            self.spin()

    def flood(self) -> int:
        """As much output as is taken while clients do not read."""
        os.set_blocking(self.out, False)
        return self.until_it_blocks(lambda: os.write(self.out, b"x" * 65536))

    def typed(self) -> bytes | None:
        """What the program reads now; b"" at the end, None when there is nothing."""
        self.spin()
        try:
            return os.read(self.input, 1 << 20)
        except BlockingIOError:
            return None

    def got(self, client: socket.socket) -> bytes:
        data = b""
        while True:
            self.spin()
            try:
                chunk = client.recv(1 << 20)
            except BlockingIOError:
                return data
            if not chunk:
                return data
            data += chunk

    def close(self) -> None:
        for fd in (self.out, self.err, self.input):
            if fd >= 0:
                os.close(fd)
        self.spin()
        for client in self.clients:
            client.close()
        self.spin()
        self.streams.drain()
        self.streams.finish()
        assert self.slots.used == 0


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(**options: bool) -> Rig:
        made.append(Rig(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()


# --- detach keys -----------------------------------------------------------------------------------


def test_keys_are_found_and_what_follows_is_dropped() -> None:
    assert DetachKeys(KEYS).feed(b"ls\x10\x11rm") == (b"ls", True)


def test_the_first_key_is_held_until_the_next_byte() -> None:
    keys = DetachKeys(KEYS)
    assert keys.feed(b"a\x10") == (b"a", False)
    assert keys.feed(b"b") == (b"\x10b", False)
    assert keys.feed(b"\x10") == (b"", False)
    assert keys.feed(b"\x11") == (b"", True)


def test_a_failed_attempt_may_begin_the_next() -> None:
    assert DetachKeys(KEYS).feed(b"\x10\x10\x11") == (b"\x10", True)
    assert DetachKeys(b"aab").feed(b"aaab") == (b"a", True)


def test_what_is_held_at_the_end_is_not_lost() -> None:
    keys = DetachKeys(KEYS)
    keys.feed(b"\x10")
    assert keys.rest() == b"\x10"


def test_no_keys_never_detach() -> None:
    assert DetachKeys(b"").feed(KEYS) == (KEYS, False)


@given(st.lists(st.binary(max_size=6), max_size=12), st.binary(min_size=1, max_size=4))
def test_keys_behave_as_a_search_however_input_is_cut(pieces: list[bytes], sequence: bytes) -> None:
    keys = DetachKeys(sequence)
    passed, found = b"", False
    for piece in pieces:
        more, found = keys.feed(piece)
        passed += more
        if found:
            break
    whole = b"".join(pieces)
    at = whole.find(sequence)
    assert found == (at >= 0)
    assert passed + (b"" if found else keys.rest()) == (whole[:at] if found else whole)


# --- output ----------------------------------------------------------------------------------------


def test_output_goes_to_the_log_and_to_every_client(rig: Callable[..., Rig]) -> None:
    r = rig()
    one, two = r.client(), r.client(stderr=False)
    os.write(r.out, b"out")
    os.write(r.err, b"err")
    assert unframe(r.got(one)) == {1: b"out", 2: b"err"}
    assert unframe(r.got(two)) == {1: b"out"}
    assert r.log.data == {STDOUT: b"out", STDERR: b"err"}


def test_a_terminal_is_not_framed(rig: Callable[..., Rig]) -> None:
    r = rig(tty=True)
    client = r.client()
    os.write(r.out, b"raw")
    assert r.got(client) == b"raw"


def test_a_client_that_does_not_read_makes_the_program_wait(rig: Callable[..., Rig]) -> None:
    r = rig()
    client = r.client()
    written = r.flood()
    assert MAX_WAITING <= written < 4 * MAX_WAITING
    assert r.streams.waiting < 2 * MAX_WAITING
    # nothing is lost once it reads
    received = unframe(r.got(client))[1]
    assert len(received) == written
    assert os.write(r.out, b"more") == 4


@pytest.mark.parametrize("leave", ["close", "shutdown"])
def test_a_client_that_went_away_holds_nothing_up(rig: Callable[..., Rig], leave: str) -> None:
    r = rig()
    client = r.client()
    r.flood()
    if leave == "close":
        client.close()
    else:
        client.shutdown(socket.SHUT_RDWR)
    r.spin()
    assert r.streams.attached == 0
    for _ in range(100):
        os.write(r.out, b"y" * 65536)
        r.spin()


def test_the_end_waits_for_a_slow_client(rig: Callable[..., Rig]) -> None:
    r = rig()
    client = r.client()
    for _ in range(12):
        os.write(r.out, b"x" * 65536)
        r.spin()
    r.streams.drain()
    r.streams.finish()
    assert r.streams.attached == 1
    assert len(unframe(r.got(client))[1]) == 12 * 65536
    assert r.streams.attached == 0
    assert client.recv(1) == b""


def test_unread_input_does_not_turn_the_end_into_a_reset(rig: Callable[..., Rig]) -> None:
    r = rig()
    client = r.client()
    client.send(b"typed, but nobody reads")
    os.write(r.out, b"last words")
    r.spin()
    r.streams.drain()
    r.streams.finish()
    assert unframe(r.got(client)) == {1: b"last words"}
    assert client.recv(1) == b""


def test_sessions_are_limited(rig: Callable[..., Rig]) -> None:
    r = rig()
    for _ in range(MAX_SESSIONS):
        r.client()
    ours, theirs = socket.socketpair()
    with ours, pytest.raises(Conflict):
        r.streams.attach(theirs.detach(), stdin=False, stdout=True, stderr=True)
    ours.close()
    r.clients.pop().close()
    r.spin()
    r.client()


# --- input -----------------------------------------------------------------------------------------


def test_input_of_several_clients_is_mixed(rig: Callable[..., Rig]) -> None:
    r = rig(stdin=True)
    one, two = r.client(stdin=True), r.client(stdin=True)
    one.send(b"a")
    assert r.typed() == b"a"
    two.send(b"b")
    assert r.typed() == b"b"


def test_what_was_read_before_the_hand_over_comes_first(rig: Callable[..., Rig]) -> None:
    r = rig(stdin=True)
    client = r.client(stdin=True, preread=b"early ")
    client.send(b"late")
    assert r.typed() == b"early late"


def test_half_closed_input_leaves_output_open(rig: Callable[..., Rig]) -> None:
    r = rig(stdin=True)
    client = r.client(stdin=True)
    client.shutdown(socket.SHUT_WR)
    assert r.typed() is None
    os.write(r.out, b"still here")
    assert unframe(r.got(client)) == {1: b"still here"}


def test_stdin_once_ends_the_programs_input_with_the_client(rig: Callable[..., Rig]) -> None:
    r = rig(stdin=True)
    r.streams.close_with_client = True
    client = r.client(stdin=True)
    client.send(b"all")
    client.shutdown(socket.SHUT_WR)
    assert r.typed() == b"all"
    assert r.typed() == b""


def test_a_lost_client_ends_the_programs_input_too(rig: Callable[..., Rig]) -> None:
    r = rig(stdin=True)
    r.streams.close_with_client = True
    r.client(stdin=True).close()
    assert r.typed() == b""


def test_input_that_nobody_reads_makes_the_client_wait_and_nothing_is_lost(rig: Callable[..., Rig]) -> None:
    r = rig(stdin=True)
    r.streams.close_with_client = True
    client = r.client(stdin=True)
    sent = r.until_it_blocks(lambda: client.send(b"z" * 65536))
    client.close()
    read = 0
    while chunk := r.typed():
        read += len(chunk)
    assert read == sent


def test_input_before_there_is_a_program_is_kept(rig: Callable[..., Rig]) -> None:
    r = rig()
    r.streams.expect_input()
    client = r.client(stdin=True)
    client.send(b"first")
    r.spin()
    r.input, sink = os.pipe()
    r.streams.set_input(sink)
    assert r.typed() == b"first"


def test_a_program_that_closed_its_input_is_no_error(rig: Callable[..., Rig]) -> None:
    r = rig(stdin=True)
    client = r.client(stdin=True)
    os.close(r.input)
    r.input = -1
    client.send(b"into the void")
    r.spin()
    os.write(r.out, b"fine")
    assert unframe(r.got(client)) == {1: b"fine"}


def test_detach_ends_the_client_alone(rig: Callable[..., Rig]) -> None:
    r = rig(tty=True, stdin=True)
    leaver, stayer = r.client(stdin=True, detach_keys=KEYS), r.client(stdin=True)
    leaver.send(b"ls\x10\x11")
    assert r.typed() == b"ls"
    assert leaver.recv(1) == b""
    stayer.send(KEYS)
    assert r.typed() == KEYS


def test_detach_keys_need_a_terminal(rig: Callable[..., Rig]) -> None:
    r = rig(stdin=True)
    client = r.client(stdin=True, detach_keys=KEYS)
    client.send(KEYS)
    assert r.typed() == KEYS
