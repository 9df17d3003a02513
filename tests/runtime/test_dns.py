"""DNS messages: what is taken for a question, and how it is answered."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.runtime import dns
from core.runtime.dns import Malformed

#: 0x1234, recursion desired, one question: web IN A.
QUESTION = b"\x03web\x00\x00\x01\x00\x01"
ASKED = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + QUESTION
OPT = b"\x00\x00\x29\x05\x00\x00\x00\x00\x00\x00\x00"


def test_a_question() -> None:
    query = dns.parse(ASKED)
    assert (query.id, query.name, query.kind, query.question, query.size) == (0x1234, "web", dns.A, QUESTION, 512)
    assert not query.extended
    extended = dns.parse(ASKED[:10] + b"\x00\x01" + QUESTION + OPT)
    assert (extended.size, extended.extended) == (1280, True)


def test_an_answer_byte_by_byte() -> None:
    query = dns.parse(ASKED)
    reply = dns.answer(query, dns.NOERROR, [dns.address_data("10.0.0.2")], 512)
    header = b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x02\x58\x00\x04\x0a\x00\x00\x02"
    assert reply == header + QUESTION + record


def test_what_does_not_fit_is_cut_and_said_so() -> None:
    query = dns.parse(ASKED)
    records = [dns.address_data(f"10.0.0.{number}") for number in range(40)]
    reply = dns.answer(query, dns.NOERROR, records, 512)
    assert len(reply) <= 512
    assert struct.unpack_from(">H", reply, 2)[0] & 0x0200
    assert struct.unpack_from(">H", reply, 6)[0] == 0
    assert struct.unpack_from(">H", dns.answer(query, dns.NOERROR, records, 65535), 6)[0] == 40


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (b"", None),
        (ASKED[:11], None),
        (b"\x12\x34\x81" + ASKED[3:], None),
        (b"\x12\x34\x29\x00" + ASKED[4:], dns.NOTIMP),
        (ASKED[:4] + b"\x00\x02" + ASKED[6:], dns.FORMERR),
        (ASKED[:12] + b"\xc0\x0c\x00\x01\x00\x01", dns.FORMERR),
        (ASKED[:12] + b"\x40" + b"a" * 64 + b"\x00\x00\x01\x00\x01", dns.FORMERR),
        (ASKED[:-3], dns.FORMERR),
        (ASKED[:-1] + b"\x03", dns.NOTIMP),
    ],
)
def test_what_is_no_question(packet: bytes, code: int | None) -> None:
    with pytest.raises(Malformed) as caught:
        dns.parse(packet)
    if code is None:
        assert caught.value.reply == b""
    else:
        assert caught.value.reply[:2] == b"\x12\x34"
        assert caught.value.reply[3] & 0xF == code


@given(st.binary(max_size=600))
def test_nothing_but_malformed_is_raised(packet: bytes) -> None:
    for raw in (packet, ASKED[:12] + packet, ASKED + packet):
        try:
            query = dns.parse(raw)
        except Malformed:
            continue
        assert raw[12:].startswith(query.question)
    dns.answers(packet, 1, QUESTION)


def test_replies_of_others_are_checked() -> None:
    reply = b"\x12\x34\x81\x80" + ASKED[4:]
    assert dns.answers(reply, 0x1234, QUESTION)
    assert dns.answers(reply.replace(b"web", b"WEB"), 0x1234, QUESTION)
    assert not dns.answers(reply, 0x1235, QUESTION)
    assert not dns.answers(ASKED, 0x1234, QUESTION)
    assert not dns.answers(reply.replace(b"web", b"wet"), 0x1234, QUESTION)
    assert dns.with_id(reply, 7)[:2] == b"\x00\x07"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("2.0.17.172.in-addr.arpa", "172.17.0.2"),
        ("1" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa", "2001:db8::1"),
        ("x.0.17.172.in-addr.arpa", ""),
        ("300.0.17.172.in-addr.arpa", ""),
        ("example.com", ""),
    ],
)
def test_names_of_addresses(name: str, address: str) -> None:
    assert dns.reverse_address(name) == address
