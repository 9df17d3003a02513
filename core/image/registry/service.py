"""Registries for the API: pull, push, login, look."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from core.errors import InvalidArgument, NotFound, Unauthorized
from core.image import platforms, reference
from core.image.model import Image
from core.image.reference import Reference
from core.image.registry.credentials import ANONYMOUS, Credentials
from core.image.registry.hosts import Hosts
from core.image.registry.ingest import KEPT, Ingests
from core.image.registry.progress import Progress
from core.image.store import ImageStore

Publish = Callable[..., Any]
#: Layers that all pulls and pushes together unpack or compress at the same time; most of these threads wait for bytes.
_UNPACKING = 32
_WRITING = 4
_MOST_RESULTS = 100


class RegistryService:
    """What a client asks for of registries. HTTP is loaded with the first of them."""

    def __init__(self, store: ImageStore, root: str, hosts: Hosts, publish: Publish) -> None:
        self._store = store
        self._publish = publish
        self.hosts = hosts
        self.ingests = Ingests(root)
        self.ingests.prune(KEPT)
        self._unpacking = ThreadPoolExecutor(_UNPACKING, "layer")
        self._writing = ThreadPoolExecutor(_WRITING, "blob-write")

    def close(self) -> None:
        """Let the threads end. Nobody pulls or pushes any more."""
        self._unpacking.shutdown(wait=False, cancel_futures=True)
        self._writing.shutdown(wait=False, cancel_futures=True)

    # --- coming ------------------------------------------------------------------------------------

    async def pull(
        self, name: str, tag: str, platform: str, credentials: Credentials, progress: Progress
    ) -> list[Image]:
        """Bring in ``name`` with ``tag`` (or a digest); without either, all tags of the repository."""
        wanted = to_pull(name, tag)
        if platform:
            platforms.parse(platform)
        if wanted is not None:
            return [await self._pull_one(wanted, platform, credentials, progress)]
        whole = reference.parse(name)
        every = [whole._replace(tag=one) for one in await self._tags(whole, credentials)]
        return [await self._pull_one(one, platform, credentials, progress) for one in every]

    async def _pull_one(self, wanted: Reference, platform: str, credentials: Credentials, progress: Progress) -> Image:
        from core.image.registry.pull import Pull, Threads

        self._store.free_name(wanted._replace(digest="", tag=wanted.tag or "latest").familiar)
        pull = Pull(self._store, self.ingests, Threads(self._unpacking, self._writing), credentials, progress)
        try:
            image, _ = await pull.run(self.hosts.to_pull(wanted.domain), wanted, platform)
        finally:
            self.ingests.prune(KEPT)
            self._store.layers.end_old_leases()
        self._publish("image", "pull", wanted.familiar, {"name": wanted.repository})
        return image

    async def _tags(self, wanted: Reference, credentials: Credentials) -> list[str]:
        from core.image.registry import search
        from core.image.registry.client import Client

        async with Client(self.hosts.origin(wanted.domain), credentials) as client:
            return await search.tags(client, wanted)

    # --- going -------------------------------------------------------------------------------------

    async def push(self, name: str, tag: str, credentials: Credentials, progress: Progress) -> None:
        """Send the image ``name:tag``; without a tag all tags of the repository that are here."""
        from core.image.registry.pull import Threads
        from core.image.registry.push import Push

        wanted = self._to_push(name, tag)
        push = Push(self._store, Threads(self._unpacking, self._writing), credentials, progress)
        await push.run(self.hosts.origin(wanted[0][0].domain), wanted)
        for one, _ in wanted:
            self._publish("image", "push", one.familiar, {"name": one.repository})

    def _to_push(self, name: str, tag: str) -> list[tuple[Reference, Image]]:
        whole = reference.parse(f"{name}:{tag}" if tag else name)
        if whole.digest:
            raise InvalidArgument("cannot push a digest reference", hint="push a tag; the digest comes of it")
        if whole.repository == "host":
            raise InvalidArgument("the image host is part of the engine and cannot be pushed")
        known = {one.familiar: one for one in map(reference.parse, self._names()) if one.repository == whole.repository}
        if tag or ":" in name.rpartition("/")[2]:
            known = {key: one for key, one in known.items() if one.tag == whole.tag}
        if not known:
            raise NotFound(
                f"An image does not exist locally with the tag: {whole.familiar if tag else whole.repository}",
                hint="name one of this machine's images, or give it that name with `dockyard tag`",
            )
        return [(one, self._store.get(key)) for key, one in sorted(known.items())]

    def _names(self) -> list[str]:
        return [name for image in self._store.all() for name in image.tags]

    # --- looking -----------------------------------------------------------------------------------

    async def login(self, server: str, credentials: Credentials) -> None:
        """Try the credentials. Unauthorized when the registry does not take them."""
        from core.image.registry.client import Client

        domain = domain_of(server)
        async with (
            Client(self.hosts.origin(domain), credentials) as client,
            client.open("GET", "/v2/", name=domain, ok=(200, 401)) as response,
        ):
            if response.status == 401:
                raise Unauthorized(f"{domain}: unauthorized: incorrect username or password", hint="try again")

    async def distribution(self, name: str, credentials: Credentials) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The descriptor of what a name stands for in its registry, and the platforms it has."""
        from core.image import documents
        from core.image.registry import manifests
        from core.image.registry.client import Client

        wanted = reference.parse(name)
        async with Client(self.hosts.origin(wanted.domain), credentials) as client:
            document = await manifests.get(client, wanted)
            if document.is_index:
                listed = [item for item in document.content["manifests"] if not documents.is_attestation(item)]
                found = [item["platform"] for item in listed if item.get("platform")]
            else:
                remote = await manifests.get_image(client, wanted._replace(digest=document.manifest.digest), "")
                found = [dict(remote.config)]
        members = ("architecture", "os", "os.version", "variant")
        return document.descriptor, [{key: item[key] for key in members if item.get(key)} for item in found]

    async def manifests(self, name: str, credentials: Credentials, every: bool) -> dict[str, Any]:
        """The manifest or index of a name, as it is; with ``every`` also those that an index lists."""
        from core.image.registry import manifests
        from core.image.registry.client import Client

        wanted = reference.parse(name)
        async with Client(self.hosts.origin(wanted.domain), credentials) as client:
            top = await manifests.get(client, wanted)
            answer: dict[str, Any] = {
                "Ref": wanted.canonical, "Descriptor": top.descriptor, "Raw": top.manifest.data.decode(),
            }  # fmt: skip
            if every and top.is_index:
                answer["Manifests"] = []
                for item in top.content["manifests"]:
                    one = await manifests.get(client, wanted, item["digest"])
                    answer["Manifests"].append({"Descriptor": item, "Raw": one.manifest.data.decode()})
        return answer

    async def search(self, term: str, limit: int, credentials: Credentials = ANONYMOUS) -> list[Any]:
        """Repositories whose name fits."""
        from core.image.registry import search

        if not 0 < limit <= _MOST_RESULTS:
            raise InvalidArgument(f"limit {limit} is outside the range of [1, {_MOST_RESULTS}]")
        return await search.search(self.hosts, term, limit, credentials)


def to_pull(name: str, tag: str) -> Reference | None:
    """The one image that is meant; None for all tags. ``tag`` may be a digest."""
    if tag:
        separator = "@" if ":" in tag else ":"
        bare = name if separator == ":" else name.partition("@")[0]
        return reference.parse(f"{bare}{separator}{tag}")
    has_tag = ":" in name.rpartition("/")[2] or "@" in name
    return reference.parse(name) if has_tag else None


def domain_of(server: str) -> str:
    """The registry that ``login`` means: a host, or a URL as Docker Hub's is kept, ``https://index.docker.io/v1/``."""
    host = server.partition("://")[2] if "://" in server else server
    host = host.partition("/")[0]
    if host in ("", "index.docker.io", "registry-1.docker.io", reference.DEFAULT_DOMAIN):
        return reference.DEFAULT_DOMAIN
    return reference.parse(f"{host}/x").domain if reference.is_host(host) else reference.parse(f"{host}:443/x").domain
