"""``logs``."""

from __future__ import annotations

from tui.cli.engine import connect
from tui.cli.errors import CliError
from tui.cli.streams import Demultiplexer, Raw
from tui.cli.transport import Connection, Response, container_path, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tui.cli.flags import Options

#: The first version of the API whose content type says whether a stream is framed.
_TYPED_SINCE = 42


def run(options: Options) -> int:
    """Print what a container wrote: its stdout to stdout, its stderr to stderr."""
    path = container_path(options.args[0])
    query = {
        "stdout": True,
        "stderr": True,
        "follow": options["follow"],
        "timestamps": options["timestamps"],
        "details": options["details"],
        "tail": options["tail"],
        "since": moment("since", options["since"]),
        "until": moment("until", options["until"]),
    }
    connection = connect()
    response = connection.request("GET", target(f"{path}/logs", query))
    sink = Demultiplexer() if _framed(response, connection, path) else Raw()
    for piece in response.pieces():
        sink.feed(piece)
    return 0


def moment(name: str, text: str) -> str:
    """``--since`` or ``--until`` for the API. Raises CliError in Docker's words."""
    if not text:
        return ""
    from tui.cli.units import parse_moment

    try:
        return parse_moment(text)
    except ValueError as error:
        raise CliError(f'invalid value for "{name}": {error}') from None


def _framed(response: Response, connection: Connection, path: str) -> bool:
    """Whether the log comes in frames. Engines before API 1.42 do not say: there the container's record does."""
    if "multiplexed" in response.headers.get("content-type", ""):
        return True
    minor = response.headers.get("api-version", "").rpartition(".")[2]
    if minor.isdecimal() and int(minor) >= _TYPED_SINCE:
        return False
    return not Connection(connection.path).request("GET", f"{path}/json").json()["Config"]["Tty"]
