"""Record what docker's own command line sends for flags of networks: ``python -m tests.cli.golden.record_network``.

Docker's client talks to a server that agrees to everything; ``network.json`` keeps for each line the body it sent, of a
create request the members about networks, or the first line of its refusal.
"""

from __future__ import annotations

import json
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

from tests.cli.golden.network_lines import LINES

GOLDEN = Path(__file__).with_name("network.json")
_CONFIG = ("ExposedPorts", "MacAddress")
_HOST = (
    "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "Links", "NetworkMode", "PortBindings", "PublishAllPorts",
)  # fmt: skip


def essence(body: dict[str, Any]) -> dict[str, Any]:
    """A body without members that say nothing; of a create request what is about networks."""
    if "HostConfig" not in body:
        kept: dict[str, Any] = _meaningful(body)
        # Docker's order of the subnets is that of a Go map.
        kept.get("IPAM", {}).get("Config", []).sort(key=json.dumps)
        return kept
    found = {name: body.get(name) for name in _CONFIG} | {name: body["HostConfig"].get(name) for name in _HOST}
    endpoints = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    endpoints = {name: _meaningful(settings) for name, settings in endpoints.items()}
    if len(endpoints) > 1 or any(endpoints.values()):
        found["Endpoints"] = {name: settings or "as it comes" for name, settings in endpoints.items()}
    kept = _meaningful(found)
    return kept


def _meaningful(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _meaningful(each) for name, each in value.items()}
    # The two that are false only when somebody said so; a port is a name with nothing behind it.
    return {
        name: each
        for name, each in inner.items()
        if each or name in ("EnableIPv4", "EnableIPv6") or "/" in name or name in ("HostIp", "HostPort")
    }


class _Handler(BaseHTTPRequestHandler):
    sent: ClassVar[list[dict[str, Any]]] = []

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if body:
            self.sent.append(json.loads(body))
        answer = b"OK" if self.path == "/_ping" else b'{"Id": "x"}'
        self.send_response(200)
        self.send_header("Api-Version", "1.51")
        self.send_header("Content-Type", "text/plain" if self.path == "/_ping" else "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_HEAD = do_POST = do_GET

    def address_string(self) -> str:
        return "client"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> int:
    """Write the golden file again; refuses without docker."""
    if shutil.which("docker") is None:
        print("docker's command line is needed to record: .ci/packages peers installs it", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/s"
        with socketserver.ThreadingUnixStreamServer(path, _Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            cases = [_ask(path, line) for line in LINES]
            server.shutdown()
    GOLDEN.write_text("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n")
    return 0


def _ask(path: str, line: list[str]) -> dict[str, Any]:
    _Handler.sent.clear()
    argv = ["docker", "-H", f"unix://{path}", *line]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    if _Handler.sent:
        return {"line": line, "body": essence(_Handler.sent[0])}
    return {"line": line, "error": done.stderr.splitlines()[0].removeprefix("docker: ")}


if __name__ == "__main__":
    sys.exit(main())
