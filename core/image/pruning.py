"""Remove images nobody uses (moby: ``ImagesPrune``).

The numbered points (``core.faults``)::

    image-prune  1 one of them removed
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

from core import faults
from core.errors import Conflict, InvalidArgument, NotFound
from core.image.model import Image
from core.image.registry.ingest import Ingests
from core.image.store import ImageStore
from core.moments import parse_moment

PRUNE_FILTERS = ("dangling", "label", "label!", "until")


class ImagePruner:
    """``image prune``."""

    def __init__(self, store: ImageStore, ingests: Ingests, publish: Callable[..., object]) -> None:
        self._store = store
        self._ingests = ingests
        self._publish = publish

    async def prune(self, filters: Mapping[str, Sequence[str]]) -> tuple[list[dict[str, str]], int]:
        """Remove images without a name, with ``dangling=false`` all that no container uses. What went, bytes freed.

        What broken-off pulls left goes too; protected names stay.

        Raises InvalidArgument for a filter that is unknown or cannot be read.
        """
        dangling, before = _dangling(filters), _until(filters)
        gone: list[dict[str, str]] = []
        async with self._store.quiet():
            sizes = self._store.layers.sizes()
            for image in self._candidates(dangling):
                if image.created >= before or not _has_labels(image, filters):
                    continue
                for ref in [*image.tags, *image.digests] or [image.id]:
                    # It may be used by now, or gone with its child.
                    with contextlib.suppress(Conflict, NotFound):
                        gone += await self._store.remove(ref)
                        faults.point("image-prune", 1)
            self._store.layers.end_old_leases(0)
            self._store.layers.forget_unused()
            left = self._store.layers.sizes()
        freed = sum(size for diff_id, size in sizes.items() if diff_id not in left) + self._ingests.prune()
        self._publish("image", "prune", "", {"reclaimed": str(freed)})
        return gone, freed

    def _candidates(self, dangling: bool) -> list[Image]:
        """Those with a name, or at the end of their line: no other was made from them.

        A parent loses its names, and goes with the last of its children.
        """
        return [
            image
            for image in self._store.all()
            if not (image.is_host or image.protected or (dangling and image.tags))
            and (image.tags or not self._store.children(image.id))
            and not self._store.in_use(image.id)
        ]


def _dangling(filters: Mapping[str, Sequence[str]]) -> bool:
    for key in filters:
        if key not in PRUNE_FILTERS:
            raise InvalidArgument(f"invalid filter '{key}'")
    values = filters.get("dangling", ())
    for value in values:
        if value.lower() not in ("true", "false", "1", "0"):
            raise InvalidArgument(f"invalid filter 'dangling=[{value}]'")
    return not values or values[0].lower() in ("true", "1")


def _until(filters: Mapping[str, Sequence[str]]) -> int:
    texts = filters.get("until", ())
    if len(texts) > 1:
        raise InvalidArgument("more than one until filter specified")
    now = time.time_ns()
    return parse_moment(texts[0], now) if texts else 2**63


def _has_labels(image: Image, filters: Mapping[str, Sequence[str]]) -> bool:
    labels: Mapping[str, str] = (image.config.get("config") or {}).get("Labels") or {}

    def has(wanted: str) -> bool:
        key, equals, value = wanted.partition("=")
        return key in labels and (not equals or labels[key] == value)

    return all(map(has, filters.get("label", ()))) and not any(map(has, filters.get("label!", ())))
