"""One server's HTTP: attempts with back-off, challenges, redirects without credentials, failures in words.

aiohttp's client is loaded with the first pull or push: an engine that does neither does without it.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from core.errors import DockyardError, Exhausted, InvalidArgument, Unavailable
from core.image.registry import failures
from core.image.registry.auth import Authorizer
from core.image.registry.credentials import ANONYMOUS, Credentials
from core.image.registry.hosts import CERTIFICATES, CONFIGURATION, Endpoint

if TYPE_CHECKING:
    from types import TracebackType

    from aiohttp import ClientRequest, ClientResponse

_AGENT = "dockyard"
_REDIRECTS = 5
_REDIRECTED = (301, 302, 303, 307, 308)
#: Answers that may be better the next time.
_PASSING = (408, 429, 500, 502, 503, 504)
_CONNECT_SECONDS = 15.0
_SILENT_SECONDS = 30.0
#: So often a server that says nothing is waited for.
_MOST_SILENCES = 2
_READ_BUFFER = 1 << 20
#: A registry that wants a longer pause is not waited for: seconds.
_LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often, and after how many seconds, a request is sent again: each pause is twice the one before.

    The patient wait for a server that refuses connections, too: it answered before, and may be starting again.
    """

    count: int = 5
    first: float = 0.25
    longest: float = 8.0
    is_patient: bool = False

    def pause(self, number: int) -> float:
        """Before attempt ``number`` (from 1), with some chance in it so that many clients do not come at once."""
        return min(self.longest, self.first * 2.0 ** (number - 1)) * random.uniform(0.75, 1.25)


#: How it is done; tests that count attempts put a faster one here.
ATTEMPTS = Attempts()
ONCE = Attempts(1)


