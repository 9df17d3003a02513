"""DNS messages (RFC 1035, 6891) as far as a container's resolver reads and writes them. Pure.

Only questions are taken apart; what comes from other servers is checked and handed on as it is.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

A, PTR, AAAA, SRV, OPT, ANY = 1, 12, 28, 33, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP = 0, 1, 2, 3, 4
TTL = 600
_HEADER = struct.Struct(">HHHHHH")
_RESPONSE, _OPCODE, _TRUNCATED, _DESIRED, _AVAILABLE = 0x8000, 0x7800, 0x0200, 0x0100, 0x0080
_POINTER = b"\xc0\x0c"  # to the question's name
_SMALLEST, _LARGEST = 512, 4096


class Query(NamedTuple):
    """One question. ``name`` has no final dot, ``question`` is it as it came (name, type, class).

    ``size`` is how large an answer over UDP may be; ``extended``: the client knows EDNS.
    """

    id: int
    flags: int
    name: str
    kind: int
    question: bytes
    size: int
    extended: bool


class Malformed(Exception):
    """Not a question that can be answered. ``reply`` says so to the client, b"" when nothing is to be said."""

    def __init__(self, reply: bytes = b"") -> None:
        super().__init__("malformed DNS message")
        self.reply = reply


def parse(packet: bytes) -> Query:
    """The question in ``packet``. Raises Malformed for everything else."""
    if len(packet) < _HEADER.size:
        raise Malformed
    number, flags, questions, answers, authorities, additional = _HEADER.unpack_from(packet)
    if flags & _RESPONSE:
        raise Malformed
    if flags & _OPCODE:
        raise Malformed(_bare(number, flags, NOTIMP))
    if questions != 1 or answers or authorities:
        raise Malformed(_bare(number, flags, FORMERR))
    name, end = _name(packet, _HEADER.size)
    if end + 4 > len(packet) or end < 0:
        raise Malformed(_bare(number, flags, FORMERR))
    kind, family = struct.unpack_from(">HH", packet, end)
    question = packet[_HEADER.size : end + 4]
    size = _payload(packet, end + 4) if additional else 0
    if family not in (IN, ANY):
        raise Malformed(_bare(number, flags, NOTIMP))
    return Query(number, flags, name, kind, question, min(max(size, _SMALLEST), _LARGEST), size > 0)


def _name(packet: bytes, offset: int) -> tuple[str, int]:
    """A name without compression: a question's has nothing to point to. The end is -1 for what is no name."""
    labels: list[str] = []
    total = 0
    while offset < len(packet):
        length = packet[offset]
        offset += 1
        if not length:
            return ".".join(labels), offset
        total += length + 1
        if length > 63 or total > 254 or offset + length > len(packet):
            break
        labels.append(packet[offset : offset + length].decode("latin-1"))
        offset += length
    return "", -1


def _payload(packet: bytes, offset: int) -> int:
    """The size in the OPT record that follows the question (RFC 6891, 6.1.2), 0 without one."""
    if packet[offset : offset + 1] == b"\0" and offset + 5 <= len(packet):
        kind, size = struct.unpack_from(">HH", packet, offset + 1)
        return size if kind == OPT else 0
    return 0


def _bare(number: int, flags: int, code: int) -> bytes:
    return _HEADER.pack(number, _RESPONSE | (flags & (_OPCODE | _DESIRED)) | code, 0, 0, 0, 0)


def answer(query: Query, code: int, records: list[tuple[int, bytes]], limit: int) -> bytes:
    """A reply; ``records`` are (type, data) of the question's own name. Longer than ``limit``: cut, and said so."""
    body = b"".join(_POINTER + struct.pack(">HHIH", kind, IN, TTL, len(data)) + data for kind, data in records)
    option = b"\0" + struct.pack(">HHIH", OPT, _LARGEST, 0, 0) if query.extended else b""
    flags = _RESPONSE | _AVAILABLE | (query.flags & _DESIRED) | code
    count = len(records)
    if _HEADER.size + len(query.question) + len(body) + len(option) > limit:
        flags, body, count = flags | _TRUNCATED, b"", 0
    return _HEADER.pack(query.id, flags, 1, count, 0, len(option) > 0) + query.question + body + option


def encode_name(name: str) -> bytes:
    """A name as it is written in a record's data. Raises ValueError for a label that is too long."""
    out = b""
    for label in name.split("."):
        piece = label.encode("latin-1", "replace")
        if not 0 < len(piece) < 64:
            raise ValueError(name)
        out += bytes([len(piece)]) + piece
    return out + b"\0"


def address_data(address: str) -> tuple[int, bytes]:
    """An A or AAAA record's type and data."""
    if ":" in address:
        return AAAA, socket.inet_pton(socket.AF_INET6, address)
    return A, socket.inet_pton(socket.AF_INET, address)


def reverse_address(name: str) -> str:
    """The address that a name below in-addr.arpa or ip6.arpa stands for, "" for others."""
    labels = name.lower().split(".")
    try:
        if labels[-2:] == ["in-addr", "arpa"] and len(labels) == 6:
            return socket.inet_ntop(socket.AF_INET, bytes(int(label) for label in reversed(labels[:4])))
        if labels[-2:] == ["ip6", "arpa"] and len(labels) == 34:
            return socket.inet_ntop(socket.AF_INET6, bytes.fromhex("".join(reversed(labels[:32]))))
    except ValueError:
        return ""
    return ""


def with_id(packet: bytes, number: int) -> bytes:
    """``packet`` under another number."""
    return struct.pack(">H", number) + packet[2:]


def answers(packet: bytes, number: int, question: bytes) -> bool:
    """Whether ``packet`` is the reply to the question that was sent as ``number``."""
    if len(packet) < _HEADER.size:
        return False
    found, flags, questions, *_ = _HEADER.unpack_from(packet)
    if found != number or not flags & _RESPONSE:
        return False
    end = _HEADER.size + len(question)
    # A server that refuses may leave the question out.
    return questions == 0 or packet[_HEADER.size : end].lower() == question.lower()


def code(packet: bytes) -> int:
    """The response code of a reply."""
    return packet[3] & 0xF
