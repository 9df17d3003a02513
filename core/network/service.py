"""Networks as a person sees them: create, list, remove, prune; and what must be there before one is used.

A bridge is made when its network is, and again by the next use when it is not there: after the machine was restarted,
or when somebody deleted it by hand. The rules are one table for all networks of the engine (:mod:`core.network.rules`).

The numbered points (``core.faults``)::

    network-create   1 row inserted   2 device made   3 rules in force
    network-remove   1 device gone    2 row deleted
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from core import faults, patterns
from core.db import Database
from core.errors import DockyardError, Forbidden, InvalidArgument
from core.events import EventBus
from core.linux.nftables import RulesRefused
from core.moments import parse_moment
from core.network import bridge, ipam, names
from core.network.attach import Cables, gateway_of
from core.network.firewall import Forwarding
from core.network.model import PREDEFINED, Endpoint, Network, Published, Subnet
from core.network.names import Named
from core.network.options import Specification
from core.network.rules import Rules
from core.network.store import NetworkStore

FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
PRUNE_FILTERS = ("label", "label!", "until")


class NetworkService:
    """All networks of one engine. ``engine`` is its name, ``run`` its run folder."""

    def __init__(self, db: Database, run: str, engine: str, events: EventBus) -> None:
        self.store = NetworkStore(db)
        self._engine = engine
        self._events = events
        self._tables = os.path.join(run, "n")
        self._forwarding = os.path.join(run, "forwarding")
        self.rules = Rules(engine, self._content)
        self.cables: Cables | None = None
        self._making = asyncio.Lock()
        self._sound: set[str] = set()

    def open(self) -> list[str]:
        """Begin; returns warnings. No interface and no rule is made."""
        os.makedirs(self._tables, mode=0o700, exist_ok=True)
        self.populate()
        self.cables = Cables()
        self.rules.open()
        return [self.rules.problem] if self.rules.problem else []

    def populate(self) -> None:
        """See that the networks are known that every engine has."""
        for name, driver in PREDEFINED.items():
            if self.store.find(name) is None:
                self.store.insert(self._predefined(name, driver))

    def close(self) -> None:
        """Let go of sockets; networks and rules stay."""
        self.rules.close()
        if self.cables is not None:
            self.cables.close()

    def _predefined(self, name: str, driver: str) -> Network:
        options = {}
        device = ""
        if driver == "bridge":
            device = "dockyard0" if self._engine == "main" else f"dy0-{self._engine}"
            options = {
                "com.docker.network.bridge.default_bridge": "true",
                "com.docker.network.bridge.enable_icc": "true",
                "com.docker.network.bridge.enable_ip_masquerade": "true",
                "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
                "com.docker.network.bridge.name": device,
                "com.docker.network.driver.mtu": "1500",
            }
        return Network(os.urandom(32).hex(), name, time.time_ns(), driver, device, options=options)

    def _content(self) -> tuple[Sequence[Network], Sequence[Forwarding], Sequence[str]]:
        """What the rules are made of."""
        return self.store.all(), self.forwardings(self.store.all_published()), bridge.outside(self._forwarding)

    # --- create, remove ----------------------------------------------------------------------------

    async def create(self, wish: Specification) -> tuple[Network, list[str]]:
        """Make a network and its bridge. Returns it and warnings for the person."""
        async with self._making:
            self.store.check_name(wish.name)
            network_id = os.urandom(32).hex()
            network = Network(
                network_id, wish.name, time.time_ns(), wish.driver, _device(wish, network_id), (), wish.internal,
                wish.attachable, wish.ipv4, wish.ipv6, wish.options, wish.labels, wish.ipam_driver, wish.ipam_options,
            )  # fmt: skip
            self._check_device(network)
            network = await self._with_subnets(network, wish.subnets)
            self.store.insert(network)
            faults.point("network-create", 1)
            try:
                await self._make(network)
            except BaseException:
                self.store.delete(network)
                raise
            self._tell("create", network)
            return network, self._warnings(network)

    def _check_device(self, network: Network) -> None:
        for other in self.store.all():
            if network.driver == "bridge" and other.device == network.device:
                raise Forbidden(f"interface {network.device} belongs to network {other.name} already")

    async def _with_subnets(self, network: Network, wanted: Sequence[Subnet]) -> Network:
        """Its ranges: those asked for, checked, and one of each IP version that it has and nobody named."""
        ours = {other.device for other in self.store.all() if other.device}
        routes = await asyncio.to_thread(bridge.routes, ours if network.driver == "bridge" else {network.device, *ours})
        others = [other for other in self.store.all() if other.id != network.id]
        for subnet in wanted:
            # A macvlan's subnet is the one that the parent is on, in most cases.
            foreign = routes if network.driver == "bridge" else ()
            rivals = others if network.driver == "bridge" else [o for o in others if o.device != network.device]
            ipam.check_overlap(subnet.prefix, rivals, foreign)
        taken = [s.prefix for other in others for s in other.subnets] + [prefix for prefix, _ in routes]
        found = list(wanted)
        if network.ipv4 and not any(subnet.version == 4 for subnet in found):
            first = ipam.DEFAULT_BRIDGE if network.is_default_bridge else None
            prefix4 = ipam.choose4(taken, first=first)
            found.append(Subnet(prefix4, prefix4, ipam.first_address(prefix4)))
        if network.ipv6 and not any(subnet.version == 6 for subnet in found):
            prefix6 = ipam.choose6(self._engine, network.id, taken)
            found.append(Subnet(prefix6, prefix6, ipam.first_address(prefix6)))
        return replace(network, subnets=tuple(found))

    async def _make(self, network: Network) -> None:
        if network.driver == "bridge":
            # Before there is a bridge: what is recorded are the interfaces that the host had.
            for version in {subnet.version for subnet in network.subnets}:
                await asyncio.to_thread(bridge.forward, version, self._forwarding)
            existed = bridge.exists(network.device)
            try:
                await asyncio.to_thread(bridge.make, network)
                faults.point("network-create", 2)
                self.rules.add(network)
            except BaseException:
                if not existed:
                    await asyncio.to_thread(bridge.remove, network.device)
                raise
            faults.point("network-create", 3)
        elif network.has_interfaces:
            await asyncio.to_thread(bridge.make_parent, network)
        self._sound.add(network.id)

    def _warnings(self, network: Network) -> list[str]:
        text = self.rules.findings.drop_warning(network.device) if network.driver == "bridge" else ""
        return [text for text in (text, self.rules.problem) if text]

    async def remove(self, ref: str, names_of: Mapping[str, str]) -> None:
        """Remove a network. Forbidden for a predefined one and one in use; ``names_of`` tells containers' names."""
        network = self.store.get(ref)
        if network.predefined:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        users = [endpoint for endpoint in self.store.endpoints_on(network) if endpoint.active]
        if users:
            who = ", ".join(f'name:"{names_of.get(e.container, "")}" id:"{e.container[:12]}"' for e in users)
            raise Forbidden(
                f"error while removing network: network {network.name} has active endpoints ({who})",
                hint="stop these containers, or disconnect them",
            )
        async with self._making:
            if self.store.find(network.id) is not None:
                await self._unmake(network)
                self._forget(network)

    def _forget(self, network: Network) -> None:
        faults.point("network-remove", 1)
        self.store.delete(network)
        faults.point("network-remove", 2)
        if network.driver == "bridge":
            self.rules.drop(network)
        self._unlink(network)
        self._tell("destroy", network)

    async def _unmake(self, network: Network) -> None:
        self._sound.discard(network.id)
        if network.driver == "bridge":
            await asyncio.to_thread(bridge.remove, network.device)
        elif network.has_interfaces and not any(
            other.device == network.device and other.id != network.id for other in self.store.all()
        ):
            await asyncio.to_thread(bridge.remove_parent, network.device)

    def _unlink(self, network: Network) -> None:
        try:
            os.unlink(self.table_path(network))
        except FileNotFoundError:
            pass

    def list_networks(self, filters: dict[str, list[str]]) -> list[Network]:
        """Networks that match Docker's filters. InvalidArgument for an unknown one."""
        for key in filters:
            if key not in FILTERS:
                raise InvalidArgument(f"invalid filter '{key}'")
        return [network for network in self.store.all() if self._matches(network, filters)]

    def _matches(self, network: Network, filters: dict[str, list[str]]) -> bool:
        used = any(endpoint.active for endpoint in self.store.endpoints_on(network))
        tests: dict[str, Any] = {
            "name": lambda value: patterns.found(value, network.name),
            "id": network.id.startswith,
            "driver": lambda value: value == network.driver,
            "scope": lambda value: value == "local",
            "type": lambda value: value == ("builtin" if network.predefined else "custom"),
            "dangling": lambda value: (value.lower() in ("true", "1")) == (not used and not network.predefined),
        }
        if not all(_has_label(network, label) for label in filters.get("label", ())):
            return False
        return all(any(test(v) for v in filters[key]) for key, test in tests.items() if filters.get(key))

    async def prune(self, filters: dict[str, list[str]]) -> list[str]:
        """Remove the networks that nobody uses, running or not; their names."""
        for key in filters:
            if key not in PRUNE_FILTERS:
                raise InvalidArgument(f"invalid filter '{key}'")
        texts = filters.get("until", ())
        if len(texts) > 1:
            raise InvalidArgument("more than one until filter specified")
        before = parse_moment(texts[0], time.time_ns()) if texts else 0
        async with self._making:
            chosen = [network for network in self.store.all() if self._is_prunable(network, filters, before)]
            # All at once: the kernel takes as long for a thousand interfaces as for one.
            bridges = [network.device for network in chosen if network.driver == "bridge"]
            await asyncio.to_thread(bridge.remove_all, bridges)
            for network in chosen:
                if network.driver != "bridge":
                    await self._unmake(network)
                self._sound.discard(network.id)
                self._forget(network)
                faults.point("network-prune", 1)
        self._events.publish("network", "prune", "", {"reclaimed": "0"})
        return [network.name for network in chosen]

    def _is_prunable(self, network: Network, filters: dict[str, list[str]], before: int) -> bool:
        return not (
            network.predefined
            or self.store.endpoints_on(network)
            or not all(_has_label(network, label) for label in filters.get("label", ()))
            or any(_has_label(network, label) for label in filters.get("label!", ()))
            or (before and network.created >= before)
        )

    # --- use ---------------------------------------------------------------------------------------

    async def ensure(self, network: Network) -> Network:
        """See that a container can be attached to ``network`` now; returns it as it is then."""
        if not network.has_interfaces or self._is_sound(network):
            return network
        async with self._making:
            network = self.store.get(network.id)
            if self._is_sound(network):
                return network
            if not network.subnets:
                ranged = await self._with_subnets(network, ())
                network = self.store.replace_subnets(network, ranged.subnets)
            await self._make(network)
            self._plug_again(network)
            return network

    def _is_sound(self, network: Network) -> bool:
        if network.driver != "bridge":
            return network.id in self._sound and bridge.exists(network.device)
        if self.rules.available and not self.rules.in_force:
            return False
        gateway = next((subnet.gateway for subnet in network.subnets if subnet.version == 4), None)
        # One that an earlier daemon made is known by its address; looking again is cheap, making it is not.
        made = network.id in self._sound or (gateway is not None and bridge.has_address(network.device, gateway))
        return made and bridge.exists(network.device)

    def _plug_again(self, network: Network) -> None:
        """Containers that run: their ends are still there when the bridge was deleted under them."""
        assert self.cables is not None
        if network.driver == "bridge":
            for endpoint in self.store.endpoints_on(network):
                if endpoint.active:
                    hairpin = bool(self.store.published_by(endpoint.container))
                    self.cables.replug(endpoint, network, hairpin=hairpin)

    def gateways(self, endpoints: Sequence[Endpoint]) -> list[tuple[Endpoint, Network]]:
        """The endpoints in the order in which they may give the default route."""
        pairs = [(endpoint, self.store.get(endpoint.network)) for endpoint in endpoints]
        return sorted(pairs, key=lambda pair: (-pair[0].gateway_priority, pair[1].name))

    def target(self, container: str, version: int) -> str:
        """The address behind a container's published ports; "" when none of its networks publishes."""
        for endpoint, network in self.gateways(self.store.endpoints_of(container)):
            address = endpoint.address4 if version == 4 else endpoint.address6
            if address and network.driver == "bridge" and gateway_of(network, version) is not None:
                return address
        return ""

    def forwardings(self, ports: Sequence[Published]) -> list[Forwarding]:
        """Those of ``ports`` that NAT can serve, with where they go."""
        targets: dict[tuple[str, int], str] = {}
        found = []
        for port in ports:
            version = 6 if ":" in port.host_ip else 4
            key = (port.container, version)
            if key not in targets:
                targets[key] = self.target(*key)
            if targets[key]:
                found.append(Forwarding(port, targets[key]))
        return found

    # --- names -------------------------------------------------------------------------------------

    def table_path(self, network: Network) -> str:
        """Where the names of a network are."""
        return os.path.join(self._tables, f"{network.short}.json")

    def write_table(self, network: Network, members: Sequence[Named]) -> None:
        """Tell the resolvers who is on ``network``."""
        try:
            names.write(self.table_path(network), names.table(network, members))
        except OSError as error:
            raise DockyardError(f"write the names of network {network.name}: {error.strerror}") from error

    # --- recovery ----------------------------------------------------------------------------------

    def recover(self) -> None:
        """At the daemon's start, when the endpoints are right: the rules of what runs."""
        if any(endpoint.active for endpoint in self.store.all_endpoints()) or any(
            network.driver == "bridge" and network.subnets and bridge.exists(network.device)
            for network in self.store.all()
        ):
            try:
                self.rules.apply()
            except RulesRefused as error:
                self.rules.problem = str(error)

    async def settle(self) -> None:
        """At the daemon's start: bridges of containers that run, as far as they are missing."""
        for network in self.store.all():
            if any(endpoint.active for endpoint in self.store.endpoints_on(network)):
                await self.ensure(network)

    def _tell(self, action: str, network: Network) -> None:
        self._events.publish("network", action, network.id, {"name": network.name, "type": network.driver})


def _device(wish: Specification, network_id: str) -> str:
    """The interface behind a new network."""
    if wish.driver == "bridge":
        return wish.options.get("com.docker.network.bridge.name") or f"dy-{network_id[:12]}"
    return wish.options.get("parent") or f"dm-{network_id[:12]}"


def _has_label(network: Network, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in network.labels and (not equals or network.labels[key] == value)
