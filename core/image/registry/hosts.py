"""Which servers stand for a registry, as the engine's configuration file says it.

``/etc/dockyard/engine.toml`` (TOML 1.0), read anew for each pull and push::

    certs = "/etc/docker/certs.d"                  # HOST[:PORT]/*.crt, *.cert with *.key

    [registries."docker.io"]
    mirrors = ["https://mirror.lan", "http://10.0.0.2:5000/hub"]

    [registries."registry.lan:5000"]
    plain-http = true
    ca = "/etc/ssl/lan.crt"
    cert = "/etc/ssl/me.crt"
    key = "/etc/ssl/me.key"
    realms = ["login.example.org"]                 # may be given the password for a token

Mirrors serve pulls only, in their order, before the registry itself; a path in a mirror's URL goes before the
repository's name. They are asked without credentials. A table of its own (``[registries."mirror.lan"]``) gives a mirror
certificates.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidArgument
from core.image.reference import DEFAULT_DOMAIN

CONFIGURATION = "/etc/dockyard/engine.toml"
CERTIFICATES = "/etc/docker/certs.d"
_HUB = "registry-1.docker.io"
_KEYS: dict[str, type] = {"mirrors": list, "plain-http": bool, "ca": str, "cert": str, "key": str, "realms": list}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server. ``prefix`` goes before the names of its repositories, ``""`` or with a slash at its end.

    ``may_fall_back``: plain HTTP when the port does not speak TLS. ``ca`` are files of certificates to trust beside the
    system's; ``cert`` and ``key`` what it is shown. ``realms``: other hosts that may see the password.
    """

    host: str
    scheme: str = "https"
    prefix: str = ""
    is_mirror: bool = False
    may_fall_back: bool = False
    ca: tuple[str, ...] = ()
    cert: str = ""
    key: str = ""
    realms: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """``https://host:port``"""
        return f"{self.scheme}://{self.host}"


class Hosts:
    """The configuration file at ``path``; without ``explicit`` it may be missing."""

    def __init__(self, path: str = CONFIGURATION, *, explicit: bool = False) -> None:
        self._path = path
        self._explicit = explicit
        self._stamp: tuple[int, int, int] | None = None
        self._document: dict[str, Any] = {}

    def check(self) -> None:
        """Raise InvalidArgument, with the place, when the file cannot be used."""
        self._read()

    def to_pull(self, domain: str) -> list[Endpoint]:
        """The servers to ask, in order: mirrors, then the registry itself."""
        self._read()
        mirrors = self._table(domain).get("mirrors") or []
        return [*(self._mirror(url) for url in mirrors), self.origin(domain)]

    def origin(self, domain: str) -> Endpoint:
        """The registry itself."""
        self._read()
        table = self._table(domain)
        host = _HUB if domain == DEFAULT_DOMAIN else domain
        return self._endpoint(host, domain, "http" if table.get("plain-http") else "https")

    def _endpoint(self, host: str, name: str, scheme: str, prefix: str = "", is_mirror: bool = False) -> Endpoint:
        table = self._table(name)
        found, cert, key = self._certificates(name)
        ca = (table["ca"], *found) if "ca" in table else found
        return Endpoint(
            host,
            scheme,
            prefix,
            is_mirror,
            scheme == "https" and is_loopback(host),
            tuple(ca),
            table.get("cert") or cert,
            table.get("key") or key,
            tuple(table.get("realms") or ()),
        )

    def _mirror(self, url: str) -> Endpoint:
        scheme, _, rest = url.partition("://")
        host, _, prefix = rest.rstrip("/").partition("/")
        prefix = prefix.removeprefix("v2/").removeprefix("v2")
        return self._endpoint(host, host, scheme, f"{prefix}/" if prefix else "", True)

    def _certificates(self, name: str) -> tuple[tuple[str, ...], str, str]:
        """Docker's folder for one registry: authorities end in ``.crt``, our own pair in ``.cert`` and ``.key``."""
        folder = os.path.join(self._document.get("certs", CERTIFICATES), name)
        try:
            names = sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return (), "", ""
        except OSError as error:
            raise InvalidArgument(f"certificates in {folder} cannot be read: {error.strerror}") from error
        own = next((n for n in names if n.endswith(".cert") and f"{n[:-5]}.key" in names), "")
        pair = (os.path.join(folder, own), os.path.join(folder, f"{own[:-5]}.key")) if own else ("", "")
        return tuple(os.path.join(folder, n) for n in names if n.endswith(".crt")), *pair

    def _table(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._document.get("registries", {}).get(name, {})
        return found

    def _read(self) -> None:
        """Read the file when it has changed since."""
        try:
            found = os.stat(self._path)
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if stamp == self._stamp:
                return
            with open(self._path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            if self._explicit:
                raise InvalidArgument(f"there is no configuration file {self._path}") from None
            self._stamp, self._document = None, {}
            return
        except OSError as error:
            raise InvalidArgument(f"{self._path} cannot be read: {error.strerror}") from error
        self._document = parse(data, self._path)
        self._stamp = stamp


def parse(data: bytes, path: str) -> dict[str, Any]:
    """The file's content, checked. InvalidArgument names the file and the place."""
    import tomllib

    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{path}: {error}", hint="it is a TOML file") from error
    for key, value in document.items():
        if key == "certs" and isinstance(value, str):
            continue
        if key != "registries" or not isinstance(value, dict):
            raise InvalidArgument(f"{path}: {key} is not known here, or not of its kind", hint="certs, [registries.…]")
    for name, table in document.get("registries", {}).items():
        _check_table(table, f'{path}: [registries."{name}"]')
    return document


def _check_table(table: Any, where: str) -> None:
    if not isinstance(table, dict):
        raise InvalidArgument(f"{where} is not a table")
    for key, value in table.items():
        kind: Any = _KEYS.get(key)
        if kind is None:
            raise InvalidArgument(f"{where}: {key} is not known", hint=f"known are {', '.join(_KEYS)}")
        if not isinstance(value, kind) or (kind is list and not all(isinstance(item, str) for item in value)):
            raise InvalidArgument(f"{where}: {key} must be {_WORDS[kind]}")
    for url in table.get("mirrors", ()):
        scheme, separator, rest = url.partition("://")
        if scheme not in ("http", "https") or not separator or not rest.partition("/")[0] or "@" in rest:
            raise InvalidArgument(f"{where}: mirror {url!r} is not http(s)://HOST[:PORT][/PATH]")
    if ("cert" in table) != ("key" in table):
        raise InvalidArgument(f"{where}: cert and key belong together")


_WORDS: dict[type, str] = {list: "a list of strings", bool: "true or false", str: "a string"}


def is_loopback(host: str) -> bool:
    """Whether ``host[:port]`` is this machine by its name."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return name in ("localhost", "[::1]") or (name.startswith("127.") and name.replace(".", "").isdigit())
