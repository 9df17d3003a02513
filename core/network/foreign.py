"""Other programs' firewalls beside ours: what they drop of our packets, and what our ports go around.

A drop anywhere wins (nft(8)): an accept of ours does not help where dockerd has set ``FORWARD policy drop``, ufw its
``DEFAULT_FORWARD_POLICY``, or firewalld rejects what no zone allows. Nothing of theirs is touched, but where a program
has a chain that is made for others (dockerd: DOCKER-USER), accepts for our bridges go into it, marked with the name of
our table. Where there is none, the person is told the line that helps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core.linux.nftables import Nftables

#: (key, interface) of each.
_Conditions = tuple[tuple[str, str], ...]

_USER_CHAIN = "DOCKER-USER"
_ISOLATION = "DOCKER-ISOLATION-STAGE-1"


@dataclass(frozen=True, slots=True)
class Findings:
    """``dropping``: tables that drop forwarded packets by default. ``user_chains``: families that have DOCKER-USER.

    ``bridges`` are dockerd's, whose isolation stays its own. ``active``: the firewalls a person has set up to guard
    this host, and that published ports go around.
    """

    dropping: tuple[str, ...] = ()
    user_chains: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()  # dockerd's own
    active: tuple[str, ...] = field(default=())

    def bypass_warning(self, ports: Sequence[str]) -> str:
        """What a person should know who publishes ``ports`` on all addresses; "" without such a firewall."""
        if not self.active or not ports:
            return ""
        names = " and ".join(self.active)
        return (
            f"{names} is active on this host, and published ports go around its rules for incoming traffic: "
            f"{', '.join(ports)} can be reached from outside. To keep it to this host, publish it on 127.0.0.1 "
            f"(-p 127.0.0.1:…), or start the engine with --ip 127.0.0.1"
        )

    def drop_warning(self, bridge: str) -> str:
        """What keeps a network's packets from passing, with the line that helps; "" when nothing does."""
        if "firewalld" in self.dropping:
            return (
                f"firewalld rejects packets from and to {bridge}: "
                f"run firewall-cmd --permanent --zone=trusted --add-interface={bridge} && firewall-cmd --reload"
            )
        if "ufw" in self.dropping:
            return f"ufw drops forwarded packets: run ufw route allow in on {bridge} && ufw route allow out on {bridge}"
        if "iptables" in self.dropping:
            return (
                f"the FORWARD policy of this host is drop: run iptables -I FORWARD -i {bridge} -j ACCEPT && "
                f"iptables -I FORWARD -o {bridge} -j ACCEPT"
            )
        return ""


def look(nftables: Nftables) -> Findings:
    """What is in force now besides our own tables. Raises RulesRefused."""
    chains = [item["chain"] for item in nftables.query("list chains") if "chain" in item]
    others = [chain for chain in chains if not str(chain["table"]).startswith("dockyard-")]
    names = {(chain["family"], chain["table"], chain["name"]) for chain in others}
    ufw = any(name.startswith("ufw-") for _, _, name in names)
    firewalld = any(table == "firewalld" for _, table, _ in names)
    user_chains = tuple(family for family in ("ip", "ip6") if (family, "filter", _USER_CHAIN) in names)
    dropping = []
    for chain in others:
        if chain.get("hook") == "forward" and chain.get("policy") == "drop":
            if chain["table"] == "filter" and chain["family"] in user_chains:
                continue  # our accepts are in DOCKER-USER
            dropping.append("ufw" if ufw and chain["table"] == "filter" else "iptables")
    # Its chain's policy is accept; the last rule of filter_FORWARD rejects.
    if firewalld and any(table == "firewalld" and name == "filter_FORWARD" for _, table, name in names):
        dropping.append("firewalld")
    active = [name for name, there in (("ufw", ufw), ("firewalld", firewalld)) if there]
    isolated = _isolated(nftables) if ("ip", "filter", _ISOLATION) in names else ()
    return Findings(tuple(dict.fromkeys(dropping)), user_chains, isolated, tuple(active))


def _isolated(nftables: Nftables) -> tuple[str, ...]:
    """dockerd's bridges: those that its first stage of isolation names as where packets come from."""
    rules = [item["rule"] for item in nftables.query(f"list chain ip filter {_ISOLATION}") if "rule" in item]
    names = (match for rule in rules for key, match in _matches(rule) if key == "iifname")
    return tuple(dict.fromkeys(names))


def accept(nftables: Nftables, mark: str, findings: Findings, bridges: Sequence[str]) -> None:
    """See that DOCKER-USER accepts what comes from and goes to our bridges, and no bridge that is gone.

    What goes from ours to dockerd's own is left to dockerd. Rules are known by their comment, ``mark``; they are plain
    enough for iptables to show. Raises RulesRefused.
    """
    for family in findings.user_chains:
        wanted: set[_Conditions] = {((key, bridge),) for bridge in bridges for key in ("iifname", "oifname")}
        wanted |= {(("iifname", bridge), ("oifname", other)) for bridge in bridges for other in findings.bridges}
        commands = []
        for item in nftables.query(f"list chain {family} filter {_USER_CHAIN}"):
            rule = item.get("rule")
            if not rule or rule.get("comment") != mark:
                continue
            match = _matches(rule)
            if match in wanted:
                wanted.discard(match)
            else:
                commands.append(f"delete rule {family} filter {_USER_CHAIN} handle {rule['handle']}\n")
        # Each is put before the others: those with two conditions come last, and so are asked first.
        for conditions in sorted(wanted, key=lambda conditions: (len(conditions), conditions)):
            text = " ".join(f'{key} "{name}"' for key, name in conditions)
            verdict = "accept" if len(conditions) == 1 else "return"
            rule_text = f"{text} counter {verdict} comment {json.dumps(mark)}"
            commands.append(f"insert rule {family} filter {_USER_CHAIN} {rule_text}\n")
        if commands:
            nftables.run("".join(commands))


def _matches(rule: dict[str, Any]) -> _Conditions:
    """(key, name) of each condition of a rule that is an interface's name."""
    found = []
    for part in rule.get("expr", ()):
        match = part.get("match")
        if match and match.get("op") == "==" and isinstance(match.get("left"), dict) and "meta" in match["left"]:
            found.append((str(match["left"]["meta"].get("key")), str(match.get("right"))))
    return tuple(found)
