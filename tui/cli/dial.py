"""``system dial-stdio``: standard input and output as a connection to the engine, for clients over SSH."""

from __future__ import annotations

import posix
from _socket import SHUT_WR

from tui.cli import output
from tui.cli.engine import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tui.cli.flags import Options
    from tui.cli.transport import Connection

_BLOCK = 256 * 1024


def run(options: Options) -> int:
    """Carry bytes both ways until the engine has said everything.

    The end of standard input is passed on; what the engine still has to say comes through all the same.
    """
    import select

    connection = connect()
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(connection.fileno(), select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd != 0:
                data = posix.read(fd, _BLOCK)
                if not data:
                    return 0
                output.write(1, data)
            elif not _forward(connection):
                poll.unregister(0)


def _forward(connection: Connection) -> bool:
    """Whether there may be more."""
    data = posix.read(0, _BLOCK)
    if data:
        connection.socket.sendall(data)
        return True
    connection.socket.shutdown(SHUT_WR)
    return False
