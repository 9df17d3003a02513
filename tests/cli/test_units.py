"""Durations, sizes, moments. The expectations are what Docker's command line prints."""

from __future__ import annotations

import pytest

from tui.cli import units


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"), (1, "1 second"), (59.9, "59 seconds"), (60, "About a minute"),
        (119, "About a minute"), (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"),
        (5399, "About an hour"), (5400, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"),
        (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (59 * 86400, "8 weeks"), (60 * 86400, "2 months"),
        (729 * 86400, "24 months"), (730 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_human_durations(seconds: float, text: str) -> None:
    assert units.human_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1913, "1.91kB"), (1_984_000, "1.98MB"), (3_210_000_000, "3.21GB")],
)
def test_human_sizes(size: int, text: str) -> None:
    assert units.human_size(size) == text


def test_binary_sizes() -> None:
    assert units.bytes_size(25_275_000_000) == "23.54GiB"
    assert units.bytes_size(512) == "512B"
    assert units.human_size(1_984_321, 4) == "1.984MB"


@pytest.mark.parametrize(
    ("text", "value"),
    [("512", 512), ("1b", 1), ("64k", 65536), ("64KiB", 65536), ("1.5g", 3 << 29), ("2 MB", 2 << 20), ("-1", -1)],
)
def test_sizes_are_read(text: str, value: int) -> None:
    assert units.parse_bytes(text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("lots", "invalid size: 'lots'"),
        ("", "invalid size: ''"),
        ("5x", "invalid suffix: 'x'"),
        ("5mib2", "invalid size"),
        ("1bb", "invalid suffix"),
        ("-5", "invalid size"),
    ],
)
def test_wrong_sizes(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        units.parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "nano"), [("1", 10**9), ("0.25", 250_000_000), (".5", 5 * 10**8), ("1/4", 25 * 10**7)]
)
def test_cpus(text: str, nano: int) -> None:
    assert units.parse_cpus(text) == nano


@pytest.mark.parametrize("text", ["", "much", "-1", "1/0", "1.2.3", "1e3x", "٣"])
def test_wrong_cpus(text: str) -> None:
    with pytest.raises(ValueError, match="rational number"):
        units.parse_cpus(text)


def test_cpus_too_precise() -> None:
    with pytest.raises(ValueError, match="too precise"):
        units.parse_cpus("0.0000000001")


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0", 0),
        ("0s", 0),
        ("42m", 42 * 60 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("1.5s", 1_500_000_000),
        ("-3ms", -3_000_000),
    ],
)
def test_durations(text: str, nano: int) -> None:
    assert units.parse_duration(text) == nano


@pytest.mark.parametrize("text", ["", "5", "h", "1x", "1..5s", ".s", "1h m"])
def test_wrong_durations(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("10s", "990.000000000"),
        ("0s", "1000.000000000"),
        ("1136073600", "1136073600"),
        ("1136073600.5", "1136073600.500000000"),
        ("2006-01-02T15:04:05Z", "1136214245.000000000"),
        ("2006-01-02T15:04:05.25+01:00", "1136210645.250000000"),
        ("1970-01-01Z", "0.000000000"),
        ("2024-02-29T00:00Z", "1709164800.000000000"),
    ],
)
def test_moments(text: str, stamp: str) -> None:
    assert units.parse_moment(text, 1000 * 10**9) == stamp


@pytest.mark.parametrize("text", ["zzz", "2006-13-02", "2006-1-2", "12:00", "2006-01-02T15Z"])
def test_wrong_moments(text: str) -> None:
    with pytest.raises(ValueError, match="failed to parse value as time or duration"):
        units.parse_moment(text)


def test_a_time_without_a_zone_is_local() -> None:
    import time

    expected = int(time.mktime((2006, 1, 2, 15, 4, 5, 0, 0, -1)))
    assert units.parse_moment("2006-01-02T15:04:05") == f"{expected}.000000000"


def test_printed_times(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert units.go_time(1795549227) == "2026-11-24 20:40:27 +0100 CET"
        assert units.rfc3339_nano(1795549227064103405) == "2026-11-24T20:40:27.064103405+01:00"
        monkeypatch.setenv("TZ", "UTC")
        time.tzset()
        assert units.rfc3339_nano(1795549227064103405) == "2026-11-24T19:40:27.064103405Z"
    finally:
        monkeypatch.undo()
        time.tzset()
