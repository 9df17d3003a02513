"""``stream.py receive PORT`` and ``stream.py send HOST PORT SECONDS``: the same program on both sides of a measurement.

The sender prints how many bytes a second the receiver has confirmed at the end. Only the standard library: it runs in
containers that have nothing but Python.
"""

import socket
import sys
import time

_BLOCK = 1 << 20


def receive(port: int) -> None:
    """One sender after another; each is told how many bytes came."""
    with socket.create_server(("", port)) as server:
        print("listening", flush=True)
        buffer = bytearray(_BLOCK)
        while True:
            connection, _ = server.accept()
            with connection:
                total = 0
                while size := connection.recv_into(buffer):
                    total += size
                connection.sendall(b"%d" % total)


def send(host: str, port: int, seconds: float) -> None:
    block = bytes(_BLOCK)
    with socket.create_connection((host, port)) as connection:
        before = time.perf_counter()
        total = 0
        while time.perf_counter() - before < seconds:
            connection.sendall(block)
            total += len(block)
        connection.shutdown(socket.SHUT_WR)
        confirmed = int(connection.recv(100))
        took = time.perf_counter() - before
    assert confirmed == total, f"{confirmed} bytes of {total}"
    print(total / took)


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(int(sys.argv[2]))
    else:
        send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
