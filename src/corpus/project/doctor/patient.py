"""What a check of a project looks at."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from corpus.project import journal, lock
from corpus.project.ledger import Entry, Ledger
from corpus.project.place import Project


@dataclass(frozen=True)
class Patient:
    """One project, with what most checks ask about it.

    ``under_way`` is what the holder of its lock says of itself, when that is somebody else;
    ``unfinished`` the id of the deployment whose journal is open. ``sound``: the ledger can
    be read to its last line; ``entries`` are those that can.
    """

    project: Project
    under_way: str
    unfinished: str
    entries: list[Entry]
    live: Entry | None
    sound: bool

    @classmethod
    def of(cls, project: Project, *, locked: bool) -> Patient:
        """Look at a project, whose lock the caller may have."""
        paths = project.paths
        busy = not locked and lock.is_held(paths.lock)
        ledger = Ledger(paths.ledger)
        entries: list[Entry] = []
        live, sound = None, False
        with contextlib.suppress(Exception):  # whatever is wrong in it, its own check says
            entries, live = ledger.entries(), ledger.live()
            sound = len(entries) == len(paths.ledger.read_bytes().splitlines()) if entries else True
        return cls(
            project,
            (lock.holder(paths.lock) or "somebody") if busy else "",
            _unfinished(project),
            entries,
            live,
            sound,
        )


def _unfinished(project: Project) -> str:
    try:
        history = journal.read(project.paths.journal)
        return str(history.header["id"]) if history else ""
    except Exception:  # as above
        return "unknown"
