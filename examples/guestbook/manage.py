"""Bring the database to the schema of this version: ``manage.py migrate``.

Migrations are numbered SQL files. Each runs in a transaction of its own together with the
new number, so that one that fails leaves the schema as it was, unless it commits by itself
half-way.
"""

from __future__ import annotations

import sys

from guestbook import database, store


def migrate() -> None:
    """Run the migrations that the database has not seen."""
    done = database.schema()
    for path in sorted(store.MIGRATIONS.glob("[0-9]*.sql")):
        number = int(path.name[:4])
        if number <= done:
            continue
        print(f"migration {path.name}", flush=True)
        try:
            database.migrate(number, path.read_text())
        except database.Error as problem:
            raise SystemExit(f"migration {path.name} failed: {problem}") from None


if __name__ == "__main__":
    if sys.argv[1:] != ["migrate"]:
        raise SystemExit("usage: manage.py migrate")
    migrate()
