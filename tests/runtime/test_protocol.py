"""The messages: they survive the way, and nothing else is taken for one."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.runtime import protocol

NAMES = sorted(protocol._TYPES)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)
)


def example(name: str) -> Any:
    """A message of this name with a value of the right type in each field."""
    samples = {int: 7, str: "äöü", bool: True, list: [["x", 1, True, 0]]}
    return protocol._TYPES[name](*(samples[kind] for kind in protocol._FIELDS[name]))


@pytest.mark.parametrize("name", NAMES)
def test_every_message_survives(name: str) -> None:
    message = example(name)
    assert protocol.decode(protocol.encode(message)) == message


@pytest.mark.parametrize("name", NAMES)
def test_a_field_of_another_type_is_refused(name: str) -> None:
    for index in range(len(protocol._FIELDS[name])):
        fields = json.loads(protocol.encode(example(name)))
        fields[2 + index] = {"neither": "type"}
        with pytest.raises(protocol.ProtocolError):
            protocol.decode(json.dumps(fields).encode())


def test_another_version_is_refused_by_its_number() -> None:
    with pytest.raises(protocol.ProtocolError, match="version 99"):
        protocol.decode(b'["Start",99,1]')


@given(st.binary(max_size=200))
def test_bytes_are_a_message_or_an_error(packet: bytes) -> None:
    try:
        protocol.decode(packet)
    except protocol.ProtocolError:
        pass


@given(st.lists(st.sampled_from(NAMES) | VALUES, max_size=9))
def test_json_is_a_message_or_an_error(document: list[Any]) -> None:
    try:
        message = protocol.decode(json.dumps(document).encode())
    except protocol.ProtocolError:
        return
    assert protocol.decode(protocol.encode(message)) == message


def test_deep_nesting_is_an_error() -> None:
    with pytest.raises(protocol.ProtocolError):
        protocol.decode(b"[" * 100_000)


def test_fds_of_a_bad_packet_are_closed() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        read_end, write_end = os.pipe()
        socket.send_fds(theirs, [b"nonsense"], [write_end])
        os.close(write_end)
        with pytest.raises(protocol.ProtocolError):
            protocol.receive(ours)
        assert os.read(read_end, 1) == b""  # nobody holds the other end any more
        os.close(read_end)


def test_an_fd_comes_with_its_message() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        read_end, write_end = os.pipe()
        protocol.send(theirs, protocol.Attach(3, True, True, False), (write_end,))
        os.close(write_end)
        received = protocol.receive(ours)
        assert received is not None
        message, fds = received
        assert message == protocol.Attach(3, True, True, False)
        os.write(fds[0], b"x")
        assert os.read(read_end, 1) == b"x"
        assert not os.get_inheritable(fds[0])
        for fd in (*fds, read_end):
            os.close(fd)
