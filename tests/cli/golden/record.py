"""Record what docker's own command line prints for templates: ``python -m tests.cli.golden.record``.

Docker's client asks a server of one fixed answer; ``inspect.json`` keeps each template with its text or its error.
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

from tests.cli.golden.templates import RECORD, TEMPLATES

GOLDEN = Path(__file__).with_name("inspect.json")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"OK" if self.path == "/_ping" else json.dumps(RECORD).encode()
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
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/s"
        with socketserver.ThreadingUnixStreamServer(path, _Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            cases = [_ask(path, template) for template in TEMPLATES]
            server.shutdown()
    GOLDEN.write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")
    return 0


def _ask(path: str, template: str) -> dict[str, object]:
    argv = ["docker", "-H", f"unix://{path}", "inspect", "--type", "container", "-f", template, "box"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return {"template": template, "code": done.returncode, "out": done.stdout, "err": done.stderr}


if __name__ == "__main__":
    sys.exit(main())
