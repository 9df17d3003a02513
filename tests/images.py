"""Root file systems and image archives for the tests, made from what the machine has.

``busybox_rootfs()``   a root file system (tar) around Debian's static busybox.
``debian_rootfs()``    a path: a small real Debian by mmdebstrap, from the machine's own apt sources, kept.
``docker_archive(layers, config, tags)`` and ``oci_archive(layers, config, reference)``
                       archives as ``docker save`` and ``skopeo copy`` write them, from layers as tar bytes.
``layer(entries)``     a layer from ``Entry`` rows, also hostile ones: names are taken as they are.

The same arguments give the same bytes.
"""

from __future__ import annotations

import fcntl
import functools
import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

#: Docker's names of architectures.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CHECKOUT = Path(__file__).resolve().parents[1]
CREATED = "2024-01-01T00:00:00Z"
_MTIME = 1704067200

_DOCKER_PREFIX = "application/vnd.docker"
_OCI_PREFIX = "application/vnd.oci.image"


def architecture() -> str:
    """This machine's architecture in Docker's words."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


class Entry(NamedTuple):
    """One member of a layer: ``type`` as in ``tarfile``, ``target`` of a link, ``device`` (major, minor)."""

    name: str
    data: bytes = b""
    type: bytes = tarfile.REGTYPE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    target: str = ""
    device: tuple[int, int] = (0, 0)
    pax: dict[str, str] | None = None


def folder(name: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Entry:
    return Entry(name, type=tarfile.DIRTYPE, mode=mode, uid=uid, gid=gid)


def symlink(name: str, target: str) -> Entry:
    return Entry(name, type=tarfile.SYMTYPE, mode=0o777, target=target)


def hardlink(name: str, target: str) -> Entry:
    return Entry(name, type=tarfile.LNKTYPE, target=target)


def layer(entries: Iterable[Entry]) -> bytes:
    """An uncompressed tar of ``entries`` in their order. No name is checked."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type, info.mode, info.mtime = entry.type, entry.mode, _MTIME
            info.uid, info.gid, info.linkname = entry.uid, entry.gid, entry.target
            info.devmajor, info.devminor = entry.device
            info.size = len(entry.data)
            info.pax_headers = dict(entry.pax or {})
            tar.addfile(info, io.BytesIO(entry.data))
    return out.getvalue()


def busybox_path() -> Path:
    """Debian's static busybox (package busybox-static)."""
    found = shutil.which("busybox")
    if found is None:
        raise AssertionError("no busybox on PATH: `make test` installs busybox-static")
    return Path(found)


@functools.cache
def busybox_rootfs() -> bytes:
    """A tar: /bin/busybox and a link for each applet, /etc with two users, and the usual empty folders."""
    binary = busybox_path()
    names = subprocess.run([binary, "--list"], check=True, capture_output=True, text=True).stdout.split()
    entries = [folder(name) for name in ("bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "var")]
    entries += [folder("tmp", 0o1777), folder("home/user", 0o755, 1000, 1000)]
    entries.append(Entry("bin/busybox", binary.read_bytes(), mode=0o755))
    entries += [symlink(f"bin/{name}", "busybox") for name in sorted(set(names)) if name != "busybox"]
    entries += [
        Entry("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"),
        Entry("etc/group", b"root:x:0:\nuser:x:1000:\nextra:x:2000:user\n"),
        Entry("etc/not-executable", b"plain text\n"),
    ]
    return layer(entries)


def image_config(layers: Sequence[bytes], **config: Any) -> dict[str, Any]:
    """An image configuration for uncompressed ``layers``; ``config`` are fields of its ``config`` object.

    ``architecture`` among them goes to the top level.
    """
    arch = config.pop("architecture", None) or architecture()
    return {
        "architecture": arch,
        "os": "linux",
        "created": CREATED,
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], **config},
        "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in layers]},
        "history": [{"created": CREATED, "created_by": f"layer {n}"} for n in range(len(layers))],
    }


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def docker_archive(layers: Sequence[bytes], config: dict[str, Any], tags: Sequence[str]) -> bytes:
    """As ``docker save`` wrote it before OCI layouts: manifest.json, the configuration, layer tars."""
    data = _json(config)
    name = f"{digest(data)[7:]}.json"
    files = {f"{digest(blob)[7:]}/layer.tar": blob for blob in layers}
    manifest = [
        {
            "Config": name,
            "RepoTags": list(tags) or None,
            "Layers": [f"{digest(b)[7:]}/layer.tar" for b in layers],
        }
    ]
    entries = [Entry(path, blob) for path, blob in files.items()]
    return layer([*entries, Entry(name, data), Entry("manifest.json", _json(manifest))])


