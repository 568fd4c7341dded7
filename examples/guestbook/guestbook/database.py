"""The database: one SQLite file. Nothing else knows that it is one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

FILE = Path(os.environ.get("GUESTBOOK_DATABASE", "data/guestbook.sqlite3"))
Error = sqlite3.Error


@contextmanager
def connect() -> Iterator[sqlite3.Connection]:
    """Open the database, commit at the end of the block, roll back when it raises."""
    with closing(sqlite3.connect(FILE, timeout=10)) as database:
        database.execute("PRAGMA synchronous = NORMAL")
        with database:
            yield database


def schema() -> int:
    """Return the number of the last migration that ran."""
    with connect() as database:
        return database.execute("PRAGMA user_version").fetchone()[0]


def migrate(number: int, script: str) -> None:
    """Run a migration and note its number, in one transaction unless it commits by itself."""
    with closing(sqlite3.connect(FILE, timeout=10, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
