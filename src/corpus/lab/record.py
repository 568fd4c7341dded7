"""What a lab remembers of itself: its settings, and what it changed on the host."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from corpus.hosts.files import write_atomic
from corpus.lab.paths import LabPaths
from corpus.lab.settings import Settings, settings_for
from corpus.model.errors import CorpusError


@dataclass(frozen=True)
class Record:
    """The record of one lab. ``forwarding``: per uplink, what its setting was before."""

    settings: Settings
    forwarding: dict[str, str] = field(default_factory=dict)


def load(paths: LabPaths) -> Record | None:
    """Return the record of a lab, None where it has none or a killed run left half of it."""
    try:
        values = json.loads(paths.record.read_text())
        settings = settings_for(paths.name, values["settings"])
        return Record(settings, dict(values["forwarding"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError, CorpusError):
        return None


def save(paths: LabPaths, record: Record) -> None:
    """Write the record of a lab."""
    values = {"settings": record.settings.as_dict(), "forwarding": record.forwarding}
    write_atomic(paths.record, json.dumps(values, indent=1).encode() + b"\n", durable=False)


def others(paths: LabPaths) -> dict[str, Record]:
    """Return the records of the other labs under the same directory, by name."""
    found: dict[str, Record] = {}
    for file in sorted(paths.base.glob("*/lab.json")):
        name = file.parent.name
        record = load(LabPaths(name, Path(paths.base))) if name != paths.name else None
        if record:
            found[name] = record
    return found
