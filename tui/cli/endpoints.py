"""``--network`` and what goes with it (addresses, aliases, links, names) as members of the create request.

The first network is the container's own, as with Docker: ``--ip``, ``--network-alias`` and their like are about it.
"""

from __future__ import annotations

from tui.cli.addresses import bare, canonical, is_hardware, version
from tui.cli.errors import CliError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

_ALNUM = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


def add(options: Options, config: dict[str, Any], host: dict[str, Any]) -> None:
    """Put what was given into the request. Raises UsageError or CliError naming the flag."""
    if options["publish"] or options["expose"]:
        from tui.cli import ports

        ports.add(options, config, host)
    if options["publish-all"]:
        host["PublishAllPorts"] = True
    for member, flag, convert in (
        ("Dns", "dns", _server),
        ("DnsOptions", "dns-option", str),
        ("DnsSearch", "dns-search", _domain),
        ("ExtraHosts", "add-host", _host),
        ("Links", "link", link),
    ):
        if options[flag]:
            host[member] = [_converted(flag, text, convert) for text in options[flag]]
    networks = [_converted("network", text, network) for text in options["network"]] or [Network("default")]
    _first(networks[0], options)
    host["NetworkMode"] = networks[0].name
    endpoints = _endpoints(networks)
    # As Docker: a single network without settings is the mode alone.
    if len(networks) > 1 or any(endpoints.values()):
        config["NetworkingConfig"] = {"EndpointsConfig": endpoints}


def _converted(flag: str, text: str, convert: Any) -> Any:
    try:
        return convert(text)
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "--{flag}" flag: {error}') from None


def _conflict(why: str) -> CliError:
    return CliError(f"conflicting options: {why}", 125)


class Network:
    """One ``--network``: the name, and the endpoint's settings in the API's names."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.address: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}

    def users_own(self) -> bool:
        """Whether a person made it: not one that every engine has, nor another container's."""
        return self.name not in ("default", "bridge", "host", "none") and not self.name.startswith("container:")

    def endpoint(self) -> dict[str, Any]:
        """EndpointSettings with what was given."""
        return {"IPAMConfig": self.address, **self.settings} if self.address else self.settings


def network(text: str) -> Network:
    """``NAME`` or ``name=NAME,alias=…,ip=…``. Raises ValueError in Docker's words."""
    if "=" not in text:
        return Network(text)
    from tui.cli.mounts import comma_separated

    found = Network("")
    for field in comma_separated(text):
        key, equals, value = field.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key or (not value and key != "name"):
            raise ValueError(f"invalid field {field}")
        if key == "name":
            found.name = value
        else:
            _member(found, key, value)
    if not found.name:
        raise ValueError("network name/id is not specified")
    return found


def _member(found: Network, key: str, value: str) -> None:
    if key == "alias":
        found.settings.setdefault("Aliases", []).append(value)
    elif key == "ip":
        found.address["IPv4Address"] = ipv4(value)
    elif key == "ip6":
        found.address["IPv6Address"] = ipv6(value)
    elif key == "link-local-ip":
        found.address.setdefault("LinkLocalIPs", []).append(any_ip(value))
    elif key == "mac-address":
        found.settings["MacAddress"] = hardware(value)
    elif key == "driver-opt":
        name, equals, setting = value.partition("=")
        if not equals or not name:
            raise ValueError("invalid key value pair format in driver options")
        found.settings.setdefault("DriverOpts", {})[name.strip()] = setting.strip()
    elif key == "gw-priority":
        if not (value.lstrip("+-").isdecimal() and value.isascii() and len(value) < 19):
            raise ValueError(f"invalid gw-priority ({value}): invalid syntax")
        found.settings["GwPriority"] = int(value)
    else:
        raise ValueError(f"invalid field key {key}")


