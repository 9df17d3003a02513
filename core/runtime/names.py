"""What a container's resolver knows: tables that the daemon rewrites, read again when they have changed.

``dns.json`` in the container's run folder names the tables of its networks; see ``core.network.names``. A look costs a
stat for each file; nothing is read before the first question. A file that is not what it should be counts for nothing:
what was known before stays.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from core.runtime.protocol import from_json

_OWN = "dns.json"
_MAX_TABLE = 16 << 20
_MAX_RESOLV_CONF = 1 << 16
_MAX_SERVERS = 3
_SELF = ("127.0.0.11", "::ffff:127.0.0.11")


class _File:
    """A file's content, parsed once for each version of it."""

    def __init__(self, path: str, run_fd: int, parse: Any) -> None:
        self._path = path
        self._run_fd = run_fd
        self._parse = parse
        self._version: tuple[int, int, int] = (0, 0, 0)
        self._content: Any = None

    def get(self) -> Any:
        """The content now; of a file that is damaged or gone what was there before, None when nothing was."""
        try:
            status = os.stat(self._path, dir_fd=self._run_fd)
            version = (status.st_mtime_ns, status.st_ino, status.st_size)
            if version != self._version:
                data = self._read()
                # Only now: what could not be read for want of a descriptor is read at the next question.
                self._version = version
                self._content = self._parse(data)
        except (OSError, ValueError, RecursionError):
            pass
        return self._content

    def _read(self) -> bytes:
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._run_fd)
        try:
            return os.read(fd, min(os.fstat(fd).st_size + 1, _MAX_TABLE))
        finally:
            os.close(fd)


class Names:
    """``run_fd`` is the run folder; ``resolv_conf`` is the host's."""

    def __init__(self, run_fd: int, resolv_conf: str) -> None:
        self._run_fd = run_fd
        self._own = _File(_OWN, run_fd, _own)
        self._tables: dict[str, _File] = {}
        self._host = _File(resolv_conf, run_fd, _servers)

    def _known(self, own: dict[str, Any]) -> list[dict[str, Any]]:
        paths = own["networks"]
        for path in [path for path in self._tables if path not in paths]:
            del self._tables[path]
        found = []
        for path in paths:
            if path not in self._tables:
                self._tables[path] = _File(path, self._run_fd, _table)
            table = self._tables[path].get()
            if table:
                found.append(table)
        return found

    def addresses(self, name: str) -> list[str] | None:
        """The addresses of a name, None when it is nobody's."""
        name = name.lower()
        own = self._own.get()
        if own is None:
            return None
        if name in own["own"]:
            return list(own["own"][name])
        found: list[str] = []
        known = False
        for table in self._known(own):
            names, suffix = table["names"], "." + table["name"].lower()
            for wanted in (name, name.removesuffix(suffix) if name.endswith(suffix) else ""):
                if wanted and wanted in names:
                    known = True
                    found += [address for address in names[wanted] if address not in found]
        return found if known else None

    def name_of(self, address: str) -> str:
        """``web.app`` for an address of a container of our networks, "" for others."""
        own = self._own.get()
        for table in self._known(own) if own is not None else ():
            name = table["reverse"].get(address)
            if name:
                return f"{name}.{table['name']}"
        return ""

    def upstream(self) -> tuple[list[str], bool] | None:
        """The servers that are asked what we do not know, and whether from the host's namespace; None: nobody is.

        On internal networks alone only the person's own servers are asked, from the container's namespace: one may be
        on such a network, and the others are out of reach there. From the host's the question would leave
        (CVE-2024-29018); moby does the same since 26.1.3.
        """
        own = self._own.get()
        if own is None:
            return [], True
        if own["upstream"]:
            # Ourselves left out: it would be asked again and again.
            return [server for server in own["upstream"] if _is_address(server) and server not in _SELF][
                :_MAX_SERVERS
            ], False
        if not own["forward"]:
            return None
        return list(self._host.get() or ()), True


def _own(data: bytes) -> dict[str, Any]:
    """``dns.json``, with all its members. Raises ValueError for what is none."""
    found = {"networks": [], "own": {}, "upstream": [], "forward": False} | _object(data)
    if not _are_strings(found["networks"]) or not _are_strings(found["upstream"]) or not _are_addresses(found["own"]):
        raise ValueError("not what a resolver is told")
    return found


def _table(data: bytes) -> dict[str, Any]:
    """A network's table, with all its members. Raises ValueError for what is none."""
    found = {"name": "", "names": {}, "reverse": {}} | _object(data)
    reverse = found["reverse"]
    if not isinstance(found["name"], str) or not _are_addresses(found["names"]) or not isinstance(reverse, dict):
        raise ValueError("not a table of names")
    if not _are_strings(list(reverse.values())):
        raise ValueError("not names of addresses")
    return found


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is str for item in value)


def _are_addresses(value: Any) -> bool:
    """Whether it is a table of names, each with a list; what is in the lists is looked at when it is asked for."""
    return isinstance(value, dict) and all(_are_strings(found) for found in value.values())


def _is_address(server: str) -> bool:
    """Whether ``server`` is an address, maybe with a zone (``fe80::1%eth0``): a name would be looked up, and block."""
    host, _, zone = server.partition("%")
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):
        return False
    return zone.isprintable()


def _object(data: bytes) -> dict[str, Any]:
    document = from_json(data)
    if not isinstance(document, dict):
        raise ValueError("not an object")
    return document


def _servers(data: bytes) -> list[str]:
    """The servers of a resolv.conf(5); ourselves left out."""
    found = []
    for line in data[:_MAX_RESOLV_CONF].decode("latin-1").splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and words[1] not in _SELF and _is_address(words[1]):
            found.append(words[1])
    return found[:_MAX_SERVERS]
