"""The three files of /etc that the engine writes for a container: hosts, hostname and resolv.conf."""

from __future__ import annotations

import os
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from core.container.status import Container
from core.errors import InvalidArgument
from core.network import names
from core.network.attach import RESOLVER
from core.network.model import Endpoint
from core.network.names import Hosts


def has_own_network(container: Container) -> bool:
    """Whether it is attached to networks: not the host's, not another container's, not none."""
    mode = container.host_config["NetworkMode"]
    return mode not in ("host", "none") and not mode.startswith("container:")


def hostname(container: Container) -> str:
    """Its host name: given, else the host's own with host networking, else its short id."""
    if container.config["Hostname"]:
        return str(container.config["Hostname"])
    if "host" in (container.host_config["NetworkMode"], container.host_config["UTSMode"]):
        return os.uname().nodename[:64]
    return container.short


def hosts(
    container: Container, endpoints: Sequence[Endpoint], gateway: str, links: Sequence[tuple[list[str], list[str]]]
) -> Hosts:
    """The engine's lines: links, what the person added, the container's own addresses."""
    name = hostname(container)
    domain = container.config["Domainname"]
    whole = f"{name}.{domain}" if domain else name
    # As Docker: the first label of a name with several, too.
    own = " ".join(dict.fromkeys([whole, name, whole.partition(".")[0]]))
    lines = [(address, " ".join(names_)) for names_, addresses in links for address in addresses]
    lines += [(gateway if address == "host-gateway" else address, host) for host, address in extra_hosts(container)]
    lines += [(address, own) for endpoint in endpoints for address in endpoint.addresses]
    if domain and not any(endpoint.addresses for endpoint in endpoints):
        lines.append(("127.0.0.1", own))
    return Hosts(tuple(lines))


def extra_hosts(container: Container) -> list[tuple[str, str]]:
    """(name, address) of each ``--add-host``."""
    return [split_extra_host(text) for text in container.host_config["ExtraHosts"]]


def split_extra_host(text: str) -> tuple[str, str]:
    """``name:address``; the address may be IPv6, in brackets or not."""
    name, colon, address = text.partition(":")
    if not name or not colon or not address:
        raise InvalidArgument(f"bad format for add-host: {text!r}", hint="write NAME:ADDRESS or NAME:host-gateway")
    return name, address.strip("[]")


def files(container: Container, name: str, lines: Hosts, *, resolves: bool) -> dict[str, str]:
    """The content of the three files for a start. ``resolves``: its monitor answers for its names."""
    host = container.host_config
    theirs = names.host_resolv_conf()
    if host["NetworkMode"] == "host":
        hosts_text = (names.read("/etc/hosts") or Hosts().text()) + lines.own()
    else:
        hosts_text = lines.text()
    servers = [RESOLVER] if resolves else list(host["Dns"]) or _servers(theirs)
    if resolves or host["Dns"] or host["DnsSearch"] or host["DnsOptions"]:
        resolv = names.resolv_conf(servers, list(host["DnsSearch"]) or None, list(host["DnsOptions"]), theirs)
    else:
        resolv = theirs
    return {"hosts": hosts_text, "hostname": name + "\n", "resolv.conf": resolv}


def _servers(text: str) -> list[str]:
    lines = (line.split() for line in text.splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


def stale(current: str, now: Hosts) -> Hosts:
    """The lines of a file that name what ``now`` names, with other addresses: a linked container has moved."""
    ours = {names_ for _, names_ in now.lines}
    found: list[tuple[str, str]] = []
    for line in current.splitlines():
        address, tab, names_ = line.partition("\t")
        if tab and (names_ in ours or (address, names_) in now.lines):
            found.append((address, names_))
    return Hosts(tuple(found))


def parse_dns(host: dict[str, Any]) -> None:
    """Check ``--dns`` and ``--add-host``. Raises InvalidArgument."""
    for text in host["Dns"]:
        try:
            ip_address(text)
        except ValueError:
            raise InvalidArgument(
                f"{text[:60]} is not an ip address", hint="--dns takes the address of a server"
            ) from None
    for text in host["ExtraHosts"]:
        _, address = split_extra_host(text)
        if address != "host-gateway":
            try:
                ip_address(address)
            except ValueError:
                raise InvalidArgument(f"invalid IP address in add-host: {address[:60]!r}") from None
