"""Networks of the create request (``--network``)."""

from __future__ import annotations

from typing import Any

from core.container.config.values import object_
from core.errors import InvalidArgument, Unsupported


def check_networking(value: Any, host: dict[str, Any]) -> None:
    """Write the default into ``NetworkMode``; refuse networks that do not exist here."""
    endpoints = object_("NetworkingConfig.EndpointsConfig", object_("NetworkingConfig", value).get("EndpointsConfig"))
    for network, settings in endpoints.items():
        if network not in ("default", "bridge", "none", "host", host["NetworkMode"]):
            raise Unsupported(
                f"network {network} cannot be used: this version of Dockyard has only none, host and container:NAME"
            )
        for key in ("Aliases", "Links", "IPAMConfig", "MacAddress"):
            if object_(f"EndpointsConfig.{network}", settings).get(key):
                raise Unsupported(f"EndpointsConfig.{network}.{key} is not supported by this version of Dockyard")
    mode = host["NetworkMode"] = host["NetworkMode"] or "default"
    if mode in ("default", "bridge", "none", "host"):
        return
    kind, _, target = mode.partition(":")
    if kind != "container":
        raise Unsupported(
            f"network {mode} cannot be used: this version of Dockyard has only none, host and container:NAME"
        )
    if not target:
        raise InvalidArgument("network container: needs a container's name or id, as in container:web")
