"""Token authentication as Docker's registries have it, in front of a plain registry.

Without a token a request is answered with a challenge whose realm is ``/token`` of this very server. There tokens are
given by GET (with Basic, or to nobody) and by POST (OAuth2: ``password``, ``refresh_token``). Nobody gets ``pull`` of
the repositories in ``public``, the one user everything. Sources: distribution's docs/spec/auth/token.md and oauth.md.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import urllib.parse
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.registry.loopback import Named
from tests.registry.proxy import Proxy
from tests.registry.server import PASSWORD, USER

SERVICE = "registry.test"
_ACTIONS = {"GET": {"pull"}, "HEAD": {"pull"}, "DELETE": {"delete"}}


@dataclass(frozen=True)
class Asked:
    """One request for a token. ``user`` is "" for nobody; ``given`` is "" when it was refused.

    ``grant``: "" of a GET, else ``password`` or ``refresh_token``. ``scopes`` are as they were asked for.
    """

    method: str
    service: str
    scopes: tuple[str, ...]
    user: str
    grant: str
    given: str


class TokenProxy(Proxy):
    """Demands tokens. ``token_requests`` are all that were asked for, ``seen`` all requests to the registry.

    All tokens end after ``end_after`` requests, once; ``has_post`` is whether the realm knows OAuth2.
    """

    def __init__(
        self,
        upstream: Named,
        public: Collection[str] = (),
        *,
        end_after: int = 0,
        has_post: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(upstream, **options)
        self.public = set(public)
        self.has_post = has_post
        self._left = end_after
        self.token_requests: list[Asked] = []
        self._tokens: dict[str, set[tuple[str, str]]] = {}
        self._refresh: set[str] = set()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/token":
            return await self._token(request)
        seen = self.note(request)
        needed = _needed(request)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        rights = self._tokens.get(token) if scheme.lower() == "bearer" else None
        if rights is None or not needed <= rights:
            await request.read()
            seen.status = 401
            return self._challenge(needed, is_short=rights is not None)
        self._left -= 1
        if self._left == 0:
            self._tokens.clear()
        return await self.relay(request, seen)

    def _challenge(self, needed: set[tuple[str, str]], is_short: bool) -> web.Response:
        scopes: dict[str, list[str]] = {}
        for name, action in sorted(needed):
            scopes.setdefault(name, []).append(action)
        scope = " ".join(f"{name}:{','.join(actions)}" for name, actions in scopes.items())
        parts = [f'realm="{self.url}/token"', f'service="{SERVICE}"']
        parts += [f'scope="{scope}"'] if scope else []
        parts += ['error="insufficient_scope"'] if is_short else []
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required", "detail": None}]}
        headers = {"WWW-Authenticate": f"Bearer {','.join(parts)}", "Docker-Distribution-API-Version": "registry/2.0"}
        return web.json_response(body, status=401, headers=headers)

    # --- giving tokens -----------------------------------------------------------------------------

    async def _token(self, request: web.BaseRequest) -> web.Response:
        if request.method == "GET":
            user, refused = _basic(request.headers.get("Authorization", ""))
            scopes = request.query.getall("scope", [])
            return self._give(request, request.query.get("service", ""), scopes, user, "", refused)
        if request.method != "POST" or not self.has_post:
            return web.Response(status=404)
        form = dict(urllib.parse.parse_qsl((await request.read()).decode()))
        grant = form.get("grant_type", "")
        if grant == "refresh_token":
            user = USER if form.get("refresh_token") in self._refresh else ""
        else:
            user = USER if (form.get("username"), form.get("password")) == (USER, PASSWORD) else ""
        scopes = form.get("scope", "").split()
        return self._give(request, form.get("service", ""), scopes, user, grant, refused=not user)

    def _give(
        self, request: web.BaseRequest, service: str, scopes: list[str], user: str, grant: str, refused: bool
    ) -> web.Response:
        granted = set() if refused else self._granted(scopes, user)
        token = "" if refused else secrets.token_urlsafe(24)
        asked = tuple(word for scope in scopes for word in scope.split())
        self.token_requests.append(Asked(request.method, service, asked, user, grant, token))
        if refused or service != SERVICE:
            return web.json_response({"details": "incorrect username or password"}, status=401)
        self._tokens[token] = granted
        answer: dict[str, Any] = {"token": token, "access_token": token, "expires_in": 300}
        if request.query.get("offline_token") == "true" or grant:
            answer["refresh_token"] = refresh = secrets.token_urlsafe(24)
            self._refresh.add(refresh)
        return web.json_response(answer)

    def _granted(self, scopes: list[str], user: str) -> set[tuple[str, str]]:
        granted = set()
        for scope in (word for text in scopes for word in text.split()):
            name, _, actions = scope.rpartition(":")
            for action in actions.split(","):
                is_public = action == "pull" and name.partition(":")[2] in self.public
                if user or is_public:
                    granted.add((name, action))
        return granted


def _basic(header: str) -> tuple[str, bool]:
    """The user, "" for nobody, and whether what was said of it is wrong."""
    if not header:
        return "", False
    scheme, _, value = header.partition(" ")
    try:
        found = base64.b64decode(value, validate=True).decode()
    except (ValueError, binascii.Error):
        return "", True
    if scheme.lower() == "basic" and found == f"{USER}:{PASSWORD}":
        return USER, False
    return "", True


def _needed(request: web.BaseRequest) -> set[tuple[str, str]]:
    """(``repository:NAME``, action) pairs that a request takes. A mount takes ``pull`` of where it comes from, too."""
    if request.path == "/v2/_catalog":
        return {("registry:catalog", "*")}
    found = re.fullmatch(r"/v2/(.+)/(manifests|blobs|tags|referrers)/.*", request.path)
    if found is None:
        return set()
    name = f"repository:{found[1]}"
    needed = {(name, action) for action in _ACTIONS.get(request.method, {"pull", "push"})}
    if "mount" in request.query and "from" in request.query:
        needed.add((f"repository:{request.query['from']}", "pull"))
    return needed
