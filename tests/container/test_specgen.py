"""Record → OCI spec: Docker's defaults, and what each option changes."""

from __future__ import annotations

from typing import Any

import pytest

from core.container import specgen
from core.container.specgen import Surroundings, make_monitor_config, make_spec
from core.linux.privileges import CAPABILITY_NAMES
from tests.container.records import make_container

AROUND = Surroundings(
    run_dir="/run/d/c/0123456789ab",
    log_folder="/r/log",
    etc_folder="/r",
    rootfs=[{"target": "/", "lower": ["/l/1"], "upper": "/s/u", "work": "/s/w"}],
    scratch_size=0,
    cgroup={},
    cgroups_path="/dockyard-x/id",
    seccomp="/f.bpf",
    hostname="box",
)


def spec(host: dict[str, Any] | None = None, **members: Any) -> Any:
    return make_spec(make_container(host, **members), AROUND)


def test_the_default_capabilities_are_dockers_fourteen() -> None:
    names = spec()["process"]["capabilities"]["bounding"]
    mask = sum(1 << CAPABILITY_NAMES.index(name) for name in names)
    assert f"{mask:016x}" == "00000000a80425fb"
    assert "inheritable" not in spec()["process"]["capabilities"]


@pytest.mark.parametrize(
    ("host", "present", "absent"),
    [
        ({"CapAdd": ["SYS_TIME"]}, "CAP_SYS_TIME", "CAP_SYS_ADMIN"),
        ({"CapDrop": ["CHOWN"]}, "CAP_KILL", "CAP_CHOWN"),
        ({"CapDrop": ["ALL"], "CapAdd": ["CHOWN"]}, "CAP_CHOWN", "CAP_KILL"),
        ({"CapAdd": ["ALL"], "CapDrop": ["NET_RAW"]}, "CAP_SYS_ADMIN", "CAP_NET_RAW"),
    ],
)
def test_capabilities_are_added_and_dropped(host: dict[str, Any], present: str, absent: str) -> None:
    names = spec(host)["process"]["capabilities"]["effective"]
    assert present in names
    assert absent not in names


def test_privileged_lifts_masks_devices_and_seccomp() -> None:
    linux = spec({"Privileged": True})["linux"]
    assert linux["maskedPaths"] == []
    assert linux["readonlyPaths"] == []
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert "seccomp" not in linux


def test_namespaces_follow_the_network_mode() -> None:
    assert {"type": "network"} in spec({"NetworkMode": "none"})["linux"]["namespaces"]
    assert not [n for n in spec({"NetworkMode": "host"})["linux"]["namespaces"] if n["type"] == "network"]
    container = make_container({"NetworkMode": "container:web"})
    joined = specgen.namespaces(container.host_config, "/proc/7/ns/net")
    assert {"type": "network", "path": "/proc/7/ns/net"} in joined


def test_resources() -> None:
    found = spec({"Memory": 64 << 20, "NanoCpus": 1_500_000_000, "PidsLimit": 50})["linux"]["resources"]
    assert found["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert found["cpu"] == {"period": 100_000, "quota": 150_000}
    assert found["pids"] == {"limit": 50}
    assert found["devices"][0] == {"allow": False, "access": "rwm"}


def test_without_limits_nothing_but_devices_is_written() -> None:
    assert set(spec()["linux"]["resources"]) == {"devices"}


def test_a_persons_mount_replaces_a_default_one() -> None:
    mounts = spec({"Binds": ["/srv/hosts:/etc/hosts:ro"], "Tmpfs": {"/dev/shm": "size=1m"}})["mounts"]
    targets = [mount["destination"] for mount in mounts]
    assert targets.count("/etc/hosts") == 1
    assert targets.count("/dev/shm") == 1
    assert next(m for m in mounts if m["destination"] == "/etc/hosts")["options"] == [
        "rbind",
        "ro",
        "rprivate",
    ]


def test_parents_are_mounted_before_their_children() -> None:
    mounts = spec({"Binds": ["/a:/x/y/z", "/b:/x"]})["mounts"]
    targets = [mount["destination"] for mount in mounts]
    assert targets.index("/x") < targets.index("/x/y/z")


def test_seccomp_choices() -> None:
    assert specgen.seccomp_profile(make_container({"SecurityOpt": ["seccomp=unconfined"]}).host_config) is None
    default = specgen.seccomp_profile(make_container().host_config)
    assert default is not None
    assert default["defaultAction"] == "SCMP_ACT_ERRNO"


@pytest.mark.parametrize(
    ("option", "on"),
    [("no-new-privileges", True), ("no-new-privileges=true", True), ("no-new-privileges:false", False)],
)
def test_no_new_privileges(option: str, on: bool) -> None:
    assert spec({"SecurityOpt": [option]})["process"]["noNewPrivileges"] is on


def test_slave_mounts_need_a_slave_root() -> None:
    assert spec({"Binds": ["/a:/b:rslave"]})["linux"]["rootfsPropagation"] == "rslave"
    assert spec({"Binds": ["/a:/b"]})["linux"]["rootfsPropagation"] == "rprivate"


def test_logs_rotate_by_default() -> None:
    config = make_monitor_config(make_container(), AROUND)
    assert config["log"] == {"folder": "/r/log", "max_size": 10_000_000, "max_files": 10}
    limited = make_container({"LogConfig": {"Type": "local", "Config": {"max-size": "1m", "max-file": "3"}}})
    assert make_monitor_config(limited, AROUND)["log"] == {
        "folder": "/r/log",
        "max_size": 1 << 20,
        "max_files": 3,
    }
    silent = make_container({"LogConfig": {"Type": "none"}})
    assert make_monitor_config(silent, AROUND)["log"] is None


def test_home_is_left_to_init_unless_given() -> None:
    assert make_monitor_config(make_container(), AROUND)["set_home"] is True
    assert make_monitor_config(make_container(Env=["HOME=/x"]), AROUND)["set_home"] is False


def test_the_stop_signal() -> None:
    assert make_monitor_config(make_container(), AROUND)["stop_signal"] == 15
    assert make_monitor_config(make_container(StopSignal="SIGINT"), AROUND)["stop_signal"] == 2
