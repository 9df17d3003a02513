"""Durations, sizes and moments, read and written as Docker's command line does (go-units, strconv, time)."""

from __future__ import annotations

import time

_NANO = 1_000_000_000
_DURATION_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 1_000_000, "s": _NANO, "m": 60 * _NANO, "h": 3600 * _NANO}
_BINARY = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def human_duration(seconds: float) -> str:
    """go-units HumanDuration: "About a minute", "3 hours"."""
    whole = int(seconds)
    minutes, hours = whole // 60, int(seconds / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    for limit, size, name in ((48, 1, "hours"), (336, 24, "days"), (1440, 168, "weeks"), (17520, 720, "months")):
        if hours < limit:
            return f"{hours // size} {name}"
    return f"{int(seconds / 3600) // 24 // 365} years"


def human_size(size: float, precision: int = 3) -> str:
    """go-units HumanSizeWithPrecision: powers of 1000, "1.91kB"."""
    return _scaled(size, 1000.0, ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"), precision)


def bytes_size(size: float) -> str:
    """go-units BytesSize: powers of 1024, "23.54GiB"."""
    return _scaled(size, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"), 4)


def _scaled(size: float, base: float, names: tuple[str, ...], precision: int) -> str:
    step = 0
    while size >= base and step < len(names) - 1:
        size /= base
        step += 1
    return f"{size:.{precision}g}{names[step]}"


def parse_bytes(text: str) -> int:
    """go-units RAMInBytes: ``512m``, ``1.5GiB``; -1 is no limit. Raises ValueError in Docker's words."""
    if text == "-1":
        return -1
    last = max((text.rfind(c) for c in "0123456789. "), default=-1)
    if last < 0:
        raise ValueError(f"invalid size: '{text}'")
    number, suffix = text[: last + (text[last] != " ")], text[last + 1 :].lower()
    try:
        size = float(number)
    except ValueError:
        raise ValueError(f"invalid size: '{text}'") from None
    if not 0 <= size < 2**63:
        raise ValueError(f"invalid size: '{text}'")
    if suffix in ("", "b"):
        return int(size)
    if suffix[0] not in _BINARY or suffix[1:] not in ("", "b", "ib"):
        raise ValueError(f"invalid suffix: '{suffix}'")
    return int(size * _BINARY[suffix[0]])


def parse_cpus(text: str) -> int:
    """A number of CPUs as nano-CPUs, exactly: ``1.5``, ``1/2``. Raises ValueError in Docker's words."""
    top, slash, bottom = text.partition("/")
    whole, _, fraction = top.removeprefix("+").partition(".")
    wrong = ValueError(f"failed to parse {text} as a rational number")
    digits = whole + fraction
    if not digits.isdecimal() or not digits.isascii() or (slash and not (bottom.isdecimal() and int(bottom))):
        raise wrong
    unit: int = 10 ** len(fraction)
    nano, rest = divmod(int(digits) * _NANO, unit * int(bottom or 1))
    if rest:
        raise ValueError("value is too precise")
    return nano


def parse_duration(text: str) -> int:
    """Go's time.ParseDuration (``1h30m``, ``1.5s``, ``0``) in nanoseconds. Raises ValueError."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total, wrong = 0, ValueError(f'time: invalid duration "{text}"')
    if not rest:
        raise wrong
    while rest:
        number = _leading(rest, "0123456789.")
        rest = rest[len(number) :]
        unit = _leading(rest, "nuµmsh")
        rest = rest[len(unit) :]
        if unit not in _DURATION_UNITS or number.count(".") > 1 or not number.strip("."):
            raise wrong
        whole, _, fraction = number.partition(".")
        size = _DURATION_UNITS[unit]
        total += int(whole or 0) * size + (int(fraction) * size // 10 ** len(fraction) if fraction else 0)
    return sign * total


def _leading(text: str, letters: str) -> str:
    return text[: len(text) - len(text.lstrip(letters))]


def parse_moment(text: str, now: int | None = None) -> str:
    """A moment for the API's since and until: ``seconds.nanoseconds``.

    Takes what Docker takes: a duration before ``now`` (nanoseconds), Unix seconds, RFC 3339 with parts left out
    (a time without a zone is local). Raises ValueError.
    """
    try:
        return _stamp((time.time_ns() if now is None else now) - parse_duration(text))
    except ValueError:
        pass
    seconds, _, fraction = text.partition(".")
    if seconds.isdecimal() and (fraction.isdecimal() or not fraction):
        return f"{seconds}.{fraction[:9]:0<9}" if fraction else seconds
    try:
        return _stamp(parse_rfc3339(text))
    except ValueError:
        raise ValueError(f'failed to parse value as time or duration: "{text}"') from None


def _stamp(nanoseconds: int) -> str:
    return f"{nanoseconds // _NANO}.{nanoseconds % _NANO:09d}"


def parse_rfc3339(text: str) -> int:
    """``2006-01-02[T15:04[:05[.9]]][Z|±07:00]`` in Unix nanoseconds. Raises ValueError."""
    body, zone = text, None
    if text[-1:] in ("Z", "z"):
        body, zone = text[:-1], 0
    elif len(text) > 16 and text[-6] in "+-" and text[-3] == ":":
        body = text[:-6]
        zone = (int(text[-5:-3]) * 3600 + int(text[-2:]) * 60) * (-1 if text[-6] == "-" else 1)
    body, _, fraction = body.partition(".")
    date, _, clock = body.partition("T")
    parts = date.split("-")
    hours = clock.split(":") if clock else []
    if [len(p) for p in parts] != [4, 2, 2] or len(hours) == 1 or not all(p.isdecimal() for p in parts + hours):
        raise ValueError(f"not a time: {text!r}")
    year, month, day = map(int, parts)
    hour, minute, second = (*map(int, hours), 0, 0, 0)[:3]
    days = _days(year, month, day)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError(f"no such time: {text!r}")
    if zone is None:
        seconds = int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1)))
    else:
        seconds = days * 86400 + hour * 3600 + minute * 60 + second - zone
    return seconds * _NANO + (int(f"{fraction[:9]:0<9}") if fraction else 0)


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of the proleptic Gregorian calendar (H. Hinnant, days_from_civil)."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError("no such day")
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def go_time(seconds: int) -> str:
    """Go's Time.String in the local zone: ``2026-11-24 19:40:27 +0000 UTC``."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(seconds))


def rfc3339_nano(nanoseconds: int) -> str:
    """Local time with nine digits, as ``docker events`` prints it."""
    seconds, rest = divmod(nanoseconds, _NANO)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    shown = "Z" if zone in ("+0000", "") else f"{zone[:3]}:{zone[3:]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{rest:09d}{shown}"
