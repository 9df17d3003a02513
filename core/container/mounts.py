"""``--volume``, ``--mount`` and ``--tmpfs`` as Docker's API carries them → mounts of the OCI spec.

What a request asks for is read by :func:`collect`. Which volume stands behind a path is settled once, at create, and
kept in the record (``Container.mounts``); :func:`mounts_of` has both.

Two ways lead to a bind mount, and they differ when its source is missing, as in Docker: ``Binds`` makes the source
as a folder, ``Mounts`` refuses unless its ``CreateMountpoint`` says otherwise.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from core import oci
from core.container.status import Container
from core.errors import InvalidArgument, Unsupported, from_os_error
from core.linux.mounts import SUBPATH_OPTION
from core.volumes.store import check_name

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
    mode: str = ""  # as it was written, for inspect


@dataclass(frozen=True, slots=True)
class TmpfsMount:
    """A tmpfs; ``options`` as in mount(8). ``listed``: by ``--mount``, so that inspect's Mounts has it."""

    target: str
    options: tuple[str, ...] = field(default=())
    listed: bool = True


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A volume in the container. ``name`` is empty for one that is still to be made.

    ``backing`` is the folder that is mounted, ``source`` the one inspect shows; both are known once it is made.
    ``doomed``: the volume goes with the container that is being removed.
    """

    target: str
    name: str = ""
    read_only: bool = False
    copy: bool = True
    subpath: str = ""
    mode: str = ""
    driver: str = ""
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    anonymous: bool = False
    doomed: bool = False
    source: str = ""
    backing: str = ""


AnyMount = BindMount | TmpfsMount | VolumeMount
_KINDS: dict[str, type[AnyMount]] = {"bind": BindMount, "tmpfs": TmpfsMount, "volume": VolumeMount}


def to_record(mount: AnyMount) -> dict[str, Any]:
    """A mount as the container's record keeps it."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(mount, cls))
    return {"kind": kind, **asdict(mount)}


def from_record(record: dict[str, Any]) -> AnyMount:
    """The mount that :func:`to_record` wrote."""
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
    cls = _KINDS[str(values.pop("kind"))]
    return cls(**values)


def mounts_of(container: Container) -> list[AnyMount]:
    """All mounts of a container, parents before what lies below them."""
    own: list[AnyMount] = [m for m in collect(container.host_config) if not isinstance(m, VolumeMount)]
    return _sorted([*own, *map(from_record, container.mounts)])


def volumes_of(container: Container) -> list[VolumeMount]:
    """The volumes a container has."""
    return [mount for mount in map(from_record, container.mounts) if isinstance(mount, VolumeMount)]


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


def collect(host: dict[str, Any]) -> list[AnyMount]:
    """All mounts of a (raw or checked) HostConfig, parents before what lies below them."""
    found: list[AnyMount] = [_parse_bind(text) for text in host["Binds"]]
    mounts = host["Mounts"] or []
    if not isinstance(mounts, list):
        raise InvalidArgument("HostConfig.Mounts must be a list")
    found += [_parse_mount(item) for item in mounts]
    for target, options in host["Tmpfs"].items():
        _check_target(target)
        found.append(TmpfsMount(target, tuple(o for o in options.split(",") if o), listed=False))
    return _sorted(found)


def _sorted(found: list[AnyMount]) -> list[AnyMount]:
    return sorted(found, key=lambda mount: os.path.normpath(mount.target).count("/"))


def _parse_bind(text: str) -> AnyMount:
    """``source:target[:options]`` (docker's volume syntax); a source that is no path is a volume's name."""
    source, _, rest = text.partition(":")
    target, _, words = rest.partition(":")
    if not target:
        raise InvalidArgument(f"invalid volume specification: '{text}'", hint="write /host/path:/container/path[:ro]")
    _check_target(target)
    if not source.startswith("/"):
        return _named_volume(source, target, words, text)
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
    return BindMount(source, target, read_only, recursive, propagation, create=True, mode=words)


def _named_volume(name: str, target: str, words: str, text: str) -> VolumeMount:
    """``NAME:/path[:ro,nocopy]``. Docker shows the mode ``z`` where none was given."""
    check_name(name)
    read_only, copy = False, True
    for word in filter(None, words.split(",")):
        if word in ("ro", "rw"):
            read_only = word == "ro"
        elif word in ("nocopy", "copy"):
            copy = word == "copy"
        elif word in ("z", "Z"):
            raise Unsupported(f"volume option '{word}' (SELinux relabelling) in '{text}' is not supported")
        elif word not in ("consistent", "cached", "delegated"):
            raise InvalidArgument(f"invalid mode: {word} in '{text}'")
    return VolumeMount(target, name, read_only, copy, mode=words or "z")