def _first(found: Network, options: Options) -> None:
    """``--ip`` and its like belong to the first network, which must not have the same setting of its own."""
    if options["network-alias"]:
        if "Aliases" in found.settings:
            raise _conflict("cannot specify both --network-alias and per-network alias")
        found.settings["Aliases"] = list(options["network-alias"])
    for flag, member, what, check in (
        ("ip", "IPv4Address", "IPv4 address", ipv4),
        ("ip6", "IPv6Address", "IPv6 address", ipv6),
    ):
        if options[flag]:
            if member in found.address:
                raise _conflict(f"cannot specify both --{flag} and per-network {what}")
            found.address[member] = _converted(flag, options[flag], check)
    if options["link-local-ip"]:
        if "LinkLocalIPs" in found.address:
            raise _conflict("cannot specify both --link-local-ip and per-network link-local IP addresses")
        found.address["LinkLocalIPs"] = [_converted("link-local-ip", text, any_ip) for text in options["link-local-ip"]]
    if options["mac-address"]:
        if "MacAddress" in found.settings:
            raise _conflict("cannot specify both --mac-address and per-network MAC address")
        found.settings["MacAddress"] = _converted("mac-address", options["mac-address"], hardware)
    if options["link"] and found.users_own():
        found.settings["Links"] = list(options["link"])


def _endpoints(networks: list[Network]) -> dict[str, dict[str, Any]]:
    endpoints: dict[str, dict[str, Any]] = {}
    for each in networks:
        if not each.name:
            raise CliError("no name set for network", 125)
        if "Aliases" in each.settings and not each.users_own():
            raise CliError("network-scoped aliases are only supported for user-defined networks", 125)
        if each.name in endpoints:
            raise CliError(f'network "{each.name}" is specified multiple times', 125)
        endpoints[each.name] = each.endpoint()
    if len({each.users_own() for each in networks}) > 1:
        raise _conflict("cannot attach both user-defined and non-user-defined network-modes")
    return endpoints


# --- one value: each returns it, or raises ValueError in Docker's words ----------------------------


def ipv4(text: str) -> str:
    """An IPv4 address."""
    if version(text) != 4:
        raise ValueError(f"invalid IPv4 address: {text}")
    return text


def ipv6(text: str) -> str:
    """An IPv6 address."""
    if version(text) != 6:
        raise ValueError(f"invalid IPv6 address: {text}")
    return text


def any_ip(text: str) -> str:
    """An address of either kind."""
    if not version(text):
        raise ValueError(f"invalid IP address: {text}")
    return text


def hardware(text: str) -> str:
    """A MAC address."""
    if not is_hardware(text):
        raise ValueError(f"{text} is not a valid mac address")
    return text


def link(text: str) -> str:
    """``CONTAINER[:ALIAS]``."""
    if not text:
        raise ValueError("empty string specified for links")
    if text.count(":") > 1:
        raise ValueError(f"bad format for links: {text}")
    return text


def _server(text: str) -> str:
    if not version(text.strip()):
        raise ValueError(f"IP address is not correctly formatted: {text}")
    return canonical(text.strip())


def loopback_warnings(body: dict[str, Any]) -> list[str]:
    """What Docker says of a DNS server that only the container itself can be."""
    local = [server for server in body["HostConfig"]["Dns"] if server == "::1" or server.startswith("127.")]
    # One is enough.
    return [f"Localhost DNS ({server}) may fail in containers." for server in local[:1]]


def _domain(text: str) -> str:
    """A search domain; ``.`` stands for none."""
    name = text.strip(" ")
    if name == ".":
        return name
    name = name.removesuffix(".")
    labels = name.split(".")
    letters = any(c.isalpha() for c in name)
    if not letters or len(name) >= 255 or not all(map(_is_label, labels)):
        raise ValueError(f"{text} is not a valid domain")
    return name


def _is_label(text: str) -> bool:
    return bool(text) and _ALNUM.issuperset(text.replace("-", "")) and text[0] != "-" and text[-1] != "-"


def _host(text: str) -> str:
    """``NAME:IP`` or ``NAME=IP`` → ``NAME:IP``; the address may be the word host-gateway."""
    name, separator, address = text.partition("=")
    if not separator:
        name, separator, address = text.partition(":")
    if not separator or not name or any(c.isspace() for c in name):
        raise ValueError(f'bad format for add-host: "{text}"')
    address = bare(address)
    if address != "host-gateway" and not version(address):
        raise ValueError(f'invalid IP address in add-host: "{address}"')
    return f"{name}:{address}"
