"""What a registry's refusal means, in words; its own text is hostile and never longer than a line."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, Any

from core.errors import DockyardError, Exhausted, Forbidden, InvalidArgument, NotFound, Unauthorized, Unavailable

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_LONGEST = 300
#: Bytes of an error's body that are read.
BODY = 64 * 1024


async def read_bounded(response: ClientResponse, limit: int) -> bytes:
    """The body, at most ``limit`` bytes of it."""
    parts, length = [], 0
    async for part in response.content.iter_chunked(64 * 1024):
        parts.append(part)
        length += len(part)
        if length >= limit:
            break
    return b"".join(parts)[:limit]


def parse(data: bytes) -> Any:
    """JSON, or None."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def codes(data: bytes) -> list[tuple[str, str]]:
    """The errors of a body as (code, message) (distribution-spec, "Error Codes")."""
    document = parse(data)
    listed = document.get("errors") if isinstance(document, dict) else None
    items = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return [(_clean(item.get("code")), _clean(item.get("message"))) for item in items]


def message(status: int, data: bytes) -> str:
    """One line: what the registry says, else the status."""
    found = codes(data)
    if found:
        return ", ".join(_joined(code, text) for code, text in found[:3])
    document = parse(data)
    if isinstance(document, dict):
        for key in ("details", "message", "error_description", "error"):
            if isinstance(document.get(key), str):
                return _clean(document[key])
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"status {status}"


def _joined(code: str, text: str) -> str:
    return f"{code.lower().replace('_', ' ')}: {text}" if text else code.lower().replace("_", " ")


def _clean(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(c if c.isprintable() else " " for c in text)[:_LONGEST].strip()


def refusal(host: str, status: int, data: bytes, name: str, scope: str) -> DockyardError:
    """The error for an answer that is no success. ``name`` is what was asked for, ``scope`` the right it takes."""
    said = message(status, data)
    known = {code for code, _ in codes(data)}
    login = f"log in with `dockyard login {host}`"
    if status == 401 or "UNAUTHORIZED" in known or "DENIED" in known or status == 403:
        return _denied(said, name, scope, status, login)
    if status == 404 and "NAME_UNKNOWN" in known:
        return NotFound(f"repository {name} not found: {said}", hint=f"{host} has no such repository")
    if status == 404:
        return NotFound(f"manifest for {name} not found: {said}" if scope.endswith(":pull") else f"{name}: {said}")
    if status == 429:
        return Exhausted(f"{host} takes no more requests now: {said}", hint=f"wait, or {login} for a higher limit")
    if status >= 500:
        return Unavailable(f"{host} fails: {said}", hint="try again later")
    return InvalidArgument(f"{host} refuses {name}: {said}")


def _denied(said: str, name: str, scope: str, status: int, login: str) -> DockyardError:
    needed = f" (it takes the scope {scope})" if scope else ""
    if scope.endswith(":pull"):
        # Docker's words and status: a registry tells nobody whether a private repository exists.
        return NotFound(
            f"pull access denied for {name}, repository does not exist or may require 'docker login': {said}{needed}",
            hint=login,
        )
    kind = Unauthorized if status == 401 else Forbidden
    return kind(f"access to {name} is denied: {said}{needed}", hint=login)


def seconds_to_wait(header: str) -> float | None:
    """``Retry-After`` (RFC 9110, 10.2.3): seconds or a date; None when there is none."""
    if header.isascii() and header.isdigit():
        return float(min(int(header[:9]), 10**9))
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
