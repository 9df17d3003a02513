"""Servers outside of containers: in the neighbour, or on the engine's host."""

from __future__ import annotations

import selectors
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from tests import images
from tests.network import dns
from tests.network.namespace import NetNs

ECHO = Path(__file__).with_name("echo.py")


@contextmanager
def _process(namespace: NetNs, argv: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    process = namespace.inside(
        lambda: subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd="/")
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def echo(namespace: NetNs, *ports: str) -> Iterator[None]:
    """``tests/network/echo.py`` on ``tcp:PORT`` and ``udp:PORT``, listening when entered."""
    with _process(namespace, [sys.executable, "-IS", str(ECHO), *ports]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        yield


@contextmanager
def httpd(namespace: NetNs, address: str, folder: Path) -> Iterator[None]:
    """busybox's web server for the files of ``folder`` on port 80; it listens before it goes to the background."""
    argv = [str(images.busybox_path()), "httpd", "-f", "-v", "-p", f"{address}:80", "-h", str(folder)]
    with _process(namespace, argv):
        yield


class Question(NamedTuple):
    """What a DNS server was asked, by whom, over ``udp`` or ``tcp``."""

    protocol: str
    peer: str
    name: str
    type: int


class DnsServer:
    """Port 53 of ``address`` in a namespace, UDP and TCP. ``questions`` are all it was asked, in order.

    ``records`` are name → addresses (A and AAAA by their form) or, for names of ``in-addr.arpa``, names. A name in
    ``truncated`` is answered in full over TCP only, one in ``silent`` never; an unknown one with NXDOMAIN.
    """

    def __init__(
        self,
        namespace: NetNs,
        address: str,
        records: Mapping[str, Sequence[str]],
        *,
        truncated: Sequence[str] = (),
        silent: Sequence[str] = (),
        port: int = 53,
    ) -> None:
        self.records = dict(records)
        self.truncated, self.silent = set(truncated), set(silent)
        self.questions: list[Question] = []
        self._selector = selectors.DefaultSelector()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            made = namespace.inside(partial(self._bind, family, kind, address, port))
            self._selector.register(made, selectors.EVENT_READ, kind)
        reader, self._stop = socket.socketpair()
        self._selector.register(reader, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @staticmethod
    def _bind(family: int, kind: int, address: str, port: int) -> socket.socket:
        made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        if kind == socket.SOCK_STREAM:
            made.listen(64)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def asked(self, name: str) -> list[Question]:
        """The questions for ``name`` so far."""
        return [question for question in self.questions if question.name.lower() == name]

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                server = key.fileobj
                assert isinstance(server, socket.socket)
                if key.data is None:
                    return
                if key.data == socket.SOCK_DGRAM:
                    data, peer = server.recvfrom(65535)
                    if answer := self._answer(data, "udp", peer[0]):
                        server.sendto(answer, peer)
                else:
                    connection, peer = server.accept()
                    with connection:
                        self._stream(connection, peer[0])

    def _stream(self, connection: socket.socket, peer: str) -> None:
        connection.settimeout(10)
        with connection.makefile("rb") as stream:
            while head := stream.read(2):
                data = stream.read(struct.unpack(">H", head)[0])
                if answer := self._answer(data, "tcp", peer):
                    connection.sendall(struct.pack(">H", len(answer)) + answer)

    def _answer(self, data: bytes, protocol: str, peer: str) -> bytes:
        question = dns.decode(data)
        name = question.name.lower()
        self.questions.append(Question(protocol, peer, question.name, question.type))
        if name in self.silent:
            return b""
        if name in self.truncated and protocol == "udp":
            return dns.encode(dns.truncated(question))
        if name not in self.records:
            return dns.encode(dns.reply(question, [], dns.NXDOMAIN))
        found = [(question.name, _kind(name, text), 60, text) for text in self.records[name]]
        return dns.encode(dns.reply(question, [row for row in found if row[1] == question.type]))


def _kind(name: str, text: str) -> int:
    if name.endswith(".arpa"):
        return dns.PTR
    return dns.AAAA if ":" in text else dns.A
