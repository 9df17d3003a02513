"""``--health-*``, ``--no-healthcheck`` and ``--restart-unhealthy`` as members of the create request."""

from __future__ import annotations

from tui.cli.errors import CliError, UsageError
from tui.cli.units import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tui.cli.flags import Options

_TIMES = {
    "Interval": "health-interval",
    "Timeout": "health-timeout",
    "StartPeriod": "health-start-period",
    "StartInterval": "health-start-interval",
}
_RESTART = "dockyard.restart-unhealthy"


def add(options: Options, config: dict[str, Any], host: dict[str, Any]) -> None:
    """Put what was given into the request. Raises UsageError or CliError in Docker's words."""
    check = _check(options)
    if options["no-healthcheck"]:
        if check:
            raise CliError("--no-healthcheck conflicts with --health-* options", 125)
        check = {"Test": ["NONE"]}
    if check:
        config["Healthcheck"] = check
    if options["restart-unhealthy"]:
        if options["rm"]:
            raise CliError("conflicting options: cannot specify both --restart-unhealthy and --rm", 125)
        host["Annotations"] = {**host.get("Annotations", {}), _RESTART: "true"}


def _check(options: Options) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if options["health-cmd"]:
        found["Test"] = ["CMD-SHELL", options["health-cmd"]]
    for member, flag in _TIMES.items():
        if options[flag]:
            found[member] = _duration(flag, options[flag])
    if options["health-retries"]:
        found["Retries"] = options["health-retries"]
        if found["Retries"] < 0:
            raise CliError("--health-retries cannot be negative", 125)
    return {member: value for member, value in found.items() if value}


def _duration(flag: str, text: str) -> int:
    try:
        value = parse_duration(text)
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "--{flag}" flag: {error}') from None
    if value < 0:
        raise CliError(f"--{flag} cannot be negative", 125)
    return value
