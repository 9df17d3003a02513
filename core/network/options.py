"""What a person may ask of a new network: the body of ``POST /networks/create``, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Network, ip_address, ip_network
from typing import Any

from core.errors import Forbidden, InvalidArgument, Unsupported
from core.linux.links import IPVLAN_FLAGS, IPVLAN_MODES, MACVLAN_MODES
from core.network.ipam import first_address
from core.network.model import PREDEFINED, Prefix, Subnet

DRIVERS = ("bridge", "macvlan", "ipvlan", "host", "null")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_DEVICE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_MAPPED = IPv6Network("::ffff:0:0/96")
_BRIDGE = "com.docker.network.bridge."
_BOOLEANS = {f"{_BRIDGE}{name}" for name in ("enable_icc", "enable_ip_masquerade", "default_bridge")}
#: Options of Docker's drivers that have an effect which this engine does not have, with the values that mean nothing.
_UNSUPPORTED = {
    f"{_BRIDGE}gateway_mode_ipv4": ("nat",),
    f"{_BRIDGE}gateway_mode_ipv6": ("nat",),
    f"{_BRIDGE}inhibit_ipv4": ("false", "0"),
    f"{_BRIDGE}trusted_host_interfaces": ("",),
    "com.docker.network.host_ipv4": ("",),
    "com.docker.network.host_ipv6": ("",),
}


@dataclass(frozen=True, slots=True)
class Specification:
    """A checked wish for a network."""

    name: str
    driver: str = "bridge"
    subnets: tuple[Subnet, ...] = ()
    internal: bool = False
    attachable: bool = False
    ipv4: bool = True
    ipv6: bool = False
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    ipam_driver: str = "default"
    ipam_options: dict[str, str] = field(default_factory=dict)


def parse_create(body: Any) -> Specification:
    """Check the body. Raises InvalidArgument, Unsupported or Forbidden, naming the member."""
    if not isinstance(body, dict):
        raise InvalidArgument("the request's body must be a JSON object")
    name = _text(body, "Name")
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"invalid network name {name[:80]!r}", hint="only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    if name in PREDEFINED or name in ("default", "container"):
        raise Forbidden(f"operation is not permitted on predefined {name} network")
    for member in ("ConfigOnly", "Ingress"):
        if body.get(member):
            raise Unsupported(f"{member} is not supported by this version of Dockyard")
    if isinstance(body.get("ConfigFrom"), dict) and body["ConfigFrom"].get("Network"):
        raise Unsupported("ConfigFrom is not supported by this version of Dockyard")
    if _text(body, "Scope") not in ("", "local"):
        raise Unsupported(f"Scope {_text(body, 'Scope')} is not supported: there is no swarm")
    driver = {"none": "null", "": "bridge"}.get(_text(body, "Driver"), _text(body, "Driver"))
    if driver not in DRIVERS:
        raise Unsupported(f"network driver {driver[:40]!r} is not supported", hint=f"one of {', '.join(DRIVERS)}")
    if driver in ("host", "null"):
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    options = _map(body, "Options")
    check_options(driver, options)
    ipv4, ipv6 = _flag(body, "EnableIPv4", True), _flag(body, "EnableIPv6", False)
    if not ipv4 and not ipv6:
        raise InvalidArgument("a network needs IPv4 or IPv6", hint="leave out --ipv4=false, or add --ipv6")
    ipam = body.get("IPAM") or {}
    if not isinstance(ipam, dict):
        raise InvalidArgument("IPAM must be an object")
    if _text(ipam, "Driver") not in ("", "default"):
        raise Unsupported(f"IPAM driver {_text(ipam, 'Driver')!r} is not supported", hint="leave --ipam-driver out")
    if _map(ipam, "Options"):
        raise Unsupported("options of the IPAM driver are not supported", hint="leave --ipam-opt out")
    return Specification(
        name=name,
        driver=driver,
        subnets=parse_subnets(ipam.get("Config"), ipv4=ipv4, ipv6=ipv6),
        internal=_flag(body, "Internal", False),
        attachable=_flag(body, "Attachable", False),
        ipv4=ipv4,
        ipv6=ipv6,
        options=options,
        labels=_map(body, "Labels"),
        ipam_options=_map(ipam, "Options"),
    )


def check_options(driver: str, options: dict[str, str]) -> None:
    """Refuse what a driver does not know how to do. Raises InvalidArgument, Unsupported."""
    for key, value in options.items():
        if key in _UNSUPPORTED and value not in _UNSUPPORTED[key]:
            raise Unsupported(f"network option {key}={value} is not supported by this version of Dockyard")
        if key in _BOOLEANS and value.lower() not in ("true", "false", "1", "0"):
            raise InvalidArgument(f"network option {key} must be true or false, not {value[:40]!r}")
    mtu = options.get("com.docker.network.driver.mtu", "")
    if mtu and (not (mtu.isascii() and mtu.isdecimal()) or not 68 <= int(mtu) <= 65535):
        raise InvalidArgument(f"invalid MTU {mtu[:20]!r}: a number from 68 to 65535")
    for key in (f"{_BRIDGE}name", "parent"):
        if key in options and not _DEVICE.fullmatch(options[key]):
            raise InvalidArgument(
                f"network option {key}: {options[key][:40]!r} is no interface name (at most 15 of a-z 0-9 _ . -)"
            )
    binding = options.get(f"{_BRIDGE}host_binding_ipv4", "")
    if binding:
        _address(f"{_BRIDGE}host_binding_ipv4", binding)
    for key, known in (("macvlan_mode", MACVLAN_MODES), ("ipvlan_mode", IPVLAN_MODES), ("ipvlan_flag", IPVLAN_FLAGS)):
        if options.get(key) and (not driver.startswith(key[:4]) or options[key] not in known):
            raise InvalidArgument(
                f"network option {key}={options[key][:20]}: one of {', '.join(known)}, for its driver"
            )


def parse_subnets(value: Any, *, ipv4: bool, ipv6: bool) -> tuple[Subnet, ...]:
    """``IPAM.Config`` as ranges. Raises InvalidArgument."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidArgument("IPAM.Config must be a list of objects")
    found = [subnet for subnet in map(_subnet, value) if subnet is not None]
    for subnet in found:
        if not (ipv4 if subnet.version == 4 else ipv6):
            raise InvalidArgument(
                f"subnet {subnet.prefix} is IPv{subnet.version}, which this network does not have",
                hint="add --ipv6" if subnet.version == 6 else "leave out --ipv4=false",
            )
        for other in found:
            if other is not subnet and other.version == subnet.version and other.prefix.overlaps(subnet.prefix):
                raise InvalidArgument(f"subnets {subnet.prefix} and {other.prefix} of one network overlap")
    return tuple(found)


