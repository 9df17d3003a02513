"""What tests do with registries through an engine's API: pull, push and login, message by message."""

from __future__ import annotations

import base64
import json
import urllib.parse
from typing import Any, NamedTuple

from tests.registry.server import PASSWORD, USER
from tests.support import Engine, api_request

#: The ``X-Registry-Auth`` of the one user, and of nobody.
SOMEBODY = {"username": USER, "password": PASSWORD}
NOBODY: dict[str, str] = {}


class Stream(NamedTuple):
    """The answer to a pull or push. ``messages`` are its lines; ``error`` is what failed, before or inside, or ""."""

    status: int
    messages: list[dict[str, Any]]
    error: str

    def states(self, identifier: str) -> list[str]:
        """The states of one layer (12 digits) in their order, each once."""
        found = [line["status"] for line in self.messages if line.get("id") == identifier]
        return list(dict.fromkeys(found))

    def with_state(self, status: str) -> list[str]:
        """The layers that had this state."""
        return list(dict.fromkeys(line["id"] for line in self.messages if line.get("status") == status))

    @property
    def texts(self) -> list[str]:
        """The statuses of no layer: ``Digest: …``, ``Status: …``."""
        return [line["status"] for line in self.messages if "status" in line and "id" not in line]

    @property
    def aux(self) -> dict[str, Any]:
        """What a push says at its end: Tag, Digest, Size."""
        return next((line["aux"] for line in self.messages if "aux" in line), {})


def header(auth: dict[str, str]) -> dict[str, str]:
    """``X-Registry-Auth``."""
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()}


def pull(engine: Engine, name: str, *, auth: dict[str, str] | None = None, platform: str = "") -> Stream:
    """POST /images/create, to its end. ``name`` is with a tag or digest, or without for all tags."""
    query = {"fromImage": name, **({"platform": platform} if platform else {})}
    return _post(engine, f"/images/create?{urllib.parse.urlencode(query)}", auth)


def push(engine: Engine, name: str, tag: str = "", *, auth: dict[str, str] | None = None) -> Stream:
    """POST /images/{name}/push, to its end; without a tag all tags."""
    return _post(engine, f"/images/{name}/push" + (f"?tag={tag}" if tag else ""), auth)


def _post(engine: Engine, target: str, auth: dict[str, str] | None) -> Stream:
    answer = api_request(engine.socket, "POST", target, headers=header(auth or NOBODY), timeout=90)
    if answer.status != 200:
        return Stream(answer.status, [], str(answer.body["message"]))
    # A stream of one line was decoded already.
    body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
    lines = [json.loads(line) for line in body.splitlines() if line.strip()]
    error = next((line["error"] for line in lines if "error" in line), "")
    return Stream(answer.status, lines, error)
