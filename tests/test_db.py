"""The database: migrations, transactions, damage."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from core.errors import Corrupt
from tests.conftest import OpenDatabase

ONE = (1, "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('x;y');")
TWO = (2, "ALTER TABLE t ADD COLUMN b TEXT")


def test_migrations_run_once_and_in_order(tmp_path: Path, open_database: OpenDatabase) -> None:
    for _ in range(2):
        db = open_database(tmp_path / "db")
        db.migrate("part", [ONE])
        assert [row["a"] for row in db.execute("SELECT a FROM t")] == ["x;y"]
        db.close()
    db = open_database(tmp_path / "db")
    db.migrate("part", [ONE, TWO])
    db.migrate("other", [(1, "CREATE TABLE u (a)")])
    assert [row["b"] for row in db.execute("SELECT b FROM t")] == [None]


def test_a_failed_migration_leaves_nothing(tmp_path: Path, open_database: OpenDatabase) -> None:
    db = open_database(tmp_path / "db")
    with pytest.raises(Exception, match="syntax"):
        db.migrate("part", [(1, "CREATE TABLE t (a); SELEKT;")])
    db.migrate("part", [ONE])
    assert db.execute("SELECT count(*) AS n FROM t").fetchone()["n"] == 1


def test_a_newer_file_is_refused(tmp_path: Path, open_database: OpenDatabase) -> None:
    db = open_database(tmp_path / "db")
    db.migrate("part", [ONE, TWO])
    with pytest.raises(Corrupt, match="newer version"):
        db.migrate("part", [ONE])


def test_a_file_that_is_no_database(tmp_path: Path, open_database: OpenDatabase) -> None:
    (tmp_path / "db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(Corrupt, match="not a database"):
        open_database(tmp_path / "db")


def test_transactions_are_all_or_nothing(tmp_path: Path, open_database: OpenDatabase) -> None:
    db = open_database(tmp_path / "db")
    db.migrate("part", [ONE])

    def fail() -> None:
        with db.transaction():
            db.execute("DELETE FROM t")
            with db.transaction():
                db.execute("INSERT INTO t VALUES ('inner')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [row["a"] for row in db.execute("SELECT a FROM t")] == ["x;y"]


def test_foreign_keys_are_on(tmp_path: Path, open_database: OpenDatabase) -> None:
    db = open_database(tmp_path / "db")
    assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_only_root_reads_it(tmp_path: Path, open_database: OpenDatabase) -> None:
    """It holds the environment of every container, and the root folder may have been made by somebody else."""
    old = os.umask(0)
    try:
        (tmp_path / "db").touch(mode=0o644)  # as an older version left it
        db = open_database(tmp_path / "db")
        db.migrate("part", [ONE])
        assert {entry.name: entry.stat().st_mode & 0o777 for entry in tmp_path.iterdir()} == dict.fromkeys(
            ("db", "db-shm", "db-wal"), 0o600
        )
        db.close()
    finally:
        os.umask(old)


def test_the_log_has_its_room_from_the_beginning(tmp_path: Path, open_database: OpenDatabase) -> None:
    db = open_database(tmp_path / "db")
    db.migrate("part", [ONE])
    found = os.stat(tmp_path / "db-wal")
    assert found.st_blocks * 512 >= 4 << 20
    # What a daemon that was killed leaves: frames, and room behind them.
    for name in ("db", "db-wal"):
        shutil.copyfile(tmp_path / name, tmp_path / name.replace("db", "copy"))
    db.close()
    copy = open_database(tmp_path / "copy")
    assert [row["a"] for row in copy.execute("SELECT a FROM t")] == ["x;y"]
    assert copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    copy.close()
