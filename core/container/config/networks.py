"""Networks and ports of the create request: ``--network``, ``-p``, ``--dns``, ``--add-host``, ``--link`` …"""

from __future__ import annotations

from typing import Any

from core.container.config.values import object_, shown, string, strings
from core.errors import InvalidArgument, Unsupported
from core.network.addresses import parse_mac, parse_settings
from core.network.ports import parse_bindings, parse_port

Endpoints = dict[str, dict[str, Any]]

#: Every way to say "the network of those who name none".
_DEFAULT = ("", "default", "bridge")


def bindings(name: str, value: Any) -> dict[str, list[dict[str, str]]]:
    """The kind of ``HostConfig.PortBindings``."""
    return parse_bindings(value)


def exposed(name: str, value: Any) -> dict[str, Any]:
    """The kind of ``Config.ExposedPorts``: Docker's object of empty objects, keys with their protocol."""
    found: dict[str, Any] = {}
    for key in object_(name, value):
        port, protocol = parse_port(key)
        found[f"{port}/{protocol}"] = {}
    return found


def links(name: str, value: Any) -> list[str]:
    """The kind of ``HostConfig.Links``: ``CONTAINER[:ALIAS]``."""
    found = strings(name, value)
    for text in found:
        if not text.removeprefix("/").partition(":")[0]:
            raise InvalidArgument(f"bad format for links: {shown(text)}", hint="write CONTAINER:ALIAS")
    return found


def check_networking(body: dict[str, Any], config: dict[str, Any], host: dict[str, Any]) -> Endpoints:
    """The networks that the container is to be on, with their settings; ``NetworkMode`` gets its final value.

    The mode's own network comes first; none for host, none and container:NAME.
    """
    networking = object_("NetworkingConfig", body.get("NetworkingConfig"))
    raw = object_("NetworkingConfig.EndpointsConfig", networking.get("EndpointsConfig"))
    given = {_named(name): parse_settings(name, settings) for name, settings in raw.items()}
    mode = host["NetworkMode"] = "none" if config["NetworkDisabled"] else _named(host["NetworkMode"])
    for member in ("Dns", "DnsSearch", "DnsOptions", "ExtraHosts", "Links"):
        for text in host[member]:
            _check_line(f"HostConfig.{member}", text)
    if mode.startswith("container:") or mode == "host":
        _check_shared(mode, config, host, given)
        return {"host": given.get("host", {})} if mode == "host" else {}
    if ":" in mode:
        raise Unsupported(
            f"network mode {shown(mode)} is not supported", hint="host, none, container:NAME, or a network"
        )
    wanted: Endpoints = {mode: given.pop(mode, {})}
    if mode == "none" and given:
        raise InvalidArgument(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )
    if "host" in given or "none" in given:
        raise InvalidArgument("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    mac = string("MacAddress", body.get("MacAddress"))
    if mac:
        mac = parse_mac(mac)
        if wanted[mode].setdefault("MacAddress", mac) != mac:
            raise InvalidArgument("the container-wide MAC address must match the endpoint-specific MAC address")
    if mode != "bridge" and host["Links"]:
        wanted[mode]["Links"] = list(dict.fromkeys([*wanted[mode].get("Links", ()), *host["Links"]]))
        host["Links"] = []
    return wanted | given


def _check_line(name: str, text: Any) -> None:
    """These become lines of the container's own files: one text, one line (a NUL is refused before)."""
    if not string(name, text).isprintable():
        raise InvalidArgument(f"{name}: {shown(text)} holds a line end or another control character")


def _named(mode: str) -> str:
    return "bridge" if mode in _DEFAULT else mode


def _check_shared(mode: str, config: dict[str, Any], host: dict[str, Any], given: Endpoints) -> None:
    """What a container without a network of its own cannot have."""
    if mode == "host":
        if set(given) - {"host"}:
            raise InvalidArgument("conflicting options: host type networking can't be used with other networks")
        if host["Links"]:
            raise InvalidArgument("conflicting options: host type networking can't be used with links")
        return
    if mode == "container:":
        raise InvalidArgument("network container: needs a container's name or id, as in container:web")
    conflicts = {
        "hostname and the network mode": config["Hostname"],
        "dns and the network mode": host["Dns"] or host["DnsSearch"] or host["DnsOptions"],
        "custom host-to-IP mapping and the network mode": host["ExtraHosts"],
        "port publishing and the container type network mode": host["PortBindings"] or host["PublishAllPorts"],
        "port exposing and the container type network mode": config["ExposedPorts"],
        "container type network can't be used with links": host["Links"],
        "container type network can't be used with other networks": given,
    }
    for text, there in conflicts.items():
        if there:
            raise InvalidArgument(f"conflicting options: {text}")
