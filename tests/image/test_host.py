"""The image ``host``: what its skeleton holds, and which skeletons stay."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from core.image import host
from tests.image.stores import Store

pytestmark = pytest.mark.root


@pytest.fixture
def machine(short_folder: Path) -> Path:
    """A host with secrets in every way that an allow-list must not let through."""
    root = short_folder / "machine"
    etc = root / "etc"
    for name in ("usr/bin", "etc/ssl/certs", "etc/ssl/private", "etc/profile.d", "etc/skel", "etc/alternatives",
                 "etc/ssh", "etc/xdg", "root"):  # fmt: skip
        (root / name).mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    (root / "lib").mkdir()
    for name, mode in (("passwd", 0o644), ("shadow", 0o640), ("shadow-", 0o600), ("passwd-", 0o644),
                       ("profile.d/token.sh", 0o644), ("xdg/a", 0o644), ("xdg/secret", 0o640), ("xdg/a~", 0o644),
                       ("xdg/b.bak", 0o644), ("xdg/.hidden", 0o644), ("wgetrc", 0o644), ("ssl/certs/c.pem", 0o644),
                       ("ssl/certs/c.key", 0o644), ("ssl/private/k", 0o644), ("ssh/key", 0o644)):  # fmt: skip
        (etc / name).write_text(name)
        (etc / name).chmod(mode)
    (etc / "ssl/certs/with-key.pem").write_text("-----BEGIN RSA PRIVATE KEY-----\n")
    (etc / "vim").mkdir(mode=0o750)
    (etc / "vim/hidden").write_text("x")
    (etc / "alternatives/awk").symlink_to("/usr/bin/mawk")
    (etc / "localtime").symlink_to("/usr/share/zoneinfo/UTC")
    os.mkfifo(etc / "hosts.allow")
    (etc / "environment").write_text("https_proxy=http://me:password@proxy\n")
    os.mkfifo(etc / "profile")
    return root


def test_only_what_is_allowed(machine: Path, short_folder: Path) -> None:
    made = Path(host.build(str(short_folder / "host"), str(machine)))
    files = {os.path.relpath(os.path.join(folder, name), made) for folder, _, names in os.walk(made) for name in names}
    assert {name for name in files if name.startswith("etc/")} == {
        "etc/passwd", "etc/xdg/a", "etc/ssl/certs/c.pem", "etc/localtime", "etc/alternatives/awk",
    }  # fmt: skip
    assert os.readlink(made / "bin") == "usr/bin"
    assert (made / "lib").is_dir()
    assert list((made / "root").iterdir()) == []
    assert stat.S_IMODE((made / "tmp").stat().st_mode) == 0o1777
    assert stat.S_IMODE((made / "root").stat().st_mode) == 0o700
    assert stat.S_IMODE(made.stat().st_mode) == 0o755


def test_no_password_comes_with_the_users(machine: Path, short_folder: Path) -> None:
    (machine / "etc/passwd").write_text("root:$6$salt$hash:0:0:root:/root:/bin/sh\n+::::::\n")
    (machine / "etc/group").write_text("root:hash:0:\n")
    made = Path(host.build(str(short_folder / "host"), str(machine)))
    assert (made / "etc/passwd").read_text() == "root:x:0:0:root:/root:/bin/sh\n+:x:::::\n"
    assert (made / "etc/group").read_text() == "root:x:0:\n"


def test_made_anew_only_after_a_change(machine: Path, short_folder: Path) -> None:
    folder = str(short_folder / "host")
    first = host.build(folder, str(machine))
    assert host.build(folder, str(machine)) == first
    (machine / "etc/passwd").write_text("root:x:0:0\n")
    second = host.build(folder, str(machine))
    assert second != first
    assert Path(first, "etc/passwd").read_text() == "passwd"
    assert Path(second, "etc/passwd").read_text() == "root:x:0:0\n"
    host.forget_others(folder, {second})
    assert os.listdir(folder) == [os.path.basename(second)]


async def test_a_skeleton_stays_below_its_container(store: Store, make_store: Callable[[Path], Store]) -> None:
    """Through three engines: the container of the first is on the first's skeleton, also when it starts again."""
    store.snapshots.prepare("c" * 64, store.images.get("host"))
    before = store.snapshots.mounts("c" * 64)[0]["lower"][0]
    old = Path(before).rename(store.root / "host/skeleton-of-another-day")
    store.db.execute("UPDATE snapshots SET lower = json_array(?)", (str(old),))
    again = store
    for _ in range(2):
        again = make_store(store.root)
        await again.snapshots.sweep({"c" * 64})
        await again.images.sweep()
        await again.images.layers.settle()
        assert again.images.host_folder != str(old)
        assert again.snapshots.mounts("c" * 64)[0]["lower"] == [str(old)]
        assert old.is_dir()
    await again.snapshots.remove("c" * 64)
    await again.images.sweep()
    await again.images.layers.settle()
    assert not old.exists()
