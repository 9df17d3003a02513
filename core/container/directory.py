"""Who is called what, for containers: the tables of their networks' resolvers and their files of /etc, kept true.

A network's table is rewritten when one of its containers comes, goes or is renamed; the files of a running container
when it is connected or disconnected, or when one that it links to has moved.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from core.container import etc
from core.container.status import Container
from core.container.store import ContainerStore
from core.errors import Conflict, DockyardError, from_os_error
from core.network import names
from core.network.model import Endpoint, Network
from core.network.names import Hosts, Named
from core.network.service import NetworkService


class Directory:
    """``folder`` and ``run_dir`` are a container's."""

    def __init__(
        self,
        networks: NetworkService,
        containers: ContainerStore,
        folder: Callable[[Container], str],
        run_dir: Callable[[Container], str],
    ) -> None:
        self._networks = networks
        self._store = networks.store
        self._containers = containers
        self._folder = folder
        self._run_dir = run_dir

    def hosts(self, container: Container) -> Hosts:
        """The engine's lines of its /etc/hosts as its endpoints are now."""
        endpoints = self._store.endpoints_of(container.id)
        return etc.hosts(container, endpoints, self._gateway(container), self._links(container))

    def _gateway(self, container: Container) -> str:
        """What ``host-gateway`` stands for: the host, as the container sees it."""
        for _, network in self._networks.gateways(self._store.endpoints_of(container.id)):
            gateway = next((s.gateway for s in network.subnets if s.gateway is not None), None)
            if network.driver == "bridge" and gateway is not None:
                return str(gateway)
        return "127.0.0.1"

    def etc_files(self, container: Container, hostname: str) -> dict[str, str]:
        """``hosts``, ``hostname`` and ``resolv.conf`` for a start; the endpoints have their addresses already."""
        resolves = self._networks.rules.available and any(e.active for e in self._store.endpoints_of(container.id))
        return etc.files(container, hostname, self.hosts(container), resolves=resolves)

    def resolver(self, container: Container) -> Any:
        """What the resolver in its monitor is to know; None when it has none."""
        pairs = [(e, self._store.get(e.network)) for e in self._store.endpoints_of(container.id) if e.active]
        if not pairs or not self._networks.rules.available:
            return None
        own = {name: found for names_, found in self._links(container) for name in names_}
        return names.resolver(
            [self._networks.table_path(network) for _, network in pairs],
            own,
            container.host_config["Dns"],
            forward=not all(network.internal for _, network in pairs),
        )

    def write_resolver(self, container: Container) -> None:
        """Write ``dns.json`` into its run folder. Raises DockyardError."""
        document = self.resolver(container)
        if document is not None:
            try:
                names.write(os.path.join(self._run_dir(container), "dns.json"), document)
            except OSError as error:
                raise from_os_error(error, "write the container's names") from error

    def _links(self, container: Container) -> list[tuple[list[str], list[str]]]:
        """(names, addresses) of each ``--link``; one whose container does not run has no addresses."""
        found = []
        for endpoint in self._store.endpoints_of(container.id):
            network = self._store.get(endpoint.network)
            wanted = list(endpoint.settings.get("Links") or ())
            if network.is_default_bridge:
                wanted += container.host_config["Links"]
            for text in wanted:
                ref, _, alias = text.removeprefix("/").partition(":")
                other = self._linked(ref)
                peer = self._store.endpoint(other.id, network) if other is not None else None
                if other is not None and peer is not None and peer.active:
                    alias = alias.rpartition("/")[2] or other.name
                    found.append((list(dict.fromkeys([alias, other.short, other.name])), peer.addresses))
        return found

    def _linked(self, ref: str) -> Container | None:
        try:
            return self._containers.get(ref)
        except DockyardError:
            return None

    def check_links(self, container: Container) -> None:
        """Raise Conflict for a ``--link`` of the default bridge to a container that does not run, as Docker does."""
        for text in container.host_config["Links"]:
            ref, _, alias = text.removeprefix("/").partition(":")
            if not self._containers.get(ref).status.is_up:
                raise Conflict(
                    f"Cannot link to a non running container: /{ref} AS /{container.name}/{alias or ref}",
                    hint="start it first, or use a network of your own and its names",
                )

    def names_of(self, container: Container, endpoint: Endpoint) -> list[str]:
        """What a container is called on a network: its name, aliases, short id and host name."""
        own = [container.name, *endpoint.aliases, container.short]
        return list(dict.fromkeys([*own, *filter(None, [container.config["Hostname"]])]))

    def write_table(self, network: Network) -> None:
        """Tell the resolvers who is on ``network``."""
        members = []
        for endpoint in sorted(self._store.endpoints_on(network), key=lambda e: e.id):
            container = self._containers.find(endpoint.container)
            if endpoint.active and container is not None:
                members.append(Named(endpoint, self.names_of(container, endpoint)))
        if network.has_interfaces and (members or os.path.exists(self._networks.table_path(network))):
            self._networks.write_table(network, members)

    def changed(self, endpoints: Sequence[Endpoint]) -> None:
        """Containers came, went or got other names: their networks' tables, and those who link to them."""
        changed = {endpoint.container for endpoint in endpoints}
        for network_id in {endpoint.network for endpoint in endpoints}:
            network = self._store.find(network_id)
            if network is not None:
                self.write_table(network)
        for container in self._containers.all():
            if container.id not in changed and container.status.is_up and self._links_to(container, changed):
                self.write_files(container, None)

    def _links_to(self, container: Container, changed: set[str]) -> bool:
        links = list(container.host_config["Links"])
        for endpoint in self._store.endpoints_of(container.id):
            links += endpoint.settings.get("Links") or ()
        others = (self._linked(text.removeprefix("/").partition(":")[0]) for text in links)
        return any(other is not None and other.id in changed for other in others)

    def renamed(self, container: Container) -> None:
        """It has another name."""
        self.changed([endpoint for endpoint in self._store.endpoints_of(container.id) if endpoint.active])

    def write_files(self, container: Container, before: Hosts | None) -> None:
        """Keep /etc/hosts and the resolver's table of a running container true."""
        path = os.path.join(self._folder(container), "hosts")
        current, now = names.read(path), self.hosts(container)
        text = now.replaced_in(current, before if before is not None else etc.stale(current, now))
        try:
            if text != current:
                names.overwrite(path, text)
        except OSError as error:
            raise from_os_error(error, f"update /etc/hosts of container {container.name}") from error
        self.write_resolver(container)
