"""The engine's nftables table in the kernel: put there, changed, and put back when somebody took it away.

Every change of rules on the machine is told on the multicast group NFNLGRP_NFTABLES, one transaction at a time: the
messages of what was changed, then NFT_MSG_NEWGEN with the pid that did it (linux/netfilter/nf_tables.h). One of another
process that touched our table (``nft flush ruleset``, a firewall's reload) makes us put the whole table back; any other
makes us look at what other firewalls do now (:mod:`core.network.foreign`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable, Sequence

from core.errors import DockyardError
from core.linux.nftables import Nftables, RulesRefused
from core.network import firewall, foreign
from core.network.firewall import Forwarding
from core.network.model import Network

log = logging.getLogger("dockyard.network")

_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_ADD_MEMBERSHIP = 1
_NFNLGRP_NFTABLES = 7
_SUBSYSTEM = 10
_NEWGEN = _SUBSYSTEM << 8 | 15
_GEN_PROC_PID = 2
#: Seconds until what another program did to its rules is looked at: it may be in the middle of a reload.
_PATIENCE = 0.1
_SO_RCVBUFFORCE = 33
#: A transaction of thousands of elements is told with each of them.
_BUFFER = 8 << 20

_Content = Callable[[], tuple[Sequence[Network], Sequence[Forwarding], Sequence[str]]]


class Rules:
    """The table of one engine. ``content`` tells what is to be in force now: networks, ports, outside interfaces.

    Without nftables (``available`` False) every published port is served by the proxy, and nothing is isolated;
    ``problem`` says why.
    """

    def __init__(self, engine: str, content: _Content) -> None:
        self.table = firewall.table_name(engine)
        self._content = content
        self._nftables: Nftables | None = None
        self._socket: socket.socket | None = None
        self._touched = False
        self._timer: asyncio.TimerHandle | None = None
        self.problem = ""
        self.findings = foreign.Findings()
        self.in_force = False

    @property
    def available(self) -> bool:
        """Whether rules can be made."""
        return self._nftables is not None

    def open(self) -> None:
        """Begin. Nothing is put into the kernel before the first ``apply``."""
        try:
            self._nftables = Nftables()
            self._nftables.run("list tables inet")
        except (OSError, RulesRefused) as error:
            if self._nftables is not None:
                self._nftables.close()
                self._nftables = None
            why = f"{_text(error)}, install libnftables" if isinstance(error, OSError) else error.message
            self.problem = (
                f"there is no nftables here ({why}): published ports go through a proxy, networks are not isolated "
                "from one another, and containers do not reach the world"
            )
            return
        self._listen()

    def close(self) -> None:
        """Let go; the table stays in force."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._nftables is not None:
            self._nftables.close()
            self._nftables = None

    # --- changes -----------------------------------------------------------------------------------

    def apply(self) -> None:
        """Put the whole table in force, in one transaction. Raises RulesRefused."""
        if self._nftables is None:
            return
        networks, ports, outside = self._content()
        self._nftables.run(firewall.render(self.table, networks, ports, outside))
        self.in_force = True
        self._meet_others()

    def survey(self) -> foreign.Findings:
        """What other firewalls do at this moment: they may have come up just now."""
        if self._nftables is not None:
            try:
                self.findings = foreign.look(self._nftables)
            except RulesRefused as error:
                log.warning("other programs' rules: %s", error)
        return self.findings

    def add(self, network: Network) -> None:
        """Put one more bridge network in force. Raises RulesRefused."""
        if self._nftables is None:
            return
        if not self.in_force:
            self.apply()
            return
        try:
            self._nftables.run(firewall.add_network(self.table, network))
        except RulesRefused:
            self.apply()  # the table is gone, or has what should not be there: what is right is known
        else:
            self._accept()

    def drop(self, network: Network) -> None:
        """Take one bridge network out; what the kernel refuses is put right as a whole."""
        if self._nftables is None or not self.in_force:
            return
        try:
            self._nftables.run(firewall.remove_network(self.table, network))
        except RulesRefused:
            self.reconcile()
        else:
            self._accept()

    def publish(self, ports: Sequence[Forwarding]) -> None:
        """Add published ports. Raises RulesRefused."""
        if self._nftables is not None and ports:
            try:
                self._nftables.run(firewall.publish(self.table, ports))
            except RulesRefused:
                self.apply()

    def unpublish(self, ports: Sequence[Forwarding]) -> None:
        """Take published ports out; what the kernel refuses is put right as a whole."""
        if self._nftables is None or not ports:
            return
        try:
            self._nftables.run(firewall.unpublish(self.table, ports))
        except RulesRefused:
            self.reconcile()

    def reconcile(self) -> None:
        """Put everything in force again; a failure is logged."""
        try:
            self.apply()
        except DockyardError as error:
            log.error("%s", error)

    def _meet_others(self) -> None:
        """Look at other programs' rules, and see that what is made for ours in them is right."""
        assert self._nftables is not None
        try:
            self.findings = foreign.look(self._nftables)
        except RulesRefused as error:
            log.warning("other programs' rules: %s", error)
        self._accept()

    def _accept(self) -> None:
        assert self._nftables is not None
        if not self.findings.user_chains:
            return
        networks, _, _ = self._content()
        bridges = [network.device for network in networks if network.driver == "bridge" and network.device]
        try:
            foreign.accept(self._nftables, self.table, self.findings, bridges)
        except RulesRefused as error:
            log.warning("other programs' rules: %s", error)

    # --- watching ----------------------------------------------------------------------------------

    def _listen(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_NETFILTER)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._told)

    def _told(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:  # more was changed than the socket holds, and perhaps by somebody else
            self.reconcile()
            return
        offset, name = 0, self.table.encode() + b"\0"
        while offset + 16 <= len(data):
            length, kind = struct.unpack_from("IH", data, offset)
            message = data[offset : offset + max(length, 16)]
            if kind == _NEWGEN:
                self._committed(_generation_pid(message))
            elif kind >> 8 == _SUBSYSTEM and name in message:
                self._touched = True
            offset += max(16, (length + 3) & ~3)

    def _committed(self, pid: int) -> None:
        touched, self._touched = self._touched, False
        if pid != os.getpid() and self.in_force:
            self._later(0 if touched else _PATIENCE, touched=touched)

    def _later(self, seconds: float, *, touched: bool) -> None:
        if touched:
            log.warning("another program has changed the rules of this engine: they are put back")
            self.reconcile()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        if self._nftables is not None and self.in_force:
            self._meet_others()


def _text(error: OSError) -> str:
    """Of the library's loader (dlopen(3)), or of the kernel."""
    return error.strerror or str(error)


def _generation_pid(message: bytes) -> int:
    """NFTA_GEN_PROC_PID of a NEWGEN message: behind nlmsghdr (16) and nfgenmsg (4)."""
    offset = 20
    while offset + 4 <= len(message):
        length, kind = struct.unpack_from("HH", message, offset)
        if kind & 0x3FFF == _GEN_PROC_PID:
            return int(struct.unpack_from(">I", message, offset + 4)[0])
        offset += max(4, (length + 3) & ~3)
    return 0
