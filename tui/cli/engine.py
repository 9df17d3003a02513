"""Which engine a command speaks to, and one-line calls on it."""

from __future__ import annotations

import posix

from tui.cli.errors import CliError, Unreachable
from tui.cli.transport import Connection, as_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_SOCKET = "/run/dockyard/dockyard.sock"


class _Choice:
    """The socket in use; ``explicit`` when the person named it, so that no engine is started for it."""

    path = DEFAULT_SOCKET
    explicit = False
    connection: Connection | None = None


def choose(host: str | None) -> None:
    """Take ``--host``, else DOCKYARD_HOST, else the default socket. Raises CliError for other transports."""
    where = "-H"
    if host is None:
        host = posix.environ.get(b"DOCKYARD_HOST", b"").decode("utf-8", "surrogateescape")
        where = "DOCKYARD_HOST"
    if not host:
        return
    scheme, separator, path = host.partition("://")
    if not separator or scheme != "unix" or not path:
        kind = f"{scheme}:// is not supported yet" if separator and scheme != "unix" else "that is no address"
        raise CliError(f"{where} {host}: {kind}\nGive a Unix socket, as in unix://{DEFAULT_SOCKET}")
    _Choice.path, _Choice.explicit = path, True


def socket_path() -> str:
    """The path of the chosen engine's socket."""
    return _Choice.path


def connect() -> Connection:
    """A new connection; where nothing listens on the default socket, the engine is started first."""
    try:
        return Connection(_Choice.path)
    except Unreachable as error:
        if _Choice.explicit or not error.missing:
            raise
    from tui.cli import launch

    launch.start()
    return Connection(_Choice.path)


def call(method: str, where: str, body: Any = None) -> Any:
    """One request on a kept connection: the JSON of the answer, None where there is none. Raises ApiError."""
    connection = _Choice.connection or connect()
    _Choice.connection = None
    response = connection.request(method, where, body)
    data: Any = response.read() or None
    if data and "json" in response.headers.get("content-type", ""):
        data = as_json(data)
    if response.headers.get("connection", "").lower() == "close":
        connection.close()
    else:
        _Choice.connection = connection
    return data
