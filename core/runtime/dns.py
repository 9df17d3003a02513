"""DNS messages (RFC 1035, 6891) as far as a container's resolver reads and writes them. Pure.

Only questions are taken apart; what comes from other servers is checked and handed on as it is. Nothing here raises
for what a client or a server sent but :class:`Malformed`: the resolver is part of a container's monitor.
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
#: Of a record, behind its name: type, class, seconds, bytes of data.
_RECORD = struct.Struct(">HHIH")
_RESPONSE, _OPCODE, _TRUNCATED, _DESIRED, _AVAILABLE = 0x8000, 0x7800, 0x0200, 0x0100, 0x0080
_POINTER = b"\xc0\x0c"  # to the question's name
_SMALLEST, _LARGEST = 512, 4096
#: Bytes of a question: one has a name, some types and an option or two. What waits for others is kept whole.
MAX_QUESTION = 4096
_LONGEST_NAME = 255
#: OPT records (RFC 6891): ours, and the one that says BADVERS, whose upper bits stand where others have a lifetime.
_OURS = b"\0" + _RECORD.pack(OPT, _LARGEST, 0, 0)
_BAD_VERSION = b"\0" + _RECORD.pack(OPT, _LARGEST, 1 << 24, 0)


class Query(NamedTuple):
    """One question. ``name`` has no final dot, ``question`` is it as it came (name, type, class).

    ``size`` is how many bytes an answer over UDP may have; ``extended``: the client knows EDNS.
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
    if questions != 1 or answers or authorities or len(packet) > MAX_QUESTION:
        raise Malformed(_bare(number, flags, FORMERR))
    name, end = _name(packet, _HEADER.size)
    if end + 4 > len(packet) or end < 0:
        raise Malformed(_bare(number, flags, FORMERR))
    kind, family = struct.unpack_from(">HH", packet, end)
    question = packet[_HEADER.size : end + 4]
    size, version = _option(packet, end + 4) if additional else (-1, 0)
    if version:
        raise Malformed(_bare(number, flags, NOERROR, question, _BAD_VERSION))
    if family not in (IN, ANY):
        raise Malformed(_bare(number, flags, NOTIMP))
    return Query(number, flags, name, kind, question, min(max(size, _SMALLEST), _LARGEST), size >= 0)


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


def _option(packet: bytes, offset: int) -> tuple[int, int]:
    """(payload, version) of the OPT record that follows the question (RFC 6891, 6.1.2), (-1, 0) without one."""
    if offset + _RECORD.size >= len(packet) or packet[offset]:
        return -1, 0
    kind, size, extended, _ = _RECORD.unpack_from(packet, offset + 1)
    return (size, extended >> 16 & 0xFF) if kind == OPT else (-1, 0)


def _bare(number: int, flags: int, code: int, question: bytes = b"", option: bytes = b"") -> bytes:
    flags = _RESPONSE | (flags & (_OPCODE | _DESIRED)) | code
    return _HEADER.pack(number, flags, len(question) > 0, 0, 0, len(option) > 0) + question + option


def answer(query: Query, code: int, records: list[tuple[int, bytes]], limit: int) -> bytes:
    """A reply of at most ``limit`` bytes; ``records`` are (type, data) of the question's own name.

    When they do not fit it has those that do, and says so: there are clients that never ask again over TCP.
    """
    option = _OURS if query.extended else b""
    flags = _RESPONSE | _AVAILABLE | (query.flags & _DESIRED) | code
    room = limit - _HEADER.size - len(query.question) - len(option)
    pieces = []
    for kind, data in records:
        piece = _POINTER + _RECORD.pack(kind, IN, TTL, len(data)) + data
        room -= len(piece)
        if room < 0:
            flags |= _TRUNCATED
            break
        pieces.append(piece)
    header = _HEADER.pack(query.id, flags, 1, len(pieces), 0, len(option) > 0)
    return b"".join([header, query.question, *pieces, option])


def encode_name(name: str) -> bytes:
    """A name as it is written in a record's data; b"" for what is none: a container may well be called ``a..b``."""
    out = b""
    for label in name.split("."):
        piece = label.encode("latin-1", "replace")
        if not 0 < len(piece) < 64:
            return b""
        out += bytes([len(piece)]) + piece
    return out + b"\0" if len(out) < _LONGEST_NAME else b""


def address_records(addresses: list[str]) -> list[tuple[int, bytes]]:
    """A and AAAA records, as (type, data); what is no address is left out."""
    found = []
    for address in addresses:
        kind, family = (AAAA, socket.AF_INET6) if ":" in address else (A, socket.AF_INET)
        try:
            found.append((kind, socket.inet_pton(family, address)))
        except (OSError, ValueError):
            continue
    return found


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
    if found != number or not flags & _RESPONSE or flags & _OPCODE:
        return False
    if not questions:  # a server that refuses may leave it out
        return code(packet) not in (NOERROR, NXDOMAIN)
    theirs = packet[_HEADER.size : _HEADER.size + len(question)]
    return questions == 1 and theirs[-4:] == question[-4:] and theirs[:-4].lower() == question[:-4].lower()


def code(packet: bytes) -> int:
    """The response code of a reply."""
    return packet[3] & 0xF
