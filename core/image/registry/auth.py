"""Answers to ``WWW-Authenticate``: Basic (RFC 7617), and Bearer tokens from a realm (distribution's token and oauth2
specifications)."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from core.errors import Forbidden, Unauthorized, Unavailable
from core.image.registry.credentials import Credentials
from core.image.registry.hosts import Endpoint, is_loopback

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME = re.compile(r"\s*,?\s*([A-Za-z]+)(?=\s|,|$)(?!\s*=)")
_LONGEST_HEADER = 8192
#: Bytes of a realm's answer.
_LONGEST_ANSWER = 1 << 20
#: A token that is good for less is taken for good so long: seconds (distribution's token specification).
_LEAST = 60
_CLIENT = "dockyard"


class Challenge(NamedTuple):
    """One of a header's schemes, in lower case, with its parameters."""

    scheme: str
    parameters: dict[str, str]


def challenges(header: str) -> list[Challenge]:
    """``WWW-Authenticate`` taken apart (RFC 9110, 11.6.1); what cannot be read is left out."""
    found: list[Challenge] = []
    rest = header[:_LONGEST_HEADER]
    while rest:
        scheme = _SCHEME.match(rest)
        if scheme is None:
            break
        rest = rest[scheme.end() :]
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(rest):
            name, quoted, bare = parameter.groups()
            parameters[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
            rest = rest[parameter.end() :]
        found.append(Challenge(scheme[1].lower(), parameters))
    return found


class Authorizer:
    """The ``Authorization`` for one server, learnt from its challenges. A token is asked for once per scope."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials, session: ClientSession) -> None:
        self._endpoint = endpoint
        self._credentials = credentials
        self._session = session
        self._basic = False
        self._tokens: dict[str, tuple[str, float]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def header(self, scope: str) -> dict[str, str]:
        """What to send with a request for ``scope``, as far as it is known."""
        if self._credentials.registry_token:
            return {"Authorization": f"Bearer {self._credentials.registry_token}"}
        if self._basic:
            return {"Authorization": self._basic_value()}
        token, until = self._tokens.get(scope, ("", 0.0))
        return {"Authorization": f"Bearer {token}"} if token and time.monotonic() < until else {}

    async def answer(self, response: ClientResponse, scope: str) -> bool:
        """Learn from a 401. False when nothing better than what was sent can be said."""
        sent = response.request_info.headers.get("Authorization", "")
        offered = {
            c.scheme: c.parameters
            for header in response.headers.getall("WWW-Authenticate", [])
            for c in challenges(header)
        }
        if "bearer" in offered and not self._credentials.registry_token:
            async with self._locks.setdefault(scope, asyncio.Lock()):
                # When a token ends, all that is under way is refused at once; one of them gets the next.
                if self.header(scope).get("Authorization", sent) == sent:
                    await self._fetch_token(offered["bearer"], scope)
            return True
        if "basic" in offered and self._credentials.username and not (sent or self._basic):
            self._basic = True
            return True
        return False

    def _basic_value(self) -> str:
        pair = f"{self._credentials.username}:{self._credentials.password}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    async def _fetch_token(self, parameters: dict[str, str], scope: str) -> None:
        realm = parameters.get("realm", "")
        self._check_realm(realm)
        answer = await self._ask(realm, parameters.get("service", ""), scope or parameters.get("scope", ""))
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str) or not token or any(c in token for c in "\r\n\0"):
            raise Unavailable(f"{realm} answers without a token")
        seconds = answer.get("expires_in")
        until = max(seconds if isinstance(seconds, int | float) else 0, _LEAST)
        self._tokens[scope] = (token, time.monotonic() + until * 0.9)

    async def _ask(self, realm: str, service: str, scope: str) -> dict[str, Any]:
        """By POST with an identity token, where the realm knows that way (OAuth2); else by GET."""
        who = self._credentials
        if who.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": who.identity_token, "service": service}
            form |= {"scope": scope, "client_id": _CLIENT}
            async with self._session.post(realm, data=form, allow_redirects=False) as response:
                if response.status not in (404, 405):
                    return await self._read(response, scope)
        query = [("service", service)] if service else []
        query += [("scope", part) for part in scope.split(" ") if part]
        headers = {}
        if who.username:
            query.append(("account", who.username))
            headers["Authorization"] = self._basic_value()
        async with self._session.get(realm, params=query, headers=headers, allow_redirects=False) as response:
            return await self._read(response, scope)

    async def _read(self, response: ClientResponse, scope: str) -> dict[str, Any]:
        from core.image.registry import failures

        data = await failures.read_bounded(response, _LONGEST_ANSWER)
        if response.status in (400, 401, 403):
            raise Unauthorized(
                f"{response.url.host} gives no token{f' for {scope}' if scope else ''}: "
                f"{failures.message(response.status, data)}",
                hint=f"log in with `dockyard login {self._endpoint.host}`",
            )
        if response.status != 200:
            raise Unavailable(f"{response.url.host} gives no token: {failures.message(response.status, data)}")
        document = failures.parse(data)
        if not isinstance(document, dict):
            raise Unavailable(f"{response.url.host} gives no token: its answer is not a JSON object")
        return document

    def _check_realm(self, realm: str) -> None:
        """A realm sees the password: over TLS where the registry has it, and only one that belongs to the registry."""
        parts = urlsplit(realm)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unavailable(f"{self._endpoint.host} names no realm to get a token from: {realm!r:.200}")
        if not (self._credentials.username or self._credentials.identity_token):
            return
        own = urlsplit(self._endpoint.url).hostname or ""
        if parts.scheme == "http" and self._endpoint.scheme == "https":
            raise Forbidden(f"{self._endpoint.host} wants the password sent to {realm} without TLS: it was not sent")
        if parts.netloc in self._endpoint.realms or parts.hostname in self._endpoint.realms:
            return
        if not _are_related(own, parts.hostname):
            raise Forbidden(
                f"{self._endpoint.host} wants the password sent to {parts.hostname}: it was not sent",
                hint=f'if that is right, put realms = ["{parts.netloc}"] below [registries."{self._endpoint.host}"]',
            )


def _are_related(one: str, other: str) -> bool:
    """The same host, or names of the same domain: ``registry.example.com`` and ``auth.example.com``."""
    if one == other or (is_loopback(one) and is_loopback(other)):
        return True
    is_address = one.replace(".", "").isdigit() or ":" in one
    labels = one.split(".")[-2:]
    return not is_address and len(labels) == 2 and other.split(".")[-2:] == labels
