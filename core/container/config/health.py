"""Docker's HealthConfig, checked. Times are nanoseconds; a member that is 0 or empty is left out."""

from __future__ import annotations

from typing import Any

from core.container.config.values import integer, object_, strings
from core.errors import InvalidArgument

_MINIMUM = 1_000_000
_TIMES = ("Interval", "Timeout", "StartPeriod", "StartInterval")


def health(name: str, value: Any) -> dict[str, Any] | None:
    """A health check with its members in Docker's order, None for none. InvalidArgument in Docker's words."""
    if value is None:
        return None
    raw = object_(name, value)
    found: dict[str, Any] = {"Test": strings(f"{name}.Test", raw.get("Test"))}
    if found["Test"] in (["CMD"], ["CMD-SHELL"]):
        raise InvalidArgument(f"{name}.Test names no command", hint='write ["CMD", "program", "argument"]')
    for key in _TIMES:
        found[key] = integer(f"{name}.{key}", raw.get(key))
        if found[key] and found[key] < _MINIMUM:
            raise InvalidArgument(f"{key} in Healthcheck cannot be less than 1ms")
    found["Retries"] = integer(f"{name}.Retries", raw.get("Retries"))
    if found["Retries"] < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")
    return {key: member for key, member in found.items() if member}


def merged_health(given: dict[str, Any] | None, image: Any) -> dict[str, Any] | None:
    """The request's check, completed member by member from the image's."""
    base = health("Healthcheck", image)
    if given is None or base is None:
        return base if given is None else given
    return health("Healthcheck", {**base, **given})
