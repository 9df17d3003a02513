"""What a registry offers: its tags, its catalogue, and Docker Hub's search."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from core.errors import Corrupt, InvalidArgument, NotFound, Unavailable
from core.image import reference
from core.image.reference import DEFAULT_DOMAIN, Reference
from core.image.registry import failures
from core.image.registry.client import Client, connection_errors
from core.image.registry.credentials import Credentials
from core.image.registry.hosts import Endpoint, Hosts

_LONGEST = 4 << 20
_MOST_TAGS = 10_000
_MOST_PAGES = 100
#: Where version 1 of the API, the one with a search, lives on for Docker Hub.
_HUB_SEARCH = "index.docker.io"
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?', re.IGNORECASE)


class Found(NamedTuple):
    """One repository of a search."""

    name: str
    description: str
    stars: int
    is_official: bool


async def tags(client: Client, wanted: Reference) -> list[str]:
    """All tags of a repository. Corrupt when there is no end of them."""
    where = client.path(wanted.path, "tags/list")
    found: list[str] = []
    for page in range(_MOST_PAGES):
        document, following = await _page(client, where, wanted.repository, client.scope(wanted.path, "pull"))
        listed = document.get("tags") if isinstance(document, dict) else None
        found += [tag for tag in listed or () if isinstance(tag, str)] if isinstance(listed, list) else []
        if len(found) > _MOST_TAGS:
            break
        if not following:
            if not found and page == 0:
                raise NotFound(f"{wanted.repository} has no tags")
            return found
        where = following
    raise Corrupt(f"{wanted.repository} has more than {_MOST_TAGS} tags", hint="name those you want")


async def _page(client: Client, where: str, name: str, scope: str) -> tuple[Any, str]:
    async with client.open("GET", where, name=name, scope=scope) as response:
        try:
            data = await failures.read_bounded(response, _LONGEST)
        except connection_errors() as error:
            raise client.explain(error) from error
        link = _NEXT.search(response.headers.get("Link", "")[:4096])
        following = urljoin(str(response.url), link[1]) if link else ""
    if following and urlsplit(following)[:2] != urlsplit(client.endpoint.url)[:2]:
        raise Unavailable(f"{client.endpoint.host} sends us on to {following:.200} for more of {name}")
    return failures.parse(data), following


async def search(hosts: Hosts, term: str, limit: int, credentials: Credentials) -> list[Found]:
    """Repositories whose name or description has ``term``; ``HOST/term`` searches another registry than Docker Hub.

    A registry without a search is asked for its catalogue.
    """
    domain, word = _split(term)
    hub = domain == DEFAULT_DOMAIN
    endpoint = Endpoint(_HUB_SEARCH) if hub else hosts.origin(domain)
    async with Client(endpoint, credentials) as client:
        try:
            where = f"/v1/search?q={quote(word, safe='')}&n={limit}"
            document, _ = await _page(client, where, term, "")
        except NotFound:
            if hub:
                raise
            return await _catalogue(client, domain, word, limit)
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise Unavailable(f"{endpoint.host} answers a search with something else")
    prefix = "" if hub else f"{domain}/"
    return [_found(item, prefix) for item in results[:limit] if isinstance(item, dict)]


def _split(term: str) -> tuple[str, str]:
    if not term or len(term) > 256 or not term.isprintable():
        raise InvalidArgument("nothing to search for", hint="give a word, or HOST/word")
    first, slash, rest = term.partition("/")
    if slash and reference.is_host(first):
        return first, rest
    return DEFAULT_DOMAIN, term.removeprefix("library/")


def _found(item: dict[str, Any], prefix: str) -> Found:
    name, description, stars = item.get("name"), item.get("description"), item.get("star_count")
    return Found(
        prefix + (name if isinstance(name, str) else ""),
        description if isinstance(description, str) else "",
        stars if isinstance(stars, int) else 0,
        item.get("is_official") is True,
    )


async def _catalogue(client: Client, domain: str, word: str, limit: int) -> list[Found]:
    where = "/v2/_catalog?n=1000"
    found: list[Found] = []
    for _ in range(_MOST_PAGES):
        document, following = await _page(client, where, domain, "registry:catalog:*")
        names = document.get("repositories") if isinstance(document, dict) else None
        listed = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        found += [Found(f"{domain}/{name}", "", 0, False) for name in listed if word in name]
        if not following or len(found) >= limit:
            break
        where = following
    return found[:limit]
