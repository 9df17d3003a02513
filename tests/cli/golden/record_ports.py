"""Record the PORTS cells that docker's own command line prints: ``python -m tests.cli.golden.record_ports``.

Docker's client lists containers of a server that has one for each of many made-up lists of ports.
"""

from __future__ import annotations

import json
import random
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

GOLDEN = Path(__file__).with_name("ports.json")
_COUNT = 120
_CONTAINER: dict[str, Any] = {
    "Id": "ab" * 32, "Names": ["/x"], "Image": "b", "ImageID": "", "Command": "", "Created": 1, "Labels": {},
    "State": "running", "Status": "Up", "HostConfig": {}, "NetworkSettings": {"Networks": {}}, "Mounts": [],
}  # fmt: skip


def _ports(chance: random.Random) -> list[dict[str, Any]]:
    """Up to ten ports, of few numbers and addresses, so that there are neighbours and repetitions."""
    found = []
    for _ in range(chance.randint(0, 10)):
        number = chance.choice([80, 81, 82, 83, 443, 8080])
        port: dict[str, Any] = {"PrivatePort": number, "Type": chance.choice(["tcp", "tcp", "udp", "sctp"])}
        address = chance.choice(["", "0.0.0.0", "::", "127.0.0.1", "fd00::1"])
        if address:
            port |= {"IP": address, "PublicPort": chance.choice([number, number, number + 1000, number + 1, 9000])}
        found.append(port)
    return found


class _Handler(BaseHTTPRequestHandler):
    listed: ClassVar[list[dict[str, Any]]] = []

    def do_GET(self) -> None:
        body = b"OK" if self.path == "/_ping" else json.dumps(self.listed).encode()
        self.send_response(200)
        self.send_header("Api-Version", "1.51")
        self.send_header("Content-Type", "text/plain" if self.path == "/_ping" else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def address_string(self) -> str:
        return "client"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> int:
    """Write the golden file again; refuses without docker."""
    if shutil.which("docker") is None:
        print("docker's command line is needed to record: .ci/packages peers installs it", file=sys.stderr)
        return 1
    chance = random.Random(28)
    lists = [_ports(chance) for _ in range(_COUNT)]
    _Handler.listed[:] = [{**_CONTAINER, "Ports": ports} for ports in lists]
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/s"
        with socketserver.ThreadingUnixStreamServer(path, _Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            argv = ["docker", "-H", f"unix://{path}", "ps", "--format", "{{.Ports}}"]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
            server.shutdown()
    cells = done.stdout.splitlines()
    cases = [{"ports": ports, "cell": cell} for ports, cell in zip(lists, cells, strict=True)]
    GOLDEN.write_text("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
