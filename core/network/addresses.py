"""What an endpoint is given: addresses, a hardware address, names for its interfaces; and what it may ask for."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from core.errors import Exhausted, InvalidArgument, Unsupported
from core.linux import conntrack
from core.network import ipam
from core.network.model import Endpoint, Network
from core.network.store import NetworkStore

#: As people write them, and Go's clients take them: 02:42:ac:11:00:02, 02-42-ac-11-00-02, 0242.ac11.0002.
_MAC = re.compile(r"(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}|(?:[0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}")
#: resolv.conf and resolvers know labels of 63 letters; a name may be several labels.
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_PREFIX_OPTION = "com.docker.network.container_iface_prefix"


def parse_settings(name: str, value: Any) -> dict[str, Any]:
    """Docker's EndpointSettings of a network, checked, without what was not asked for. Raises InvalidArgument."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"EndpointsConfig.{name} must be an object")
    found: dict[str, Any] = {}
    for member in ("Aliases", "Links"):
        items = value.get(member)
        if items:
            if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
                raise InvalidArgument(f"EndpointsConfig.{name}.{member} must be a list of strings")
            found[member] = list(dict.fromkeys(items))
    for alias in found.get("Aliases", ()):
        if not all(_LABEL.fullmatch(label) for label in alias.split(".")) or len(alias) > 253:
            raise InvalidArgument(f"network alias {alias[:80]!r} is no host name", hint="letters, digits, - and _")
    ipam_config = _ipam_config(name, value.get("IPAMConfig"))
    if ipam_config:
        found["IPAMConfig"] = ipam_config
    mac = value.get("MacAddress") or ""
    if mac:
        found["MacAddress"] = parse_mac(mac)
    options = value.get("DriverOpts")
    if options:
        if not isinstance(options, dict) or not all(isinstance(item, str) for item in options.values()):
            raise InvalidArgument(f"EndpointsConfig.{name}.DriverOpts must be an object of strings")
        raise Unsupported(
            f"network option {next(iter(options))!r:.80} of one container is not supported", hint="leave driver-opt out"
        )
    priority = value.get("GwPriority") or 0
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise InvalidArgument(f"EndpointsConfig.{name}.GwPriority must be a number")
    if priority:
        found["GwPriority"] = priority
    return found


def parse_mac(text: Any) -> str:
    """A hardware address with colons, in lower case. Raises InvalidArgument."""
    if not isinstance(text, str) or not _MAC.fullmatch(text):
        raise InvalidArgument(f"{str(text)[:60]} is not a valid mac address", hint="write 02:42:ac:11:00:02")
    digits = re.sub(r"[:.-]", "", text).lower()
    if not int(digits, 16):
        raise InvalidArgument(f"mac address {text} is nobody's", hint="leave --mac-address out, and one is chosen")
    if int(digits[:2], 16) & 1:
        raise InvalidArgument(
            f"mac address {text} is a group's, not one interface's", hint="its first byte must be even"
        )
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def _ipam_config(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"EndpointsConfig.{name}.IPAMConfig must be an object")
    found: dict[str, Any] = {}
    for member, kind in (("IPv4Address", IPv4Address), ("IPv6Address", IPv6Address)):
        text = value.get(member)
        if text:
            try:
                found[member] = str(kind(text))
            except ValueError:
                raise InvalidArgument(f"invalid {member[:4]} address: {str(text)[:60]}") from None
    if value.get("LinkLocalIPs"):
        raise Unsupported("link-local IP addresses of a choice are not supported", hint="leave --link-local-ip out")
    return found


def check_settings(network: Network, settings: dict[str, Any]) -> None:
    """What a network cannot give. Raises InvalidArgument."""
    wanted = settings.get("IPAMConfig") or {}
    fixed = [wanted[member] for member in ("IPv4Address", "IPv6Address") if member in wanted]
    if network.predefined:
        if fixed:
            raise InvalidArgument("user specified IP address is supported on user defined networks only")
        if settings.get("Aliases"):
            raise InvalidArgument(
                "network-scoped alias is supported only for containers in user defined networks",
                hint="create a network: dockyard network create NAME",
            )
    for text in fixed:
        address = ip_address(text)
        if not (network.ipv6 if address.version == 6 else network.ipv4):
            raise InvalidArgument(
                f"invalid endpoint settings: network {network.name} has no IPv{address.version}: {text} cannot be used"
            )
        subnets = [subnet for subnet in network.subnets if subnet.version == address.version]
        if not any(subnet.chosen for subnet in subnets):
            raise InvalidArgument(
                "invalid endpoint settings: user specified IP address is supported only when connecting to networks "
                "with user configured subnets",
                hint=f"create network {network.name} with --subnet",
            )
        ipam.check_fixed(network, address, ())


def choose(store: NetworkStore, network: Network, endpoint: Endpoint, number: int) -> dict[str, str]:
    """The columns of an endpoint that is about to be used. Raises Conflict, Exhausted."""
    taken = set(store.addresses_on(network))
    wanted = endpoint.settings.get("IPAMConfig") or {}
    # Addresses that containers which do not run now were given for good are the last to be used.
    fixed = {
        text
        for other in store.endpoints_on(network)
        if other.id != endpoint.id
        for text in (other.settings.get("IPAMConfig") or {}).values()
        if isinstance(text, str)
    }
    found = {"address4": "", "address6": ""}
    for version, column, member in ((4, "address4", "IPv4Address"), (6, "address6", "IPv6Address")):
        if member in wanted:
            ipam.check_fixed(network, ip_address(wanted[member]), taken)
            found[column] = wanted[member]
        elif network.subnet(version) is not None and (network.ipv4 if version == 4 else network.ipv6):
            found[column] = _free(network, version, taken, fixed)
    mac = endpoint.settings.get("MacAddress") or ipam.hardware_address(found["address4"], endpoint.id)
    prefix = network.options.get(_PREFIX_OPTION) or "eth"
    return {
        **found,
        "mac": mac if network.driver != "ipvlan" else "",
        "interface": f"{prefix}{number}"[:15],
        # Another name at each start: the kernel takes its time to remove the last one with its namespace.
        "host_interface": f"veth{os.urandom(4).hex()[:7]}" if network.driver == "bridge" else "",
    }


def _free(network: Network, version: int, taken: set[str], fixed: set[str]) -> str:
    problem: Exhausted | None = None
    for avoided in (taken | fixed, taken):
        for subnet in network.subnets:
            if subnet.version == version:
                try:
                    return str(ipam.allocate(subnet, avoided))
                except Exhausted as error:
                    problem = error
    assert problem is not None
    raise Exhausted(f"network {network.name}: {problem.message}", hint=problem.hint)


def forget_udp(ports: Sequence[int]) -> None:
    """Forget the tracked flows to these UDP ports; a kernel that cannot is left alone."""
    try:
        conntrack.forget_udp(list(ports))
    except OSError:
        return


def interface_exists(name: str) -> bool:
    """Whether the host has this interface."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True
