"""One request of the API as a handler sees it: path and query parsed, body bounded, answers in Docker's form."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, unquote

from aiohttp.client_exceptions import ClientError
from aiohttp.http_exceptions import HttpProcessingError

# The submodules instead of ``aiohttp.web``: applications, routers and static files are not used here, and a
# daemon that idles on a small server pays for every module it holds.
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse

from core.api.versions import Version
from core.errors import InvalidArgument, Unsupported

if TYPE_CHECKING:
    from core.container.archives import ArchiveService
    from core.container.commit import CommitService
    from core.container.execs import ExecService
    from core.container.logs import LogReader
    from core.container.pruning import ContainerPruner
    from core.container.service import ContainerService
    from core.container.sizes import Sizes
    from core.container.status import Container
    from core.container.update import UpdateService
    from core.container.usage import DiskUsage
    from core.container.volumes import VolumeService
    from core.events import EventBus
    from core.image.pruning import ImagePruner
    from core.image.registry.service import RegistryService
    from core.image.store import ImageStore
    from core.network.service import NetworkService

#: Bytes of a JSON body at most; a create request with a hundred kilobytes of environment is far below.
MAX_BODY = 4 * 1024 * 1024
MAX_QUERY_FIELDS = 1000
#: Nanoseconds since the epoch that stand for every later moment.
MAX_TIME = 1 << 63

JSON = "application/json"
_dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Configuration(Protocol):
    """Where an engine keeps its things (``core.engine.Configuration``)."""

    @property
    def name(self) -> str: ...
    @property
    def root(self) -> str: ...
    @property
    def run(self) -> str: ...
    @property
    def socket_path(self) -> str: ...


class Engine(Protocol):
    """What the API needs of an engine (``core.engine.Engine``)."""

    @property
    def images(self) -> ImageStore: ...
    @property
    def registries(self) -> RegistryService: ...
    @property
    def containers(self) -> ContainerService: ...
    @property
    def networks(self) -> NetworkService: ...
    @property
    def volumes(self) -> VolumeService: ...
    @property
    def execs(self) -> ExecService: ...
    @property
    def archives(self) -> ArchiveService: ...
    @property
    def commits(self) -> CommitService: ...
    @property
    def updates(self) -> UpdateService: ...
    @property
    def sizes(self) -> Sizes: ...
    @property
    def usage(self) -> DiskUsage: ...
    @property
    def image_pruner(self) -> ImagePruner: ...
    @property
    def container_pruner(self) -> ContainerPruner: ...
    @property
    def events(self) -> EventBus: ...
    @property
    def configuration(self) -> Configuration: ...
    @property
    def warnings(self) -> list[str]: ...
    async def top(self, container: Container, arguments: str) -> dict[str, Any]: ...
    def version(self) -> dict[str, Any]: ...
    def info(self) -> dict[str, Any]: ...


class Call:
    """A request. ``parameters`` are the pieces of the path that the route names, decoded."""

    __slots__ = ("begun", "engine", "headers", "logs", "parameters", "path", "query", "request", "version")

    def __init__(
        self,
        engine: Engine,
        logs: LogReader,
        request: BaseRequest,
        version: Version,
        target: str,
        headers: dict[str, str],
    ) -> None:
        self.engine = engine
        self.logs = logs
        self.request = request
        self.version = version
        #: What every answer carries.
        self.headers = headers
        self.path, _, query = target.partition("?")
        self.query = _parse_query(query) if query else {}
        self.parameters: dict[str, str] = {}
        #: The chunked answer of which the head is out: an error can only be told inside it.
        self.begun: StreamResponse | None = None

    # --- query -------------------------------------------------------------------------------------

    def text(self, name: str, default: str = "") -> str:
        """A query field's value; the first when it is given more than once."""
        values = self.query.get(name)
        return values[0] if values else default

    def texts(self, name: str) -> list[str]:
        """Every value of a field that may be repeated."""
        return self.query.get(name, [])

    def flag(self, name: str, default: bool = False) -> bool:
        """Docker's booleans: everything but an empty value, 0, no, false and none is true."""
        values = self.query.get(name)
        if values is None:
            return default
        return values[0].strip().lower() not in ("", "0", "no", "false", "none")

    def integer(self, name: str) -> int | None:
        """A whole number, None when the field is missing or empty. Raises InvalidArgument."""
        value = self.text(name)
        if not value:
            return None
        try:
            return int(value)
        except ValueError:
            raise InvalidArgument(f'invalid {name}: "{value}" is not a whole number') from None

    def time_ns(self, name: str) -> int:
        """Nanoseconds since the epoch from ``seconds[.fraction]``; 0 when the field is missing."""
        value = self.text(name)
        seconds, _, fraction = value.partition(".")
        if not value:
            return 0
        if not (seconds.lstrip("-").isdecimal() and (fraction or "0").isdecimal()):
            raise InvalidArgument(f'invalid {name}: "{value}" is not in seconds since the epoch')
        if len(seconds) > 10:
            return MAX_TIME
        return max(0, int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9]))

    def filters(self) -> dict[str, list[str]]:
        """``filters`` as a list per key, from ``{"k":{"v":true}}`` or the older ``{"k":["v"]}``."""
        raw = self.text("filters")
        if not raw:
            return {}
        try:
            document = json.loads(raw)
            if not isinstance(document, dict):
                raise ValueError
            return {key: _filter_values(values) for key, values in document.items()}
        except (ValueError, RecursionError):
            raise InvalidArgument(f"invalid filter: {raw[:200]}", hint='write {"key":{"value":true}}') from None

    # --- body --------------------------------------------------------------------------------------

    async def body(self, limit: int = MAX_BODY) -> bytes:
        """The whole body. Raises InvalidArgument when it is longer than ``limit`` bytes."""
        length = self.request.content_length
        if length is not None and length > limit:
            raise InvalidArgument(f"the request's body is larger than {limit} bytes")
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                raise InvalidArgument(f"the request's body is larger than {limit} bytes")
        return bytes(body)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, unbounded. Raises InvalidArgument when the client leaves before its end."""
        try:
            async for chunk in self.request.content.iter_any():
                yield chunk
        except (ClientError, HttpProcessingError, ConnectionError) as error:
            raise InvalidArgument("the request's body ended early") from error

    async def json(self, *, required: bool = True) -> Any:
        """The body as JSON; None when it is empty and not ``required``."""
        raw = await self.body()
        if not raw:
            if required:
                raise InvalidArgument("the request's body is missing, it must be a JSON object")
            return None
        kind = self.request.headers.get("Content-Type", JSON)
        if kind.partition(";")[0].strip().lower() != JSON:
            raise InvalidArgument(f"unsupported Content-Type header ({kind[:100]}): must be '{JSON}'")
        try:
            # Decoded here: json would take UTF-16 too, and halves of surrogate pairs, which fit in no file name.
            document = json.loads(raw.decode())
            if b"\\u" in raw:
                json.dumps(document, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"the request's body is not JSON: {str(error)[:200]}") from None
        return document


def _parse_query(query: str) -> dict[str, list[str]]:
    try:
        return parse_qs(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError as error:
        raise InvalidArgument(f"the request's query has more than {MAX_QUERY_FIELDS} fields") from error


def _filter_values(values: Any) -> list[str]:
    if isinstance(values, dict):
        return [value for value, wanted in values.items() if wanted is not False]
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return values
    raise ValueError


def decode_path(piece: str) -> str:
    """A piece of a path with its %XX decoded."""
    return unquote(piece) if "%" in piece else piece


def reply(document: Any, status: int = 200) -> Response:
    """``document`` as JSON; the content type has no charset, Docker's clients compare it whole."""
    body = (_dumps(document) + "\n").encode("ascii")
    return Response(body=body, status=status, content_type=JSON)


def line(document: Any) -> bytes:
    """``document`` as one line of a stream of JSON."""
    return (_dumps(document) + "\n").encode("ascii")


def empty(status: int = 204) -> Response:
    """An answer without a body."""
    return Response(status=status)


def failure(message: str, status: int) -> Response:
    """Docker's error document."""
    return reply({"message": message}, status)


def not_supported(what: str) -> Unsupported:
    """The error for what Docker's API knows and this version does not."""
    return Unsupported(f"{what} is not supported by this version of Dockyard")
