"""A server for containers: ``echo.py [tcp:PORT] [udp:PORT] …`` answers each line or datagram with who asked.

The answer is one JSON line: ``name`` of the host it runs on, ``peer`` and ``own`` as [address, port] of the
connection or datagram, ``text`` that came. Both IP versions; an IPv4 address is written as such. Only the standard
library, and no import that -IS does not give: it runs in containers that have nothing but Python.
"""

import json
import selectors
import socket
import struct
import sys

IP_PKTINFO = 8


def plain(address: str) -> str:
    return address.removeprefix("::ffff:")


def answer(text: bytes, peer: tuple[str, int], own: tuple[str, int]) -> bytes:
    what = {
        "name": socket.gethostname(),
        "peer": [plain(peer[0]), peer[1]],
        "own": [plain(own[0]), own[1]],
        "text": text.decode(errors="replace").rstrip("\n"),
    }
    return json.dumps(what).encode() + b"\n"


def open_socket(kind: int, port: int) -> socket.socket:
    """On all addresses of both versions, or of IPv4 where there is no other."""
    try:
        made = socket.socket(socket.AF_INET6, kind)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("::", port))
    except OSError:
        made = socket.socket(socket.AF_INET, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("0.0.0.0", port))
    if kind == socket.SOCK_STREAM:
        made.listen(512)
    elif made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    return made


def datagram(server: socket.socket) -> None:
    """Answer from the address that was asked, as a real server on many addresses does."""
    data, ancillary, _, peer = server.recvmsg(65535, 256)
    control = [a for a in ancillary if a[0] == socket.IPPROTO_IPV6 and a[1] == socket.IPV6_PKTINFO]
    own = "0.0.0.0"
    if control:
        own = socket.inet_ntop(socket.AF_INET6, control[0][2][:16])
        # The interface is left to the routes: answers may go another way than questions came.
        control = [(a, b, c[:16] + struct.pack("i", 0)) for a, b, c in control]
    server.sendmsg([answer(data, peer, (own, server.getsockname()[1]))], control, 0, peer)


def main() -> None:
    selector = selectors.DefaultSelector()
    for word in sys.argv[1:]:
        protocol, port = word.split(":")
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        selector.register(open_socket(kind, int(port)), selectors.EVENT_READ, kind)
    print("listening", flush=True)
    while True:
        for key, _ in selector.select():
            server = key.fileobj
            assert isinstance(server, socket.socket)
            if key.data == socket.SOCK_DGRAM:
                datagram(server)
            elif key.data == socket.SOCK_STREAM:
                connection, _ = server.accept()
                selector.register(connection, selectors.EVENT_READ, None)
            else:
                line(selector, server)


def line(selector: selectors.BaseSelector, connection: socket.socket) -> None:
    """Answer what came; the connection stays until the peer ends it."""
    try:
        data = connection.recv(65536)
        if data:
            connection.sendall(answer(data, connection.getpeername(), connection.getsockname()))
            return
    except OSError:
        pass
    selector.unregister(connection)
    connection.close()


if __name__ == "__main__":
    main()
