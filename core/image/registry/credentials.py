"""Who a client says it is: Docker's ``X-Registry-Auth``."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, NamedTuple

from core.errors import InvalidArgument

_LONGEST = 64 * 1024


class Credentials(NamedTuple):
    """A name and password, an identity token to get others with, or a registry token as it is; all may be empty."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, …)"  # nothing secret in a log or a traceback


ANONYMOUS = Credentials()


def from_header(text: str) -> Credentials:
    """The header's value, base64url of JSON; InvalidArgument when it is something else."""
    if not text:
        return ANONYMOUS
    try:
        # Some clients leave the padding out, some use the other alphabet.
        data = text.strip().replace("+", "-").replace("/", "_")
        document = json.loads(base64.b64decode(data + "=" * (-len(data) % 4), b"-_", validate=True)[:_LONGEST])
    except (ValueError, RecursionError, binascii.Error) as error:
        raise InvalidArgument("X-Registry-Auth is not base64url of a JSON object") from error
    return from_document(document)


def from_document(document: Any) -> Credentials:
    """Docker's AuthConfig."""
    if not isinstance(document, dict):
        raise InvalidArgument("credentials must be a JSON object")
    members = ("username", "password", "identitytoken", "registrytoken")
    values = ["" if document.get(key) is None else document[key] for key in members]
    if not all(isinstance(value, str) for value in values):
        raise InvalidArgument("a member of the credentials is not a string")
    username, password, identity, registry = values
    auth = document.get("auth") or ""
    if auth and not username:
        try:
            username, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except (TypeError, ValueError, binascii.Error) as error:
            raise InvalidArgument("auth is not base64 of NAME:PASSWORD") from error
    for value in (username, password, identity, registry):
        if any(c in value for c in "\r\n\0"):
            raise InvalidArgument("credentials cannot hold line ends")
    return Credentials(username, password, identity, registry)
