"""Containers made by core.linux alone: what a program finds inside, asked from inside."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from core import oci
from core.linux import mounts, syscalls
from tests.linux import sandbox as sandbox_module
from tests.linux.sandbox import READONLY, Sandbox, capability_sets

pytestmark = pytest.mark.root


def shell(sandbox: Sandbox, script: str) -> str:
    """What ``sh -c script`` prints; it must succeed."""
    result = sandbox.run("sh", "-c", script)
    assert result.error is None, result.error
    assert result.code == 0, result
    return result.output


def bind(source: Path, destination: str, *options: str) -> oci.Mount:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind", *options]}


def inside(text: str) -> dict[str, list[str]]:
    """Mount point → fields of /proc/self/mountinfo; the last one on a point wins."""
    found = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        found[left.split()[4]] = [*left.split(), *right.split()]
    return found


def test_program_runs_as_first_process_in_its_own_namespaces(sandbox: Sandbox) -> None:
    output = shell(sandbox, "echo $$; hostname; readlink /proc/self/ns/mnt; ls -d /proc/[0-9]* | wc -l; pwd")
    pid, name, namespace, processes, cwd = output.splitlines()
    assert (pid, name, cwd) == ("1", "sandbox", "/")
    assert namespace != os.readlink("/proc/self/ns/mnt")
    assert int(processes) <= 3
    assert socket.gethostname() != "sandbox"


def test_what_it_writes_lands_in_the_upper_folder(sandbox: Sandbox, busybox_lower: Path) -> None:
    shell(sandbox, "echo data > /etc/new; rm /etc/group")
    assert (sandbox.folder / "upper/etc/new").read_text() == "data\n"
    assert (busybox_lower / "etc/group").exists()


def test_nothing_of_it_is_seen_in_the_hosts_mounts(sandbox: Sandbox) -> None:
    seen: list[str] = []
    sandbox.inside = lambda: None
    before = Path("/proc/self/mountinfo").read_text()
    shell(sandbox, "true")
    seen = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(sandbox.folder) in line]
    assert not seen
    assert str(sandbox.folder) not in before


def test_default_mounts_and_their_flags(sandbox: Sandbox) -> None:
    found = inside(shell(sandbox, "cat /proc/self/mountinfo"))
    assert found["/"][-3] == "overlay"
    for point, kind in (("/proc", "proc"), ("/dev/pts", "devpts"), ("/dev/mqueue", "mqueue"), ("/sys", "sysfs")):
        assert found[point][-3] == kind
        assert {"nosuid", "noexec"} <= set(found[point][5].split(","))
    assert "ro" in found["/sys"][5].split(",")
    assert "ro" in found["/sys/fs/cgroup"][5].split(",")
    assert "size=65536k" in found["/dev/shm"][-1]


def test_device_nodes_links_and_their_use(sandbox: Sandbox) -> None:
    output = shell(
        sandbox,
        "stat -c '%n %t:%T %a' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty;"
        "for name in fd stdin stdout stderr ptmx core; do readlink /dev/$name; done;"
        "head -c 3 /dev/zero | wc -c; echo x > /dev/null; ls /dev/pts",
    )
    for node in ("null 1:3", "zero 1:5", "full 1:7", "random 1:8", "urandom 1:9", "tty 5:0"):
        assert f"/dev/{node} 666" in output
    assert "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n/proc/kcore\n3\nptmx" in output


def test_listed_devices_get_mode_and_owner(sandbox: Sandbox) -> None:
    sandbox.spec["linux"]["devices"] = [
        {"path": "/dev/sub/loopy", "type": "b", "major": 7, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
    ]
    output = shell(sandbox, "stat -c '%F %t:%T %a %u:%g' /dev/sub/loopy /dev/pipe")
    assert output == "block special file 7:3 640 5:6\nfifo 0:0 600 0:0\n"


def test_a_device_outside_dev_is_refused(sandbox: Sandbox) -> None:
    sandbox.spec["linux"]["devices"] = [{"path": "/dev/../etc/null", "type": "c", "major": 1, "minor": 3}]
    error = sandbox.run("true").error
    assert error is not None
    assert error["step"] == "devices"


def test_privileged_has_the_hosts_devices(sandbox: Sandbox) -> None:
    sandbox.spec["annotations"] = {"dev.dockyard.privileged": "true"}
    output = shell(sandbox, "ls /dev")
    for name in ("kmsg", "mem", "loop-control"):
        if os.path.exists(f"/dev/{name}"):
            assert name in output.split()


def test_privileged_has_writable_sys_and_cgroups_and_no_masks(sandbox: Sandbox) -> None:
    sandbox.spec["linux"]["maskedPaths"] = sandbox.spec["linux"]["readonlyPaths"] = []
    for mount in sandbox.spec["mounts"]:
        mount["options"] = ["rw" if word == "ro" else word for word in mount.get("options", [])]
    found = inside(shell(sandbox, "cat /proc/self/mountinfo"))
    for point in ("/sys", "/sys/fs/cgroup", "/proc"):
        assert "rw" in found[point][5].split(",")
    assert not [point for point in found if point.startswith("/proc/")]


def test_the_hosts_network_and_its_sys(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_module, "NAMESPACES", sandbox_module.NAMESPACES & ~syscalls.CLONE_NEWNET)
    names = shell(sandbox, "ls /sys/class/net").split()
    assert sorted(names) == sorted(os.listdir("/sys/class/net"))
    assert Path("/sys/class").is_dir()


def test_masked_paths_are_empty_and_read_only_paths_refuse(sandbox: Sandbox) -> None:
    masked = [path for path in ("/proc/interrupts", "/proc/timer_list", "/proc/keys") if os.path.exists(path)]
    output = shell(sandbox, f"cat {' '.join(masked)} | wc -c; ls -A /sys/firmware /proc/acpi | grep -v : | wc -w")
    assert output.split() == ["0", "0"]
    result = sandbox.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    assert "Read-only file system" in result.output
    found = inside(shell(sandbox, "cat /proc/self/mountinfo"))
    for path in READONLY:
        if path in found:
            assert {"ro", "nosuid", "nodev", "noexec"} <= set(found[path][5].split(","))
    assert "/proc/sys" in found


def test_masked_path_stays_masked_behind_a_link(own_lower: Path, make_sandbox: Callable[..., Sandbox]) -> None:
    (own_lower / "etc/secret").write_text("secret\n")
    (own_lower / "etc/alias").symlink_to("secret")
    sandbox = make_sandbox(own_lower)
    sandbox.spec["linux"]["maskedPaths"] = ["/etc/alias", "/etc/missing"]
    assert shell(sandbox, "cat /etc/secret /etc/alias") == ""


def test_read_only_root_leaves_its_mounts_writable(sandbox: Sandbox) -> None:
    sandbox.spec["root"]["readonly"] = True
    output = shell(sandbox, "touch /etc/x 2>&1 || true; touch /dev/shm/y && echo fine")
    assert "Read-only file system" in output
    assert output.endswith("fine\n")


def test_bind_of_folder_and_file_appears_and_is_writable(sandbox: Sandbox, short_folder: Path) -> None:
    folder = short_folder / "source"
    folder.mkdir()
    (folder / "file").write_text("from the host\n")
    sandbox.spec["mounts"] += [bind(folder, "/new/deep/folder"), bind(folder / "file", "/etc/one")]
    assert shell(sandbox, "cat /etc/one; echo back > /new/deep/folder/made") == "from the host\n"
    assert (folder / "made").read_text() == "back\n"
    assert (sandbox.folder / "upper/etc/one").stat().st_size == 0


def test_bind_follows_a_dangling_link_inside_the_root(own_lower: Path, make_sandbox: Callable[..., Sandbox]) -> None:
    """Debian's /etc/resolv.conf points into an empty /run."""
    (own_lower / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    sandbox = make_sandbox(own_lower)
    source = sandbox.folder / "resolv.conf"
    source.write_text("nameserver 192.0.2.1\n")
    sandbox.spec["mounts"].append(bind(source, "/etc/resolv.conf"))
    assert shell(sandbox, "cat /etc/resolv.conf") == "nameserver 192.0.2.1\n"
    assert (sandbox.folder / "upper/run/systemd/resolve/stub-resolv.conf").exists()


def _tree_with_mount(folder: Path) -> Path:
    (folder / "below").mkdir(parents=True)
    return folder


@pytest.mark.parametrize(("word", "below"), [("ro", "written"), ("rro", "refused")])
def test_read_only_bind(sandbox: Sandbox, short_folder: Path, word: str, below: str) -> None:
    """``ro`` is the mount itself (runtime-spec), ``rro`` is everything below it as well."""
    folder = _tree_with_mount(short_folder / "source")
    syscalls.mount("tmpfs", str(folder / "below"), "tmpfs", 0, "size=64k")
    try:
        sandbox.spec["mounts"].append(bind(folder, "/data", word))
        script = "for d in /data /data/below; do touch $d/x 2>/dev/null && echo written || echo refused; done"
        assert shell(sandbox, script).split() == ["refused", below]
    finally:
        syscalls.umount2(str(folder / "below"))


def test_plain_bind_has_nothing_of_what_is_mounted_below(sandbox: Sandbox, short_folder: Path) -> None:
    folder = _tree_with_mount(short_folder / "source")
    syscalls.mount("tmpfs", str(folder / "below"), "tmpfs", 0, "size=64k")
    try:
        (folder / "below/inner").touch()
        plain: oci.Mount = {"destination": "/data", "type": "bind", "source": str(folder), "options": ["bind"]}
        sandbox.spec["mounts"] += [plain, bind(folder, "/all")]
        assert shell(sandbox, "ls /data/below; ls /all/below") == "inner\n"
    finally:
        syscalls.umount2(str(folder / "below"))


def test_bind_keeps_the_flags_its_source_has(sandbox: Sandbox, short_folder: Path) -> None:
    folder = short_folder / "source"
    folder.mkdir()
    syscalls.mount("tmpfs", str(folder), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    try:
        sandbox.spec["mounts"].append(bind(folder, "/data", "ro"))
        flags = inside(shell(sandbox, "cat /proc/self/mountinfo"))["/data"][5].split(",")
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(flags)
    finally:
        syscalls.umount2(str(folder))


@pytest.mark.parametrize(("words", "shown"), [
    (["noatime"], {"noatime"}), (["strictatime"], set()), (["relatime"], {"relatime"}), (["atime"], {"relatime"}),
    (["noatime", "nodiratime"], {"noatime", "nodiratime"}),
    (["rnosuid", "rnodev", "rnoexec"], {"nosuid", "nodev", "noexec"}),
    (["nosymfollow"], {"nosymfollow"}), (["noexec", "exec"], set()),
])  # fmt: skip
def test_attributes_of_a_bind(sandbox: Sandbox, short_folder: Path, words: list[str], shown: set[str]) -> None:
    sandbox.spec["mounts"].append(bind(short_folder, "/data", *words))
    flags = set(inside(shell(sandbox, "cat /proc/self/mountinfo"))["/data"][5].split(",")) - {"rw"}
    named = {"noatime", "relatime", "nodiratime", "nosuid", "nodev", "noexec", "nosymfollow"}
    if not {"noatime", "strictatime", "relatime", "atime"} & set(words):
        named -= {"noatime", "relatime"}
    assert flags & named == shown


def test_missing_bind_source_is_named(sandbox: Sandbox) -> None:
    sandbox.spec["mounts"].append(bind(Path("/no/such/source"), "/data"))
    error = sandbox.run("true").error
    assert error is not None
    assert (error["step"], error["path"]) == ("mounts", "/no/such/source")
    assert error["message"] == "bind source path does not exist: /no/such/source"


def test_folder_onto_a_file_is_explained(sandbox: Sandbox, short_folder: Path) -> None:
    sandbox.spec["mounts"].append(bind(short_folder, "/etc/passwd"))
    error = sandbox.run("true").error
    assert error is not None
    assert error["path"] == "/etc/passwd"
    assert "a directory onto a file" in error["message"]


def test_unknown_tmpfs_option_is_told_by_the_kernel(sandbox: Sandbox) -> None:
    sandbox.spec["mounts"].append({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["sise=1m"]})
    error = sandbox.run("true").error
    assert error is not None
    assert "sise" in error["message"]


def test_tmpfs_size_and_mode(sandbox: Sandbox) -> None:
    options = ["nosuid", "nodev", "noexec", "size=1m", "mode=1770"]
    sandbox.spec["mounts"].append({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": options})
    output = shell(sandbox, "stat -c %a /t; head -c 2000000 /dev/zero > /t/f 2>&1 || stat -c %s /t/f")
    assert output.splitlines()[0] == "1770"
    assert output.splitlines()[-1] == str(1 << 20)


@pytest.mark.parametrize(("word", "inside_seen", "outside_seen"), [
    ("rprivate", False, False), ("rslave", True, False), ("rshared", True, True),
])  # fmt: skip
def test_propagation(sandbox: Sandbox, short_folder: Path, word: str, inside_seen: bool, outside_seen: bool) -> None:
    """A mount made on the host while the container runs, and one made in the container."""
    folder = short_folder / "source"
    folder.mkdir()
    syscalls.mount("tmpfs", str(folder), "tmpfs", 0, "size=64k")
    try:
        (folder / "host").mkdir()
        (folder / "own").mkdir()
        syscalls.mount(None, str(folder), None, syscalls.MS_SHARED)
        sandbox.spec["mounts"].append(bind(folder, "/data", word))
        sandbox.spec["process"]["capabilities"] = capability_sets(["CAP_SYS_ADMIN"])
        sandbox.seccomp = b""
        os.mkfifo(folder / "go")
        os.mkfifo(folder / "end")
        sandbox.meanwhile = lambda: _mount_while_it_waits(folder)
        script = "read x < /data/go; ls /data/host; mount -t tmpfs t /data/own && touch /data/own/t;read x < /data/end"
        output = shell(sandbox, script)
        assert ("mounted" in output) is inside_seen
        assert sandbox.noted == outside_seen
    finally:
        for path in (folder / "own", folder / "host", folder):
            while os.path.ismount(path):
                syscalls.umount2(str(path), syscalls.MNT_DETACH)


def _mount_while_it_waits(folder: Path) -> bool:
    """Mount while the container waits on the FIFO; then whether the container's own mount is seen here."""
    with (folder / "go").open("w") as go:
        syscalls.mount("tmpfs", str(folder / "host"), "tmpfs", 0, "size=64k")
        (folder / "host/mounted").touch()
        go.write("\n")
    # Opening it waits until the container has mounted and reads.
    with (folder / "end").open("w") as end:
        seen = (folder / "own/t").exists()
        end.write("\n")
    return seen


def test_root_propagation_is_set(sandbox: Sandbox) -> None:
    sandbox.spec["linux"]["rootfsPropagation"] = "shared"
    assert any(field.startswith("shared:") for field in inside(shell(sandbox, "cat /proc/self/mountinfo"))["/"])


def test_sysctls_are_written_before_proc_sys_is_read_only(sandbox: Sandbox) -> None:
    sandbox.spec["linux"]["sysctl"] = {"net.ipv4.ip_default_ttl": "77", "kernel.shm_rmid_forced": "1"}
    files = "/proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/shm_rmid_forced"
    assert shell(sandbox, f"cat {files}") == "77\n1\n"
    assert Path("/proc/sys/net/ipv4/ip_default_ttl").read_text() != "77\n"


def test_unknown_sysctl_is_named(sandbox: Sandbox) -> None:
    sandbox.spec["linux"]["sysctl"] = {"net.no.such": "1"}
    error = sandbox.run("true").error
    assert error is not None
    assert (error["step"], error["path"]) == ("sysctl", "net.no.such")


@pytest.mark.parametrize("name", ["kernel.core_pattern", "vm.swappiness", "fs.file-max", "kernel/panic"])
def test_sysctls_of_the_whole_machine_are_refused(sandbox: Sandbox, name: str) -> None:
    path = Path("/proc/sys") / name.replace(".", "/")
    before = path.read_text()
    sandbox.spec["linux"]["sysctl"] = {name: "7"}
    error = sandbox.run("true").error
    assert error is not None
    assert (error["step"], error["path"]) == ("sysctl", name)
    assert path.read_text() == before


def test_unknown_file_system_is_named(sandbox: Sandbox) -> None:
    sandbox.spec["mounts"].append({"destination": "/t", "type": "nosuchfs", "source": "x", "options": []})
    error = sandbox.run("true").error
    assert error is not None
    assert "the kernel has no file system 'nosuchfs'" in error["message"]


def test_working_directory_is_made_and_entered(sandbox: Sandbox) -> None:
    sandbox.spec["process"]["cwd"] = "/srv/app/data"
    assert shell(sandbox, "pwd; stat -c %a .") == "/srv/app/data\n755\n"


def test_working_directory_that_is_a_file_is_named(sandbox: Sandbox) -> None:
    sandbox.spec["process"]["cwd"] = "/etc/passwd"
    error = sandbox.run("true").error
    assert error is not None
    assert (error["step"], error["path"]) == ("cwd", "/etc/passwd")
    assert "Not a directory" in error["message"]


def test_terminal_is_sized_and_is_the_console(sandbox: Sandbox) -> None:
    sandbox.terminal = True
    output = shell(sandbox, "tty; stty size; [ -t 0 ] && [ -t 2 ] && echo yes; echo by-console > /dev/console")
    assert output.replace("\r", "").splitlines() == ["/dev/pts/0", "24 80", "yes", "by-console"]


def test_loopback_is_up(sandbox: Sandbox) -> None:
    assert "127.0.0.1/8" in shell(sandbox, "ip addr show lo")


def test_cgroup_view_starts_at_its_own_group(sandbox: Sandbox) -> None:
    output = shell(sandbox, "cat /proc/self/cgroup; ls /sys/fs/cgroup; touch /sys/fs/cgroup/x 2>&1 || true")
    assert all(line.endswith(":/") for line in output.splitlines() if ":" in line and line[0].isdigit())
    assert "Read-only file system" in output


# --- overlay -----------------------------------------------------------------------------------------


@pytest.fixture(params=["fsopen", "mount"])
def overlay_method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "fsopen" and not mounts.knows_lowerdir_plus():
        pytest.skip("this kernel's overlayfs has no lowerdir+; the other way is tested")
    monkeypatch.setattr(mounts, "_method", request.param)
    return str(request.param)


def test_hundred_layers(sandbox: Sandbox, overlay_method: str) -> None:
    layers = []
    for number in range(100):
        layer = sandbox.folder / f"a-layer-with-a-long-name-{number:04d}"
        layer.mkdir()
        (layer / "top").write_text(f"{number}\n")
        (layer / f"only-{number}").touch()
        layers.append(str(layer))
    sandbox.pieces[0]["lower"] = layers + sandbox.pieces[0]["lower"]
    output = shell(sandbox, "cat /top; ls / | grep -c only-")
    assert output == "0\n100\n", overlay_method


def test_commas_colons_and_backslashes_in_a_layers_path(sandbox: Sandbox, overlay_method: str) -> None:
    layer = sandbox.folder / "a,b:c\\d"
    layer.mkdir()
    (layer / "odd").touch()
    upper = sandbox.folder / "up,per:\\"
    upper.mkdir()
    sandbox.pieces[0]["lower"].insert(0, str(layer))
    sandbox.pieces[0]["upper"] = str(upper)
    shell(sandbox, "ls /odd; touch /made")
    assert (upper / "made").exists(), overlay_method


def test_missing_layer_is_named(sandbox: Sandbox, overlay_method: str) -> None:
    sandbox.pieces[0]["lower"].insert(0, "/no/such/layer")
    with pytest.raises(OSError) as caught:
        mounts.overlay_detached(sandbox.pieces[0])
    assert caught.value.filename == "/no/such/layer", overlay_method


def test_upper_is_a_usable_layer_whatever_the_modules_defaults(sandbox: Sandbox, overlay_method: str) -> None:
    """redirect_dir or metacopy would leave xattrs and hollow files that mean nothing in a layer."""
    (sandbox.folder / "low/dir").mkdir(parents=True)
    (sandbox.folder / "low/dir/file").write_text("content\n")
    sandbox.pieces[0]["lower"].insert(0, str(sandbox.folder / "low"))
    output = shell(sandbox, "mv /dir /moved 2>&1 && cat /moved/file; chmod 600 /moved/file")
    assert output.endswith("content\n"), overlay_method
    upper = sandbox.folder / "upper"
    assert (upper / "moved/file").read_text() == "content\n"
    assert not [name for name in os.listxattr(upper / "moved") if "redirect" in name]


def test_ephemeral_pieces_leave_nothing(sandbox: Sandbox, overlay_method: str, busybox_lower: Path) -> None:
    """The way of the image ``host``: a skeleton, and folders of the host over it, all written to a tmpfs."""
    skeleton = sandbox.folder / "skeleton"
    skeleton.mkdir()
    for name in ("bin", "etc", "proc", "dev", "sys"):
        (skeleton / name).mkdir()
    (skeleton / "etc").chmod(0o751)
    sandbox.pieces = [
        {"target": "/", "lower": [str(skeleton)], "ephemeral": True},
        {"target": "/bin", "lower": [str(busybox_lower / "bin")]},
        {"target": "/etc", "lower": [str(busybox_lower / "etc")], "ephemeral": True},
    ]
    sandbox.scratch_size = 1 << 20
    output = shell(
        sandbox,
        "stat -c %a /; echo data > /file; rm /etc/group; touch /bin/x 2>/dev/null || echo read-only;"
        "head -c 3000000 /dev/zero > /etc/big 2>/dev/null || echo full",
    )
    assert output.split() == ["755", "read-only", "full"], overlay_method
    assert (busybox_lower / "etc/group").exists()
    assert not (skeleton / "file").exists()
    assert not list((sandbox.folder / "upper").iterdir())


def test_read_only_overlay_of_two_layers(sandbox: Sandbox, overlay_method: str) -> None:
    extra = sandbox.folder / "extra"
    extra.mkdir()
    (extra / "mark").touch()
    sandbox.pieces = [{"target": "/", "lower": [str(extra), *sandbox.pieces[0]["lower"]]}]
    # Mount points cannot be made in it: the image has them.
    (extra / "sys").mkdir()
    output = shell(sandbox, "ls /mark; touch /x 2>&1 || true")
    assert "Read-only file system" in output, overlay_method
