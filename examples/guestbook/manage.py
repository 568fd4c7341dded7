"""Bring the database to the schema of this version: ``manage.py migrate``.

Migrations are numbered SQL files. Each runs in a transaction of its own together with the
new number (SQLite's user_version), so that one that fails leaves the schema as it was,
unless it commits by itself half-way.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing

from guestbook import store


def migrate() -> None:
    """Run the migrations that the database has not seen."""
    with closing(sqlite3.connect(store.DATABASE, timeout=10, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        done = database.execute("PRAGMA user_version").fetchone()[0]
        for path in sorted(store.MIGRATIONS.glob("[0-9]*.sql")):
            number = int(path.name[:4])
            if number <= done:
                continue
            print(f"migration {path.name}", flush=True)
            script = f"BEGIN;\n{path.read_text()}\nPRAGMA user_version = {number};\nCOMMIT;"
            try:
                database.executescript(script)
            except sqlite3.Error as problem:
                raise SystemExit(f"migration {path.name} failed: {problem}") from None


if __name__ == "__main__":
    if sys.argv[1:] != ["migrate"]:
        raise SystemExit("usage: manage.py migrate")
    migrate()
