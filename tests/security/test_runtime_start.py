"""Attacks on the start of a container, each tried for real against core.linux (facts: the CVE named in each test)."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from core import oci
from core.errors import StartFailed
from core.linux import mounts, privileges, process, rootfs, syscalls, userdb
from tests import images
from tests.linux.sandbox import Result, Sandbox
from tests.support import CHECKOUT

pytestmark = [pytest.mark.root, pytest.mark.security]

Make = Callable[..., Sandbox]


def bind(source: Path, destination: str, *options: str) -> oci.Mount:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind", *options]}


def refused(result: Result, step: str) -> str:
    """The message of a start that was refused at ``step``; nothing of the program ran."""
    assert result.error is not None, result
    assert result.error["step"] == step, result.error
    assert result.output == ""
    return str(result.error["message"])


def output(result: Result) -> str:
    assert result.error is None, result.error
    assert result.code == 0, result
    return result.output


def in_child(function: Callable[[], None]) -> None:
    """Run ``function`` in a forked child that may spoil itself; an exception there fails the test here."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read)
            function()
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it is, it must reach the parent
            os.write(write, traceback.format_exc().encode())
        os._exit(code)
    os.close(write)
    with open(read, "rb") as file:
        said = file.read().decode()
    _, status = os.waitpid(pid, 0)
    assert status == 0, said


# --- targets of mounts that are links (CVE-2021-30465, CVE-2024-45310) -------------------------------


@pytest.mark.parametrize("target", ["{victim}", "../../../../../../../..{victim}", "/proc/self/root{victim}"])
def test_mount_target_linked_to_the_host_stays_inside(
    own_lower: Path, make_sandbox: Make, short_folder: Path, target: str
) -> None:
    victim = short_folder / "victim"
    victim.mkdir()
    (victim / "host-file").touch()
    (own_lower / "data").symlink_to(target.format(victim=victim))
    sandbox = make_sandbox(own_lower)
    source = sandbox.folder / "volume"
    source.mkdir()
    (source / "mine").touch()
    sandbox.spec["mounts"].append(bind(source, "/data/sub"))
    result = sandbox.run("sh", "-c", "ls /data/sub")
    assert os.listdir(victim) == ["host-file"]
    assert result.output in ("mine\n", "")


def test_file_target_linked_to_a_host_file_stays_inside(
    own_lower: Path, make_sandbox: Make, short_folder: Path
) -> None:
    victim = short_folder / "victim"
    (own_lower / "etc/resolv.conf").symlink_to(victim)
    sandbox = make_sandbox(own_lower)
    source = sandbox.folder / "resolv.conf"
    source.write_text("nameserver 192.0.2.1\n")
    sandbox.spec["mounts"].append(bind(source, "/etc/resolv.conf"))
    assert output(sandbox.run("cat", "/etc/resolv.conf")) == "nameserver 192.0.2.1\n"
    assert not victim.exists()


def test_target_exchanged_for_a_link_while_it_is_mounted(make_sandbox: Make, short_folder: Path) -> None:
    """Another container that shares a volume swaps a folder of it for a link, as fast as it can, during our starts."""
    volume, victim = short_folder / "volume", short_folder / "victim"
    (volume / "x").mkdir(parents=True)
    (volume / "link").symlink_to(victim)
    victim.mkdir()
    (victim / "precious").write_text("host\n")
    swapper = os.fork()
    if swapper == 0:
        paths = [os.fsencode(volume / name) for name in ("x", "link")]
        libc_rename(*paths)
    try:
        for _ in range(15):
            sandbox = make_sandbox()
            sandbox.spec["mounts"] += [
                bind(volume, "/volume"),
                {"destination": "/volume/x/made", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]},
            ]
            result = sandbox.run("sh", "-c", "cat /volume/x/precious /volume/link/precious 2>/dev/null; true")
            assert "host" not in result.output
            assert os.listdir(victim) == ["precious"]
    finally:
        os.kill(swapper, 9)
        os.waitpid(swapper, 0)