def _subnet(item: dict[str, Any]) -> Subnet | None:
    """One of them; None for an empty one, which Docker's clients send for "choose"."""
    text = _text(item, "Subnet")
    if not text:
        if any(item.get(key) for key in ("Gateway", "IPRange", "AuxiliaryAddresses")):
            raise InvalidArgument("a gateway, an IP range and auxiliary addresses need a subnet", hint="give --subnet")
        return None
    prefix = _prefix("Subnet", text)
    _check_usable(prefix)
    pool = _prefix("IPRange", _text(item, "IPRange")) if _text(item, "IPRange") else prefix
    if pool.version != prefix.version or not _within(pool, prefix):
        raise InvalidArgument(f"ip range {pool} is not in the subnet {prefix}")
    gateway = _address("Gateway", _text(item, "Gateway")) if _text(item, "Gateway") else first_address(prefix)
    if prefix.num_addresses > 2 and gateway in (prefix.network_address, prefix.broadcast_address):
        raise InvalidArgument(f"gateway {gateway} is the first or the last address of {prefix}, which no machine has")
    auxiliary = _map(item, "AuxiliaryAddresses")
    for name, address in {"gateway": str(gateway), **auxiliary}.items():
        if _address(name, address) not in prefix:
            raise InvalidArgument(f"address {address} ({name}) is not in the subnet {prefix}")
    if str(gateway) in {str(_address(name, address)) for name, address in auxiliary.items()}:
        raise InvalidArgument(f"address {gateway} is the gateway of {prefix}, and an auxiliary address too")
    return Subnet(prefix, pool, gateway, auxiliary, chosen=True)


def _check_usable(prefix: Prefix) -> None:
    """Refuse ranges that no container can have an address of."""
    for what, is_so in (
        ("for groups", prefix.is_multicast),
        ("for a machine's talk with itself", prefix.is_loopback),
        ("for one link alone", prefix.is_link_local),
        ("no machine's", prefix.is_unspecified or prefix.network_address.is_unspecified),
        ("reserved", prefix.version == 4 and prefix.is_reserved),
        ("IPv4's, in IPv6's clothes", prefix.version == 6 and prefix.subnet_of(_MAPPED)),
    ):
        if is_so:
            raise InvalidArgument(f"subnet {prefix} cannot be used: it is {what}", hint="take one of 172.16.0.0/12")
    if prefix.num_addresses < 2:
        raise InvalidArgument(f"subnet {prefix} has one address, and the gateway takes it", hint="take a larger one")


def _within(pool: Prefix, prefix: Prefix) -> bool:
    return pool.network_address in prefix and pool.broadcast_address in prefix


def _prefix(member: str, text: str) -> Prefix:
    try:
        return ip_network(text)
    except ValueError as error:
        raise InvalidArgument(f"invalid {member}: {error}", hint=_right(text)) from None


def _right(text: str) -> str:
    """What was probably meant."""
    try:
        return f"did you mean {ip_network(text, strict=False)}?"
    except ValueError:
        return "write it as 172.30.0.0/24"


def _address(member: str, text: str) -> Any:
    try:
        return ip_address(text)
    except ValueError:
        raise InvalidArgument(f"invalid {member} {text[:60]!r}: not an IP address") from None


def _text(body: dict[str, Any], member: str) -> str:
    value = body.get(member) or ""
    if not isinstance(value, str) or "\0" in value:
        raise InvalidArgument(f"{member} must be a string")
    return value


def _flag(body: dict[str, Any], member: str, default: bool) -> bool:
    value = body.get(member)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidArgument(f"{member} must be true or false")
    return value


def _map(body: dict[str, Any], member: str) -> dict[str, str]:
    value = body.get(member)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise InvalidArgument(f"{member} must be an object of strings")
    return value
