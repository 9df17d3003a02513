"""Messages of the domain name system (RFC 1035), as much as the tests ask and answer.

Written apart from the engine's own codec on purpose: what one of both gets wrong, the other shows.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field

A, CNAME, PTR, TXT, AAAA, SRV = 1, 5, 12, 16, 28, 33
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
_QR, _AA, _TC, _RD, _RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080


@dataclass
class Message:
    """A question and its answers: (name, type, seconds, text). ``text`` is an address, a name, or bytes as latin-1."""

    id: int
    name: str
    type: int
    flags: int = _RD
    answers: list[tuple[str, int, int, str]] = field(default_factory=list)

    @property
    def code(self) -> int:
        """NOERROR, NXDOMAIN, …"""
        return self.flags & 15

    @property
    def truncated(self) -> bool:
        return bool(self.flags & _TC)

    def texts(self, type: int) -> list[str]:
        """Sorted answers of a type."""
        return sorted(text for _, kind, _, text in self.answers if kind == type)


def encode_name(name: str) -> bytes:
    labels = [label.encode("idna" if not label.isascii() else "ascii") for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def decode_name(data: bytes, offset: int) -> tuple[str, int]:
    """The name at ``offset``, and the offset behind it."""
    labels: list[str] = []
    end = 0
    for _ in range(128):
        length = data[offset]
        if length >= 0xC0:
            end = end or offset + 2
            offset = struct.unpack_from(">H", data, offset)[0] & 0x3FFF
        elif length:
            labels.append(data[offset + 1 : offset + 1 + length].decode("latin-1"))
            offset += 1 + length
        else:
            return ".".join(labels), end or offset + 1
    raise ValueError("a name without an end")


def _encode_data(kind: int, text: str) -> bytes:
    if kind in (A, AAAA):
        return socket.inet_pton(socket.AF_INET if kind == A else socket.AF_INET6, text)
    if kind in (PTR, CNAME):
        return encode_name(text)
    if kind == TXT:
        parts = [text[at : at + 255].encode() for at in range(0, len(text), 255)] or [b""]
        return b"".join(bytes([len(part)]) + part for part in parts)
    return text.encode("latin-1")


def _decode_data(data: bytes, kind: int, start: int, length: int) -> str:
    raw = data[start : start + length]
    if kind in (A, AAAA):
        return socket.inet_ntop(socket.AF_INET if kind == A else socket.AF_INET6, raw)
    if kind in (PTR, CNAME):
        return decode_name(data, start)[0]
    if kind == SRV:
        return f"{struct.unpack_from('>H', raw, 4)[0]} {decode_name(data, start + 6)[0]}"
    if kind == TXT:
        text, at = "", 0
        while at < length:
            text += raw[at + 1 : at + 1 + raw[at]].decode()
            at += 1 + raw[at]
        return text
    return raw.decode("latin-1")


def encode(message: Message) -> bytes:
    header = struct.pack(">HHHHHH", message.id, message.flags, 1, len(message.answers), 0, 0)
    parts = [header, encode_name(message.name), struct.pack(">HH", message.type, 1)]
    for name, kind, seconds, text in message.answers:
        data = _encode_data(kind, text)
        parts += [encode_name(name), struct.pack(">HHIH", kind, 1, seconds, len(data)), data]
    return b"".join(parts)


def decode(data: bytes) -> Message:
    number, flags, questions, answers = struct.unpack_from(">HHHH", data)
    assert questions == 1, f"{questions} questions"
    name, offset = decode_name(data, 12)
    message = Message(number, name, struct.unpack_from(">H", data, offset)[0], flags)
    offset += 4
    for _ in range(answers):
        owner, offset = decode_name(data, offset)
        kind, _, seconds, length = struct.unpack_from(">HHIH", data, offset)
        message.answers.append((owner, kind, seconds, _decode_data(data, kind, offset + 10, length)))
        offset += 10 + length
    return message


def reverse_name(address: str) -> str:
    """The name that a PTR question asks for."""
    if ":" in address:
        digits = socket.inet_pton(socket.AF_INET6, address).hex()
        return ".".join(reversed(digits)) + ".ip6.arpa"
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa"


def reply(question: Message, answers: list[tuple[str, int, int, str]], code: int = NOERROR) -> Message:
    flags = _QR | _AA | _RD | _RA | code
    return Message(question.id, question.name, question.type, flags, answers)


def truncated(question: Message) -> Message:
    """What a server says over UDP when the answer needs TCP."""
    return Message(question.id, question.name, question.type, _QR | _RD | _RA | _TC)
