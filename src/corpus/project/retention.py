"""What is kept of past deployments: the last good ones with their data, fewer failed ones."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from corpus.model.deployment import DeploymentId, Outcome
from corpus.model.errors import InvalidInput
from corpus.project import releases, trees
from corpus.project.ledger import Entry, Ledger
from corpus.project.place import Project

_DAY = 86400


def kept(entries: list[Entry], good: int, failed: int) -> set[str]:
    """Return the ids that stay: the last ``good`` live ones, the last ``failed`` others.

    The one that is live now is always among them.
    """
    live = [entry.id for entry in entries if entry.outcome is Outcome.LIVE]
    bad = [entry.id for entry in entries if entry.outcome is not Outcome.LIVE]
    return set(live[-max(1, good) :]) | set(bad[-failed:] if failed else [])


def prune(project: Project, retention: Mapping[str, int], under_way: str = "") -> list[str]:
    """Remove what is past the retention; return the ids. Nothing foreign is touched."""
    entries = Ledger(project.paths.ledger).entries()
    stay = kept(entries, int(retention.get("good", 5)), int(retention.get("failed", 2)))
    stay.add(under_way)
    ended = {entry.id for entry in entries}
    removed = set()
    for found in _on_disk(project):
        if str(found) not in stay and not (str(found) not in ended and _is_young(project, found)):
            trees.remove(project.paths.deployment(found))
            trees.remove(project.paths.archive(found).root)
            trees.remove(project.paths.new_run(found))
            releases.remove(project, found)
            project.paths.log(found).unlink(missing_ok=True)
            removed.add(str(found))
    return sorted(removed)


def _is_young(project: Project, deployment: DeploymentId) -> bool:
    """Tell whether its log was written today: it may wait in the queue, and somebody reads it."""
    log = project.paths.log(deployment)
    return log.exists() and time.time() - log.stat().st_mtime < _DAY


def _on_disk(project: Project) -> set[DeploymentId]:
    paths = project.paths
    names = [entry.name for folder in (paths.deploy, paths.archives) for entry in _entries(folder)]
    names += [entry.name.removeprefix("run-") for entry in _entries(paths.build)]
    names += [entry.name.removesuffix(".log") for entry in _entries(paths.state / "logs")]
    found = releases.deployments(project)
    for name in names:
        try:
            found.add(DeploymentId.parse(name))
        except InvalidInput:
            continue
    return found


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
