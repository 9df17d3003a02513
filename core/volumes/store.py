"""The table ``volumes``, and one folder for each: the only owner of both.

A volume's steps; the numbered points (``core.faults``) are where the tests kill the daemon, and :meth:`recover` is
what puts things right afterwards::

    volume-create   1 intent stored   2 folder made   3 recorded
    volume-remove   1 intent stored   2 folder gone   3 row deleted

A folder without a row is left alone and taken over by the next volume of its name: data is never deleted because a
database was lost.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from core import faults
from core.db import Database
from core.errors import Conflict, InvalidArgument, NotFound, Unsupported, from_os_error
from core.linux import mounts, syscalls, trees
from core.volumes import options as driver_options

MIGRATIONS = [
    (
        1,
        """
        CREATE TABLE volumes (
            name      TEXT PRIMARY KEY,
            created   INTEGER NOT NULL,
            options   TEXT NOT NULL,
            labels    TEXT NOT NULL,
            anonymous INTEGER NOT NULL,
            state     TEXT NOT NULL,
            made_for  TEXT NOT NULL
        ) WITHOUT ROWID;
        """,
    )
]

DRIVER = "local"
DATA = "_data"
#: What Docker puts on a volume nobody named; prune knows anonymous ones by it.
ANONYMOUS_LABEL = "com.docker.volume.anonymous"

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_LONGEST = 255
_MAKING, _READY, _REMOVING = "making", "ready", "removing"


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume. ``made_for``: the container that is being created with it, empty once that exists."""

    name: str
    created: int
    options: dict[str, str]
    labels: dict[str, str]
    anonymous: bool = False
    made_for: str = ""

    @property
    def is_tmpfs(self) -> bool:
        """Whether it is empty whenever nobody uses it."""
        return driver_options.is_tmpfs(self.options)

    @property
    def read_only(self) -> bool:
        """Whether nobody may write to it."""
        return driver_options.is_read_only(self.options)


def check_name(name: str) -> None:
    """Raise InvalidArgument, in Docker's words, for what cannot be a volume's name."""
    if len(name) == 1 and _NAME.fullmatch(name):
        raise InvalidArgument("volume name is too short, names should be at least two alphanumeric characters")
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f'"{name[:300]}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
            "If you intended to pass a host directory, use absolute path"
        )
    if len(name) > _LONGEST:
        raise InvalidArgument(f"volume name is too long: {len(name)} bytes", hint=f"at most {_LONGEST}")


