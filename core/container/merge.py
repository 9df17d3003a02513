"""What a container runs with: the person's request laid over the image's defaults (Docker's rules)."""

from __future__ import annotations

from typing import Any

from core import oci
from core.container.config.health import merged_health
from core.errors import InvalidArgument

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def merge_image_config(config: dict[str, Any], image: oci.ImageConfig) -> dict[str, Any]:
    """``config`` completed from the image's config.

    A given entrypoint drops the image's command (an entrypoint of ``[""]`` or ``[]`` drops both); variables and
    labels are united with the request's winning; everything else is the image's where the request is silent.
    Raises InvalidArgument when no command is left.
    """
    merged = dict(config)
    entrypoint, command = config["Entrypoint"], config["Cmd"]
    if entrypoint is None:
        entrypoint = image.get("Entrypoint") or None
        if not command:
            command = image.get("Cmd") or None
    elif entrypoint in ([], [""]):
        entrypoint = None
    merged["Entrypoint"], merged["Cmd"] = entrypoint, command
    if not command_line(merged):
        raise InvalidArgument("No command specified", hint="the image names none: give one behind the image's name")
    merged["Env"] = merge_environment(image.get("Env") or [], config["Env"])
    merged["Labels"] = {**(image.get("Labels") or {}), **config["Labels"]}
    merged["User"] = config["User"] or image.get("User") or ""
    merged["WorkingDir"] = config["WorkingDir"] or image.get("WorkingDir") or ""
    merged["StopSignal"] = config["StopSignal"] or image.get("StopSignal") or ""
    merged["ExposedPorts"] = {**(image.get("ExposedPorts") or {}), **config["ExposedPorts"]}
    merged["Volumes"] = {**(image.get("Volumes") or {}), **config["Volumes"]}
    merged["Healthcheck"] = merged_health(config["Healthcheck"], image.get("Healthcheck"))
    return merged


def command_line(config: dict[str, Any]) -> list[str]:
    """Entrypoint and command as one list of arguments."""
    return [*(config["Entrypoint"] or []), *(config["Cmd"] or [])]


def merge_environment(base: list[str], over: list[str]) -> list[str]:
    """Both lists, ``over`` winning; ``NAME`` without a value removes it (as ``docker run -e NAME`` with none set)."""
    found: dict[str, str] = {}
    for variable in [*base, *over]:
        name, equals, _ = variable.partition("=")
        if equals:
            found[name] = variable
        else:
            found.pop(name, None)
    return list(found.values())


def environment(config: dict[str, Any], hostname: str) -> list[str]:
    """The variables of pid 1: PATH and HOSTNAME unless given, TERM with a terminal, then the merged ones.

    HOME is set by init, which alone can read the container's /etc/passwd.
    """
    base = [DEFAULT_PATH, f"HOSTNAME={hostname}"]
    if config.get("Tty"):
        base.append("TERM=xterm")
    return merge_environment(base, config["Env"])
