"""Challenges and their answers; whom a password is told."""

from __future__ import annotations

import base64
import contextlib
import json
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Forbidden, InvalidArgument, NotFound, Unauthorized, Unavailable
from core.image.registry import credentials
from core.image.registry.auth import Challenge, challenges
from core.image.registry.credentials import ANONYMOUS, Credentials
from tests.image.registry.fake import FakeRegistry, error
from tests.image.registry.ground import Ground

ME = Credentials("me", "secret")
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()


def test_challenges_are_taken_apart() -> None:
    text = 'Bearer realm="https://a/t",service="s, x",scope="repository:a/b:pull,push" , Basic realm="r\\"q", Negotiate'
    assert challenges(text) == [
        Challenge("bearer", {"realm": "https://a/t", "service": "s, x", "scope": "repository:a/b:pull,push"}),
        Challenge("basic", {"realm": 'r"q'}),
        Challenge("negotiate", {}),
    ]
    assert challenges("Bearer realm=https://a/t") == [Challenge("bearer", {"realm": "https://a/t"})]


@given(st.text(max_size=200))
def test_no_header_is_too_strange(text: str) -> None:
    challenges(text)


class Tokens:
    """A realm of the registry: gives tokens to ``me``, and the registry asks for them."""

    def __init__(self, registry: FakeRegistry) -> None:
        self.registry = registry
        self.asked: list[tuple[str, dict[str, list[str]], str]] = []
        self.realm = f"http://{registry.host}/token"
        self.has_post = True
        self.valid: dict[str, str] = {}
        self.answer: object = None
        registry.misdeed = self.guard

    async def guard(self, request: web.Request) -> web.StreamResponse | None:
        if request.path == "/token":
            return await self.token(request)
        kind = "pull" if request.method in ("GET", "HEAD") else "push"
        name = (
            request.path.removeprefix("/v2/").rpartition("/manifests/")[0] or request.path[4:].partition("/blobs/")[0]
        )
        scope = self.valid.get(request.headers.get("Authorization", ""), "")
        if request.path == "/v2/" or kind in scope:
            return None
        wanted = f"repository:{name}:pull" + (",push" if kind == "push" else "")
        said = f'Bearer realm="{self.realm}",service="fake",scope="{wanted}"'
        return error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": said})

    async def token(self, request: web.Request) -> web.StreamResponse:
        form = parse_qs((await request.read()).decode()) if request.method == "POST" else {}
        fields = form or {key: request.query.getall(key) for key in request.query}
        self.asked.append((request.method, fields, request.headers.get("Authorization", "")))
        if request.method == "POST" and not self.has_post:
            return web.Response(status=404)
        if self.answer is not None:
            return web.json_response(self.answer)
        known = form.get("refresh_token") == ["identity"] or request.headers.get("Authorization") == BASIC
        if not known:
            return error(401, "UNAUTHORIZED", "incorrect username or password")
        token = f"t{len(self.valid)}"
        self.valid[f"Bearer {token}"] = " ".join(fields["scope"])
        return web.json_response({"token": token, "expires_in": 300})


@pytest.fixture
def tokens(ground: Ground) -> Tokens:
    ground.add("app", {"a": b"1"})
    return Tokens(ground.registry)


async def test_one_token_serves_a_pull(ground: Ground, tokens: Tokens) -> None:
    await ground.pull("app", who=ME)
    ((method, fields, authorization),) = tokens.asked
    assert (method, authorization) == ("GET", BASIC)
    assert fields == {"service": ["fake"], "scope": ["repository:app:pull"], "account": ["me"]}


@pytest.mark.parametrize("has_post", [True, False])
async def test_an_identity_token_goes_by_post_where_the_realm_knows_it(
    ground: Ground, tokens: Tokens, has_post: bool
) -> None:
    tokens.has_post = has_post
    await ground.pull("app", who=Credentials("me", "secret", identity_token="identity"))
    assert [method for method, _, _ in tokens.asked] == (["POST"] if has_post else ["POST", "GET"])
    assert tokens.asked[0][1]["grant_type"] == ["refresh_token"]


async def test_a_push_asks_for_its_right_and_for_the_lenders(ground: Ground, tokens: Tokens) -> None:
    await ground.pull("app", who=ME)
    ground.store.images.tag(ground.name("app:1"), ground.name("copy:1"))
    tokens.asked.clear()
    await ground.push("copy", who=ME)
    scopes = [fields["scope"] for _, fields, _ in tokens.asked]
    assert ["repository:copy:pull,push"] in scopes
    assert ["repository:copy:pull,push", "repository:app:pull"] in scopes


