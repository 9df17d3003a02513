"""``/networks``: list, create, inspect, remove, connect, disconnect, prune."""

from __future__ import annotations

from typing import Any

from aiohttp.web_response import StreamResponse

from core.api.call import Call, empty, reply
from core.container.inspect import rfc3339
from core.errors import InvalidArgument, NotFound
from core.network.addresses import parse_settings
from core.network.model import Network, Subnet
from core.network.options import parse_create


def describe(call: Call, network: Network, *, members: bool) -> dict[str, Any]:
    """A network; with ``members`` the running containers on it (inspect, not the list)."""
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": network.ipv4,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": network.ipam_driver,
            "Options": network.ipam_options or None,
            "Config": [_range(subnet) for subnet in network.subnets],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": _members(call, network) if members else {},
        "Options": network.options,
        "Labels": network.labels,
    }


def _range(subnet: Subnet) -> dict[str, Any]:
    found: dict[str, Any] = {"Subnet": str(subnet.prefix)}
    if subnet.pool != subnet.prefix:
        found["IPRange"] = str(subnet.pool)
    if subnet.gateway is not None:
        found["Gateway"] = str(subnet.gateway)
    if subnet.auxiliary:
        found["AuxiliaryAddresses"] = subnet.auxiliary
    return found


def _members(call: Call, network: Network) -> dict[str, Any]:
    found = {}
    for endpoint in call.engine.networks.store.endpoints_on(network):
        container = call.engine.containers.store.find(endpoint.container)
        if container is None or not container.status.is_up:
            continue
        found[container.id] = {
            "Name": container.name,
            "EndpointID": endpoint.id,
            "MacAddress": endpoint.mac,
            "IPv4Address": _with_length(network, endpoint.address4, 4),
            "IPv6Address": _with_length(network, endpoint.address6, 6),
        }
    return found


def _with_length(network: Network, address: str, version: int) -> str:
    subnet = network.subnet(version)
    return f"{address}/{subnet.prefix.prefixlen}" if address and subnet is not None else ""


async def list_networks(call: Call) -> StreamResponse:
    """``GET /networks``"""
    found = call.engine.networks.list_networks(call.filters())
    return reply([describe(call, network, members=False) for network in found])


async def create(call: Call) -> StreamResponse:
    """``POST /networks/create``"""
    network, warnings = await call.engine.networks.create(parse_create(await call.json()))
    return reply({"Id": network.id, "Warning": "\n".join(warnings)}, 201)


async def inspect_network(call: Call) -> StreamResponse:
    """``GET /networks/{id}``"""
    scope = call.text("scope")
    network = call.engine.networks.store.get(call.parameters["id"])
    if scope not in ("", "local"):
        raise NotFound(f"network {call.parameters['id']} not found in scope {scope}")
    return reply(describe(call, network, members=True))


async def remove(call: Call) -> StreamResponse:
    """``DELETE /networks/{id}``"""
    names = {container.id: container.name for container in call.engine.containers.store.all()}
    await call.engine.networks.remove(call.parameters["id"], names)
    return empty()


async def connect(call: Call) -> StreamResponse:
    """``POST /networks/{id}/connect``"""
    body = await _body(call)
    settings = parse_settings(call.parameters["id"], body.get("EndpointConfig"))
    await call.engine.containers.connect(call.parameters["id"], _container(body), settings)
    return empty(200)


async def disconnect(call: Call) -> StreamResponse:
    """``POST /networks/{id}/disconnect``"""
    body = await _body(call)
    await call.engine.containers.disconnect(call.parameters["id"], _container(body), force=_force(body))
    return empty(200)


def _force(body: dict[str, Any]) -> bool:
    value = body.get("Force") or False
    if not isinstance(value, bool):
        raise InvalidArgument("Force must be true or false")
    return value


async def _body(call: Call) -> dict[str, Any]:
    body = await call.json()
    if not isinstance(body, dict):
        raise InvalidArgument("the request's body must be a JSON object")
    return body


def _container(body: dict[str, Any]) -> str:
    name = body.get("Container")
    if not isinstance(name, str) or not name:
        raise InvalidArgument("Container is missing", hint="name the container")
    return name


async def prune(call: Call) -> StreamResponse:
    """``POST /networks/prune``"""
    return reply({"NetworksDeleted": await call.engine.networks.prune(call.filters()) or None})
