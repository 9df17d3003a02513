"""Ports of a container that exists: what a person types, and what the engine then says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tui.cli.errors import UsageError
from tui.cli.ports import request
from tui.client import Client
from tui.rows import ports_text


class PortChange(NamedTuple):
    """Ports to publish and to take away, each in the words of ``/dockyard/v1/containers/{id}/ports``."""

    add: list[dict[str, str]]
    remove: list[dict[str, str]]


def port_change(text: str) -> PortChange:
    """``8080:80 -53/udp``: ports as ``-p`` takes them, with ``-`` before those to take away.

    Raises ValueError, which names the word.
    """
    words = text.split()
    given = [word for word in words if not word.startswith("-")]
    taken = [word[1:] for word in words if word.startswith("-")]
    try:
        return PortChange(request(given)["Ports"], request(taken)["Ports"])
    except UsageError as error:
        raise ValueError(error.message.removeprefix("invalid argument ")) from None


async def change_ports(client: Client, ref: str, change: PortChange, warn: Callable[[str], None]) -> str:
    """Do it: what goes first, since a port may move. The ports that were published, as the list shows them."""
    if change.remove:
        await client.unpublish(ref, change.remove)
    if not change.add:
        return ""
    found = await client.publish(ref, change.add)
    for warning in found.get("Warnings") or ():
        warn(str(warning))
    return ports_text([_listed(port) for port in found.get("Ports") or ()])


def _listed(port: dict[str, Any]) -> dict[str, Any]:
    """A port in the words of the list of containers."""
    inner, _, kind = str(port.get("ContainerPort", "")).partition("/")
    outer = str(port.get("HostPort", ""))
    return {
        "IP": port.get("HostIp", ""),
        "PrivatePort": int(inner) if inner.isdecimal() else 0,
        "PublicPort": int(outer) if outer.isdecimal() else None,
        "Type": kind or "tcp",
    }
