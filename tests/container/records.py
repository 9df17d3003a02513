"""A container record for tests of the pure modules."""

from __future__ import annotations

from typing import Any

from core.container.config import parse_create
from core.container.merge import command_line, merge_image_config
from core.container.status import Container

ID = "0123456789ab" + "c" * 52


def make_container(host: dict[str, Any] | None = None, **members: Any) -> Container:
    """A record as create would make it from a request with these members; fields of the record win."""
    fields = {key: members.pop(key) for key in list(members) if key in Container.__slots__}
    request = parse_create({"Image": "img", "Cmd": ["true"], **members, "HostConfig": host or {}})
    config = merge_image_config(request.config, {})
    values: dict[str, Any] = {
        "id": ID,
        "name": "box",
        "created": 1_700_000_000_000_000_000,
        "image": "img",
        "image_id": "sha256:" + "a" * 64,
        "args": tuple(command_line(config)),
        "config": config,
        "host_config": request.host_config,
    }
    return Container(**{**values, **fields})
