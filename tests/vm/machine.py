"""A virtual machine with pure cgroup v2, and systemd when asked for, in software emulation: no KVM is needed.

Its root is the host's own file tree (read-only, by virtiofs) with a throw-away disk over it, so that what is
installed here is installed there. A command begins 4 to 8 seconds after :func:`run` is called; inside, Python is
20 to 40 times slower than outside: one machine for a whole suite of checks.

Needs root on Debian or Ubuntu and qemu-system-x86, virtiofsd, e2fsprogs, busybox-static, kmod; the kernel comes from
the apt sources (``kernel.py``).
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.support import wait_until
from tests.vm.kernel import Kernel, Unavailable, kernel

_INIT = Path(__file__).with_name("guest_init.sh")
_VIRTIOFSD = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")
#: Units of the host that have nothing to do in a machine that lives for half a minute.
_MASK = (
    "systemd-timesyncd.service systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket "
    "systemd-udev-trigger.service apparmor.service systemd-journal-flush.service systemd-remount-fs.service "
    "ldconfig.service systemd-sysusers.service proc-sys-fs-binfmt_misc.automount dev-hugepages.mount dev-mqueue.mount "
    "sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount docker.socket podman.socket "
    "modprobe@.service"
)
#: Seen: one boot in 500 panics before the command begins. Only those are repeated.
_BOOTS = 3


class Result(NamedTuple):
    """What the command wrote and its exit code."""

    code: int
    output: str


def impossible() -> str:
    """Why this host cannot have a machine whatever is installed, "" when it can."""
    if os.geteuid() != 0:
        return "needs root"
    if os.uname().machine != "x86_64":
        return "needs an x86_64 host"
    if not Path("/etc/debian_version").exists() or shutil.which("apt-get") is None:
        return "needs Debian or Ubuntu, for a kernel that starts from virtiofs"
    return ""


def missing() -> str:
    """What this host lacks for a machine and could have (``.ci/packages test`` installs it), "" when nothing."""
    for program in ("qemu-system-x86_64", "mke2fs", "busybox", "depmod", "dpkg", "setpriv", "systemctl"):
        if shutil.which(program) is None:
            return program
    return "" if _virtiofsd() else "virtiofsd"


def systemd_version() -> int:
    """The version of the systemd that is installed here, and runs there; 0 without one."""
    try:
        done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    return int(done.stdout.split()[1].partition(".")[0].partition("~")[0])


def to_keep(folder: Path) -> list[str]:
    """``folder`` where the machine would hide it: /tmp and /var/tmp are empty inside."""
    return [str(folder)] if folder.is_relative_to("/tmp") or folder.is_relative_to("/var/tmp") else []


def _virtiofsd() -> str:
    return next((path for path in _VIRTIOFSD if os.access(path, os.X_OK)), "")


def run(
    argv: Sequence[str],
    *,
    systemd: bool = False,
    keep: Sequence[str] = (),
    cwd: str | Path = "/",
    timeout: float = 300.0,
    memory: int = 2048,
    words: str = "",
) -> Result:
    """Run ``argv`` as root in a machine of its own.

    ``keep``: folders below /tmp that stay visible inside. ``memory`` in MB. ``words``: more for the kernel's command
    line, which systemd reads too.
    """
    if reason := impossible():
        raise Unavailable(reason)
    if lack := missing():
        raise Unavailable(f"{lack} is missing: .ci/packages test installs it")
    chosen = kernel()
    for _ in range(_BOOTS):
        with ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="dkvm", dir="/var/tmp"))
            stack.callback(shutil.rmtree, folder)
            found = _boot(stack, folder, chosen, argv, systemd, keep, cwd, timeout, memory, words)
        if found is not None:
            return found
    raise AssertionError(f"the machine did not come up in {_BOOTS} tries")


def _boot(
    stack: ExitStack,
    folder: Path,
    chosen: Kernel,
    argv: Sequence[str],
    systemd: bool,
    keep: Sequence[str],
    cwd: str | Path,
    timeout: float,
    memory: int,
    words: str,
) -> Result | None:
    """One boot; None when it died before the command began."""
    for name in ("share", "root"):
        (folder / name).mkdir()
    shutil.copy(_INIT, folder / "init")
    (folder / "init").chmod(0o755)
    (folder / "command").write_text(f"cd {shlex.quote(str(cwd))}; exec {shlex.join(argv)}\n")
    disk = folder / "disk"
    with disk.open("wb") as file:
        file.truncate(8 << 30)
    subprocess.run(["mke2fs", "-qF", "-t", "ext4", "-O", "^has_journal", str(disk)], check=True)
    _start_file_server(stack, folder)
    variables = {
        "VM_FOLDER": str(folder),
        "VM_KERNEL": str(chosen.folder),
        "VM_SYSTEMD": "1" if systemd else "",
        "VM_KEEP": " ".join(keep),
        "VM_MASK": _MASK,
    }
    log = stack.enter_context((folder / "log").open("ab"))
    qemu = subprocess.Popen(_qemu(folder, chosen, variables, memory, words), stdin=subprocess.DEVNULL, stderr=log)
    stack.callback(_end, qemu)
    try:
        qemu.wait(timeout)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the machine runs for {timeout} s:\n{_tail(folder)}") from None
    if "UP" not in (folder / "console").read_text(errors="replace").split():
        return None
    code = (folder / "code").read_text().strip()
    if not code:
        raise AssertionError(f"the machine ended without an exit code:\n{_tail(folder)}")
    return Result(int(code), (folder / "output").read_text(errors="replace"))


def _start_file_server(stack: ExitStack, folder: Path) -> None:
    """virtiofsd serves a read-only bind of / (but the folder itself) from a mount namespace of its own."""
    script = (
        'mount --bind / "$1/root" && mount -o remount,bind,ro "$1/root" && mount --bind "$1" "$1/root$1" && '
        'mount -t tmpfs t /run && exec "$2" --socket-path="$1/fs" -o source="$1/root",cache=always,sandbox=chroot'
    )
    argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "-m", "sh", "-c", script, "-", str(folder), _virtiofsd()]
    log = stack.enter_context((folder / "log").open("ab"))
    server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    stack.callback(_end, server)

    def ready() -> bool:
        assert server.poll() is None, _tail(folder)
        return (folder / "fs").exists()

    wait_until(ready, 20, "the file server listens")


def _qemu(folder: Path, chosen: Kernel, variables: dict[str, str], memory: int, words: str) -> list[str]:
    assignments = " ".join(f'"{name}={value}"' for name, value in variables.items())
    kernel_line = (
        f"root=host rootfstype=virtiofs rw init={folder}/init console=ttyS0 quiet panic=-1 mitigations=off "
        f"systemd.show_status=0 {words} {assignments}"
    )
    return [
        "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi",
        "-cpu", "max", "-smp", "1", "-m", str(memory), "-display", "none", "-nodefaults", "-no-user-config",
        "-no-reboot", "-nic", "none",
        "-object", f"memory-backend-memfd,id=mem,size={memory}M,share=on", "-numa", "node,memdev=mem",
        "-chardev", f"socket,id=fs,path={folder}/fs",
        "-device", "vhost-user-fs-pci,chardev=fs,tag=host,queue-size=1024",
        "-drive", f"if=virtio,file={folder}/disk,format=raw,cache=unsafe", "-serial", f"file:{folder}/console",
        "-device", "virtio-serial", "-chardev", f"file,id=o,path={folder}/output",
        "-device", "virtserialport,chardev=o,nr=1", "-chardev", f"file,id=r,path={folder}/code",
        "-device", "virtserialport,chardev=r,nr=2", "-kernel", str(chosen.image), "-append", kernel_line,
        *(["-initrd", str(chosen.initrd)] if chosen.initrd else []),
    ]  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _tail(folder: Path) -> str:
    parts = []
    for name in ("log", "console", "output"):
        path = folder / name
        if path.exists():
            parts.append(f"--- {name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-30:]))
    return "\n".join(parts)
