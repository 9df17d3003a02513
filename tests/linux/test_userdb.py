"""Users and groups by the container's own files, in Docker's words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import StartFailed
from core.linux import userdb
from core.linux.userdb import Identity

PASSWD = """root:x:0:0:root:/root:/bin/sh
# a comment
broken line
nonumber:x:a:b::/:/bin/sh
user:x:1000:1001:A User:/home/user:/bin/sh
short:x:1002:1002
100:x:7:8::/odd:/bin/sh
user:x:9999:9999:second:/second:/bin/sh
"""
GROUP = """root:x:0:
wheel:x:10:root,user
user:x:1001:
extra:x:2000:other,user
last:x:3000
"""


@pytest.fixture
def root(short_folder: Path) -> Iterator[int]:
    (short_folder / "etc").mkdir()
    (short_folder / "etc/passwd").write_text(PASSWD)
    (short_folder / "etc/group").write_text(GROUP)
    fd = os.open(short_folder, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(("user", "identity"), [
    ("", Identity(0, 0, [0, 10], "/root")),
    ("root", Identity(0, 0, [0, 10], "/root")),
    ("0", Identity(0, 0, [0, 10], "/root")),
    ("user", Identity(1000, 1001, [1001, 10, 2000], "/home/user")),
    ("1000", Identity(1000, 1001, [1001, 10, 2000], "/home/user")),
    ("user:wheel", Identity(1000, 10, [10], "/home/user")),
    ("user:42", Identity(1000, 42, [42], "/home/user")),
    ("1000:0", Identity(1000, 0, [0], "/home/user")),
    (":2000", Identity(0, 2000, [2000], "/root")),
    ("12345", Identity(12345, 0, [0], "/")),
    ("12345:6789", Identity(12345, 6789, [6789], "/")),
    ("short", Identity(1002, 1002, [1002], "/")),
    # A user whose name is a number comes first in the file: Docker takes the first line that fits either way.
    ("100", Identity(7, 8, [8], "/odd")),
    ("2147483647", Identity(2147483647, 0, [0], "/")),
])  # fmt: skip
def test_resolve(root: int, user: str, identity: Identity) -> None:
    assert userdb.resolve(user, root) == identity


@pytest.mark.parametrize(("user", "text"), [
    ("nobody", "unable to find user nobody: no matching entries in passwd file"),
    ("nonumber", "unable to find user nonumber: no matching entries in passwd file"),
    ("user:nogroup", "unable to find group nogroup: no matching entries in group file"),
    ("١٢", "unable to find user ١٢: no matching entries in passwd file"),
    ("2147483648", "uids and gids must be in range 0-2147483647"),
    ("user:-5", "uids and gids must be in range 0-2147483647"),
])  # fmt: skip
def test_unknown(root: int, user: str, text: str) -> None:
    with pytest.raises(StartFailed) as caught:
        userdb.resolve(user, root)
    assert str(caught.value) == text
    assert caught.value.step == "user"


def test_image_without_files(short_folder: Path) -> None:
    fd = os.open(short_folder, os.O_PATH | os.O_DIRECTORY)
    try:
        assert userdb.resolve("", fd) == Identity(0, 0, [0], "/")
        assert userdb.resolve("5:6", fd) == Identity(5, 6, [6], "/")
        with pytest.raises(StartFailed):
            userdb.resolve("user", fd)
    finally:
        os.close(fd)


def test_files_behind_links_inside_the_image_are_read(short_folder: Path) -> None:
    (short_folder / "etc").mkdir()
    (short_folder / "usr/share").mkdir(parents=True)
    (short_folder / "usr/share/passwd").write_text("linked:x:5:6::/l:/bin/sh\n")
    (short_folder / "etc/passwd").symlink_to("/usr/share/passwd")
    fd = os.open(short_folder, os.O_PATH | os.O_DIRECTORY)
    try:
        assert userdb.resolve("linked", fd).uid == 5
    finally:
        os.close(fd)


def test_any_bytes_are_survived() -> None:
    assert userdb.parse_passwd(b"\xff\xfe:x:1:2\n\0\n:::\n" + b":" * 5000) == [("\udcff\udcfe", 1, 2, "")]
    assert userdb.parse_group(b"\x80:x:5:\xff\n" + b"\n" * 100) == [("\udc80", 5, ["\udcff"])]
