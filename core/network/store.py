"""The tables of networks: the one owner of their rows.

::

    networks ──< subnets            a network's ranges
        │ └────< addresses          UNIQUE(network, address): who has which
        └──────< endpoints >── container (an id; containers are another component's)
    published                       UNIQUE(protocol, host_ip, host_port)

Everything is held in memory as frozen rows and written through: reads are dictionary look-ups.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from core.db import Database
from core.errors import Conflict, InvalidArgument, NotFound
from core.network.model import Endpoint, Network, Published, Subnet

MIGRATIONS = [
    (
        1,
        """
        CREATE TABLE networks (
            id           TEXT PRIMARY KEY,
            name         TEXT NOT NULL UNIQUE,
            created      INTEGER NOT NULL,
            driver       TEXT NOT NULL,
            device       TEXT NOT NULL,
            internal     INTEGER NOT NULL,
            attachable   INTEGER NOT NULL,
            ipv4         INTEGER NOT NULL,
            ipv6         INTEGER NOT NULL,
            options      TEXT NOT NULL,
            labels       TEXT NOT NULL,
            ipam_driver  TEXT NOT NULL,
            ipam_options TEXT NOT NULL
        );
        CREATE TABLE subnets (
            network   TEXT NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
            position  INTEGER NOT NULL,
            prefix    TEXT NOT NULL,
            pool      TEXT NOT NULL,
            gateway   TEXT NOT NULL,
            auxiliary TEXT NOT NULL,
            chosen    INTEGER NOT NULL,
            PRIMARY KEY (network, position)
        ) WITHOUT ROWID;
        CREATE TABLE endpoints (
            id             TEXT PRIMARY KEY,
            network        TEXT NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
            container      TEXT NOT NULL,
            "order"        INTEGER NOT NULL,
            settings       TEXT NOT NULL,
            mac            TEXT NOT NULL,
            interface      TEXT NOT NULL,
            host_interface TEXT NOT NULL,
            UNIQUE (network, container)
        );
        CREATE INDEX endpoints_container ON endpoints (container);
        CREATE TABLE addresses (
            network  TEXT NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
            address  TEXT NOT NULL,
            endpoint TEXT NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
            UNIQUE (network, address)
        );
        CREATE INDEX addresses_endpoint ON addresses (endpoint);
        CREATE TABLE published (
            container TEXT NOT NULL,
            protocol  TEXT NOT NULL,
            host_ip   TEXT NOT NULL,
            host_port INTEGER NOT NULL,
            port      INTEGER NOT NULL,
            PRIMARY KEY (protocol, host_ip, host_port)
        ) WITHOUT ROWID;
        """,
    )
]

_JSON = {"options", "labels", "ipam_options", "settings"}
_BOOLEANS = ("internal", "attachable", "ipv4", "ipv6")
_NETWORK = "id name created driver device internal attachable ipv4 ipv6 options labels ipam_driver ipam_options".split()
_ENDPOINT = "id network container order settings mac interface host_interface".split()
#: A shorter beginning of an id is not looked for: it would be a name's typing error.
_SHORTEST = 2


class NetworkStore:
    """All networks, endpoints and published ports."""

    def __init__(self, db: Database) -> None:
        self._db = db
        db.migrate("network", MIGRATIONS)
        self._networks: dict[str, Network] = {}
        self._names: dict[str, str] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._by_network: defaultdict[str, dict[str, Endpoint]] = defaultdict(dict)
        self._by_container: defaultdict[str, dict[str, Endpoint]] = defaultdict(dict)
        self._published: defaultdict[str, list[Published]] = defaultdict(list)
        self._load()

    def _load(self) -> None:
        subnets: defaultdict[str, list[Subnet]] = defaultdict(list)
        for row in self._db.execute("SELECT * FROM subnets ORDER BY network, position"):
            subnets[row["network"]].append(_subnet(row))
        for row in self._db.execute("SELECT * FROM networks ORDER BY created"):
            self._remember(_network(row, tuple(subnets[row["id"]])))
        addresses: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for row in self._db.execute("SELECT address, endpoint FROM addresses"):
            version = "address6" if ":" in row["address"] else "address4"
            addresses[row["endpoint"]][version] = row["address"]
        for row in self._db.execute("SELECT * FROM endpoints"):
            values: dict[str, Any] = {column: row[column] for column in _ENDPOINT} | addresses[row["id"]]
            self._keep(Endpoint(**{**values, "settings": json.loads(row["settings"])}))
        for row in self._db.execute("SELECT * FROM published ORDER BY port, protocol, host_ip"):
            self._published[row["container"]].append(Published(**dict(row)))

    # --- networks ----------------------------------------------------------------------------------

    def insert(self, network: Network) -> None:
        """Add a network. Raises Conflict when its name is taken."""
        self.check_name(network.name)
        with self._db.transaction():
            values = _row(network, _NETWORK)
            self._db.execute(f"INSERT INTO networks VALUES ({','.join('?' * len(values))})", values)
            self._insert_subnets(network)
        self._remember(network)

    def _insert_subnets(self, network: Network) -> None:
        for position, subnet in enumerate(network.subnets):
            gateway = str(subnet.gateway) if subnet.gateway is not None else ""
            auxiliary = json.dumps(subnet.auxiliary)
            row = (network.id, position, str(subnet.prefix), str(subnet.pool), gateway, auxiliary, subnet.chosen)
            self._db.execute("INSERT INTO subnets VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def replace_subnets(self, network: Network, subnets: tuple[Subnet, ...]) -> Network:
        """Give a network its ranges (the default bridge gets them at its first use)."""
        new = replace(network, subnets=subnets)
        with self._db.transaction():
            self._db.execute("DELETE FROM subnets WHERE network = ?", (network.id,))
            self._insert_subnets(new)
        self._networks[new.id] = new
        return new

    def check_name(self, name: str) -> None:
        """Raise Conflict when a network has this name."""
        if name in self._names:
            raise Conflict(f"network with name {name} already exists")

    def delete(self, network: Network) -> None:
        """Forget a network, and who was to be on it."""
        self._db.execute("DELETE FROM networks WHERE id = ?", (network.id,))
        del self._networks[network.id], self._names[network.name]
        for endpoint in self._by_network.pop(network.id, {}).values():
            self._forget(endpoint)

    def get(self, ref: str) -> Network:
        """The network of this name, id or unambiguous beginning of an id. Raises NotFound, InvalidArgument."""
        found = self.find(ref)
        if found is not None:
            return found
        fits = [n for n in self._networks.values() if len(ref) >= _SHORTEST and n.id.startswith(ref)]
        if not fits:
            raise NotFound(f"network {ref} not found")
        if len(fits) > 1:
            raise InvalidArgument(f"network {ref} is ambiguous ({len(fits)} matches found on ID prefix)")
        return fits[0]

    def find(self, ref: str) -> Network | None:
        """The network of exactly this id or name."""
        return self._networks.get(ref) or self._networks.get(self._names.get(ref, ""))

    def all(self) -> list[Network]:
        """Every network, oldest first."""
        return list(self._networks.values())

    # --- endpoints ---------------------------------------------------------------------------------

    def connect(self, endpoint: Endpoint) -> None:
        """Add an endpoint. Raises Conflict when the container is on that network already."""
        network = self._networks[endpoint.network]
        if self.endpoint(endpoint.container, network) is not None:
            raise Conflict(f"container {endpoint.container[:12]} is on network {network.name} already")
        values = _row(endpoint, _ENDPOINT)
        self._db.execute(f"INSERT INTO endpoints VALUES ({','.join('?' * len(values))})", values)
        self._keep(endpoint)

    def disconnect(self, endpoint: Endpoint) -> None:
        """Forget an endpoint with its addresses."""
        self._db.execute("DELETE FROM endpoints WHERE id = ?", (endpoint.id,))
        self._by_network[endpoint.network].pop(endpoint.id, None)
        self._forget(endpoint)

    def use(self, endpoint: Endpoint, **changes: Any) -> Endpoint:
        """Note what a running container's endpoint has: addresses, mac, interfaces; all of it "" when it has ended.

        Raises Conflict when another endpoint of the network has the address.
        """
        new = replace(endpoint, **changes)
        network = self._networks[new.network]
        holders = self.addresses_on(network)
        for address in new.addresses:
            if address in holders and holders[address].id != new.id:
                raise Conflict(f"Address already in use: {address} on network {network.name}")
        with self._db.transaction():
            self._db.execute("DELETE FROM addresses WHERE endpoint = ?", (new.id,))
            for address in new.addresses:
                self._db.execute("INSERT INTO addresses VALUES (?, ?, ?)", (new.network, address, new.id))
            self._db.execute(
                "UPDATE endpoints SET mac = ?, interface = ?, host_interface = ?, settings = ? WHERE id = ?",
                (new.mac, new.interface, new.host_interface, json.dumps(new.settings), new.id),
            )
        self._keep(new)
        return new

    def endpoints_of(self, container: str) -> list[Endpoint]:
        """A container's endpoints, in the order in which it was connected."""
        return sorted(self._by_container.get(container, {}).values(), key=lambda endpoint: endpoint.order)

    def endpoints_on(self, network: Network) -> list[Endpoint]:
        """A network's endpoints, those of containers that do not run included."""
        return list(self._by_network.get(network.id, {}).values())

    def endpoint(self, container: str, network: Network) -> Endpoint | None:
        """The endpoint of a container on a network."""
        return next((e for e in self._by_container.get(container, {}).values() if e.network == network.id), None)

    def addresses_on(self, network: Network) -> dict[str, Endpoint]:
        """Address → who has it, of running containers."""
        return {address: e for e in self._by_network.get(network.id, {}).values() for address in e.addresses}

    def all_endpoints(self) -> list[Endpoint]:
        """Every endpoint."""
        return list(self._endpoints.values())

    # --- published ports ---------------------------------------------------------------------------

    def publish(self, ports: Iterable[Published]) -> None:
        """Note ports of running containers."""
        rows = list(ports)
        with self._db.transaction():
            self._db.execute_many(
                "INSERT OR REPLACE INTO published VALUES (?, ?, ?, ?, ?)",
                [(port.container, port.protocol, port.host_ip, port.host_port, port.port) for port in rows],
            )
        for port in rows:
            self._published[port.container].append(port)

    def unpublish(self, container: str, ports: Iterable[Published] | None = None) -> list[Published]:
        """Forget ports of a container, by default all; returns them."""
        gone = list(self._published.get(container, ()) if ports is None else ports)
        if gone:
            with self._db.transaction():
                self._db.execute_many(
                    "DELETE FROM published WHERE protocol = ? AND host_ip = ? AND host_port = ?",
                    [(port.protocol, port.host_ip, port.host_port) for port in gone],
                )
        keys = {port.key for port in gone}
        left = [port for port in self._published.pop(container, ()) if port.key not in keys]
        if left:
            self._published[container] = left
        return gone

    def published_by(self, container: str) -> list[Published]:
        """The ports of a running container."""
        return list(self._published.get(container, ()))

    def all_published(self) -> list[Published]:
        """The ports of all running containers."""
        return [port for ports in self._published.values() for port in ports]

    # --- memory ------------------------------------------------------------------------------------

    def _remember(self, network: Network) -> None:
        self._networks[network.id] = network
        self._names[network.name] = network.id

    def _keep(self, endpoint: Endpoint) -> None:
        self._endpoints[endpoint.id] = endpoint
        self._by_network[endpoint.network][endpoint.id] = endpoint
        self._by_container[endpoint.container][endpoint.id] = endpoint

    def _forget(self, endpoint: Endpoint) -> None:
        self._endpoints.pop(endpoint.id, None)
        rest = self._by_container.get(endpoint.container, {})
        rest.pop(endpoint.id, None)
        if not rest:
            self._by_container.pop(endpoint.container, None)


def _row(item: Network | Endpoint, columns: list[str]) -> list[Any]:
    values = ((column, getattr(item, column)) for column in columns)
    return [json.dumps(value, separators=(",", ":")) if column in _JSON else value for column, value in values]


def _network(row: Any, subnets: tuple[Subnet, ...]) -> Network:
    values = {column: row[column] for column in _NETWORK}
    values |= {column: json.loads(row[column]) for column in _NETWORK if column in _JSON}
    values |= {column: bool(row[column]) for column in _BOOLEANS}
    return Network(**values, subnets=subnets)


def _subnet(row: Any) -> Subnet:
    gateway = ip_address(row["gateway"]) if row["gateway"] else None
    prefix, pool = ip_network(row["prefix"]), ip_network(row["pool"])
    return Subnet(prefix, pool, gateway, json.loads(row["auxiliary"]), bool(row["chosen"]))
