"""Networks, endpoints and published ports as frozen rows; a change makes a new one."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network

#: Networks every engine has, by the drivers behind them.
PREDEFINED = {"bridge": "bridge", "host": "host", "none": "null"}


@dataclass(frozen=True, slots=True)
class Subnet:
    """One range of addresses of a network. ``gateway`` is the bridge's own address, None where there is none.

    ``pool`` is where addresses are given from (``--ip-range``), the whole subnet by default; ``auxiliary`` are names
    of addresses that belong to others. ``chosen``: a person named it, so that fixed addresses in it are allowed.
    """

    prefix: Prefix
    pool: Prefix
    gateway: Address | None = None
    auxiliary: dict[str, str] = field(default_factory=dict)
    chosen: bool = False

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.prefix.version


@dataclass(frozen=True, slots=True)
class Network:
    """``driver`` is bridge, macvlan, ipvlan, host or null. ``device``: the bridge, or the parent interface."""

    id: str
    name: str
    created: int  # nanoseconds since the epoch
    driver: str
    device: str = ""
    subnets: tuple[Subnet, ...] = ()
    internal: bool = False
    attachable: bool = False
    ipv4: bool = True
    ipv6: bool = False
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    ipam_driver: str = "default"
    ipam_options: dict[str, str] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """The 12 digits that people see."""
        return self.id[:12]

    @property
    def predefined(self) -> bool:
        """Whether every engine has it, and nobody may remove it."""
        return self.name in PREDEFINED

    @property
    def is_default_bridge(self) -> bool:
        """The network of a container that names none."""
        return self.name == "bridge"

    @property
    def has_interfaces(self) -> bool:
        """Whether a container on it gets an interface of its own."""
        return self.driver not in ("host", "null")

    def subnet(self, version: int) -> Subnet | None:
        """The first subnet of IP ``version``."""
        return next((subnet for subnet in self.subnets if subnet.version == version), None)

    def flag(self, option: str, default: bool) -> bool:
        """A truth value of ``options``."""
        value = self.options.get(option, "")
        return value.lower() in ("true", "1") if value else default

    @property
    def mtu(self) -> int:
        """Bytes; 0: the kernel's default."""
        return int(self.options.get("com.docker.network.driver.mtu") or 0)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One container on one network.

    ``settings`` are Docker's EndpointSettings as they were asked for. The rest is of the running container, empty
    when it does not run: addresses without prefix, ``interface`` in the container, ``host_interface`` its peer.
    """

    id: str
    network: str
    container: str
    order: int
    settings: dict[str, Any] = field(default_factory=dict)
    address4: str = ""
    address6: str = ""
    mac: str = ""
    interface: str = ""
    host_interface: str = ""

    @property
    def active(self) -> bool:
        """Whether its container runs with it."""
        return bool(self.interface)

    @property
    def aliases(self) -> list[str]:
        """Names besides the container's own."""
        return list(self.settings.get("Aliases") or ())

    @property
    def gateway_priority(self) -> int:
        """The endpoint with the highest one gives the container its default route."""
        return int(self.settings.get("GwPriority") or 0)

    @property
    def addresses(self) -> list[str]:
        """Those it has, IPv4 first."""
        return [address for address in (self.address4, self.address6) if address]


@dataclass(frozen=True, slots=True)
class Published:
    """One port of a running container on the host: ``host_ip:host_port`` is ``port`` of the container."""

    container: str
    protocol: str  # tcp, udp or sctp
    host_ip: str  # "0.0.0.0" and "::" are all addresses
    host_port: int
    port: int

    @property
    def key(self) -> str:
        """Its name between daemon and monitor."""
        return f"{self.protocol}/{self.host_ip}/{self.host_port}"

    @property
    def text(self) -> str:
        """``127.0.0.1:8080/tcp``, for people."""
        host = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip
        return f"{host}:{self.host_port}/{self.protocol}"
