"""``/networks`` as far as they exist: the predefined ones."""

from __future__ import annotations

import hashlib
from typing import Any

from aiohttp.web_response import StreamResponse

from core.api.call import Call, reply
from core.errors import InvalidArgument, NotFound

#: Name → driver. A container that asks for ``bridge`` gets ``none`` and a warning.
PREDEFINED = {"bridge": "bridge", "host": "host", "none": "null"}
_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")


def network_id(name: str) -> str:
    """The id of a predefined network: the same on every engine."""
    return hashlib.sha256(f"dockyard network {name}".encode()).hexdigest()


def _describe(name: str) -> dict[str, Any]:
    return {
        "Name": name,
        "Id": network_id(name),
        "Created": "0001-01-01T00:00:00Z",
        "Scope": "local",
        "Driver": PREDEFINED[name],
        "EnableIPv4": False,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": []},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {},
        "Labels": {},
    }


def _matches(name: str, filters: dict[str, list[str]]) -> bool:
    values: dict[str, Any] = {
        "name": lambda wanted: wanted in name,
        "id": lambda wanted: network_id(name).startswith(wanted),
        "driver": lambda wanted: wanted == PREDEFINED[name],
        "scope": lambda wanted: wanted == "local",
        "type": lambda wanted: wanted == "builtin",
        "dangling": lambda wanted: wanted in ("false", "0"),
        "label": lambda wanted: False,
    }
    return all(any(values[key](wanted) for wanted in choices) for key, choices in filters.items() if choices)


async def list_networks(call: Call) -> StreamResponse:
    """``GET /networks``"""
    filters = call.filters()
    for key in filters:
        if key not in _FILTERS:
            raise InvalidArgument(f"invalid filter '{key}'")
    return reply([_describe(name) for name in PREDEFINED if _matches(name, filters)])


async def inspect_network(call: Call) -> StreamResponse:
    """``GET /networks/{id}``"""
    ref = call.parameters["id"]
    for name in PREDEFINED:
        if ref == name or (len(ref) >= 4 and network_id(name).startswith(ref)):
            return reply(_describe(name))
    raise NotFound(f"network {ref} not found")


async def prune(call: Call) -> StreamResponse:
    """``POST /networks/prune``: there are no networks of anybody's own."""
    call.filters()
    return reply({"NetworksDeleted": None})
