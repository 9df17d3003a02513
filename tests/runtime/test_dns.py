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
EXTENDED = ASKED[:10] + b"\x00\x01" + QUESTION + OPT


def test_a_question() -> None:
    query = dns.parse(ASKED)
    assert (query.id, query.name, query.kind, query.question, query.size) == (0x1234, "web", dns.A, QUESTION, 512)
    assert not query.extended
    extended = dns.parse(EXTENDED)
    assert (extended.size, extended.extended) == (1280, True)


def test_an_answer_byte_by_byte() -> None:
    query = dns.parse(ASKED)
    reply = dns.answer(query, dns.NOERROR, dns.address_records(["10.0.0.2"]), 512)
    header = b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x02\x58\x00\x04\x0a\x00\x00\x02"
    assert reply == header + QUESTION + record


def _counts(reply: bytes) -> tuple[bool, int, int]:
    """(truncated, answers, additional records)"""
    flags, _, answers, _, additional = struct.unpack_from(">HHHHH", reply, 2)
    return bool(flags & 0x0200), answers, additional


def test_what_does_not_fit_is_said_and_the_rest_is_there() -> None:
    """Clients that know no TCP (musl before 1.2.4) take what they get."""
    records = dns.address_records([f"10.0.0.{number}" for number in range(40)])
    query = dns.parse(ASKED)
    reply = dns.answer(query, dns.NOERROR, records, query.size)
    assert (len(reply), _counts(reply)) == (12 + len(QUESTION) + 30 * 16, (True, 30, 0))
    assert dns.answer(query, dns.NOERROR, records[:30], query.size)[12:] == reply[12:]
    assert _counts(dns.answer(query, dns.NOERROR, records, 65535)) == (False, 40, 0)
    extended = dns.parse(EXTENDED)
    assert extended.size == 1280
    reply = dns.answer(extended, dns.NOERROR, records, extended.size)
    assert _counts(reply) == (False, 40, 1)
    assert reply.endswith(b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00")
    many = dns.answer(extended, dns.NOERROR, records * 3, extended.size)
    assert (len(many), _counts(many)) == (1280, (True, 78, 1))


@pytest.mark.parametrize(("offered", "size"), [(0, 512), (511, 512), (1232, 1232), (65535, 4096)])
def test_how_much_a_client_takes(offered: int, size: int) -> None:
    query = dns.parse(EXTENDED[:-8] + struct.pack(">H", offered) + EXTENDED[-6:])
    assert (query.size, query.extended) == (size, True)


def test_a_version_of_edns_that_is_not_known() -> None:
    with pytest.raises(Malformed) as caught:
        dns.parse(EXTENDED[:-5] + b"\x01" + EXTENDED[-4:])
    header = b"\x12\x34\x81\x00\x00\x01\x00\x00\x00\x00\x00\x01"
    assert caught.value.reply == header + QUESTION + b"\x00\x00\x29\x10\x00\x01\x00\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("web", b"\x03web\x00"),
        ("web.app", b"\x03web\x03app\x00"),
        ("x" * 63, b"\x3f" + b"x" * 63 + b"\x00"),
        ("x" * 64, b""),
        ("a..b", b""),
        ("web.", b""),
        ("", b""),
        (".".join(["x" * 49] * 5), (b"\x31" + b"x" * 49) * 5 + b"\x00"),
        (".".join(["x" * 50] * 5), b""),
        ("w\u20ac", b"\x02w?\x00"),
    ],
)
def test_names_in_answers(name: str, data: bytes) -> None:
    """Containers are called what DNS cannot say; that is no reason to fail."""
    assert dns.encode_name(name) == data


def test_addresses_in_answers() -> None:
    found = dns.address_records(["10.0.0.2", "nonsense", "fd00::2", "", "1::2::3", "10.0.0.2\0", "fe80::1%eth0"])
    assert found == [(dns.A, b"\x0a\x00\x00\x02"), (dns.AAAA, b"\xfd" + bytes(14) + b"\x02")]


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


