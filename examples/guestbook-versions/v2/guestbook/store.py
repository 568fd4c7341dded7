"""The entries. Everything that knows a column is in here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from guestbook.database import connect

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
SHOWN = 100
MOODS = {"happy": "😊", "curious": "😮", "moved": "😢", "hungry": "😋"}


@dataclass(frozen=True)
class Entry:
    """What somebody wrote. ``signed_at`` is UTC."""

    id: int
    name: str
    message: str
    signed_at: str
    mood: str

    @property
    def face(self) -> str:
        """The mood as a character; empty for entries from before moods."""
        return MOODS.get(self.mood, "")


class BadEntry(ValueError):
    """Something to tell the person who signed."""


def sign(form: dict[str, str]) -> int:
    """Keep an entry and return its number. Raises BadEntry."""
    name = _text(form, "name", 60)
    message = _text(form, "message", 1000)
    mood = form.get("mood") or ""
    if mood and mood not in MOODS:
        raise BadEntry(f"The moods are {', '.join(MOODS)}.")
    values = {"name": name, "message": message, "mood": mood}
    with connect() as database:
        row = database.execute(
            "INSERT INTO entries (name, message, mood)"
            " VALUES (:name, :message, :mood) RETURNING id",
            values,
        ).fetchone()
    return row[0]


def entries(limit: int = SHOWN) -> list[Entry]:
    """Return the newest entries, newest first."""
    with connect() as database:
        rows = database.execute(
            "SELECT id, name, message, signed_at, mood FROM entries ORDER BY id DESC LIMIT :limit",
            {"limit": limit},
        )
        return [Entry(*row) for row in rows]


def count() -> int:
    """Return how many entries there are."""
    with connect() as database:
        return database.execute("SELECT count(*) FROM entries").fetchone()[0]


def wanted_schema() -> int:
    """Return the number of the last migration that this version brings."""
    return max((int(path.name[:4]) for path in MIGRATIONS.glob("[0-9]*.sql")), default=0)


def _text(form: dict[str, str], field: str, limit: int) -> str:
    value = form.get(field)
    text = value.strip() if isinstance(value, str) else ""
    if not text:
        raise BadEntry(f"Please fill in your {field}.")
    if len(text) > limit:
        raise BadEntry(f"Your {field} has {len(text)} characters; {limit} fit on the page.")
    return text
