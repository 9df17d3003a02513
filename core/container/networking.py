"""Networks and the containers on them: the composition of both.

An endpoint says that a container is to be on a network. It has addresses and an interface while the container runs::

    create    endpoints are inserted: what the person asked for
    reserve   the networks are there, addresses are given, ports of the host are bound        undo: release
    attach    interfaces in the new namespace, names, rules; the ports go to the monitor      undo: release
    release   the end of the container: rules, names and rows go; interfaces went with their namespace

The numbered points (``core.faults``)::

    attach    1 addresses stored   2 interfaces made   3 names written   4 ports in the rules   5 ports with the monitor
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from core import faults
from core.container import etc
from core.container.admission import create_warnings
from core.container.config import CreateRequest
from core.container.directory import Directory
from core.container.naming import new_id
from core.container.status import Container
from core.container.store import ContainerStore
from core.errors import DockyardError, InvalidArgument, NotFound, Unavailable
from core.events import EventBus
from core.network import addresses, attach, ports
from core.network.attach import Plug
from core.network.foreign import Findings
from core.network.model import Endpoint, Published
from core.network.service import NetworkService
from core.runtime.client import Task

log = logging.getLogger("dockyard.network")

Held = list[tuple[Published, "socket.socket | None"]]


@dataclass(slots=True)
class Reserved:
    """What a container that is being started has: its endpoints, and the ports that are bound for it."""

    endpoints: list[Endpoint]
    held: Held

    def close(self) -> None:
        """Let go of the ports."""
        ports.release(sock for _, sock in self.held)
        self.held = []


class Networking:
    """``folder`` and ``run_dir`` are a container's; ``default_ip`` is where a port goes that names no address."""

    def __init__(
        self,
        networks: NetworkService,
        containers: ContainerStore,
        events: EventBus,
        folder: Callable[[Container], str],
        run_dir: Callable[[Container], str],
        default_ip: str = "",
    ) -> None:
        self.networks = networks
        self._store = networks.store
        self._containers = containers
        self._events = events
        self.directory = Directory(networks, containers, folder, run_dir)
        self._default_ip = default_ip

    # --- create ------------------------------------------------------------------------------------

    def check(self, wanted: Mapping[str, dict[str, Any]]) -> None:
        """Raise InvalidArgument or Conflict for networks that a new container cannot be on.

        An unknown network is no NotFound: Docker's clients take that answer to a create for a missing image, and pull.
        """
        for name, settings in wanted.items():
            try:
                network = self._store.get(name)
            except NotFound as error:
                hint = f"create it first: dockyard network create {name}"
                raise InvalidArgument(f"network {name} not found", hint=hint) from error
            addresses.check_settings(network, settings)
            if sum(self._store.find(other) is network for other in wanted) > 1:
                raise InvalidArgument(f"network {network.name} is named twice: by its name and by its id")

    def warnings(self, request: CreateRequest) -> list[str]:
        """What the person should know of the networks and ports of a new container."""
        bridges = [
            network.device
            for name in request.endpoints
            if (network := self._store.find(name)) is not None and network.driver == "bridge"
        ]
        rules = self.networks.rules
        publishes = request.host_config["PortBindings"] or request.host_config["PublishAllPorts"]
        look = bool(bridges) and (publishes or not rules.in_force)
        findings = rules.survey() if look else rules.findings if bridges else Findings()
        return create_warnings(request, findings, bridges)

    @contextmanager
    def given(self, container: Container, wanted: Mapping[str, dict[str, Any]]) -> Iterator[None]:
        """The container's endpoints, gone again when the block fails."""
        try:
            for order, (name, settings) in enumerate(wanted.items()):
                self._store.connect(Endpoint(new_id(), self._store.get(name).id, container.id, order, settings))
            yield
        except BaseException:
            self.removed(container)
            raise

    def removed(self, container: Container) -> None:
        """The container is gone."""
        for endpoint in self._store.endpoints_of(container.id):
            self._store.disconnect(endpoint)

    # --- start -------------------------------------------------------------------------------------

    async def reserve(self, container: Container) -> Reserved:
        """Addresses and ports for a start. Raises NotFound, Conflict, Exhausted; then nothing is reserved."""
        endpoints = self._wired(container)
        for endpoint in endpoints:
            await self.networks.ensure(self._store.get(endpoint.network))
        try:
            used = [self.address(endpoint, number) for number, endpoint in enumerate(endpoints)]
            held = self.take(container, self.wishes(container))
            self._store.publish(port for port, _ in held)
        except BaseException:
            self.release(container)
            raise
        faults.point("attach", 1)
        return Reserved(used, held)

    def _wired(self, container: Container) -> list[Endpoint]:
        """The endpoints that are interfaces. One whose network was removed and made anew is connected again."""
        mode = container.host_config["NetworkMode"]
        if not etc.has_own_network(container):
            return []
        if not self._store.endpoints_of(container.id):
            try:
                network = self._store.get("bridge" if mode == "default" else mode)  # "default": of an older version
            except NotFound as error:
                hint = f"create it, or connect container {container.name} to another"
                raise NotFound(error.message, hint=hint) from error
            self._store.connect(Endpoint(new_id(), network.id, container.id, 0))
        return [e for e in self._store.endpoints_of(container.id) if self._store.get(e.network).has_interfaces]

    def address(self, endpoint: Endpoint, number: int) -> Endpoint:
        network = self._store.get(endpoint.network)
        return self._store.use(endpoint, **addresses.choose(self._store, network, endpoint, number))

    def wishes(self, container: Container) -> list[ports.Wanted]:
        host = container.host_config
        if not (host["PortBindings"] or host["PublishAllPorts"]) or not self.publishes(container):
            return []
        return ports.wanted(host["PortBindings"], container.config["ExposedPorts"], publish_all=host["PublishAllPorts"])

    def publishes(self, container: Container) -> bool:
        return any(self.networks.target(container.id, version) for version in (4, 6))

    def take(self, container: Container, wishes: Sequence[ports.Wanted]) -> Held:
        if not wishes:
            return []
        return ports.take(container.id, wishes, self._binding(container), self._whose)

    def _binding(self, container: Container) -> str:
        """Where a port goes that names no address: the network's choice, else the engine's."""
        for _, network in self.networks.gateways(self._store.endpoints_of(container.id)):
            chosen = network.options.get("com.docker.network.bridge.host_binding_ipv4", "")
            if chosen and chosen != "0.0.0.0":
                return chosen
        return self._default_ip

    def _whose(self, port: Published) -> str:
        """The container of ours that has a port of the host."""
        for other in self._store.all_published():
            same = other.host_ip == port.host_ip or {other.host_ip, port.host_ip} & {"0.0.0.0", "::"}
            if same and (other.protocol, other.host_port) == (port.protocol, port.host_port):
                found = self._containers.find(other.container)
                return found.name if found is not None else ""
        return ""

    async def attach(self, container: Container, task: Task, reserved: Reserved) -> None:
        """Give a container that waits for its start its interfaces, names and ports. Raises DockyardError."""
        if reserved.endpoints:
            with namespace_of(task.pid) as namespace:
                self.plug(namespace, reserved.endpoints, hairpin=bool(reserved.held))
            faults.point("attach", 2)
            self.directory.changed(reserved.endpoints)
            faults.point("attach", 3)
        if reserved.held:
            await self.hand_over(container, task, reserved)
        for endpoint in reserved.endpoints:
            self.tell("connect", endpoint)

    def plug(self, namespace: int, endpoints: Sequence[Endpoint], *, hairpin: bool) -> None:
        assert self.networks.cables is not None
        plugs = []
        for endpoint in endpoints:
            network = self._store.get(endpoint.network)
            plugs.append(Plug(network, endpoint, hairpin and network.driver == "bridge"))
        gateways = self.networks.gateways(self._store.endpoints_of(endpoints[0].container))
        self.networks.cables.plug(namespace, plugs, gateways)

    async def hand_over(self, container: Container, task: Task, reserved: Reserved) -> None:
        """The rules first: a connection in between finds the container, not a proxy that is not there yet."""
        published = [port for port, _ in reserved.held]
        self.networks.rules.publish(self.networks.forwardings(published))
        udp = sorted({port.host_port for port in published if port.protocol == "udp"})
        await self.forget_flows(udp)
        faults.point("attach", 4)
        held, reserved.held = reserved.held, []
        entries, sockets = [], []
        for port, sock in held:
            if sock is not None and port.protocol != "sctp":
                entries.append([port.key, port.protocol, self.behind(port), port.port])
                sockets.append(sock)
            elif sock is not None:
                sock.close()
        await task.listen(entries, sockets)
        faults.point("attach", 5)

    async def forget_flows(self, udp: Sequence[int]) -> None:
        """What was tracked before would go where it went."""
        if udp and self.networks.rules.available:
            await asyncio.to_thread(addresses.forget_udp, udp)

    def behind(self, port: Published) -> str:
        """The container's address for the proxy: of the same IP version when it has one."""
        version = 6 if ":" in port.host_ip else 4
        return self.networks.target(port.container, version) or self.networks.target(port.container, 10 - version)

    # --- end ---------------------------------------------------------------------------------------

    def release(self, container: Container) -> None:
        """The container does not run: its ports, names and addresses are free.

        Never raises: it is part of a container's end. What could not be written is put right by the next change.
        """
        try:
            self._release(container)
        except DockyardError as error:
            log.error("networks of container %s: %s", container.name, error)

    def _release(self, container: Container) -> None:
        published = self._store.published_by(container.id)
        self.networks.rules.unpublish(self.networks.forwardings(published))
        self._store.unpublish(container.id)
        active = [endpoint for endpoint in self._store.endpoints_of(container.id) if endpoint.active]
        for endpoint in active:
            self._store.use(endpoint, address4="", address6="", mac="", interface="", host_interface="")
            self.tell("disconnect", endpoint)
        if active:
            self.directory.changed(active)

    def recover(self) -> None:
        """At the daemon's start: what containers that do not run still have is taken from them."""
        known = {container.id: container for container in self._containers.all()}
        for endpoint in self._store.all_endpoints():
            owner = known.get(endpoint.container)
            if owner is None:
                self._store.disconnect(endpoint)
            elif endpoint.active and not owner.status.is_alive:
                self._store.use(endpoint, address4="", address6="", mac="", interface="", host_interface="")
        for container_id in {port.container for port in self._store.all_published()}:
            if container_id not in known or not known[container_id].status.is_alive:
                self._store.unpublish(container_id)
        self.networks.recover()
        for network in self._store.all():
            try:
                self.directory.write_table(network)
            except DockyardError as error:
                # Names of containers that start from now on are not known there; all else works.
                log.error("the names of network %s cannot be written: %s", network.name, error)

    async def settle(self) -> None:
        """After it: what is missing of running containers (the daemon was killed in the middle of a connect)."""
        await self.networks.settle()
        for container in self._containers.all():
            if container.status.is_up:
                try:
                    await self._mend(container)
                except DockyardError as error:
                    log.error("the networks of container %s cannot be repaired: %s", container.name, error)

    async def _mend(self, container: Container) -> None:
        missing = [
            endpoint
            for endpoint in self._store.endpoints_of(container.id)
            if endpoint.host_interface and not addresses.interface_exists(endpoint.host_interface)
        ]
        if missing:
            with namespace_of(container.pid) as namespace:
                self.plug(namespace, missing, hairpin=bool(self._store.published_by(container.id)))

    def tell(self, action: str, endpoint: Endpoint) -> None:
        network = self._store.find(endpoint.network)
        if network is not None:
            attributes = {"container": endpoint.container, "name": network.name, "type": network.driver}
            self._events.publish("network", action, network.id, attributes)


@contextmanager
def namespace_of(pid: int) -> Iterator[int]:
    try:
        fd = attach.open_namespace(pid)
    except OSError as error:
        raise Unavailable("the container's network is gone: it has ended") from error
    try:
        yield fd
    finally:
        os.close(fd)