@given(st.binary(max_size=600), st.integers(0, len(EXTENDED) - 1), st.integers(0, 255))
def test_nothing_but_malformed_is_raised(noise: bytes, at: int, byte: int) -> None:
    changed = EXTENDED[:at] + bytes([byte]) + EXTENDED[at + 1 :]
    for raw in (noise, ASKED[:12] + noise, ASKED + noise, changed, EXTENDED[:at], EXTENDED[:at] + noise):
        dns.answers(raw, 0x1234, QUESTION)
        try:
            query = dns.parse(raw)
        except Malformed as error:
            refused = error.reply
            assert not refused or (refused[:2], refused[2] & 0x80) == (raw[:2], 0x80)
            continue
        assert raw[12:].startswith(query.question)
        assert 512 <= query.size <= 4096
        reply = dns.answer(query, dns.NOERROR, dns.address_records(["10.0.0.2"]), query.size)
        assert dns.answers(reply, query.id, query.question)
        dns.reverse_address(query.name)
        dns.encode_name(query.name)


@given(st.lists(st.from_regex(r"[a-zA-Z0-9_-]{1,63}", fullmatch=True), min_size=1, max_size=3), st.integers(0, 65535))
def test_a_name_is_read_as_it_was_written(labels: list[str], kind: int) -> None:
    name = ".".join(labels)
    query = dns.parse(ASKED[:12] + dns.encode_name(name) + struct.pack(">HH", kind, dns.IN))
    assert (query.name, query.kind) == (name, kind)
    reply = dns.answer(query, dns.NOERROR, [], 512)
    assert dns.answers(reply, query.id, query.question)


@pytest.mark.parametrize(
    "name",
    [
        b"\xc0\x0c",
        b"\x01a\xc0\x0c",
        b"\xc0\x00",
        b"\xff\xff",
        b"\x80a",
        b"\x03web" * 64 + b"\x00",
        b"\x3fx",
    ],
)
def test_a_name_that_points_or_does_not_end(name: bytes) -> None:
    """To itself, to the header, past the end: a question has nothing to point to."""
    with pytest.raises(Malformed) as caught:
        dns.parse(ASKED[:12] + name + b"\x00\x01\x00\x01")
    assert caught.value.reply == b"\x12\x34\x81\x01" + bytes(8)


def test_replies_of_others_are_checked() -> None:
    reply = b"\x12\x34\x81\x80" + ASKED[4:]
    assert dns.answers(reply, 0x1234, QUESTION)
    assert dns.answers(reply.replace(b"web", b"WEB"), 0x1234, QUESTION)
    assert not dns.answers(reply, 0x1235, QUESTION)
    assert not dns.answers(ASKED, 0x1234, QUESTION)
    assert not dns.answers(reply.replace(b"web", b"wet"), 0x1234, QUESTION)
    assert not dns.answers(reply[:-4] + b"\x00\x1c\x00\x01", 0x1234, QUESTION)
    assert not dns.answers(reply[:-1], 0x1234, QUESTION)
    assert not dns.answers(reply[:11], 0x1234, QUESTION)
    assert not dns.answers(b"\x12\x34\xa9\x80" + ASKED[4:], 0x1234, QUESTION)
    assert not dns.answers(reply[:4] + b"\x00\x02" + reply[6:], 0x1234, QUESTION)
    # Without the question only a refusal is believed: it tells nothing that could be wrong.
    for code, believed in ((dns.NOERROR, False), (dns.NXDOMAIN, False), (dns.FORMERR, True), (dns.SERVFAIL, True)):
        bare = b"\x12\x34\x81" + bytes([0x80 | code]) + bytes(8)
        assert dns.answers(bare, 0x1234, QUESTION) is believed
    # 65 (HTTPS) and 97 are the letters A and a: types are not names.
    https = QUESTION[:-4] + b"\x00\x41\x00\x01"
    assert dns.answers(reply[:12] + https, 0x1234, https)
    assert not dns.answers(reply[:12] + QUESTION[:-4] + b"\x00\x61\x00\x01", 0x1234, https)
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
