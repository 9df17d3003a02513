"""Which containers a list shows: Docker's filters, limit and order."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from core import patterns
from core.container.inspect import docker_status, summary
from core.container.mounts import mounts_of
from core.container.status import Container, Status
from core.container.store import ContainerStore
from core.errors import InvalidArgument, NotFound
from core.network.store import NetworkStore

_STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_HEALTH = ("none", "starting", "healthy", "unhealthy")
_KNOWN = (
    "ancestor before since exited expose health id is-task isolation label name network publish status volume"
).split()
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")


def list_containers(
    store: ContainerStore, networks: NetworkStore, *, all: bool, limit: int, filters: Mapping[str, Iterable[str]]
) -> list[dict[str, Any]]:
    """The items of ``GET /containers/json``, newest first."""
    wanted = {key: list(values) for key, values in filters.items()}
    _check(wanted)
    found = store.all()
    show_all = all or limit > 0 or bool({"status", "exited"} & set(wanted))
    if not show_all:
        found = [c for c in found if c.status.is_up or c.restarting]
    for key in ("before", "since"):
        if key in wanted:
            edge = _edge(store, wanted[key][0])
            found = [c for c in found if (c.created < edge if key == "before" else c.created > edge)]
    found = [c for c in found if _matches(c, wanted, networks)]
    if limit > 0:
        found = found[:limit]
    now = time.time_ns()
    return [summary(container, now, networks) for container in found]


def _check(wanted: dict[str, list[str]]) -> None:
    for key, values in wanted.items():
        if key not in _KNOWN:
            raise InvalidArgument(f"invalid filter '{key}'")
        for value in values:
            if key == "status" and value not in _STATES:
                raise InvalidArgument(f"invalid filter 'status={value}'", hint=", ".join(_STATES))
            if key == "health" and value not in _HEALTH:
                raise InvalidArgument(f"unrecognized filter value for health: {value}", hint=", ".join(_HEALTH))
            if key == "is-task" and value.lower() not in ("true", "false", "1", "0"):
                raise InvalidArgument(f"invalid filter 'is-task={value}'")
            if key in ("expose", "publish") and not _PORT.fullmatch(value):
                raise InvalidArgument(f"invalid filter '{key}={value}'", hint="write PORT[-PORT][/tcp|udp|sctp]")
            if key == "exited" and not value.lstrip("-").isdecimal():
                raise InvalidArgument(f"invalid filter 'exited={value}'", hint="an exit code is a number")
            if key == "name":
                try:
                    patterns.searcher(value)
                except InvalidArgument as error:
                    raise InvalidArgument(f"invalid filter 'name={value}': {error}") from error


def _edge(store: ContainerStore, ref: str) -> int:
    try:
        return store.get(ref).created
    except NotFound:
        raise NotFound(f"No such container: {ref}", hint="before= and since= need an existing container") from None


def _matches(container: Container, wanted: dict[str, list[str]], networks: NetworkStore) -> bool:
    return all(_one(container, key, values, networks) for key, values in wanted.items() if values)


def _one(container: Container, key: str, values: list[str], networks: NetworkStore) -> bool:
    if key == "id":
        return any(container.id.startswith(value) for value in values)
    if key == "name":
        return any(patterns.found(value, name) for value in values for name in (container.name, "/" + container.name))
    if key == "label":
        return all(has_label(container.labels, value) for value in values)
    if key == "status":
        return docker_status(container) in values
    if key == "exited":
        return container.status is Status.EXITED and str(container.exit_code) in values
    if key == "ancestor":
        return any(_is_ancestor(container, value) for value in values)
    if key == "health":
        return container.health in values
    if key == "is-task":
        # Tasks are a swarm's.
        return values[0].lower() in ("false", "0")
    if key == "isolation":
        # Another one than the default exists on Windows only.
        return bool({"", "default"} & set(values))
    if key == "expose":
        return any(port in _ports(value) for value in values for port in container.config["ExposedPorts"])
    if key == "publish":
        found = {f"{p.port}/{p.protocol}" for p in networks.published_by(container.id)} | {
            f"{p.host_port}/{p.protocol}" for p in networks.published_by(container.id)
        }
        return any(port in found for value in values for port in _ports(value))
    if key == "network":
        on = [network for e in networks.endpoints_of(container.id) if (network := networks.find(e.network))]
        return any(value == n.name or n.id.startswith(value) for value in values for n in on if value)
    if key == "volume":
        return any(
            value in (mount.target, getattr(mount, "source", None), getattr(mount, "name", None))
            for mount in mounts_of(container)
            for value in map(os.path.normpath, values)
        )
    return True


def _ports(text: str) -> list[str]:
    """``80-82/udp`` as Docker's keys, each port with its protocol."""
    match = _PORT.fullmatch(text)
    assert match is not None
    first, last = int(match[1]), int(match[2] or match[1])
    return [f"{port}/{match[3] or 'tcp'}" for port in range(first, min(last, 65535) + 1)]


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """Whether there is a label ``wanted``, or with ``KEY=VALUE`` one of this value."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _is_ancestor(container: Container, ref: str) -> bool:
    bare = ref.removeprefix("sha256:")
    names = {container.image, container.image.removesuffix(":latest"), container.image + ":latest"}
    return ref in names or (len(bare) >= 4 and container.image_id.removeprefix("sha256:").startswith(bare))