def compress(data: bytes, compression: str) -> bytes:
    """``compression`` is "", "gzip" or "zstd"."""
    if compression == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if compression == "zstd":
        return zstandard.ZstdCompressor().compress(data)
    return data


def oci_archive(
    layers: Sequence[bytes], config: dict[str, Any], reference: str = "", *, compression: str = "gzip"
) -> bytes:
    """A tar of an OCI image layout with one manifest; ``reference`` is the tag's annotation."""
    blobs: dict[str, bytes] = {}

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    suffix = f"+{compression}" if compression else ""
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI_PREFIX}.manifest.v1+json",
        "config": put(_json(config), f"{_OCI_PREFIX}.config.v1+json"),
        "layers": [put(compress(data, compression), f"{_OCI_PREFIX}.layer.v1.tar{suffix}") for data in layers],
    }
    descriptor = put(_json(manifest), f"{_OCI_PREFIX}.manifest.v1+json")
    descriptor["platform"] = {"architecture": config["architecture"], "os": config["os"]}
    if reference:
        descriptor["annotations"] = {
            "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
            "io.containerd.image.name": reference,
        }
    index = {"schemaVersion": 2, "mediaType": f"{_OCI_PREFIX}.index.v1+json", "manifests": [descriptor]}
    entries = [folder("blobs"), folder("blobs/sha256")]
    entries += [Entry(f"blobs/sha256/{name[7:]}", data) for name, data in blobs.items()]
    entries += [
        Entry("oci-layout", _json({"imageLayoutVersion": "1.0.0"})),
        Entry("index.json", _json(index)),
    ]
    return layer(entries)


@functools.cache
def busybox_archive(tag: str) -> bytes:
    """A docker-archive of busybox; its command is ``sh``."""
    layers = [busybox_rootfs()]
    return docker_archive(layers, image_config(layers, Cmd=["sh"]), [tag])


def cache_folder() -> Path:
    """Where costly fixtures are kept between runs: in the checkout, so that ``make clean`` removes them."""
    given = os.environ.get("XDG_CACHE_HOME")
    path = Path(given) / "dockyard-test" if given else _CHECKOUT / "build" / "test-cache"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _apt_sources() -> list[str]:
    main, parts = Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d")
    found = [main, *sorted(p for p in parts.glob("*") if p.suffix in (".list", ".sources"))]
    return [str(path) for path in found if path.is_file() and path.stat().st_size]


def debian_rootfs() -> Path:
    """A minimal Debian (or Ubuntu) of this machine's own release as an uncompressed tar.

    Made once (some 15 s, root and the network needed) and kept in :func:`cache_folder`.
    """
    release = platform.freedesktop_os_release()
    codename = release["VERSION_CODENAME"]
    path = cache_folder() / f"{release['ID']}-{codename}-{architecture()}.tar"
    with (cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path
        partial = path.with_suffix(".partial.tar")
        argv = ["mmdebstrap", "--quiet", "--mode=root", "--variant=essential", "--format=tar", codename]
        made = subprocess.run([*argv, str(partial), *_apt_sources()], capture_output=True, text=True)
        if made.returncode:
            partial.unlink(missing_ok=True)
            raise AssertionError(f"mmdebstrap failed with {made.returncode}:\n{made.stderr}")
        partial.rename(path)
    return path
