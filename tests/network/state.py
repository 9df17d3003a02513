"""What a network namespace holds: taken before and after, so that a test can say that nothing was left."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.network.namespace import NetNs

_LISTENING = "0A"  # TCP_LISTEN of include/net/tcp_states.h
_UNCONNECTED = "07"  # TCP_CLOSE: how a bound UDP socket is listed
_KINDS = ("link", "address", "route", "rule", "socket")


class State(NamedTuple):
    """Lines of text. ``rules`` are those of nftables without counters and handles, iptables' own among them."""

    links: frozenset[str]
    addresses: frozenset[str]
    routes: frozenset[str]
    rules: frozenset[str]
    sockets: frozenset[str]

    def missing(self, later: State) -> list[str]:
        """What was in this one and is not in ``later``."""
        pairs = zip(_KINDS, self, later, strict=True)
        return [f"{kind}: {text}" for kind, old, new in pairs for text in sorted(old - new)]

    def added(self, later: State) -> list[str]:
        """What ``later`` has besides; a sentence each, empty when nothing was left behind."""
        return later.missing(self)


def state(namespace: NetNs) -> State:
    """What is there now."""
    links = _json(namespace, "ip", "-j", "-d", "link")
    return State(
        frozenset(_link(link) for link in links),
        frozenset(_addresses(_json(namespace, "ip", "-j", "address"))),
        frozenset(_routes(namespace)),
        frozenset(_rules(_json(namespace, "nft", "-j", "list", "ruleset"))),
        frozenset(namespace.inside(lambda: list(_sockets(Path("/proc/thread-self/net"))))),
    )


def _json(namespace: NetNs, *argv: str) -> Any:
    return json.loads(namespace.run(argv) or "[]")


def _link(link: dict[str, Any]) -> str:
    kind = link.get("linkinfo", {}).get("info_kind", "")
    master = f" on {link['master']}" if "master" in link else ""
    return f"{link['ifname']} {kind}{master}"


def _addresses(links: list[dict[str, Any]]) -> Iterator[str]:
    for link in links:
        for address in link.get("addr_info", []):
            # Those that the kernel makes by itself come and go with the carrier.
            if address.get("scope") != "link" or address["family"] == "inet":
                yield f"{address['local']}/{address['prefixlen']} on {link['ifname']}"


def _routes(namespace: NetNs) -> Iterator[str]:
    for version in ("-4", "-6"):
        for route in _json(namespace, "ip", "-j", version, "route", "show", "table", "all"):
            target = str(route["dst"])
            if version == "-6" and target.startswith(("fe80:", "ff00:", "multicast")):
                continue  # the kernel's own, a moment after an interface comes up
            yield f"{target} by {route.get('gateway', '')} {route.get('dev', '')}".strip()


def _rules(answer: dict[str, Any]) -> Iterator[str]:
    for item in answer["nftables"]:
        if "metainfo" in item:
            continue
        for kind in ("set", "map"):  # their elements come in no order: a line each
            for element in item.get(kind, {}).pop("elem", ()):
                yield f"{item[kind]['table']} {item[kind]['name']}: {json.dumps(element, sort_keys=True)}"
        text = json.dumps(item, sort_keys=True)
        text = re.sub(r'"counter": \{[^}]*\}', '"counter": {}', text)
        yield re.sub(r'"handle": \d+, |, "handle": \d+', "", text)


def _sockets(folder: Path) -> Iterator[str]:
    """Listening TCP and unconnected UDP sockets: ``tcp 0100007F:1F90``, as /proc/net lists them."""
    for name in ("tcp", "tcp6", "udp", "udp6"):
        wanted = _LISTENING if name.startswith("tcp") else _UNCONNECTED
        for line in (folder / name).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == wanted:
                yield f"{name} {words[1]}"
