"""Whether an image may go; the refusals are Docker's (moby daemon/images/image_delete.go)."""

from __future__ import annotations

from collections.abc import Collection

from core.errors import Conflict
from core.image.model import Image


def check_deletable(image: Image, force: bool, has_children: bool, users: list[tuple[str, bool]]) -> None:
    """Raise Conflict for an image that others were made from, or that a container uses (id, whether it runs)."""
    if has_children:
        raise cannot_delete(image, "cannot be forced", "image has dependent child images")
    for container_id, running in users:
        if running:
            raise cannot_delete(
                image, "cannot be forced", f"image is being used by running container {container_id[:12]}"
            )
        if not force:
            why = f"image is being used by stopped container {container_id[:12]}"
            raise cannot_delete(image, "must be forced", why)


def cannot_delete(image: Image, force: str, why: str) -> Conflict:
    """The refusal that says why, and whether force would help."""
    return Conflict(f"conflict: unable to delete {image.id[7:19]} ({force}) - {why}")


def is_of_one_repository(names: Collection[str]) -> bool:
    """Whether an image with these tags and digests goes with one of them: one tag, the digests of its repository."""
    tags = [name for name in names if "@" not in name]
    repositories = {name.partition("@")[0] if "@" in name else name.rpartition(":")[0] for name in names}
    return len(tags) <= 1 and len(repositories) <= 1
