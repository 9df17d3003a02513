"""Who is called what: the tables that the resolvers in the monitors read, /etc/hosts and /etc/resolv.conf.

A network's table is one file for all its containers: a start rewrites one small file, not one for each neighbour. Files
are replaced by rename(2), so that a reader has the old one or the new one, whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.network.attach import RESOLVER
from core.network.model import Endpoint, Network

HOST_RESOLV_CONF = "/etc/resolv.conf"
_MAX_BYTES = 65536
_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


@dataclass(frozen=True, slots=True)
class Named:
    """One endpoint with the names its container has on that network, the container's own first."""

    endpoint: Endpoint
    names: Sequence[str]


def table(network: Network, members: Iterable[Named]) -> dict[str, Any]:
    """``{"name", "names": {name: [address …]}, "reverse": {address: name}}``; names in lower case."""
    names: dict[str, list[str]] = {}
    reverse: dict[str, str] = {}
    for member in members:
        for name in member.names:
            known = names.setdefault(name.lower(), [])
            known += [address for address in member.endpoint.addresses if address not in known]
        for address in member.endpoint.addresses:
            reverse[address] = member.names[0]
    return {"name": network.name, "names": names, "reverse": reverse}


def resolver(tables: Sequence[str], own: Mapping[str, list[str]], upstream: Sequence[str], *, forward: bool) -> Any:
    """What one container's resolver is told: ``dns.json`` of its run folder."""
    return {"networks": list(tables), "own": dict(own), "upstream": list(upstream), "forward": forward}


def write(path: str, document: Any) -> None:
    """Replace a table. Raises OSError."""
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(document, separators=(",", ":")).encode())
    finally:
        os.close(fd)
    os.rename(temporary, path)


@dataclass(frozen=True, slots=True)
class Hosts:
    """The lines of /etc/hosts that are the engine's: (address, names)."""

    lines: tuple[tuple[str, str], ...] = field(default=())

    def text(self) -> str:
        """The whole file of a fresh start."""
        return _HOSTS + self.own()

    def own(self) -> str:
        """The engine's lines alone."""
        return "".join(f"{address}\t{names}\n" for address, names in self.lines)

    def replaced_in(self, current: str, before: Hosts) -> str:
        """``current`` with our earlier lines taken out and these at the end: what the container wrote stays."""
        old = set(before.own().splitlines())
        kept = [line for line in current.splitlines() if line not in old]
        return "".join(f"{line}\n" for line in kept) + self.own()


def resolv_conf(servers: Sequence[str], search: Sequence[str] | None, options: Sequence[str], host: str) -> str:
    """A container's resolv.conf: ``servers``, and of the host's what the person has not set.

    ``search`` ["."] means none.
    """
    theirs = _parse(host)
    chosen = [] if search == ["."] else search or theirs["search"]
    kept = list(dict.fromkeys([*(options or theirs["options"])]))
    if servers == [RESOLVER] and not any(option.startswith("ndots:") for option in kept):
        # Docker's: a name without a dot is asked for as it is first.
        kept.append("ndots:0")
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(chosen)}"] if chosen else []
    lines += [f"options {' '.join(kept)}"] if kept else []
    return "".join(line + "\n" for line in lines)


def _parse(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"search": [], "options": []}
    for line in text.splitlines():
        key, *values = line.split() or [""]
        if key in ("search", "domain"):
            found["search"] = [value for value in values if value != "."]
        elif key == "options":
            found["options"] += values
    return found


def host_resolv_conf() -> str:
    """The host's resolv.conf; "" when it has none."""
    return read(HOST_RESOLV_CONF)


def read(path: str) -> str:
    """A small text file, "" when it cannot be read. Never through a symlink of a container."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_MAX_BYTES)
    except OSError:
        return ""


def overwrite(path: str, text: str) -> None:
    """New content in the same file: it is mounted into the container, and a new file would not be. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        data = text.encode()
        os.write(fd, data)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)
