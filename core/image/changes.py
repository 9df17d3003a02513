"""Dockerfile instructions that ``import --change`` lays over an image's config."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from core.errors import InvalidArgument

_KNOWN = (
    "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip
_LISTS = ("CMD", "ENTRYPOINT")
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_MOST_PORTS = 1000
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_HEALTH_TIMES = {
    "interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod", "start-interval": "StartInterval",
}  # fmt: skip
_SIMPLE = {"USER": "User", "WORKDIR": "WorkingDir", "STOPSIGNAL": "StopSignal"}


def apply(config: dict[str, Any], changes: list[str]) -> None:
    """Change ``config`` by each instruction in turn. InvalidArgument names the one that is wrong."""
    for change in changes:
        for line in change.splitlines():
            if line.strip():
                _one(config, line.strip())


def _one(config: dict[str, Any], line: str) -> None:
    word, *more = line.split(None, 1)
    instruction, rest = word.upper(), more[0].strip() if more else ""
    if instruction not in _KNOWN:
        raise InvalidArgument(f"{word} is not a valid change command", hint=f"{' '.join(_KNOWN)} are")
    if not rest:
        raise InvalidArgument(f"change {line!r}: {instruction} needs an argument")
    if instruction in _LISTS:
        config["Cmd" if instruction == "CMD" else "Entrypoint"] = _command(rest, line)
    elif instruction in _SIMPLE:
        config[_SIMPLE[instruction]] = rest
    elif instruction == "ENV":
        config["Env"] = _environment(config.get("Env") or [], _pairs(rest, line))
    elif instruction == "LABEL":
        config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(rest, line))}
    elif instruction == "EXPOSE":
        config["ExposedPorts"] = {**(config.get("ExposedPorts") or {}), **_ports(rest, line)}
    elif instruction == "VOLUME":
        config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in _volumes(rest, line)}}
    elif instruction == "HEALTHCHECK":
        config["Healthcheck"] = _healthcheck(rest, line)
    elif instruction == "ONBUILD":
        if rest.split()[0].upper() in ("ONBUILD", "FROM", "MAINTAINER"):
            raise InvalidArgument(f"change {line!r}: {rest.split()[0].upper()} isn't allowed as an ONBUILD trigger")
        config["OnBuild"] = [*(config.get("OnBuild") or []), rest]


def _environment(before: list[str], pairs: list[tuple[str, str]]) -> list[str]:
    """``before`` with ``pairs`` set; a variable keeps its place when it only changes."""
    found = dict(item.partition("=")[::2] for item in before)
    found.update(pairs)
    return [f"{key}={value}" for key, value in found.items()]


def _ports(text: str, line: str) -> dict[str, Any]:
    """``80 53/udp 8000-8002`` as Docker keeps it: one member a port."""
    found: dict[str, Any] = {}
    for word in text.split():
        match = _PORT.fullmatch(word)
        first = int(match[1]) if match else 0
        last = int(match[2] or first) if match else 0
        if match is None or not 0 < first <= last <= 65535 or last - first >= _MOST_PORTS:
            raise InvalidArgument(f"change {line!r}: {word!r} is not PORT[-PORT][/tcp|/udp|/sctp]")
        found |= {f"{port}/{(match[3] or 'tcp').lower()}": {} for port in range(first, last + 1)}
    return found


def _healthcheck(text: str, line: str) -> dict[str, Any]:
    """``[--interval=30s …] CMD command`` or ``NONE``; times in nanoseconds."""
    found: dict[str, Any] = {}
    while text.startswith("--"):
        option, _, text = text.partition(" ")
        key, _, value = option[2:].partition("=")
        text = text.strip()
        if key in _HEALTH_TIMES:
            found[_HEALTH_TIMES[key]] = _nanoseconds(value, line)
        elif key == "retries" and value.isdecimal():
            found["Retries"] = int(value)
        else:
            raise InvalidArgument(f"change {line!r}: {option!r} is not an option of HEALTHCHECK")
    kind, *rest = text.split(None, 1) or [""]
    if kind.upper() == "NONE" and not rest and not found:
        return {"Test": ["NONE"]}
    if kind.upper() != "CMD" or not rest:
        raise InvalidArgument(f"change {line!r}: HEALTHCHECK wants CMD and a command, or NONE")
    command = rest[0]
    test = ["CMD", *_json_strings(command, line)] if command.startswith("[") else ["CMD-SHELL", command]
    return {"Test": test, **found}


def _nanoseconds(text: str, line: str) -> int:
    """A duration as Go writes it: ``1m30s``."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidArgument(f"change {line!r}: {text!r} is not a duration such as 30s or 1m30s")
    return int(sum(float(number) * _UNITS[unit] for number, unit in parts))


def _command(text: str, line: str) -> list[str]:
    if not text.startswith("["):
        return ["/bin/sh", "-c", text]
    return _json_strings(text, line)


def _volumes(text: str, line: str) -> list[str]:
    found = _json_strings(text, line) if text.startswith("[") else text.split()
    for path in found:
        if not path.startswith("/") or ".." in path.split("/"):
            raise InvalidArgument(f"change {line!r}: volume {path!r} is not an absolute path")
    return found


def _json_strings(text: str, line: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"change {line!r}: {error}") from error
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise InvalidArgument(f"change {line!r}: a list of strings is wanted")
    return found


def _pairs(text: str, line: str) -> list[tuple[str, str]]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidArgument(f"change {line!r}: {error}") from error
    if words and "=" not in words[0]:
        # The old form: one name, and the rest of the line is its value.
        name, space, value = text.partition(" ")
        if not space:
            raise InvalidArgument(f"change {line!r}: {name} has no value", hint="write NAME=value")
        return [(name, value.strip())]
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise InvalidArgument(f"change {line!r}: {word!r} is not NAME=value")
        pairs.append((name, value))
    return pairs