class VolumeStore:
    """All volumes, held in memory and written through. ``bury`` removes a folder: gone at once, deleted later."""

    def __init__(self, db: Database, root: str, bury: Callable[[str], None]) -> None:
        self._db = db
        self._folder = os.path.join(root, "volumes")
        self._bury = bury
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        db.migrate("volumes", MIGRATIONS)
        self._rows = {row["name"]: _from_row(row) for row in db.execute("SELECT * FROM volumes")}

    # --- reading -----------------------------------------------------------------------------------

    def get(self, name: str) -> Volume:
        """The volume of this name. Raises NotFound."""
        if name not in self._rows:
            raise NotFound(f"get {name}: no such volume")
        return self._rows[name]

    def find(self, name: str) -> Volume | None:
        """The volume of this name, None when there is none."""
        return self._rows.get(name)

    def all(self) -> list[Volume]:
        """Every volume by name."""
        return sorted(self._rows.values(), key=lambda volume: volume.name)

    def mountpoint(self, name: str) -> str:
        """The folder that inspect shows."""
        return os.path.join(self._folder, name, DATA)

    def backing(self, volume: Volume) -> str:
        """The folder that containers get: the one of the host for a bind volume."""
        return driver_options.bind_device(volume.options) or self.mountpoint(volume.name)

    def staging(self, name: str) -> str:
        """Where a copy-up is prepared; what a dead daemon left there is removed by :meth:`recover`."""
        return os.path.join(self._folder, name, "_new")

    def size(self, volume: Volume) -> int:
        """Bytes of its files. Those of a bind volume are the host's and count nothing."""
        if driver_options.bind_device(volume.options):
            return 0
        return trees.size(self.mountpoint(volume.name))

    # --- create, remove ----------------------------------------------------------------------------

    def create(
        self,
        name: str = "",
        options: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        *,
        driver: str = "",
        made_for: str = "",
    ) -> tuple[Volume, bool]:
        """The volume of this name, made when there is none; whether it was. Without a name: an anonymous one."""
        if driver not in ("", DRIVER):
            raise Unsupported(f'volume driver "{driver}" is not supported', hint="local is")
        labels = dict(labels or {})
        anonymous = not name
        if anonymous:
            name = uuid.uuid4().hex + uuid.uuid4().hex
            labels[ANONYMOUS_LABEL] = ""
        check_name(name)
        if name in self._rows:
            return self._rows[name], False
        driver_options.check(options or {})
        volume = Volume(name, time.time_ns(), dict(options or {}), labels, anonymous, made_for)
        self._make(volume)
        return volume, True

    def _make(self, volume: Volume) -> None:
        self._db.execute("INSERT INTO volumes VALUES (?, ?, ?, ?, ?, ?, ?)", _to_row(volume, _MAKING))
        faults.point("volume-create", 1)
        folder = os.path.join(self._folder, volume.name)
        try:
            os.makedirs(folder, mode=0o701, exist_ok=True)
            data = os.path.join(folder, DATA)
            if not os.path.isdir(data):
                os.mkdir(data, 0o755)
                os.chmod(data, 0o755)
        except OSError as error:
            self._db.execute("DELETE FROM volumes WHERE name = ?", (volume.name,))
            raise from_os_error(error, "make a volume") from error
        faults.point("volume-create", 2)
        self._db.execute("UPDATE volumes SET state = ? WHERE name = ?", (_READY, volume.name))
        self._rows[volume.name] = volume
        faults.point("volume-create", 3)

    def remove(self, name: str) -> Volume:
        """Remove a volume that nobody uses; the caller has made sure. Raises NotFound."""
        volume = self.get(name)
        self.unmount(volume)
        self._db.execute("UPDATE volumes SET state = ? WHERE name = ?", (_REMOVING, name))
        faults.point("volume-remove", 1)
        try:
            self._bury(os.path.join(self._folder, name))
        except OSError as error:
            raise from_os_error(error, "remove a volume") from error
        faults.point("volume-remove", 2)
        self._db.execute("DELETE FROM volumes WHERE name = ?", (name,))
        del self._rows[name]
        faults.point("volume-remove", 3)
        return volume

    def settled(self, container_id: str) -> None:
        """The container for which volumes were made exists: they stay without it from now on."""
        self._db.execute("UPDATE volumes SET made_for = '' WHERE made_for = ?", (container_id,))
        for volume in self._rows.values():
            if volume.made_for == container_id:
                self._rows[volume.name] = replace(volume, made_for="")

    def recover(self, containers: set[str]) -> None:
        """After a daemon's death: end what it had begun. ``containers`` are the ids that exist."""
        for row in self._db.execute("SELECT name, state FROM volumes WHERE state != ?", (_READY,)).fetchall():
            folder = os.path.join(self._folder, row["name"])
            if row["state"] == _REMOVING or not _holds_something(os.path.join(folder, DATA)):
                self._bury(folder)
            self._db.execute("DELETE FROM volumes WHERE name = ?", (row["name"],))
            self._rows.pop(row["name"], None)
        for volume in self.all():
            if volume.made_for and volume.made_for not in containers:
                self.remove(volume.name)
            elif volume.made_for:
                self.settled(volume.made_for)
        for volume in self.all():
            self.discard_staging(volume.name)

    def discard_staging(self, name: str) -> None:
        """Remove what a copy-up that failed has left."""
        self._bury(self.staging(name))

    # --- the tmpfs kind ----------------------------------------------------------------------------

    def mount(self, volume: Volume) -> None:
        """Mount a tmpfs volume on the host, where all its containers find the same one; others need nothing."""
        path = self.mountpoint(volume.name)
        if not volume.is_tmpfs or os.path.ismount(path):
            return
        options = mounts.parse_options(driver_options.words(volume.options))
        try:
            syscalls.mount("tmpfs", path, "tmpfs", options.set, ",".join(options.data))
        except OSError as error:
            if error.errno is not None and not options.data:
                raise from_os_error(error, "mount a volume") from error
            raise Conflict(
                f"volume {volume.name}: tmpfs with o={volume.options.get('o', '')} cannot be mounted: {error.strerror}",
                hint="remove it and make it with other options",
            ) from error

    def unmount(self, volume: Volume) -> None:
        """Let go of a tmpfs volume's content; others keep theirs."""
        path = self.mountpoint(volume.name)
        if volume.is_tmpfs and os.path.ismount(path):
            syscalls.umount2(path, syscalls.MNT_DETACH)


def _holds_something(folder: str) -> bool:
    """Whether an interrupted create had taken over a folder with data in it."""
    try:
        return bool(os.listdir(folder))
    except OSError:
        return False


def _to_row(volume: Volume, state: str) -> list[Any]:
    return [
        volume.name,
        volume.created,
        json.dumps(volume.options),
        json.dumps(volume.labels),
        int(volume.anonymous),
        state,
        volume.made_for,
    ]


def _from_row(row: Any) -> Volume:
    return Volume(
        row["name"],
        row["created"],
        json.loads(row["options"]),
        json.loads(row["labels"]),
        bool(row["anonymous"]),
        row["made_for"],
    )
