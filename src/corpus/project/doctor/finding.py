"""What a check finds, and what it looks at."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from corpus.project import journal, lock
from corpus.project.ledger import Entry, Ledger
from corpus.project.place import Project


class State(StrEnum):
    """How bad it is. ``WARN``: all serves, but something will not, or is not as it was made."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One thing found: which ``check``, ``what`` it is, ``where``, how to ``mend`` it.

    ``repair`` does what ``mend`` says, where that is safe; done twice it ends the same.
    """

    check: str
    state: State
    what: str
    where: str = ""
    mend: str = ""
    repair: Callable[[], object] | None = None
    mended: bool = False

    def mended_now(self) -> Finding:
        """Repair it, when it can be, and return what is to be said of it then."""
        if self.repair is None:
            return self
        try:
            self.repair()
        except Exception as error:  # one that cannot be mended must not hide the others
            return replace(self, what=f"{self.what}; mending it failed: {error}")
        return replace(self, mended=True)

    def as_dict(self, project: str) -> dict[str, Any]:
        """Return plain values."""
        return {
            "project": project,
            "check": self.check,
            "state": str(self.state),
            "what": self.what,
            "where": self.where,
            "mend": self.mend,
            "mended": self.mended,
        }


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
