"""``-v`` and ``--mount`` as the API's Mounts.

A missing source is an error of the engine's, never a folder made by accident: both become mounts of type bind
without CreateMountpoint, and only ``--mount …,bind-create-src`` asks for the folder.
"""

from __future__ import annotations

import posix

from tui.cli.errors import CliError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")


def is_bind(text: str) -> bool:
    """Whether ``-v text`` names a path of the host; else a volume is meant."""
    return ":" in text and (not text.partition(":")[0] or text[0] in "/.~" or text.count(":") > 2)


def volume(text: str) -> dict[str, Any]:
    """``SOURCE:TARGET[:ro,rprivate]``. For what :func:`is_bind` says."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise CliError(f"dockyard: invalid volume specification: '{text}'\nWrite -v SOURCE:TARGET[:ro]", 125)
    source, target = parts[:2]
    found: dict[str, Any] = {"Type": "bind", "Source": absolute(source), "Target": target, "BindOptions": {}}
    for option in parts[2].split(",") if len(parts) == 3 else []:
        if option in ("ro", "rw"):
            found["ReadOnly"] = option == "ro"
        elif option in _PROPAGATION:
            found["BindOptions"]["Propagation"] = option
        elif option not in ("consistent", "cached", "delegated"):  # words for a virtual machine's shares
            raise CliError(f"dockyard does not support -v {text}: option {option!r} (ro and rw are known)", 125)
    return found


def absolute(path: str) -> str:
    """``path`` from the root, ``.`` and ``..`` resolved by name, as the person's shell shows it."""
    if path[:1] == "~":
        raise CliError(f"{path}: only a shell turns ~ into a home folder\nWrite the path from /", 125)
    parts: list[str] = []
    for part in (path if path[:1] == "/" else f"{posix.getcwd()}/{path}").split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def mount(text: str) -> dict[str, Any]:
    """``type=bind|tmpfs,…``. Raises UsageError as Docker words it."""

    def wrong(why: str) -> UsageError:
        return UsageError(f'invalid argument "{text}" for "--mount" flag: {why}')

    found: dict[str, Any] = {"Type": "volume"}
    for field in comma_separated(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals and key not in ("readonly", "ro", "bind-nonrecursive", "bind-create-src", "volume-nocopy"):
            raise wrong(f"invalid field '{field}' must be a key=value pair")
        _member(found, key, value, field, wrong)
    kind = found["Type"]
    if kind not in ("bind", "tmpfs", "volume"):
        raise CliError(f"dockyard does not support --mount type={kind} yet: type=bind, volume and tmpfs are", 125)
    if not found.get("Target"):
        raise wrong("target is required")
    if kind == "bind" and not found.get("Source"):
        raise wrong("source is required for type=bind")
    if kind == "tmpfs" and "BindOptions" in found:
        raise wrong("cannot mix 'bind-*' options with mount type 'tmpfs'")
    if kind == "bind" and "TmpfsOptions" in found:
        raise wrong("cannot mix 'tmpfs-*' options with mount type 'bind'")
    return found


def _member(found: dict[str, Any], key: str, value: str, field: str, wrong: Any) -> None:
    def yes() -> bool:
        if value in ("", "1", "t", "true", "True", "TRUE"):
            return True
        if value in ("0", "f", "false", "False", "FALSE"):
            return False
        raise wrong(f"invalid value for {key}: {value}")

    if key == "type":
        found["Type"] = value.lower()
    elif key in ("source", "src"):
        found["Source"] = absolute(value) if value[:1] == "." else value
    elif key in ("target", "dst", "destination"):
        found["Target"] = value
    elif key in ("readonly", "ro"):
        found["ReadOnly"] = yes()
    elif key == "bind-propagation":
        found.setdefault("BindOptions", {})["Propagation"] = value.lower()
    elif key == "bind-create-src":
        found.setdefault("BindOptions", {})["CreateMountpoint"] = yes()
    elif key == "bind-nonrecursive":
        found.setdefault("BindOptions", {})["NonRecursive"] = yes()
    elif key == "bind-recursive" and value in ("enabled", "disabled"):
        found.setdefault("BindOptions", {})["NonRecursive"] = value == "disabled"
    elif key.startswith("volume-"):
        _volume_member(found.setdefault("VolumeOptions", {}), key[7:], value, yes, field, wrong)
    elif key == "tmpfs-size":
        found.setdefault("TmpfsOptions", {})["SizeBytes"] = _size(key, value, wrong)
    elif key == "tmpfs-mode":
        found.setdefault("TmpfsOptions", {})["Mode"] = _mode(key, value, wrong)
    elif key != "consistency":
        raise wrong(f"unexpected key '{key}' in '{field}'")


def _volume_member(options: dict[str, Any], key: str, value: str, yes: Any, field: str, wrong: Any) -> None:
    name, _, text = value.partition("=")
    if key == "nocopy":
        options["NoCopy"] = yes()
    elif key == "subpath":
        options["Subpath"] = value
    elif key == "label":
        options.setdefault("Labels", {})[name] = text
    elif key == "driver":
        options.setdefault("DriverConfig", {})["Name"] = value
    elif key == "opt":
        options.setdefault("DriverConfig", {}).setdefault("Options", {})[name] = text
    else:
        raise wrong(f"unexpected key 'volume-{key}' in '{field}'")


def _size(key: str, value: str, wrong: Any) -> int:
    from tui.cli.units import parse_bytes

    try:
        return parse_bytes(value)
    except ValueError:
        raise wrong(f"invalid value for {key}: {value}") from None


def _mode(key: str, value: str, wrong: Any) -> int:
    try:
        return int(value, 8)
    except ValueError:
        raise wrong(f"invalid value for {key}: {value}") from None


def comma_separated(text: str) -> list[str]:
    """One line of comma-separated fields; a field in double quotes may hold commas."""
    fields, rest = [], text
    while True:
        if rest[:1] == '"':
            end = rest.find('"', 1)
            end = len(rest) if end < 0 else end
            fields.append(rest[1:end])
            rest = rest[end + 1 :]
        else:
            field, comma, tail = rest.partition(",")
            fields.append(field)
            rest = comma + tail
        if rest[:1] != ",":
            return fields
        rest = rest[1:]
