"""The journal of the deployment under way: written before each step, read by recovery.

A line of JSON a record. A record without its end (a power cut) is ignored: what it
announced had not begun.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.hosts.files import append_line, write_atomic

# Marks on the way back, beside the names of steps.
ROLLBACK = "rollback"
RESUME = "resume"
MARKS = (ROLLBACK, RESUME)


@dataclass
class History:
    """What a journal tells: its header, the steps begun in order, and facts."""

    header: dict[str, Any]
    begun: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        """Whether the deployment passed the point of no return (step 13)."""
        return "live" in self.begun and ROLLBACK not in self.begun


class Journal:
    """Append records; ``durable`` ones are on the disk when the call returns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, header: dict[str, Any]) -> None:
        """Begin a new journal."""
        write_atomic(self.path, (json.dumps({"header": header}) + "\n").encode(), 0o600)

    def begin(self, step: str, *, durable: bool = True) -> None:
        """Record that ``step`` is about to be done."""
        self._append({"begin": step}, durable)

    def facts(self, *, durable: bool = False, **facts: Any) -> None:
        """Record values that recovery needs; without an open journal there is none."""
        if self.path.exists():
            self._append({"facts": facts}, durable)

    def fact(self, name: str) -> Any:
        """Return a value that was recorded, None when it was not."""
        history = read(self.path)
        return history.facts.get(name) if history else None

    def close(self) -> None:
        """End the journal: nothing is left to recover."""
        self.path.unlink(missing_ok=True)

    def _append(self, record: dict[str, Any], durable: bool) -> None:
        append_line(self.path, json.dumps(record), durable=durable)


def read(path: Path) -> History | None:
    """Return what the journal at ``path`` tells, or None when there is none to recover."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return None
    history: History | None = None
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if history is None:
            if "header" not in record:
                return None
            history = History(record["header"])
        if "begin" in record:
            history.begun.append(record["begin"])
        history.facts |= record.get("facts", {})
    return history