@pytest.mark.parametrize(("target", "step"), [
    ("/proc/sys/kernel/core_pattern", "mounts"), ("/proc/self/attr/exec", "mounts"), ("/dev/null", "devices"),
    ("/", "mounts"),
])  # fmt: skip
def test_generated_files_cannot_be_led_onto_the_kernels(
    own_lower: Path, make_sandbox: Make, target: str, step: str
) -> None:
    """/etc/hosts is mounted into every container: as a link it would cover a file that the start relies on."""
    (own_lower / "etc/hosts").symlink_to(target)
    sandbox = make_sandbox(own_lower)
    source = sandbox.folder / "hosts"
    source.write_text("127.0.0.1 localhost\n")
    sandbox.spec["mounts"].append(bind(source, "/etc/hosts"))
    refused(sandbox.run("true"), step)


def libc_rename(a: bytes, b: bytes) -> None:
    """Exchange the two names for ever (renameat2(2), RENAME_EXCHANGE)."""
    libc = ctypes.CDLL(None)
    while True:
        libc.renameat2(-100, a, -100, b, 2)


@pytest.mark.parametrize("destination", ["/", "/.", "/data/..", "/link"])
def test_the_root_itself_cannot_be_covered(own_lower: Path, make_sandbox: Make, destination: str) -> None:
    (own_lower / "data").mkdir()
    (own_lower / "link").symlink_to("/")
    sandbox = make_sandbox(own_lower)
    sandbox.spec["mounts"].append(bind(sandbox.folder, destination))
    assert "root itself" in refused(sandbox.run("true"), "mounts")


# --- a /proc that is not the kernel's (CVE-2019-16884, CVE-2019-19921, CVE-2023-27561) ---------------


@pytest.mark.parametrize("destination", ["/proc", "/proc/sys", "/proc/self", "/innocent/kernel", "/proc/1/attr"])
def test_nothing_can_be_mounted_over_proc(own_lower: Path, make_sandbox: Make, destination: str) -> None:
    (own_lower / "innocent").symlink_to("/proc/sys")
    sandbox = make_sandbox(own_lower)
    source = sandbox.folder / "fake"
    source.mkdir()
    sandbox.spec["mounts"].append(bind(source, destination))
    assert "/proc" in refused(sandbox.run("true"), "mounts")


def test_files_that_only_inform_may_be_covered(sandbox: Sandbox) -> None:
    source = sandbox.folder / "uptime"
    source.write_text("1.0 1.0\n")
    sandbox.spec["mounts"].append(bind(source, "/proc/uptime"))
    assert output(sandbox.run("cat", "/proc/uptime")) == "1.0 1.0\n"


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_an_image_with_a_link_for_proc_or_sys_is_refused(own_lower: Path, make_sandbox: Make, name: str) -> None:
    (own_lower / name).rmdir()
    (own_lower / name).symlink_to("etc")
    assert "symbolic link" in refused(make_sandbox(own_lower).run("true"), "mounts")


def test_sysctls_are_not_written_into_a_fake_proc(short_folder: Path) -> None:
    """CVE-2025-52881: /proc/sys covered by something that redirects the write."""
    trap = short_folder / "trap"
    trap.write_text("untouched")

    def attack() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET)
        rootfs.make_private()
        syscalls.mount("tmpfs", "/proc/sys", "tmpfs")
        os.makedirs("/proc/sys/net/ipv4")
        os.symlink(trap, "/proc/sys/net/ipv4/ip_default_ttl")
        rootfs.write_sysctls({"net.ipv4.ip_default_ttl": "55"})
        assert trap.read_text() == "untouched"
        syscalls.umount2("/proc/sys")
        assert Path("/proc/sys/net/ipv4/ip_default_ttl").read_text() == "55\n"

    in_child(attack)


@pytest.mark.parametrize("name", ["../../etc/passwd", "net/../kernel/core_pattern", "net/ipv4/../../kernel/hostname"])
def test_sysctl_name_cannot_climb_out(sandbox: Sandbox, name: str) -> None:
    sandbox.spec["linux"]["sysctl"] = {name: "x"}
    refused(sandbox.run("true"), "sysctl")


# --- /dev (CVE-2025-31133, CVE-2025-52565, CVE-2026-41579) -------------------------------------------


def _link_to_core_pattern() -> None:
    os.symlink("/proc/sys/kernel/core_pattern", "/dev/null")