async def test_a_token_that_is_taken_back_is_asked_for_anew(ground: Ground, tokens: Tokens) -> None:
    await ground.pull("app", who=ME)
    guard = tokens.guard
    seen: list[int] = []

    async def once_expired(request: web.Request) -> web.StreamResponse | None:
        if "/blobs/" in request.path and not seen:
            seen.append(1)
            tokens.valid.clear()
        return await guard(request)

    ground.registry.misdeed = once_expired
    await ground.store.images.remove(ground.name("app:1"))
    tokens.asked.clear()
    await ground.pull("app", who=ME)
    assert len(tokens.asked) == 2


async def test_a_wrong_password_says_how_to_log_in(ground: Ground, tokens: Tokens) -> None:
    with pytest.raises(Unauthorized) as raised:
        await ground.pull("app", who=Credentials("me", "wrong"))
    assert "gives no token for repository:app:pull" in raised.value.message
    assert "incorrect username or password" in raised.value.message
    assert "dockyard login" in raised.value.hint


@pytest.mark.parametrize("answer", [[], {}, {"token": 7}, {"token": "a\r\nb"}, "x"])
async def test_realms_that_answer_nonsense(ground: Ground, tokens: Tokens, answer: object) -> None:
    tokens.answer = answer
    with pytest.raises(Unavailable, match=r"no token|without a token"):
        await ground.pull("app", who=ME)


@pytest.mark.parametrize("realm", ["", "ftp://x/t", "file:///etc/passwd", "nonsense"])
async def test_realms_that_are_none(ground: Ground, tokens: Tokens, realm: str) -> None:
    tokens.realm = realm
    with pytest.raises(Unavailable, match="names no realm"):
        await ground.pull("app", who=ME)


async def test_an_unrelated_realm_does_not_see_the_password(ground: Ground, tokens: Tokens) -> None:
    tokens.realm = "http://login.example.org/token"
    with pytest.raises(Forbidden) as raised:
        await ground.pull("app", who=ME)
    assert "wants the password sent to login.example.org: it was not sent" in raised.value.message
    assert 'realms = ["login.example.org"]' in raised.value.hint


async def test_basic(ground: Ground) -> None:
    ground.add("app", {"a": b"1"})

    async def guard(request: web.Request) -> web.StreamResponse | None:
        if request.headers.get("Authorization") == BASIC:
            return None
        return error(401, "UNAUTHORIZED", "who are you", {"WWW-Authenticate": 'Basic realm="r"'})

    ground.registry.misdeed = guard
    await ground.pull("app", who=ME)
    for who in (ANONYMOUS, Credentials("me", "wrong")):
        with pytest.raises(NotFound, match="pull access denied"):
            await ground.pull("app", "2", who=who)
    await ground.service.login(ground.registry.host, ME)
    with pytest.raises(Unauthorized, match="incorrect username or password"):
        await ground.service.login(ground.registry.host, Credentials("me", "wrong"))


async def test_a_registry_token_is_sent_as_it_is(ground: Ground, tokens: Tokens) -> None:
    tokens.valid["Bearer ready"] = "repository:app:pull"
    await ground.pull("app", who=Credentials(registry_token="ready"))
    assert tokens.asked == []


# --- what a client says ----------------------------------------------------------------------------


def header(document: object, *, padded: bool = True) -> str:
    text = base64.urlsafe_b64encode(json.dumps(document).encode()).decode()
    return text if padded else text.rstrip("=")


def test_the_header() -> None:
    assert credentials.from_header("") == ANONYMOUS
    document = {"username": "me", "password": "pä~?", "serveraddress": "x"}
    for padded in (True, False):
        assert credentials.from_header(header(document, padded=padded)) == Credentials("me", "pä~?")
    assert credentials.from_header(base64.b64encode(json.dumps(document).encode()).decode()).username == "me"
    assert credentials.from_header(header({"auth": base64.b64encode(b"me:a:b").decode()})) == Credentials("me", "a:b")
    assert credentials.from_header(header({"identitytoken": "i"})).identity_token == "i"
    assert "secret" not in repr(ME)


@pytest.mark.parametrize(
    "text", ["\x00", "é", header(1), header({"username": []}), header({"auth": "?"}), header({"password": "a\nb"})]
)
def test_headers_that_are_nonsense(text: str) -> None:
    with pytest.raises(InvalidArgument):
        credentials.from_header(text)


@given(st.binary(max_size=100))
def test_any_header_is_credentials_or_refused(data: bytes) -> None:
    with contextlib.suppress(InvalidArgument):
        assert isinstance(credentials.from_header(data.decode("latin-1")), Credentials)
