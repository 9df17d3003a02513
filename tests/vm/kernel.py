"""The test machine's kernel: Debian's or Ubuntu's own, fetched once from this machine's apt sources.

Debian's cloud kernel (6.12 and later) has virtiofs built in and starts from it by itself. For others a small initramfs
is made that loads the modules first. ``DOCKYARD_VM_KERNEL`` names another package to try
(``linux-image-6.1.0-52-cloud-amd64``).
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import zstandard

from tests.images import cache_folder

#: Debian's, then Ubuntu's. The first pattern that the sources know is taken, its newest version.
_PATTERNS = (
    r"^linux-image-([7-9]|6\.1[2-9]|6\.[2-9][0-9]).*[0-9]-cloud-amd64$",
    r"^linux-image-[0-9.]*-[0-9]*-generic$",
    r"^linux-image-[0-9].*[0-9]-cloud-amd64$",
)
_NEEDED = ("virtio_pci", "virtiofs")
_INIT = """\
#!/bin/busybox sh
for module in /modules/*; do /bin/busybox insmod "$module"; done
/bin/busybox mount -t virtiofs host /newroot
exec /bin/busybox switch_root /newroot "$VM_FOLDER/init"
"""


class Unavailable(Exception):
    """There is none to be had; the text says why."""


class Kernel(NamedTuple):
    """``folder`` has ``boot`` and ``lib/modules``; ``initrd`` is None where the kernel finds its root by itself."""

    folder: Path
    image: Path
    initrd: Path | None


def kernel() -> Kernel:
    """The kernel in the cache folder, fetched on first use."""
    wanted = os.environ.get("DOCKYARD_VM_KERNEL", "")
    folder = cache_folder() / f"vm-kernel{'-' if wanted else ''}{wanted}"
    if not _images(folder):
        temporary = Path(tempfile.mkdtemp(prefix="vm-kernel.", dir=cache_folder()))
        try:
            _fetch(temporary, wanted)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    initrd = folder / "initrd"
    return Kernel(folder, _images(folder)[-1], initrd if initrd.exists() else None)


def _images(folder: Path) -> list[Path]:
    return sorted((folder / "boot").glob("vmlinuz-*"))


def _call(*argv: str, cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def _newest() -> str:
    for pattern in _PATTERNS:
        found = [line.split()[0] for line in _call("apt-cache", "search", "--names-only", pattern).splitlines()]
        if found:
            return max(found, key=_version)
    return ""


def _version(name: str) -> list[int]:
    return [int(part) for part in name.replace("+", "-").replace(".", "-").split("-") if part.isdecimal()]


def _fetch(folder: Path, wanted: str) -> None:
    name = wanted or _newest()
    if not name:
        _call("apt-get", "-qq", "update")
        name = _newest()
    if not name:
        raise Unavailable("no kernel for a virtual machine in the apt sources")
    packages = [name]
    modules = name.replace("linux-image-", "linux-modules-")
    if _call("apt-cache", "search", "--names-only", f"^{modules}$"):  # Ubuntu's are a package of their own
        packages.append(modules)
    _call("apt-get", "-qq", "-oAPT::Sandbox::User=root", "download", *packages, cwd=folder)
    for package in folder.glob("*.deb"):
        _call("dpkg", "-x", package.name, ".", cwd=folder)
        package.unlink()
    if not (folder / "lib").exists():
        (folder / "lib").symlink_to("usr/lib")
    release = _images(folder)[-1].name.removeprefix("vmlinuz-")
    _call("depmod", "-b", ".", release, cwd=folder)
    modules_needed = _modules(folder, release)
    if modules_needed:
        (folder / "initrd").write_bytes(_initramfs(modules_needed))


def _modules(folder: Path, release: str) -> list[Path]:
    """What must be loaded, in that order, before the root can be mounted; empty when all is built in."""
    lines = _call("modprobe", "-d", str(folder), "-S", release, "-a", "--show-depends", *_NEEDED).splitlines()
    found = [Path(line.split()[1]) for line in lines if line.startswith("insmod ")]
    return list(dict.fromkeys(found))


def _initramfs(modules: list[Path]) -> bytes:
    """A cpio archive, "newc" (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    files: list[tuple[str, int, bytes]] = [
        *((name, 0o040755, b"") for name in ("bin", "modules", "newroot")),
        ("bin/busybox", 0o100755, Path(shutil.which("busybox") or "/bin/busybox").read_bytes()),
        ("init", 0o100755, _INIT.encode()),
        *((f"modules/{number:02}.ko", 0o100644, _unpacked(path)) for number, path in enumerate(modules)),
        ("TRAILER!!!", 0, b""),
    ]
    return b"".join(piece for number, file in enumerate(files) for piece in _member(number, *file))


def _member(number: int, name: str, mode: int, data: bytes) -> Iterator[bytes]:
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    yield head + bytes(-len(head) % 4)
    yield data + bytes(-len(data) % 4)


def _unpacked(module: Path) -> bytes:
    data = module.read_bytes()
    if module.suffix == ".xz":
        return lzma.decompress(data)
    if module.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data
