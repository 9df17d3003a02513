"""Clients in a namespace: what a server there answers, or how it does not. Times are in seconds."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from tests.network import dns
from tests.network.namespace import NetNs

#: How long a negative waits that is dropped in silence. Too short could only let a test pass, not fail.
QUIET = 0.4


def _socket(protocol: str, address: str, timeout: float, source: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    made.settimeout(timeout)
    if source:
        made.bind((source, 0))
    return made


def connect(
    namespace: NetNs, protocol: str, address: str, port: int, *, timeout: float = 5, source: str = ""
) -> socket.socket:
    """A connected socket (UDP too). Raises OSError; TimeoutError when nothing answers."""

    def work() -> socket.socket:
        made = _socket(protocol, address, timeout, source)
        try:
            made.connect((address, port))
        except BaseException:
            made.close()
            raise
        return made

    return namespace.inside(work)


def say(connection: socket.socket, text: str) -> dict[str, Any]:
    """What ``echo.py`` on the other side answers to one line."""
    connection.sendall(text.encode() + b"\n")
    data = connection.recv(65536)
    while data and not data.endswith(b"\n"):
        more = connection.recv(65536)
        data = data + more if more else b""
    if not data:
        raise ConnectionResetError("the server ended the connection without an answer")
    answer: dict[str, Any] = json.loads(data)
    assert answer["text"] == text, answer
    return answer


def ask(
    namespace: NetNs,
    protocol: str,
    address: str,
    port: int,
    *,
    text: str = "hello",
    timeout: float = 5,
    source: str = "",
) -> dict[str, Any]:
    """What ``echo.py`` answers there: ``name``, ``peer``, ``own``, ``text``. Raises OSError."""
    with connect(namespace, protocol, address, port, timeout=timeout, source=source) as connection:
        return say(connection, text)


def reached(namespace: NetNs, protocol: str, address: str, port: int, *, timeout: float = 5, source: str = "") -> str:
    """The name of the server that answers there, "" when none does."""
    try:
        return str(ask(namespace, protocol, address, port, timeout=timeout, source=source)["name"])
    except OSError:
        return ""


def unreached(namespace: NetNs, protocol: str, address: str, port: int) -> bool:
    """Whether nobody answers there."""
    return reached(namespace, protocol, address, port, timeout=QUIET) == ""


def query(
    namespace: NetNs,
    name: str,
    kind: int = dns.A,
    *,
    server: str = "127.0.0.11",
    tcp: bool = False,
    timeout: float = 10,
) -> dns.Message:
    """One question to a DNS server, and its answer. Raises OSError."""
    number = hash((name, kind, tcp)) & 0xFFFF
    question = dns.encode(dns.Message(number, name, kind))
    with connect(namespace, "tcp" if tcp else "udp", server, 53, timeout=timeout) as connection:
        if not tcp:
            connection.send(question)
            answer = dns.decode(connection.recv(65535))
        else:
            connection.sendall(struct.pack(">H", len(question)) + question)
            with connection.makefile("rb") as stream:
                length = struct.unpack(">H", stream.read(2))[0]
                answer = dns.decode(stream.read(length))
    assert answer.id == number, "the answer to another question"
    assert (answer.name.lower(), answer.type) == (name.lower(), kind), answer
    return answer


def addresses(namespace: NetNs, name: str, kind: int = dns.A) -> list[str]:
    """The sorted addresses that the engine's resolver gives for ``name``; none when there is no such name."""
    answer = query(namespace, name, kind)
    assert answer.code in (dns.NOERROR, dns.NXDOMAIN), answer
    return answer.texts(kind)
