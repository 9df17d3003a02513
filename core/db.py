"""The engine's one database: SQLite, one writer, numbered migrations.

The schema as it stands (each table has one owner module, named in brackets)::

    blobs ──< layers >── images ──< references        [core.image]
                 └────< snapshots                     [core.image.snapshots]
    containers                                        [core.container.store]
    migrations (component, number)                    [here]

Write-ahead logging with ``synchronous=NORMAL``: a transaction that was committed survives the death of the
daemon; a power cut may lose the last ones but never tears one (sqlite.org/wal.html). All calls are made on the
event loop's thread; a statement takes tens of microseconds.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import Corrupt, Exhausted

_NEWEST_KNOWN = """
CREATE TABLE IF NOT EXISTS migrations (
    component TEXT NOT NULL,
    number    INTEGER NOT NULL,
    PRIMARY KEY (component, number)
) WITHOUT ROWID
"""


#: As much as SQLite writes before it folds the log back into the file (1000 pages of 4 KiB).
_LOG_BYTES = 4 << 20


class Database:
    """One open database file. ``execute`` runs a statement, ``transaction`` groups several."""

    def __init__(self, path: Path | str) -> None:
        """Open or make the file at ``path`` (``:memory:`` for tests). Raises Corrupt when it is not a database."""
        if path != ":memory:":
            # It holds the environment of every container. SQLite gives the files beside it the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            os.chmod(path, 0o600)
        self._connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        self._connection.row_factory = sqlite3.Row
        self._depth = 0
        try:
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=2000"):
                self._connection.execute(f"PRAGMA {pragma}").fetchall()
            self._connection.execute(_NEWEST_KNOWN)
            if path != ":memory:":
                _reserve_log(f"{path}-wal")
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise Corrupt(
                f"database {path}: {error}", hint="restore it from a copy, or move it away to begin anew"
            ) from error

    def execute(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Cursor:
        """Run one statement. A full disk raises Exhausted; the statement then had no effect."""
        try:
            return self._connection.execute(sql, params)
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise Exhausted("database: no space left on device", hint="free some disk space") from error
            raise

    def execute_many(self, sql: str, params: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row of ``params``; for use in a transaction. Raises as :meth:`execute`."""
        try:
            self._connection.executemany(sql, params)
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise Exhausted("database: no space left on device", hint="free some disk space") from error
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing for the statements inside; an inner use joins the outer transaction."""
        if self._depth:
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        else:
            self.execute("COMMIT")
        finally:
            self._depth = 0

    def migrate(self, component: str, migrations: Sequence[tuple[int, str]]) -> None:
        """Bring ``component``'s tables up to date, each migration in a transaction of its own.

        ``migrations`` are (number, script) in rising order. Raises Corrupt when the file was written by a newer
        version: a migration that this version does not know has been applied.
        """
        done = {
            row["number"] for row in self.execute("SELECT number FROM migrations WHERE component = ?", (component,))
        }
        unknown = done - {number for number, _ in migrations}
        if unknown:
            raise Corrupt(
                f"the database was written by a newer version ({component} migration {max(unknown)})",
                hint="use that version, or another --root",
            )
        for number, script in migrations:
            if number in done:
                continue
            with self.transaction():
                for statement in _statements(script):
                    self.execute(statement)
                self.execute("INSERT INTO migrations VALUES (?, ?)", (component, number))

    def close(self) -> None:
        """Close the file; the write-ahead log is folded back into it."""
        self._connection.close()


def _reserve_log(path: str) -> None:
    """Take the write-ahead log's room now.

    On a disk that is full later, an exit is still recorded and a container still removed. What lies behind the
    last frame is no part of the log (sqlite.org/walformat.html), so zeros there mean nothing.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, _LOG_BYTES)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(fd)


def _statements(script: str) -> Iterator[str]:
    """The single statements of ``script``: executescript would commit behind the transaction's back."""
    rest = ""
    for piece in script.split(";"):
        rest += piece + ";"
        if sqlite3.complete_statement(rest):
            if rest.strip(" \n;"):
                yield rest
            rest = ""
    if rest.strip(" \n;"):
        raise sqlite3.OperationalError(f"incomplete statement: {rest.strip()[:60]}")