def _wrong_number() -> None:
    os.mknod("/dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 5))


def _plain_file() -> None:
    os.close(os.open("/dev/null", os.O_CREAT | os.O_WRONLY))


@pytest.mark.parametrize("plant", [_link_to_core_pattern, _wrong_number, _plain_file])
def test_fake_null_device_never_masks(sandbox: Sandbox, plant: Callable[[], None]) -> None:
    def inside() -> None:
        os.unlink("/dev/null")
        plant()

    sandbox.inside = inside
    refused(sandbox.run("true"), "mask")


def test_dev_of_the_image_is_not_used(own_lower: Path, make_sandbox: Make, short_folder: Path) -> None:
    victim = short_folder / "victim"
    victim.mkdir()
    (own_lower / "dev").rmdir()
    (own_lower / "dev").symlink_to(victim)
    result = make_sandbox(own_lower).run("sh", "-c", "stat -c %t:%T /dev/null")
    assert os.listdir(victim) == []
    assert result.error is not None or result.output == "1:3\n"


def test_nodes_that_an_image_brings_in_dev_are_covered(own_lower: Path, make_sandbox: Make) -> None:
    os.mknod(own_lower / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.mknod(own_lower / "dev/evil", stat.S_IFBLK | 0o666, os.makedev(254, 0))
    assert output(make_sandbox(own_lower).run("sh", "-c", "stat -c %t:%T /dev/null; ls /dev/evil 2>&1 || true")) == (
        "1:3\nls: /dev/evil: No such file or directory\n"
    )


def test_listed_device_through_a_link_stays_in_dev(sandbox: Sandbox, short_folder: Path) -> None:
    """A folder of /dev that is a link (an image cannot plant one in the tmpfs, a mount below it can)."""
    source = sandbox.folder / "sub"
    source.mkdir()
    victim = short_folder / "victim"
    victim.mkdir()
    (source / "out").symlink_to(victim)
    sandbox.spec["mounts"].append(bind(source, "/dev/sub"))
    sandbox.spec["linux"]["devices"] = [{"path": "/dev/sub/out/x", "type": "c", "major": 1, "minor": 3}]
    sandbox.run("true")
    assert os.listdir(victim) == []


def test_console_that_is_a_link_is_refused(sandbox: Sandbox) -> None:
    sandbox.terminal = True
    sandbox.inside = lambda: os.symlink("/etc/passwd", "/dev/console")
    refused(sandbox.run("true"), "console")


def test_fake_ptmx_is_refused(sandbox: Sandbox) -> None:
    def inside() -> None:
        syscalls.umount2("/dev/pts")
        os.mknod("/dev/pts/ptmx", stat.S_IFCHR | 0o666, os.makedev(1, 3))

    sandbox.terminal = True
    sandbox.inside = inside
    refused(sandbox.run("true"), "console")


# --- leaked descriptors and the working directory (CVE-2024-21626) -----------------------------------


@pytest.mark.parametrize("way", ["direct", "link"])
def test_working_directory_through_a_leaked_descriptor(own_lower: Path, make_sandbox: Make, way: str) -> None:
    (own_lower / "work").symlink_to("/proc/self/fd/77")
    sandbox = make_sandbox(own_lower)
    sandbox.before = lambda: _leak_host_root(77)
    sandbox.spec["process"]["cwd"] = "/proc/self/fd/77" if way == "direct" else "/work"
    refused(sandbox.run("sh", "-c", "ls"), "cwd")


def _leak_host_root(number: int) -> None:
    fd = os.open("/", os.O_PATH | os.O_DIRECTORY)
    os.dup2(fd, number, inheritable=True)


def test_working_directory_outside_the_root_is_noticed() -> None:
    """Even if a descriptor of the host was entered before: the check looks at where the process really is."""

    def attack() -> None:
        outside = os.open("/", os.O_PATH | os.O_DIRECTORY)
        syscalls.unshare(syscalls.CLONE_NEWNS)
        rootfs.make_private()
        fd = mounts.make_detached("tmpfs", 0, ["size=64k"])
        syscalls.move_mount(fd, syscalls.AT_FDCWD, "/mnt")
        rootfs.pivot(os.open("/mnt", os.O_PATH | os.O_DIRECTORY))
        os.fchdir(outside)
        with pytest.raises(FileNotFoundError):
            os.getcwd()
        with pytest.raises(StartFailed):
            rootfs.check_cwd("/x")

    in_child(attack)


def test_no_descriptor_is_inherited(sandbox: Sandbox) -> None:
    sandbox.before = lambda: _leak_host_root(77)
    names = output(sandbox.run("sh", "-c", "for f in /proc/self/fd/*; do readlink $f; done; true")).split()
    assert "/" not in names
    assert sorted({name.partition(":")[0] for name in names}) == ["/dev/null", "pipe"]


# --- Python's own: imports from the container (reproduced on these machines) -------------------------


def test_lazy_import_after_the_pivot(own_lower: Path, make_sandbox: Make) -> None:
    """Without sealing the image's module runs as the host's root; sealed, nothing is imported any more."""
    evil = own_lower / "evil"
    evil.mkdir()
    (evil / "dockyard_attack.py").write_text("open('/pwned', 'w').close()\n")

    def inside() -> None:
        sys.path.insert(0, "/evil")
        try:
            __import__("dockyard_attack")
        except ImportError:
            pass

    open_one, sealed = make_sandbox(own_lower), make_sandbox(own_lower)
    open_one.inside = inside
    output(open_one.run("true"))
    assert (open_one.folder / "upper/pwned").exists(), "the attack itself does not work: the test proves nothing"
    sealed.before, sealed.inside = process.seal_imports, inside
    output(sealed.run("true"))
    assert not (sealed.folder / "upper/pwned").exists()


def test_error_paths_work_when_imports_are_sealed(own_lower: Path, make_sandbox: Make) -> None:
    """A failed start after the pivot still says where and why, and reads no source file of the image."""
    source = own_lower / str(Path(rootfs.__file__).relative_to("/"))
    source.parent.mkdir(parents=True)
    source.write_text("SECRET OF THE IMAGE\n" * 1000)
    sandbox = make_sandbox(own_lower)

    def inside() -> None:
        try:
            rootfs.enter_cwd("/etc/passwd", create=False)
        except StartFailed:
            text = traceback.format_exc()
        else:
            text = "it did not fail"
        assert "enter_cwd" in text
        assert "SECRET" not in text

    sandbox.before, sandbox.inside = process.seal_imports, inside
    output(sandbox.run("true"))


# --- the interpreter (CVE-2019-5736) -----------------------------------------------------------------


def test_interpreter_cannot_be_overwritten_from_a_container() -> None:
    script = textwrap.dedent(f"""
        import os, sys
        sys.path.insert(0, {str(CHECKOUT)!r})
        from core.linux import process, syscalls
        why = process.protect_self()
        readonly = os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY
        print(repr(why), readonly, syscalls.prctl(syscalls.PR_GET_DUMPABLE), sys.argv[1:],
              "DOCKYARD_PROTECTED" in os.environ)
    """)
    argv = [sys.executable, "-I", "-S", "-c", script, "an argument"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout
    assert said == "'' 1 0 ['an argument'] False\n"


def test_descriptor_of_the_executable_cannot_be_written_later(short_folder: Path) -> None:
    """The attack waits until nothing runs the file any more (till then it is ETXTBSY) and writes through /proc."""
    program = short_folder / "program"
    shutil.copy(images.busybox_path(), program)
    protected = process.readonly_executable(str(program))
    plain = os.open(program, os.O_PATH)
    try:
        subprocess.run(["true"], executable=f"/proc/self/fd/{protected}", pass_fds=[protected], check=True)
        os.close(os.open(f"/proc/self/fd/{plain}", os.O_WRONLY))
        with pytest.raises(OSError) as caught:
            os.open(f"/proc/self/fd/{protected}", os.O_WRONLY)
        assert caught.value.errno == errno.EROFS
    finally:
        os.close(protected)
        os.close(plain)


# --- users and groups of a hostile image (CVE-2024-9676, CVE-2024-40635, CVE-2022-36109) -------------


def root_with(folder: Path, passwd: Callable[[Path], None]) -> int:
    (folder / "etc").mkdir(parents=True)
    passwd(folder / "etc/passwd")
    return os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def _endless(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("plant", [_fifo, _huge, _endless, _folder])
@pytest.mark.timeout(20)
def test_hostile_passwd_is_refused_at_once(short_folder: Path, plant: Callable[[Path], None]) -> None:
    root = root_with(short_folder / "root", plant)
    try:
        with pytest.raises(StartFailed, match="/etc/passwd") as caught:
            userdb.resolve("someone", root)
        assert caught.value.step == "user"
    finally:
        os.close(root)


def test_passwd_linked_to_the_hosts_is_not_read(short_folder: Path) -> None:
    root = root_with(short_folder / "root", lambda path: path.symlink_to("../../../../../../../../etc/passwd"))
    try:
        # In its own root the link points at itself.
        with pytest.raises(StartFailed):
            userdb.resolve("daemon", root)
    finally:
        os.close(root)


def _wrapping(path: Path) -> None:
    path.write_text("big:x:4294967296:0::/:/bin/sh\n")


@pytest.mark.parametrize(
    "user", ["4294967295", "4294967296", "2147483648", "-1", "0:4294967295", "0:-1", "big", "0:big"]
)
def test_ids_that_wrap_are_refused(short_folder: Path, user: str) -> None:
    root = root_with(short_folder / "root", _wrapping)
    (short_folder / "root/etc/group").write_text("big:x:4294967296:\n")
    try:
        with pytest.raises(StartFailed, match="must be in range 0-2147483647"):
            userdb.resolve(user, root)
    finally:
        os.close(root)


def test_groups_of_the_engine_are_not_inherited(sandbox: Sandbox) -> None:
    sandbox.before = lambda: os.setgroups([0, 4, 27, 999])
    sandbox.spec["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [2000]}
    assert output(sandbox.run("sh", "-c", "grep Groups /proc/self/status")).split() == ["Groups:", "2000"]


# --- capabilities (CVE-2022-24769, CVE-2022-27649, CVE-2022-0492) -------------------------------------


def test_inheritable_and_ambient_capabilities_are_empty(sandbox: Sandbox) -> None:
    def before() -> None:
        have = syscalls.capget()
        syscalls.capset(syscalls.CapabilitySets(have.effective, have.permitted, have.permitted))
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, 0)

    sandbox.before = before
    found = dict(line.split() for line in output(sandbox.run("grep", "Cap", "/proc/self/status")).splitlines())
    assert found["CapInh:"] == found["CapAmb:"] == "0000000000000000"
    assert found["CapEff:"] == found["CapBnd:"] == "00000000a80425fb"


def test_keys_of_the_engine_stay_with_it() -> None:
    """The session keyring is inherited through fork and execve; its keys could be read by number."""

    def attack() -> None:
        session = -3
        get_id = (250 if os.uname().machine == "x86_64" else 219, 0, session, 0)
        libc = ctypes.CDLL(None)
        privileges.new_keyring()
        mine = libc.syscall(*(ctypes.c_long(word) for word in get_id))
        assert privileges.new_keyring() == []
        assert libc.syscall(*(ctypes.c_long(word) for word in get_id)) != mine

    in_child(attack)


def test_release_agent_is_out_of_reach(sandbox: Sandbox) -> None:
    script = (
        "mkdir /tmp/c; mount -t cgroup -o pids x /tmp/c 2>&1; unshare -Ur true 2>&1; unshare -m true 2>&1;"
        "for f in /sys/fs/cgroup/*/release_agent; do echo x > $f; done 2>&1; umount /proc/sys 2>&1; true"
    )
    lines = output(sandbox.run("sh", "-c", script)).splitlines()
    assert len([line for line in lines if "permitted" in line or "denied" in line]) >= 4, lines
    assert not [line for line in lines if "Read-only" not in line and "ermi" not in line and "denied" not in line
                and "nonexistent" not in line and "No such file" not in line], lines  # fmt: skip


@pytest.mark.parametrize("locked", [False, True])
def test_set_user_id_programs_gain_nothing_with_no_new_privileges(
    own_lower: Path, make_sandbox: Make, locked: bool
) -> None:
    program = own_lower / "bin/busybox"
    program.chmod(0o4755)
    (own_lower / "etc/passwd").write_text("root::0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")
    sandbox = make_sandbox(own_lower)
    sandbox.spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    sandbox.spec["process"]["noNewPrivileges"] = locked
    # Root has no password here: su needs nothing but its set-user-ID bit.
    result = sandbox.run("su", "root", "-c", "id -u; grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status")
    assert result.error is None, result.error
    if locked:
        assert result.code != 0
        assert "\n0\n" not in f"\n{result.output}"
    else:
        assert result.output.split() == ["0", "NoNewPrivs:", "0", "Seccomp:", "2"]
