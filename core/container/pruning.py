"""Remove every container that is down.

The numbered points (``core.faults``)::

    container-prune  1 one of them removed
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from core import faults
from core.container.listing import has_label
from core.container.service import ContainerService
from core.container.sizes import Sizes
from core.container.status import Container
from core.errors import Conflict, InvalidArgument, NotFound
from core.events import EventBus
from core.moments import parse_moment

PRUNE_FILTERS = ("label", "label!", "until")


class ContainerPruner:
    """``container prune``."""

    def __init__(self, containers: ContainerService, sizes: Sizes, events: EventBus) -> None:
        self._containers = containers
        self._sizes = sizes
        self._events = events

    async def prune(self, filters: Mapping[str, Sequence[str]]) -> tuple[list[str], int]:
        """Remove those that are down and match. Their ids, and the bytes freed."""
        before = _until(filters)
        gone, freed = [], 0
        for container in self._containers.store.all():
            if not _is_down(container) or container.created >= before or not _has_labels(container, filters):
                continue
            size = await self._sizes.written(container)
            try:
                await self._containers.remove(container.id)
            except (Conflict, NotFound):
                # Started or removed while its files were counted.
                continue
            faults.point("container-prune", 1)
            gone.append(container.id)
            freed += size
        self._events.publish("container", "prune", "", {"reclaimed": str(freed)})
        return gone, freed


def _is_down(container: Container) -> bool:
    return not (container.status.is_alive or container.restarting)


def _until(filters: Mapping[str, Sequence[str]]) -> int:
    for key in filters:
        if key not in PRUNE_FILTERS:
            raise InvalidArgument(f"invalid filter '{key}'")
    texts = filters.get("until", ())
    if len(texts) > 1:
        raise InvalidArgument("more than one until filter specified")
    now = time.time_ns()
    return parse_moment(texts[0], now) if texts else now + 1


def _has_labels(container: Container, filters: Mapping[str, Sequence[str]]) -> bool:
    if not all(has_label(container.labels, label) for label in filters.get("label", ())):
        return False
    return not any(has_label(container.labels, label) for label in filters.get("label!", ()))