class Client:
    """A session with one endpoint. Use as ``async with``. ``tell`` is told of pauses."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials = ANONYMOUS,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.endpoint = endpoint
        self._credentials = ANONYMOUS if endpoint.is_mirror else credentials
        self._tell = tell
        #: What the server said of its limit, in words; "" when it said nothing.
        self.rate_limit = ""

    async def __aenter__(self) -> Client:
        import aiohttp

        connector = aiohttp.TCPConnector(ssl=tls(self.endpoint), limit=16)
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER,
            request_class=_request_class(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS),
            headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"},
        )
        try:
            if self.endpoint.may_fall_back and not await self._speaks_tls():
                self.endpoint = replace(self.endpoint, scheme="http", may_fall_back=False)
        except BaseException:
            await self._session.close()
            raise
        self._authorizer = Authorizer(self.endpoint, self._credentials, self._session)
        return self

    async def _speaks_tls(self) -> bool:
        """Whether the port does. What else is wrong with it is told by the first request."""
        try:
            async with self._session.get(f"{self.endpoint.url}/v2/", allow_redirects=False):
                return True
        except connection_errors() as error:
            return not _is_no_tls(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    def path(self, repository: str, rest: str) -> str:
        """``/v2/<name>/<rest>`` with the endpoint's prefix."""
        return f"/v2/{self.endpoint.prefix}{repository}/{rest}"

    def scope(self, repository: str, actions: str) -> str:
        """The right to ask a token for."""
        return f"repository:{self.endpoint.prefix}{repository}:{actions}"

    @asynccontextmanager
    async def open(
        self,
        method: str,
        where: str,
        *,
        name: str,
        scope: str = "",
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Any] | None = None,
        ok: tuple[int, ...] = (200,),
        attempts: Attempts | None = None,
    ) -> AsyncIterator[ClientResponse]:
        """Send a request; the answer, whose status is one of ``ok``, inside the block.

        ``where`` is a path or a whole URL; ``name`` is for error messages; ``body`` makes the content anew for each
        attempt. Raises the refusal as a DockyardError; what happens to the body inside the block is the caller's
        (:func:`is_passing` tells whether to try again).
        """
        response = await self._attempt(method, where, name, scope, headers or {}, body, ok, attempts or ATTEMPTS)
        try:
            yield response
        finally:
            response.close() if not response.content.at_eof() else response.release()

    async def _attempt(
        self,
        method: str,
        where: str,
        name: str,
        scope: str,
        headers: Mapping[str, str],
        body: Callable[[], Any] | None,
        ok: tuple[int, ...],
        attempts: Attempts,
    ) -> ClientResponse:
        number = 0
        while True:
            number += 1
            wait: float | None = None
            try:
                response = await self._send(method, where, scope, headers, body)
            except connection_errors() as error:
                silent = isinstance(error, asyncio.TimeoutError) and number >= _MOST_SILENCES
                if silent or number >= attempts.count or not is_passing(error, attempts.is_patient):
                    raise self.explain(error) from error
            else:
                self._note_limit(response)
                if response.status in ok:
                    return response
                data = await self._read_failure(response)
                wait = failures.seconds_to_wait(response.headers.get("Retry-After", ""))
                last = number >= attempts.count or (wait or 0) > _LONGEST_WAIT
                if response.status not in _PASSING or last:
                    raise self._refusal(response, data, name, scope, wait)
            pause = attempts.pause(number) if wait is None else wait
            self._tell(f"Retrying in {max(1, round(pause))} second{'s' if round(pause) > 1 else ''}")
            await asyncio.sleep(pause)

    def _note_limit(self, response: ClientResponse) -> None:
        """Docker Hub counts pulls: ``ratelimit-remaining: 76;w=21600``."""
        left, _, window = response.headers.get("ratelimit-remaining", "").partition(";w=")
        limit = response.headers.get("ratelimit-limit", "").partition(";")[0]
        if left.isascii() and left.isdigit() and limit.isascii() and limit.isdigit():
            hours = f" in {int(window[:9]) / 3600:g} hours" if window.isascii() and window.isdigit() else ""
            self.rate_limit = f"{int(left[:9])} of {int(limit[:9])} pulls left{hours}"

    def _refusal(
        self, response: ClientResponse, data: bytes, name: str, scope: str, wait: float | None
    ) -> DockyardError:
        error = failures.refusal(self.endpoint.host, response.status, data, name, scope)
        if response.status == 429 and wait:
            return Exhausted(f"{error.message}; it asks to wait {wait:.0f} seconds", hint=error.hint)
        return error

    @staticmethod
    async def _read_failure(response: ClientResponse) -> bytes:
        """An error's body, as far as it comes."""
        try:
            return await failures.read_bounded(response, failures.BODY)
        except connection_errors():
            return b""
        finally:
            response.close()

    async def _send(
        self, method: str, where: str, scope: str, headers: Mapping[str, str], body: Callable[[], Any] | None
    ) -> ClientResponse:
        """One attempt, with the challenge that it may take."""
        response = await self._follow(method, where, scope, headers, body)
        if response.status == 401 and self._is_own(str(response.url)):
            try:
                learnt = await self._authorizer.answer(response, scope)
            except BaseException:
                response.close()
                raise
            if learnt:
                response.close()
                response = await self._follow(method, where, scope, headers, body)
        return response

    async def _follow(
        self, method: str, where: str, scope: str, headers: Mapping[str, str], body: Callable[[], Any] | None
    ) -> ClientResponse:
        """Along redirects of what is read only; credentials stay with the endpoint itself."""
        url = urljoin(self.endpoint.url, where)
        for _ in range(_REDIRECTS):
            own = self._authorizer.header(scope) if self._is_own(url) else {}
            response = await self._session.request(
                method,
                _as_is(url),
                headers={**headers, **own},
                data=body() if body else None,
                allow_redirects=False,
                proxy=proxy(url),
            )
            if response.status not in _REDIRECTED or method not in ("GET", "HEAD"):
                return response
            response.close()
            target = urljoin(url, response.headers.get("Location", ""))
            if urlsplit(target).scheme not in ("http", "https") or (url[:6] == "https:" and target[:6] != "https:"):
                raise Unavailable(f"{self.endpoint.host} sends us on to {target!r:.200}, without TLS: not followed")
            url = target
        raise Unavailable(f"{self.endpoint.host} sends us on more than {_REDIRECTS} times")

    def _is_own(self, url: str) -> bool:
        """Whether a URL is this server's: same scheme, host and port."""
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc}" == self.endpoint.url

    def explain(self, error: BaseException) -> DockyardError:
        """A failure of the connection in words."""
        import aiohttp

        host = self.endpoint.host
        if isinstance(error, DockyardError):
            return error
        if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
            cause = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
            why = getattr(cause, "verify_message", "") or str(cause)
            return Unavailable(
                f"the TLS certificate of {host} is not trusted: {why}",
                hint=f"if it is yours, put its authority into {CERTIFICATES}/{host}/ca.crt, "
                f'or ca = "FILE" below [registries."{host}"] in {CONFIGURATION}',
            )
        if self.endpoint.scheme == "https" and _is_no_tls(error):
            return Unavailable(
                f"{host} does not speak TLS",
                hint=f'if that is meant, put plain-http = true below [registries."{host}"] in {CONFIGURATION}',
            )
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return Unavailable(f"the host {host} is not known", hint="is the name right, and does DNS work here?")
        if isinstance(error, aiohttp.ClientConnectorError):
            why = os.strerror(error.os_error.errno) if error.os_error.errno else str(error.os_error)
            return Unavailable(f"no connection to {host}: {why}", hint="is the registry up, on that port?")
        if isinstance(error, asyncio.TimeoutError):
            return Unavailable(f"{host} does not answer", hint="try again later")
        return Unavailable(f"the connection to {host} broke: {str(error) or type(error).__name__}", hint="try again")


