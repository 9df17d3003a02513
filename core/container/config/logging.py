"""``--log-driver`` and ``--log-opt``."""

from __future__ import annotations

from typing import Any

from core.container.config.texts import parse_size
from core.container.config.values import shown, string, string_map
from core.errors import InvalidArgument, Unsupported


def check_log_config(host: dict[str, Any]) -> None:
    """Write the default into ``LogConfig``; refuse drivers and options that are not known."""
    kind = string("HostConfig.LogConfig.Type", host["LogConfig"].get("Type")) or "json-file"
    options = string_map("HostConfig.LogConfig.Config", host["LogConfig"].get("Config"))
    if kind not in ("json-file", "local", "none"):
        raise Unsupported(f"log driver {kind} is not supported", hint="use local, json-file or none")
    for option, value in options.items():
        if option == "max-size":
            parse_size(f"log option {option}", value)
        elif option == "max-file":
            if not value.isdecimal() or len(value) > 5 or not 1 <= int(value) <= 10_000:
                raise InvalidArgument(f"log option max-file must be a number from 1 to 10000, not {shown(value)}")
        else:
            raise Unsupported(
                f"unknown log opt '{option}' for {kind} log driver", hint="max-size and max-file are known"
            )
    host["LogConfig"] = {"Type": kind, "Config": options}
