"""Other programs' firewalls, loaded into a namespace as the rules that they leave in the kernel."""

from __future__ import annotations

from pathlib import Path

from tests.network.namespace import NetNs

_DATA = Path(__file__).with_name("data")


def load(namespace: NetNs, program: str) -> None:
    """The rule set of ``ufw``, ``firewalld`` or ``dockerd``, beside what is there."""
    namespace.nft((_DATA / f"{program}.nft").read_text())


def unload(namespace: NetNs, program: str) -> None:
    """Take its tables away again."""
    namespace.nft("".join(f"delete {table}\n" for table in _tables(program)))


def text(namespace: NetNs, program: str) -> str:
    """Its tables as they are in force now, without counters: nobody else may change a line of them."""
    return "".join(namespace.run(["nft", "-s", "list", *table.split()]) for table in _tables(program))


def _tables(program: str) -> list[str]:
    lines = (_DATA / f"{program}.nft").read_text().splitlines()
    return [line.removesuffix(" {") for line in lines if line.startswith("table ")]
