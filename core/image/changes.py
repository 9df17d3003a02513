"""Dockerfile instructions that ``import --change`` lays over an image's config."""

from __future__ import annotations

import json
import shlex
from typing import Any

from core.errors import InvalidArgument

_LISTS = ("CMD", "ENTRYPOINT")
_SIMPLE = {"USER": "User", "WORKDIR": "WorkingDir", "STOPSIGNAL": "StopSignal"}


def apply(config: dict[str, Any], changes: list[str]) -> None:
    """Change ``config`` by each instruction in turn. InvalidArgument names the one that is wrong."""
    for change in changes:
        for line in change.splitlines():
            if line.strip():
                _one(config, line.strip())


def _one(config: dict[str, Any], line: str) -> None:
    word, _, rest = line.partition(" ")
    instruction, rest = word.upper(), rest.strip()
    if not rest:
        raise InvalidArgument(f"change {line!r}: {instruction} needs an argument")
    if instruction in _LISTS:
        config["Cmd" if instruction == "CMD" else "Entrypoint"] = _command(rest, line)
    elif instruction in _SIMPLE:
        config[_SIMPLE[instruction]] = rest
    elif instruction == "ENV":
        config["Env"] = [*(config.get("Env") or []), *(f"{key}={value}" for key, value in _pairs(rest, line))]
    elif instruction == "LABEL":
        config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(rest, line))}
    elif instruction == "EXPOSE":
        ports: dict[str, Any] = {port if "/" in port else f"{port}/tcp": {} for port in rest.split()}
        config["ExposedPorts"] = {**(config.get("ExposedPorts") or {}), **ports}
    elif instruction == "VOLUME":
        config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in _volumes(rest, line)}}
    elif instruction == "ONBUILD":
        config["OnBuild"] = [*(config.get("OnBuild") or []), rest]
    else:
        raise InvalidArgument(
            f"{instruction} is not a valid change command",
            hint="CMD ENTRYPOINT ENV EXPOSE LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR are",
        )


def _command(text: str, line: str) -> list[str]:
    if not text.startswith("["):
        return ["/bin/sh", "-c", text]
    return _json_strings(text, line)


def _volumes(text: str, line: str) -> list[str]:
    return _json_strings(text, line) if text.startswith("[") else text.split()


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
        name, _, value = text.partition(" ")
        return [(name, value.strip())]
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise InvalidArgument(f"change {line!r}: {word!r} is not NAME=value")
        pairs.append((name, value))
    return pairs
