"""The database: PostgreSQL, reached as DATABASE_URL says. Nothing else knows which one it is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

URL = os.environ.get("DATABASE_URL", "postgresql:///guestbook?host=/run/postgresql")
Error = psycopg.Error
_NAMED = re.compile(r"(?<!:):([a-z]+)")  # :name, but not the :: of a cast


class Database:
    """A connection whose statements name their values ``:name``."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Mapping[str, Any] | None = None) -> psycopg.Cursor:
        """Run one statement."""
        return self._connection.execute(_NAMED.sub(r"%(\1)s", statement), values)


@contextmanager
def connect() -> Iterator[Database]:
    """Open the database, commit at the end of the block, roll back when it raises."""
    with psycopg.connect(URL, connect_timeout=10) as connection:
        yield Database(connection)


def schema() -> int:
    """Return the number of the last migration that ran."""
    with connect() as database:
        if database.execute("SELECT to_regclass('schema_number')").fetchone()[0] is None:
            return 0
        return database.execute("SELECT number FROM schema_number").fetchone()[0]


def migrate(number: int, script: str) -> None:
    """Run a migration and note its number, in one transaction unless it commits by itself."""
    with psycopg.connect(URL, connect_timeout=10, autocommit=True) as connection:
        connection.execute(f"BEGIN;\n{script}\nUPDATE schema_number SET number = {number};\nCOMMIT")
