"""Capabilities and ``--security-opt``."""

from __future__ import annotations

from typing import Any

from core.container.config.values import shown
from core.errors import InvalidArgument, Unsupported
from core.linux.privileges import CAPABILITY_NAMES


def check_security(host: dict[str, Any]) -> None:
    """Write the capabilities in full; refuse unknown ones and security options that have no effect here."""
    for member in ("CapAdd", "CapDrop"):
        host[member] = [_capability(member, name) for name in host[member]]
    _check_options(host["SecurityOpt"])


def _capability(member: str, name: str) -> str:
    upper = name.upper()
    if upper == "ALL":
        return upper
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in CAPABILITY_NAMES:
        raise InvalidArgument(f'HostConfig.{member}: unknown capability "{name}"')
    return full


def _check_options(options: list[str]) -> None:
    for option in options:
        key, separator, value = option.partition("=") if "=" in option else option.partition(":")
        if key == "no-new-privileges" and value in ("", "true", "false"):
            continue
        if key == "seccomp" and separator:
            continue
        if key == "apparmor" and value == "unconfined":
            continue
        if key == "label" and value == "disable":
            continue
        raise Unsupported(
            f"security option {shown(option)} is not supported",
            hint="no-new-privileges[=true|false], seccomp=unconfined, seccomp=PROFILE.json and apparmor=unconfined are",
        )
