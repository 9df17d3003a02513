"""``/dockyard/v1``: what Docker's API has no word for. Described in ``openapi.yaml``."""

from __future__ import annotations

import os
from typing import Any

from aiohttp.web_response import StreamResponse

from core.api.call import Call, empty, reply
from core.container.admission import public_ports
from core.errors import InvalidArgument
from core.network.ports import parse_bindings


async def engine(call: Call) -> StreamResponse:
    """``GET /dockyard/v1/engine``: that this is a Dockyard, and where it keeps its things."""
    configuration = call.engine.configuration
    return reply(
        {
            "Name": configuration.name,
            "Version": call.engine.version()["Version"],
            "Pid": os.getpid(),
            "Root": configuration.root,
            "Run": configuration.run,
            "Socket": configuration.socket_path,
            "Warnings": list(call.engine.warnings),
        }
    )


async def publish(call: Call) -> StreamResponse:
    """``POST /dockyard/v1/containers/{id}/ports``: publish ports of a container, now and at its next starts."""
    bindings = await _bindings(call)
    published = await call.engine.containers.publish(call.parameters["id"], bindings)
    warning = call.engine.networks.rules.findings.bypass_warning(public_ports(bindings))
    return reply(
        {
            "Ports": [
                {
                    "HostIp": port.host_ip,
                    "HostPort": str(port.host_port),
                    "ContainerPort": f"{port.port}/{port.protocol}",
                }
                for port in published
            ],
            "Warnings": [warning] if warning else [],
        }
    )


async def unpublish(call: Call) -> StreamResponse:
    """``DELETE /dockyard/v1/containers/{id}/ports``: take published ports away."""
    await call.engine.containers.unpublish(call.parameters["id"], await _bindings(call))
    return empty()


async def _bindings(call: Call) -> dict[str, list[dict[str, str]]]:
    """``{"Ports": [{"HostIp", "HostPort", "ContainerPort"}]}`` as Docker's PortBindings."""
    body = await call.json()
    items = body.get("Ports") if isinstance(body, dict) else None
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise InvalidArgument(
            "Ports is missing", hint='send {"Ports": [{"HostPort": "8080", "ContainerPort": "80/tcp"}]}'
        )
    found: dict[str, list[Any]] = {}
    for item in items:
        port = item.get("ContainerPort")
        if not isinstance(port, str):
            raise InvalidArgument("ContainerPort must be a string, as in 80/tcp")
        binding = {"HostIp": item.get("HostIp") or "", "HostPort": item.get("HostPort") or ""}
        found.setdefault(port, []).append(binding)
    return parse_bindings(found)
