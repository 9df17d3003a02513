"""A container's networks and ports as Docker's JSON. Pure."""

from __future__ import annotations

from typing import Any

from core.container.status import Container
from core.network.attach import gateway_of
from core.network.model import Endpoint, Network
from core.network.ports import parse_port
from core.network.store import NetworkStore


def settings(container: Container, store: NetworkStore) -> dict[str, Any]:
    """Inspect's ``NetworkSettings``. The single members are those of the default bridge."""
    networks = endpoints(container, store)
    default = networks.get("bridge", {})
    return {
        "Bridge": "",
        "SandboxID": container.id if container.status.is_up else "",
        "SandboxKey": f"/proc/{container.pid}/ns/net" if container.status.is_up else "",
        "Ports": port_map(container, store),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **{
            member: default.get(member, 0 if member.endswith("Len") else "")
            for member in (
                "EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen",
                "IPv6Gateway", "MacAddress",
            )
        },
        "Networks": networks,
    }  # fmt: skip


def endpoints(container: Container, store: NetworkStore) -> dict[str, Any]:
    """``NetworkSettings.Networks``: network → Docker's EndpointSettings."""
    found = {}
    for endpoint in store.endpoints_of(container.id):
        network = store.find(endpoint.network)
        if network is not None:
            found[network.name] = describe(container, endpoint, network)
    return found


def describe(container: Container, endpoint: Endpoint, network: Network) -> dict[str, Any]:
    """One EndpointSettings."""
    up = endpoint.active
    gateway4, gateway6 = gateway_of(network, 4), gateway_of(network, 6)
    names = [container.name, *endpoint.aliases, container.short]
    return {
        "IPAMConfig": endpoint.settings.get("IPAMConfig"),
        "Links": endpoint.settings.get("Links"),
        "Aliases": endpoint.settings.get("Aliases"),
        "MacAddress": endpoint.mac or endpoint.settings.get("MacAddress", ""),
        "DriverOpts": endpoint.settings.get("DriverOpts"),
        "GwPriority": endpoint.gateway_priority,
        "NetworkID": network.id,
        "EndpointID": endpoint.id if up or (container.status.is_up and not network.has_interfaces) else "",
        "Gateway": str(gateway4) if endpoint.address4 and gateway4 is not None else "",
        "IPAddress": endpoint.address4,
        "IPPrefixLen": _length(network, 4) if endpoint.address4 else 0,
        "IPv6Gateway": str(gateway6) if endpoint.address6 and gateway6 is not None else "",
        "GlobalIPv6Address": endpoint.address6,
        "GlobalIPv6PrefixLen": _length(network, 6) if endpoint.address6 else 0,
        "DNSNames": list(dict.fromkeys(names)) if network.has_interfaces and not network.predefined else None,
    }


def _length(network: Network, version: int) -> int:
    subnet = network.subnet(version)
    return subnet.prefix.prefixlen if subnet is not None else 0


def port_map(container: Container, store: NetworkStore) -> dict[str, Any]:
    """``NetworkSettings.Ports``: every exposed port, with where it is published."""
    if not container.status.is_up:
        return {}
    found: dict[str, Any] = dict.fromkeys(container.config["ExposedPorts"])
    for port in store.published_by(container.id):
        key = f"{port.port}/{port.protocol}"
        found[key] = [*(found.get(key) or ()), {"HostIp": port.host_ip, "HostPort": str(port.host_port)}]
    return found


def ports(container: Container, store: NetworkStore) -> list[dict[str, Any]]:
    """``Ports`` of a list's item."""
    if not container.status.is_up:
        return []
    published = store.published_by(container.id)
    found: list[dict[str, Any]] = [
        {"IP": p.host_ip, "PrivatePort": p.port, "PublicPort": p.host_port, "Type": p.protocol} for p in published
    ]
    open_ = {(port.port, port.protocol) for port in published}
    for key in container.config["ExposedPorts"]:
        number, protocol = parse_port(key)
        if (number, protocol) not in open_:
            found.append({"PrivatePort": number, "Type": protocol})
    return found
