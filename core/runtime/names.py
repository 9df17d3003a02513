"""What a container's resolver knows: tables that the daemon rewrites, read again when they have changed.

``dns.json`` in the container's run folder names the tables of its networks; see ``core.network.names``. A look costs a
stat for each file; nothing is read before the first question.
"""

from __future__ import annotations

import os
from typing import Any

from core.runtime.protocol import from_json

_OWN = "dns.json"
_MAX_TABLE = 16 << 20
_MAX_RESOLV_CONF = 1 << 16
_MAX_SERVERS = 3
_SELF = "127.0.0.11"


class _File:
    """A file's content, parsed once for each version of it."""

    def __init__(self, path: str, run_fd: int, parse: Any) -> None:
        self._path = path
        self._run_fd = run_fd
        self._parse = parse
        self._version: tuple[int, int] = (0, 0)
        self._content: Any = None

    def get(self) -> Any:
        """The content now; of a file that is damaged or gone what was there before, None when nothing was."""
        try:
            status = os.stat(self._path, dir_fd=self._run_fd)
            version = (status.st_mtime_ns, status.st_ino)
            if version != self._version:
                self._version = version
                self._content = self._parse(self._read())
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
        self._own = _File(_OWN, run_fd, _object)
        self._tables: dict[str, _File] = {}
        self._host = _File(resolv_conf, run_fd, _servers)

    def _known(self, own: dict[str, Any]) -> list[dict[str, Any]]:
        paths = own.get("networks") or []
        for path in [path for path in self._tables if path not in paths]:
            del self._tables[path]
        found = []
        for path in paths:
            if path not in self._tables:
                self._tables[path] = _File(path, self._run_fd, _object)
            table = self._tables[path].get()
            if table:
                found.append(table)
        return found

    def addresses(self, name: str) -> list[str] | None:
        """The addresses of a name, None when it is nobody's."""
        name = name.lower()
        own = self._own.get() or {}
        private = own.get("own") or {}
        if name in private:
            return list(private[name])
        found: list[str] = []
        known = False
        for table in self._known(own):
            names = table.get("names") or {}
            suffix = "." + str(table.get("name", "")).lower()
            for wanted in (name, name.removesuffix(suffix) if name.endswith(suffix) else ""):
                if wanted and wanted in names:
                    known = True
                    found += [address for address in names[wanted] if address not in found]
        return found if known else None

    def name_of(self, address: str) -> str:
        """``web.app`` for an address of a container of our networks, "" for others."""
        for table in self._known(self._own.get() or {}):
            name = (table.get("reverse") or {}).get(address)
            if name:
                return f"{name}.{table.get('name', '')}"
        return ""

    def upstream(self) -> tuple[list[str], bool]:
        """The servers that are asked what we do not know, and whether from the host's namespace.

        None for a container on internal networks alone: the question would leave through the host (CVE-2024-29018).
        """
        own = self._own.get() or {}
        if not own.get("forward"):
            return [], True
        chosen = [str(server) for server in own.get("upstream") or ()]
        if chosen:
            return chosen[:_MAX_SERVERS], False
        return list(self._host.get() or ()), True

    @property
    def forwards(self) -> bool:
        """Whether anything is asked of others."""
        return bool((self._own.get() or {}).get("forward"))


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
        if len(words) > 1 and words[0] == "nameserver" and words[1] != _SELF:
            found.append(words[1])
    return found[:_MAX_SERVERS]