def anonymous_volume(path: str) -> VolumeMount:
    """The volume of ``-v /path`` or of an image's VOLUME. Raises InvalidArgument for what is no place for one."""
    _check_target(path)
    return VolumeMount(os.path.normpath("/" + path.lstrip("/")), anonymous=True)


def _parse_mount(item: Any) -> AnyMount:
    if not isinstance(item, dict):
        raise InvalidArgument("HostConfig.Mounts must be a list of objects")
    kind, target, source = item.get("Type"), item.get("Target") or "", item.get("Source") or ""
    if not isinstance(target, str) or not isinstance(source, str) or "\0" in source:
        raise InvalidArgument("HostConfig.Mounts: Source and Target must be strings without NUL bytes")
    _check_target(target)
    if kind == "tmpfs":
        return _parse_tmpfs(item, target, source)
    if kind == "volume":
        return _parse_volume(item, target, source)
    if kind != "bind":
        raise Unsupported(f"mount type {kind!r} for {target} is not supported", hint="bind, volume and tmpfs are")
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


def _parse_volume(item: dict[str, Any], target: str, source: str) -> VolumeMount:
    """``Type: volume``: without a source an anonymous one."""
    if source:
        check_name(source)
    options = _options(item, "VolumeOptions")
    driver = _options({"DriverConfig": options.get("DriverConfig")}, "DriverConfig")
    subpath = options.get("Subpath") or ""
    if not isinstance(subpath, str) or "\0" in subpath or not _is_inside(subpath):
        raise InvalidArgument("subpath must be a relative path within the volume")
    labels, driver_options = options.get("Labels") or {}, driver.get("Options") or {}
    for what, pairs in (("Labels", labels), ("DriverConfig.Options", driver_options)):
        if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
            raise InvalidArgument(f"VolumeOptions.{what} for {target} must be an object of strings")
    return VolumeMount(
        target,
        source,
        bool(item.get("ReadOnly")),
        not options.get("NoCopy"),
        subpath,
        "z",
        str(driver.get("Name") or ""),
        driver_options,
        labels,
        anonymous=not source,
    )


def _is_inside(subpath: str) -> bool:
    return not subpath.startswith("/") and not os.path.normpath(subpath).startswith("..")


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


def prepare_sources(mounts: list[AnyMount], *, create: bool) -> None:
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


def to_oci(mount: AnyMount) -> oci.Mount:
    """The mount as the OCI spec writes it."""
    if isinstance(mount, TmpfsMount):
        defaults = ["noexec", "nosuid", "nodev"]
        return {
            "destination": mount.target,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": [*defaults, *mount.options],
        }
    if isinstance(mount, VolumeMount):
        words = ["rbind", "ro" if mount.read_only else "rw", "rprivate"]
        subpath = [SUBPATH_OPTION + mount.subpath] if mount.subpath else []
        return {"destination": mount.target, "type": "bind", "source": mount.backing, "options": words + subpath}
    options = ["rbind" if mount.recursive else "bind", "ro" if mount.read_only else "rw", mount.propagation]
    return {"destination": mount.target, "type": "bind", "source": mount.source, "options": options}


def described(container: Container) -> list[dict[str, Any]]:
    """Inspect's ``Mounts``: as in Docker without those of ``--tmpfs``."""
    return [describe(m) for m in mounts_of(container) if not isinstance(m, TmpfsMount) or m.listed]


def describe(mount: AnyMount) -> dict[str, Any]:
    """One mount as inspect's ``Mounts`` lists it."""
    if isinstance(mount, TmpfsMount):
        return {
            "Type": "tmpfs",
            "Source": "",
            "Destination": mount.target,
            "Mode": "",
            "RW": "ro" not in mount.options,
            "Propagation": "",
        }
    if isinstance(mount, VolumeMount):
        return {
            "Type": "volume",
            "Name": mount.name,
            "Source": mount.source,
            "Destination": mount.target,
            "Driver": "local",
            "Mode": mount.mode,
            "RW": not mount.read_only,
            "Propagation": "",
        }
    return {
        "Type": "bind",
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": mount.mode,
        "RW": not mount.read_only,
        "Propagation": mount.propagation,
    }
