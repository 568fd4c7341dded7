"""The ledger: how every deployment of a project ended, oldest first."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from corpus.hosts.files import append_line
from corpus.model.deployment import DeploymentId, Kind, Outcome


@dataclass(frozen=True)
class Entry:
    """One ended deployment. Times are Unix seconds; ``runtime`` is what undoing it takes.

    ``steps`` are the seconds that each step took; ``held`` those that traffic was held.
    ``release`` is the id of the release that was made or deployed; ``target`` the deployment
    that a rollback went back to, ``replaces`` the one that it left, which is bad from then on.
    """

    id: str
    outcome: Outcome
    mode: str
    commit: str
    pillar_commit: str
    started: float
    ended: float
    by: str = ""
    error: str = ""
    runtime: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    held: float = 0.0
    kind: Kind = Kind.DEPLOY
    release: str = ""
    target: str = ""
    replaces: str = ""

    @property
    def deployment(self) -> DeploymentId:
        """The id as a value."""
        return DeploymentId.parse(self.id)


def origins(entries: Iterable[Entry]) -> dict[str, str]:
    """Return for each deployment the one that it is a copy of: itself, unless it is a rollback.

    A rollback may go back to what another one made. ``entries`` are oldest first: what comes
    later changes nothing of what is known, so nothing leads in a circle.
    """
    found: dict[str, str] = {}
    for entry in entries:
        found[entry.id] = found.get(entry.target, entry.target) or entry.id
    return found


class Ledger:
    """Read and append entries."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[Entry]:
        """Every entry, oldest first; a line that is damaged is left out."""
        try:
            lines = self.path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                values = json.loads(line)
                kinds = {"outcome": Outcome(values["outcome"]), "kind": Kind(values["kind"])}
                found.append(Entry(**(values | kinds)))
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def live(self, besides: str = "") -> Entry | None:
        """The deployment that runs now, or ran before that of the id ``besides``."""
        good = [entry for entry in self.entries() if entry.outcome is Outcome.LIVE]
        return next((entry for entry in reversed(good) if entry.id != besides), None)

    def bad(self) -> set[str]:
        """The deployments that were rolled back from, by hand, and all copies of the same."""
        entries = self.entries()
        copied = origins(entries)
        left = {entry.replaces for entry in entries if entry.outcome is Outcome.LIVE} - {""}
        bad = {copied.get(name, name) for name in left}
        return {name for name, origin in copied.items() if origin in bad}

    def bad_releases(self) -> set[str]:
        """The releases whose last deployment that went live was rolled back from."""
        bad = self.bad()
        last = {
            entry.release: entry.id for entry in self.entries() if entry.outcome is Outcome.LIVE
        }
        return {release for release, deployment in last.items() if deployment in bad} - {""}

    def targets(self) -> list[Entry]:
        """The deployments that a rollback may go back to, newest first.

        Those that went live, without the one that is live now, every copy of the same, and
        every one that was rolled back from.
        """
        entries, now, bad = self.entries(), self.live(), self.bad()
        copied = origins(entries)
        return [
            entry
            for entry in reversed(entries)
            if entry.outcome is Outcome.LIVE
            and entry.id not in bad
            and not (now and copied[entry.id] == copied.get(now.id))
        ]

    def find(self, deployment: str) -> Entry | None:
        """The entry of one deployment, or None while it has not ended."""
        return next((e for e in reversed(self.entries()) if e.id == deployment), None)

    def append(self, entry: Entry) -> None:
        """Add an entry, once for a deployment and outcome."""
        known = self.find(entry.id)
        if known is None or known.outcome is not entry.outcome:
            append_line(self.path, json.dumps(asdict(entry)))
