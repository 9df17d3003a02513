"""``--volume``, ``--mount`` and ``--tmpfs`` as Docker's API carries them → mounts of the OCI spec.

Two ways lead to a bind mount, and they differ when its source is missing, as in Docker: ``Binds`` makes the source
as a folder, ``Mounts`` refuses unless its ``CreateMountpoint`` says otherwise.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from core import oci
from core.errors import InvalidArgument, Unsupported, from_os_error

PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")


@dataclass(frozen=True, slots=True)
class BindMount:
    """One thing from the host in the container. ``create``: make a missing source as a folder."""

    source: str
    target: str
    read_only: bool = False
    recursive: bool = True
    propagation: str = "rprivate"
    create: bool = False


@dataclass(frozen=True, slots=True)
class TmpfsMount:
    """A tmpfs; ``options`` as in mount(8)."""

    target: str
    options: tuple[str, ...] = field(default=())


def check_mounts(host: dict[str, Any]) -> None:
    """Refuse what is wrong in ``Binds``, ``Mounts`` and ``Tmpfs``, and two mounts on one target."""
    if host["Mounts"] is None:
        host["Mounts"] = []
    seen: set[str] = set()
    for mount in collect(host):
        target = os.path.normpath(mount.target)
        if target in seen:
            raise InvalidArgument(f"Duplicate mount point: {target}")
        seen.add(target)


def collect(host: dict[str, Any]) -> list[BindMount | TmpfsMount]:
    """All mounts of a (raw or checked) HostConfig, parents before what lies below them."""
    found: list[BindMount | TmpfsMount] = [_parse_bind(text) for text in host["Binds"]]
    mounts = host["Mounts"] or []
    if not isinstance(mounts, list):
        raise InvalidArgument("HostConfig.Mounts must be a list")
    found += [_parse_mount(item) for item in mounts]
    for target, options in host["Tmpfs"].items():
        _check_target(target)
        found.append(TmpfsMount(target, tuple(o for o in options.split(",") if o)))
    return sorted(found, key=lambda mount: os.path.normpath(mount.target).count("/"))


def _parse_bind(text: str) -> BindMount:
    """``source:target[:options]`` (docker's volume syntax)."""
    source, _, rest = text.partition(":")
    target, _, words = rest.partition(":")
    if not target:
        raise InvalidArgument(f"invalid volume specification: '{text}'", hint="write /host/path:/container/path[:ro]")
    if not source.startswith("/"):
        raise Unsupported(
            f"named volumes ({source}) are not supported by this version of Dockyard",
            hint="mount a folder of the host: /path:/target",
        )
    _check_target(target)
    read_only, propagation, recursive = False, "rprivate", True
    for word in filter(None, words.split(",")):
        if word in ("ro", "rw"):
            read_only = word == "ro"
        elif word in PROPAGATIONS:
            propagation = word
        elif word in ("bind", "rbind"):
            recursive = word == "rbind"
        elif word in ("z", "Z"):
            raise Unsupported(f"volume option '{word}' (SELinux relabelling) in '{text}' is not supported")
        elif word in ("nocopy", "copy", "consistent", "cached", "delegated"):
            continue
        else:
            raise InvalidArgument(f"invalid mode: {word} in '{text}'")
    return BindMount(source, target, read_only, recursive, propagation, create=True)


def _parse_mount(item: Any) -> BindMount | TmpfsMount:
    if not isinstance(item, dict):
        raise InvalidArgument("HostConfig.Mounts must be a list of objects")
    kind, target, source = item.get("Type"), item.get("Target") or "", item.get("Source") or ""
    if not isinstance(target, str) or not isinstance(source, str) or "\0" in source:
        raise InvalidArgument("HostConfig.Mounts: Source and Target must be strings without NUL bytes")
    _check_target(target)
    if kind == "tmpfs":
        return _parse_tmpfs(item, target, source)
    if kind != "bind":
        raise Unsupported(f"mount type {kind!r} for {target} is not supported", hint="bind and tmpfs are")
    if not source.startswith("/"):
        raise InvalidArgument(f'invalid mount config for type "bind": mount path must be absolute: {source!r}')
    options = _options(item, "BindOptions")
    propagation = options.get("Propagation") or "rprivate"
    if propagation not in PROPAGATIONS:
        raise InvalidArgument(f"invalid bind propagation {propagation!r} for {target}", hint=", ".join(PROPAGATIONS))
    return BindMount(
        source,
        target,
        bool(item.get("ReadOnly")),
        not options.get("NonRecursive"),
        propagation,
        bool(options.get("CreateMountpoint")),
    )


def _parse_tmpfs(item: dict[str, Any], target: str, source: str) -> TmpfsMount:
    if source:
        raise InvalidArgument(f'invalid mount config for type "tmpfs": field Source must not be specified ({target})')
    options = _options(item, "TmpfsOptions")
    words = ["ro"] if item.get("ReadOnly") else []
    for member, word, base in (("SizeBytes", "size", "d"), ("Mode", "mode", "o")):
        value = options.get(member) or 0
        if not isinstance(value, int) or not 0 <= value < 1 << 63:
            raise InvalidArgument(f"TmpfsOptions.{member} for {target} must be 0 (default) or a positive whole number")
        if value:
            words.append(f"{word}={value:{base}}")
    return TmpfsMount(target, tuple(words))


def _options(item: dict[str, Any], member: str) -> dict[str, Any]:
    options = item.get(member) or {}
    if not isinstance(options, dict):
        raise InvalidArgument(f"HostConfig.Mounts: {member} must be an object")
    return options


def _check_target(target: str) -> None:
    if not target.startswith("/") or "\0" in target:
        raise InvalidArgument(f"invalid mount path: {target!r} mount path must be absolute")
    if os.path.normpath(target).strip("/") == "":
        raise InvalidArgument("invalid specification: destination can't be '/'")


def prepare_sources(mounts: list[BindMount | TmpfsMount], *, create: bool) -> None:
    """Check that the bind sources exist, or make those that may be made. InvalidArgument names what is missing."""
    for mount in mounts:
        if not isinstance(mount, BindMount):
            continue
        try:
            os.stat(mount.source)
        except FileNotFoundError:
            if not mount.create:
                raise InvalidArgument(
                    f'invalid mount config for type "bind": bind source path does not exist: {mount.source}',
                    hint="make it, or let it be made: "
                    f"--mount type=bind,source={mount.source},target={mount.target},bind-create-src",
                ) from None
            if create:
                try:
                    os.makedirs(mount.source, mode=0o755, exist_ok=True)
                except OSError as error:
                    raise from_os_error(error, "make the bind source") from error
        except OSError as error:
            raise from_os_error(error, "bind source") from error


def to_oci(mount: BindMount | TmpfsMount) -> oci.Mount:
    """The mount as the OCI spec writes it."""
    if isinstance(mount, TmpfsMount):
        defaults = ["noexec", "nosuid", "nodev"]
        return {
            "destination": mount.target,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": [*defaults, *mount.options],
        }
    options = ["rbind" if mount.recursive else "bind", "ro" if mount.read_only else "rw", mount.propagation]
    return {"destination": mount.target, "type": "bind", "source": mount.source, "options": options}


def describe(mount: BindMount | TmpfsMount) -> dict[str, Any]:
    """The mount as inspect's ``Mounts`` lists it."""
    if isinstance(mount, TmpfsMount):
        return {
            "Type": "tmpfs",
            "Source": "",
            "Destination": mount.target,
            "Mode": "",
            "RW": "ro" not in mount.options,
            "Propagation": "",
        }
    return {
        "Type": "bind",
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": "ro" if mount.read_only else "",
        "RW": not mount.read_only,
        "Propagation": mount.propagation,
    }
