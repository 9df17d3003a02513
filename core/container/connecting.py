"""Changes to the networks and published ports of a container that may be running.

The numbered points (``core.faults``)::

    connect     1 endpoint stored   2 interface made   3 names and ports right
    disconnect  1 interface gone    2 endpoint gone
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core import faults
from core.container import etc
from core.container.naming import new_id
from core.container.networking import Networking, Reserved, namespace_of
from core.container.status import Container
from core.errors import Conflict, DockyardError, Forbidden, NotFound
from core.network import addresses, attach, ports
from core.network.model import Endpoint, Network, Published
from core.network.names import Hosts
from core.runtime.client import Task

#: A running container's monitor; NotFound or Unavailable when there is none that answers.
TaskOf = Callable[[Container], Task]


class Connector:
    """Each method's caller holds the container's lock."""

    def __init__(self, networking: Networking, task_of: TaskOf) -> None:
        self._networking = networking
        self._networks = networking.networks
        self._directory = networking.directory
        self._store = networking.networks.store
        self._task_of = task_of

    async def connect(self, container: Container, ref: str, settings: dict[str, Any]) -> None:
        """Connect a container, running or not; the caller holds its lock. Raises Conflict, Forbidden, NotFound."""
        network = self._store.get(ref)
        _check_modes(container, network)
        addresses.check_settings(network, settings)
        if self._store.endpoint(container.id, network) is not None:
            raise Forbidden(f"endpoint with name {container.name} already exists in network {network.name}")
        existing = self._store.endpoints_of(container.id)
        order = max((endpoint.order for endpoint in existing), default=-1) + 1
        if container.status.is_up:
            network = await self._networks.ensure(network)
        before = self._directory.hosts(container)
        endpoint = Endpoint(new_id(), network.id, container.id, order, settings)
        self._store.connect(endpoint)
        faults.point("connect", 1)
        if container.status.is_up:
            try:
                await self._connect_running(container, endpoint, existing, before, self._task_of(container))
            except BaseException:
                self._store.disconnect(endpoint)
                self._directory.changed([endpoint])
                raise
        self._networking.tell("connect", endpoint)

    async def _connect_running(
        self, container: Container, endpoint: Endpoint, existing: Sequence[Endpoint], before: Hosts, task: Task
    ) -> None:
        # The lowest number that no interface has: the prefix may differ from network to network.
        taken = {other.interface.lstrip("abcdefghijklmnopqrstuvwxyz-_.") for other in existing}
        number = next(n for n in range(len(taken) + 1) if str(n) not in taken)
        endpoint = self._networking.address(endpoint, number)
        with namespace_of(container.pid) as namespace:
            self._networking.plug(namespace, [endpoint], hairpin=bool(container.host_config["PortBindings"]))
        faults.point("connect", 2)
        await self._moved(container, before, task)
        faults.point("connect", 3)

    async def disconnect(self, container: Container, ref: str, *, force: bool = False) -> None:
        """Take a container off a network; the caller holds its lock. Raises NotFound, Forbidden."""
        network = self._store.get(ref)
        endpoint = self._store.endpoint(container.id, network)
        if not network.has_interfaces and network.name == "host":
            raise Forbidden("container cannot be disconnected from host network or connected to host network")
        if endpoint is None:
            raise NotFound(f"container {container.name} is not connected to network {network.name}")
        before = self._directory.hosts(container)
        if endpoint.active and container.status.is_up:
            try:
                with namespace_of(container.pid) as namespace:
                    await asyncio.to_thread(attach.unplug, namespace, endpoint)
            except DockyardError:
                if not force:
                    raise
        faults.point("disconnect", 1)
        self._networks.rules.unpublish(self._networks.forwardings(self._store.published_by(container.id)))
        self._store.disconnect(endpoint)
        faults.point("disconnect", 2)
        if endpoint.active:
            self._directory.write_table(network)
            await self._moved(container, before, self._task_of(container))
        self._networking.tell("disconnect", endpoint)

    async def _moved(self, container: Container, before: Hosts, task: Task) -> None:
        """A running container has other endpoints now: names, files, routes and ports follow."""
        endpoints = self._store.endpoints_of(container.id)
        self._directory.changed([endpoint for endpoint in endpoints if endpoint.active])
        self._directory.write_files(container, before)
        with namespace_of(container.pid) as namespace:
            attach.reroute(namespace, self._networks.gateways(endpoints))
        published = self._store.published_by(container.id)
        if published and not self._networking.publishes(container):
            await task.unlisten([port.key for port in published])
            self._store.unpublish(container.id)
        elif published:
            self._networks.rules.publish(self._networks.forwardings(published))
            await task.retarget([[p.key, p.protocol, self._networking.behind(p), p.port] for p in published])
        elif self._networking.wishes(container):
            await self._publish_now(container, self._networking.wishes(container), task)

    # --- ports of a running container --------------------------------------------------------------

    async def _publish_now(self, container: Container, wishes: Sequence[ports.Wanted], task: Task) -> list[Published]:
        """Bind, note, serve; what fails leaves nothing."""
        held = self._networking.take(container, wishes)
        published = [port for port, _ in held]
        self._store.publish(published)
        reserved = Reserved([], held)
        try:
            self._hairpin(container)
            await self._networking.hand_over(container, task, reserved)
        except BaseException:
            reserved.close()
            self._networks.rules.unpublish(self._networks.forwardings(published))
            self._store.unpublish(container.id, published)
            raise
        return published

    def _hairpin(self, container: Container) -> None:
        assert self._networks.cables is not None
        for endpoint in self._store.endpoints_of(container.id):
            if endpoint.host_interface:
                network = self._store.get(endpoint.network)
                self._networks.cables.port(endpoint, hairpin=True, isolated=attach.is_isolated(network))

    async def publish(
        self, container: Container, bindings: dict[str, list[dict[str, str]]]
    ) -> tuple[list[Published], dict[str, Any]]:
        """Publish more ports, now when it runs, and at each start. Returns them and the new HostConfig.

        The caller holds the container's lock. Raises Conflict: the port is taken, or its network publishes nothing.
        """
        if not etc.has_own_network(container):
            raise Conflict(f"container {container.name} has no network of its own: its ports cannot be published")
        published: list[Published] = []
        if container.status.is_up:
            if not self._networking.publishes(container):
                raise Conflict(
                    f"container {container.name} is on no network that publishes ports",
                    hint="connect it to a bridge network that is not internal",
                )
            wishes = ports.wanted(bindings, (), publish_all=False)
            published = await self._publish_now(container, wishes, self._task_of(container))
        merged = {key: list(items) for key, items in container.host_config["PortBindings"].items()}
        for key, items in _fixed(bindings, published).items():
            merged.setdefault(key, []).extend(item for item in items if item not in merged.get(key, ()))
        return published, {**container.host_config, "PortBindings": merged}

    async def unpublish(self, container: Container, bindings: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
        """Take published ports away, and from its next starts too. Returns the new HostConfig. Raises NotFound."""
        merged = {key: list(items) for key, items in container.host_config["PortBindings"].items()}
        gone: list[Published] = []
        for key, items in bindings.items():
            number, protocol = ports.parse_port(key)
            for item in items:
                found = [p for p in self._store.published_by(container.id) if _is(p, number, protocol, item)]
                kept = [one for one in merged.get(key, ()) if not _covers(item, one)]
                if not found and len(kept) == len(merged.get(key, ())):
                    raise NotFound(f"container {container.name} does not publish {_shown(key, item)}")
                merged[key] = kept
                gone += found
        if gone and container.status.is_up:
            self._networks.rules.unpublish(self._networks.forwardings(gone))
            self._store.unpublish(container.id, gone)
            await self._task_of(container).unlisten([port.key for port in gone if port.protocol != "sctp"])
            await self._networking.forget_flows(sorted({port.host_port for port in gone if port.protocol == "udp"}))
        return {**container.host_config, "PortBindings": {key: items for key, items in merged.items() if items}}


def _check_modes(container: Container, network: Network) -> None:
    mode = container.host_config["NetworkMode"]
    if mode == "host" or mode.startswith("container:"):
        raise Forbidden(
            "container sharing network namespace with another container or host cannot be connected to any other "
            "network"
        )
    if not network.has_interfaces and network.name == "host":
        raise Forbidden("cannot connect container to host network - container must be created in host network")
    if mode == "none" or network.name == "none":
        raise Forbidden(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )


def _fixed(
    bindings: Mapping[str, list[dict[str, str]]], published: Sequence[Published]
) -> dict[str, list[dict[str, str]]]:
    """The bindings with the ports that they got: the next start is to have the same."""
    found: dict[str, list[dict[str, str]]] = {}
    for key, items in bindings.items():
        number, protocol = ports.parse_port(key)
        got = [str(p.host_port) for p in published if (p.port, p.protocol) == (number, protocol)]
        for item in items:
            chosen = item["HostPort"] if item["HostPort"] not in ("", "0") or not got else got[0]
            found.setdefault(key, []).append({**item, "HostPort": chosen})
    return found


def _is(port: Published, number: int, protocol: str, item: dict[str, str]) -> bool:
    if (port.port, port.protocol) != (number, protocol):
        return False
    return item["HostIp"] in ("", port.host_ip) and item["HostPort"] in ("", "0", str(port.host_port))


def _covers(item: dict[str, str], other: dict[str, str]) -> bool:
    return item["HostIp"] in ("", other["HostIp"]) and item["HostPort"] in ("", "0", other["HostPort"])


def _shown(key: str, item: dict[str, str]) -> str:
    host = ":".join(piece for piece in (item["HostIp"], item["HostPort"]) if piece)
    return f"{host}:{key}" if host else key
