"""The table ``containers``: the one owner of its rows."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

from core.container.config.members import CONFIG, HOST_CONFIG
from core.container.status import Container, Status, check_transition
from core.db import Database
from core.errors import Conflict, InvalidArgument, NotFound

MIGRATIONS = [
    (
        1,
        """
        CREATE TABLE containers (
            id           TEXT PRIMARY KEY,
            name         TEXT NOT NULL UNIQUE,
            created      INTEGER NOT NULL,
            image        TEXT NOT NULL,
            image_id     TEXT NOT NULL,
            args         TEXT NOT NULL,
            config       TEXT NOT NULL,
            host_config  TEXT NOT NULL,
            status       TEXT NOT NULL,
            pid          INTEGER NOT NULL,
            pid_start    INTEGER NOT NULL,
            monitor_pid  INTEGER NOT NULL,
            started_at   INTEGER NOT NULL,
            finished_at  INTEGER NOT NULL,
            exit_code    INTEGER NOT NULL,
            signal       INTEGER NOT NULL,
            oom_killed   INTEGER NOT NULL,
            memory_limit INTEGER NOT NULL,
            error        TEXT NOT NULL,
            error_kind   TEXT NOT NULL,
            error_step   TEXT NOT NULL,
            error_path   TEXT NOT NULL,
            stopped_by   TEXT NOT NULL,
            warnings     TEXT NOT NULL
        );
        """,
    )
]

#: Under names of their own: the table's numbers above are one row, these columns other matters.
MOUNTS_MIGRATIONS = [(1, "ALTER TABLE containers ADD COLUMN mounts TEXT NOT NULL DEFAULT '[]';")]
SUPERVISION_MIGRATIONS = [
    (
        1,
        """
        ALTER TABLE containers ADD COLUMN restart_count INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE containers ADD COLUMN restart_at INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE containers ADD COLUMN restart_delay INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE containers ADD COLUMN health_state TEXT NOT NULL DEFAULT '{}';
        """,
    ),
    (
        2,
        """
        ALTER TABLE containers ADD COLUMN loop_since INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE containers ADD COLUMN loop_starts INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE containers ADD COLUMN deaf INTEGER NOT NULL DEFAULT 0;
        """,
    ),
]

_COLUMNS = [f.name for f in fields(Container)]
_JSON = {"args", "config", "health_state", "host_config", "mounts", "warnings"}


class ContainerStore:
    """All containers, held in memory as frozen rows and written through to the database.

    Reads never wait: they are dictionary look-ups. The daemon is the only writer, so memory and file agree.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        db.migrate("container", MIGRATIONS)
        db.migrate("container.mounts", MOUNTS_MIGRATIONS)
        db.migrate("container.supervision", SUPERVISION_MIGRATIONS)
        self._rows: dict[str, Container] = {}
        self._names: dict[str, str] = {}
        for row in db.execute("SELECT * FROM containers"):
            self._remember(_from_row(row))

    def insert(self, container: Container) -> None:
        """Add a new container. Raises Conflict, naming the holder, when the name is in use."""
        self.check_name(container.name)
        columns = ", ".join(_COLUMNS)
        marks = ", ".join("?" for _ in _COLUMNS)
        self._db.execute(f"INSERT INTO containers ({columns}) VALUES ({marks})", _to_row(container, _COLUMNS))
        self._remember(container)

    def check_name(self, name: str) -> None:
        """Raise Conflict when a container is called ``name`` already."""
        holder = self._names.get(name)
        if holder:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )

    def update(self, container_id: str, **changes: Any) -> Container:
        """Change columns of one container, all in one statement; a change of ``status`` must be legal."""
        old = self._rows[container_id]
        if "status" in changes and changes["status"] != old.status:
            check_transition(old, changes["status"])
        new = replace(old, **changes)
        columns = list(changes)
        sets = ", ".join(f"{column} = ?" for column in columns)
        self._db.execute(f"UPDATE containers SET {sets} WHERE id = ?", [*_to_row(new, columns), container_id])
        self._rows[container_id] = new
        return new

    def rename(self, container_id: str, name: str) -> Container:
        """Give it another name, in one statement. Raises Conflict, naming the holder, when the name is in use."""
        self.check_name(name)
        old = self._rows[container_id]
        new = self.update(container_id, name=name)
        self._names[name] = container_id
        del self._names[old.name]
        return new

    def delete(self, container_id: str) -> None:
        """Forget one container."""
        self._db.execute("DELETE FROM containers WHERE id = ?", (container_id,))
        container = self._rows.pop(container_id)
        self._names.pop(container.name, None)

    def get(self, ref: str) -> Container:
        """The container with this name, id or unambiguous beginning of an id; NotFound, InvalidArgument."""
        bare = ref.removeprefix("/")
        if bare in self._rows:
            return self._rows[bare]
        if bare in self._names:
            return self._rows[self._names[bare]]
        found = [c for c in self._rows.values() if bare and c.id.startswith(bare)]
        if not found:
            raise NotFound(f"No such container: {bare}")
        if len(found) > 1:
            raise InvalidArgument(f"multiple IDs found with provided prefix: {bare}")
        return found[0]

    def find(self, container_id: str) -> Container | None:
        """The row of exactly this id, None when it is gone."""
        return self._rows.get(container_id)

    def all(self) -> list[Container]:
        """Every container, newest first."""
        return sorted(self._rows.values(), key=lambda c: c.created, reverse=True)

    def _remember(self, container: Container) -> None:
        self._rows[container.id] = container
        self._names[container.name] = container.id


def _to_row(container: Container, columns: list[str]) -> list[Any]:
    values = []
    for column in columns:
        value = getattr(container, column)
        values.append(json.dumps(value, separators=(",", ":")) if column in _JSON else value)
    return values


def _filled(kinds: dict[str, Any]) -> dict[str, Any]:
    """Every member with the value of a request that does not name it."""
    return {key: kind(key, None) for key, kind in kinds.items()}


def _from_row(row: Any) -> Container:
    values = {column: row[column] for column in _COLUMNS}
    for column in _JSON:
        values[column] = json.loads(values[column])
    # A record of an older version lacks the members that came later.
    values["config"] = {**_filled(CONFIG), **values["config"]}
    values["host_config"] = {**_filled(HOST_CONFIG), **values["host_config"]}
    values["args"] = tuple(values["args"])
    values["warnings"] = tuple(values["warnings"])
    values["mounts"] = tuple(values["mounts"])
    values["status"] = Status(values["status"])
    values["oom_killed"] = bool(values["oom_killed"])
    values["deaf"] = bool(values["deaf"])
    return Container(**values)
