"""Docker's create request, checked: every member has the right type and an allowed value, or the request is refused.

The result keeps Docker's own shape (its ``Config`` and ``HostConfig`` objects), with defaults filled in, since
that is what is stored and what inspect returns. A member that this engine knows of and does not support is
refused by name unless it has its neutral value; members nobody knows are ignored, as Docker ignores them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from core.container.config.devices import check_devices
from core.container.config.logging import check_log_config
from core.container.config.members import CONFIG, HOST_CONFIG, refuse_unsupported
from core.container.config.namespaces import check_namespaces
from core.container.config.networks import check_networking
from core.container.config.resources import check_resources
from core.container.config.security import check_security
from core.container.config.texts import parse_signal, parse_size
from core.container.config.values import MAX_STRINGS, integer, object_, shown
from core.container.etc import parse_dns
from core.container.mounts import anonymous_volume, check_mounts
from core.container.restart import check_policy, check_unhealthy
from core.errors import InvalidArgument

__all__ = ["MAX_STRINGS", "CreateRequest", "check_container_name", "parse_create", "parse_signal", "parse_size"]

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_HOSTNAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A checked create request. ``config`` and ``host_config`` are Docker's objects, complete."""

    name: str
    config: dict[str, Any]
    host_config: dict[str, Any]
    platform: str = ""
    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = field(default=())


def parse_create(body: Any, name: str = "", platform: str = "") -> CreateRequest:
    """Check a create request's JSON body. Raises InvalidArgument or Unsupported, naming the member."""
    if not isinstance(body, dict):
        raise InvalidArgument("the request's body must be a JSON object")
    if name:
        check_container_name(name)
    config = {key: kind(key, body.get(key)) for key, kind in CONFIG.items()}
    raw = object_("HostConfig", body.get("HostConfig"))
    host = {key: kind(f"HostConfig.{key}", raw.get(key)) for key, kind in HOST_CONFIG.items()}
    if not config["Image"]:
        raise InvalidArgument("Image is missing", hint="name the image to run")
    refuse_unsupported(raw)
    endpoints = check_networking(body, config, host)
    parse_dns(host)
    _check_config(config)
    check_namespaces(config, host)
    warnings = _check_host_config(host)
    check_mounts(host)
    return CreateRequest(name, config, host, platform, endpoints, tuple(warnings))


def check_container_name(name: str) -> None:
    """Raise InvalidArgument for what cannot be a container's name."""
    if not NAME.fullmatch(name):
        raise InvalidArgument(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def _check_config(config: dict[str, Any]) -> None:
    for variable in config["Env"]:
        if not variable.partition("=")[0]:
            raise InvalidArgument(f"invalid environment variable: {shown(variable)}", hint="write NAME=value")
    if config["Hostname"] and not (_HOSTNAME.fullmatch(config["Hostname"]) and config["Hostname"].strip(".")):
        raise InvalidArgument(
            f"invalid hostname {config['Hostname']!r}", hint="at most 64 letters, digits, dots, hyphens"
        )
    if config["Domainname"] and not (_HOSTNAME.fullmatch(config["Domainname"]) and config["Domainname"].strip(".")):
        raise InvalidArgument(
            f"invalid domain name {shown(config['Domainname'])}", hint="at most 64 letters, digits, dots, hyphens"
        )
    if config["StopSignal"]:
        parse_signal(config["StopSignal"])
    if config["WorkingDir"] and not config["WorkingDir"].startswith("/"):
        raise InvalidArgument(
            f"the working directory '{config['WorkingDir']}' is invalid, it needs to be an absolute path"
        )
    for path in config["Volumes"]:
        anonymous_volume(path)
    if config["StopTimeout"] is not None and config["StopTimeout"] < -1:
        raise InvalidArgument(f"StopTimeout must be -1 (no limit) or more, not {config['StopTimeout']}")


def _check_host_config(host: dict[str, Any]) -> list[str]:
    warnings = check_resources(host)
    check_devices(host)
    check_log_config(host)
    host["RestartPolicy"] = check_policy(host["RestartPolicy"], host["AutoRemove"])
    check_unhealthy(host["Annotations"], host["AutoRemove"])
    host["ConsoleSize"] = _console_size(host["ConsoleSize"])
    check_security(host)
    return warnings


def _console_size(value: Any) -> list[int]:
    if value in (None, []):
        return [0, 0]
    if not isinstance(value, list) or len(value) != 2:
        raise InvalidArgument("HostConfig.ConsoleSize must be [height, width]")
    size = [integer("HostConfig.ConsoleSize", number) for number in value]
    if not all(0 <= number <= 0xFFFF for number in size):
        raise InvalidArgument(f"HostConfig.ConsoleSize is out of range: {shown(value)}")
    return size