@functools.cache
def _request_class() -> type[ClientRequest]:
    """aiohttp's requests, without a traceback in the log when the connection breaks before a body's end.

    aiohttp writes the end in a task that nobody waits for; whoever waits for the answer learns of the break.
    """
    import aiohttp

    class Request(aiohttp.ClientRequest):
        async def write_bytes(self, *args: Any, **options: Any) -> None:
            with suppress(ConnectionError):
                await super().write_bytes(*args, **options)

    return Request


def connection_errors() -> tuple[type[BaseException], ...]:
    """What a request, or reading a body, may raise when its connection fails."""
    import aiohttp

    return (OSError, asyncio.TimeoutError, aiohttp.ClientError)


def is_passing(error: BaseException, patient: bool = False) -> bool:
    """Whether the same request may do better: not when the host is unknown, refuses, or is not trusted."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL | ssl.SSLError):
        return isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno in (
            errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH,
            errno.ECONNREFUSED if patient else None,
        )  # fmt: skip
    return True


def _is_no_tls(error: BaseException) -> bool:
    """Whether the port answered something that is no TLS, or hung up on it."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return False
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return not isinstance(error.os_error, ssl.SSLCertVerificationError)
    return isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionResetError)


def tls(endpoint: Endpoint) -> ssl.SSLContext:
    """What is trusted: the system's authorities and the endpoint's. InvalidArgument for files that cannot be used."""
    context = ssl.create_default_context()
    for path in endpoint.ca:
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"certificate {path} for {endpoint.host} cannot be used: {error}") from error
    if endpoint.cert:
        try:
            context.load_cert_chain(endpoint.cert, endpoint.key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"{endpoint.cert} for {endpoint.host} cannot be used: {error}") from error
    return context


def proxy(url: str) -> str | None:
    """The proxy that the environment names for a URL: HTTPS_PROXY, HTTP_PROXY, NO_PROXY."""
    import urllib.request

    parts = urlsplit(url)
    found = urllib.request.getproxies_environment()
    if not found or urllib.request.proxy_bypass(parts.netloc):
        return None
    return found.get(parts.scheme) or found.get("all")


def _as_is(url: str) -> Any:
    """The URL as it was given: a Location's signature does not survive being quoted again."""
    from yarl import URL

    return URL(url, encoded=True)
