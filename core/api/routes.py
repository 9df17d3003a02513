"""Which path is answered by whom.

Fixed paths are one dictionary look-up; the others are a short list of patterns per first piece of the path. An
image's name may hold slashes: its pattern is greedy, so that ``/images/a/b/json`` is the image ``a/b``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp.web_response import StreamResponse

from core.api import (
    archives,
    container_streams,
    containers,
    dockyard,
    events,
    exec,
    images,
    layers,
    networks,
    registries,
    stats,
    system,
    usage,
    volumes,
)
from core.api.call import Call, decode_path, not_supported
from core.errors import DockyardError, NotFound, Unavailable

Handler = Callable[[Call], Awaitable[StreamResponse]]


class Route(NamedTuple):
    """``streaming``: the handler is cancelled when its client leaves."""

    handler: Handler
    streaming: bool = False


_TABLE: list[tuple[str, str, Route]] = [
    ("GET", "/_ping", Route(system.ping)),
    ("HEAD", "/_ping", Route(system.ping)),
    ("GET", "/version", Route(system.version)),
    ("GET", "/info", Route(system.info)),
    ("GET", "/events", Route(events.events, streaming=True)),
    ("GET", "/containers/json", Route(containers.list_all)),
    ("POST", "/containers/create", Route(containers.create)),
    ("GET", "/containers/{id}/json", Route(containers.inspect)),
    ("GET", "/containers/{id}/logs", Route(container_streams.logs, streaming=True)),
    ("GET", "/containers/{id}/stats", Route(stats.stats, streaming=True)),
    ("GET", "/containers/{id}/top", Route(containers.top)),
    ("POST", "/containers/{id}/start", Route(containers.start)),
    ("POST", "/containers/{id}/stop", Route(containers.stop)),
    ("POST", "/containers/{id}/restart", Route(containers.restart)),
    ("POST", "/containers/{id}/kill", Route(containers.kill)),
    ("POST", "/containers/{id}/rename", Route(containers.rename)),
    ("POST", "/containers/{id}/update", Route(containers.update)),
    ("POST", "/containers/prune", Route(containers.prune)),
    ("GET", "/containers/{id}/archive", Route(archives.get)),
    ("HEAD", "/containers/{id}/archive", Route(archives.stat)),
    ("PUT", "/containers/{id}/archive", Route(archives.put)),
    ("GET", "/containers/{id}/changes", Route(archives.changes)),
    ("GET", "/containers/{id}/export", Route(archives.export)),
    ("POST", "/commit", Route(archives.commit)),
    ("POST", "/containers/{id}/pause", Route(containers.pause)),
    ("POST", "/containers/{id}/unpause", Route(containers.unpause)),
    ("POST", "/containers/{id}/wait", Route(container_streams.wait, streaming=True)),
    ("POST", "/containers/{id}/attach", Route(container_streams.attach)),
    ("POST", "/containers/{id}/resize", Route(containers.resize)),
    ("POST", "/containers/{id}/exec", Route(exec.create)),
    ("DELETE", "/containers/{id}", Route(containers.remove)),
    ("POST", "/exec/{id}/start", Route(exec.start)),
    ("POST", "/exec/{id}/resize", Route(exec.resize)),
    ("GET", "/exec/{id}/json", Route(exec.inspect)),
    ("GET", "/images/json", Route(images.list_all)),
    ("POST", "/images/create", Route(images.create)),
    ("GET", "/images/get", Route(images.save)),
    ("POST", "/images/prune", Route(images.prune)),
    ("GET", "/images/{name*}/get", Route(images.save)),
    ("POST", "/images/load", Route(images.load)),
    ("GET", "/images/{name*}/json", Route(images.inspect)),
    ("GET", "/images/{name*}/history", Route(images.history)),
    ("GET", "/images/search", Route(registries.search)),
    ("POST", "/images/{name*}/push", Route(registries.push)),
    ("POST", "/auth", Route(registries.auth)),
    ("GET", "/distribution/{name*}/json", Route(registries.distribution)),
    ("POST", "/images/{name*}/tag", Route(images.tag)),
    ("DELETE", "/images/{name*}", Route(images.remove)),
    ("GET", "/networks", Route(networks.list_networks)),
    ("POST", "/networks/prune", Route(networks.prune)),
    ("POST", "/networks/create", Route(networks.create)),
    ("POST", "/networks/{id}/connect", Route(networks.connect)),
    ("POST", "/networks/{id}/disconnect", Route(networks.disconnect)),
    ("DELETE", "/networks/{id}", Route(networks.remove)),
    ("POST", "/build/prune", Route(system.build_prune)),
    ("GET", "/networks/{id}", Route(networks.inspect_network)),
    ("GET", "/volumes", Route(volumes.list_all)),
    ("POST", "/volumes/create", Route(volumes.create)),
    ("POST", "/volumes/prune", Route(volumes.prune)),
    ("GET", "/volumes/{name}", Route(volumes.inspect)),
    ("DELETE", "/volumes/{name}", Route(volumes.remove)),
    ("GET", "/plugins", Route(system.plugins)),
    ("GET", "/system/df", Route(usage.disk_usage)),
    ("GET", "/dockyard/v1/stats", Route(stats.all_stats, streaming=True)),
    ("GET", "/dockyard/v1/engine", Route(dockyard.engine)),
    ("GET", "/dockyard/v1/manifests/{name*}", Route(registries.manifest)),
    ("GET", "/dockyard/v1/images/{name*}/tree", Route(layers.layers)),
    ("PUT", "/dockyard/v1/images/{name*}/protection", Route(registries.protect)),
    ("DELETE", "/dockyard/v1/images/{name*}/protection", Route(registries.unprotect)),
    ("POST", "/dockyard/v1/containers/{id}/ports", Route(dockyard.publish)),
    ("DELETE", "/dockyard/v1/containers/{id}/ports", Route(dockyard.unpublish)),
]

#: First pieces of paths that Docker's API has; what is below them and not in the table is known, and not there.
_DOCKER = frozenset(
    "auth build commit containers distribution exec grpc images networks plugins session system volumes".split()
)
_SWARM = frozenset("configs nodes secrets services swarm tasks".split())
_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" '
    "to connect this node to swarm and try again."
)


def _first(path: str) -> str:
    return path[1:].partition("/")[0]


def _pattern(path: str) -> re.Pattern[str]:
    pattern = re.sub(r"\\\{(\w+)\\\*\\\}", r"(?P<\1>.+)", re.escape(path))
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", pattern))


_FIXED = {(method, path): route for method, path, route in _TABLE if "{" not in path}
_PATTERNS: dict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = {}
for _method, _path, _route in _TABLE:
    if "{" in _path:
        _PATTERNS.setdefault((_method, _first(_path)), []).append((_pattern(_path), _route))


def find(call: Call) -> Route:
    """The route of a call; its parameters are put into the call. Raises the error that is the answer else."""
    method, path = call.request.method, call.path
    route = _FIXED.get((method, path))
    if route is not None:
        return route
    for pattern, route in _PATTERNS.get((method, _first(path)), ()):
        match = pattern.fullmatch(path)
        if match is not None:
            call.parameters = {name: decode_path(piece) for name, piece in match.groupdict().items()}
            return route
    raise _unknown(method, path)


def _unknown(method: str, path: str) -> DockyardError:
    first = _first(path)
    if first in _SWARM:
        return Unavailable(_NO_SWARM)
    if first in _DOCKER:
        return not_supported(f"{method} {path[:200]}")
    return NotFound("page not found")
