"""What is kept of past deployments: the last good ones with their data, fewer failed ones.

By number, then by size: what is kept takes no more of the disk than ``size``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corpus.model.deployment import DeploymentId, Outcome
from corpus.model.errors import InvalidInput
from corpus.model.size import parse_size
from corpus.project import releases, trees, usage
from corpus.project.ledger import Entry, Ledger
from corpus.project.place import Project

_DAY = 86400


def protected(ledger: Ledger) -> set[str]:
    """Return the ids that always stay: the live one, and what a rollback from it needs.

    That is the last good one before it, and the one after that, which put its data aside.
    """
    live = [entry.id for entry in ledger.entries() if entry.outcome is Outcome.LIVE]
    stay = set(live[-1:])
    for target in ledger.targets()[:1]:
        here = live.index(target.id)
        stay |= set(live[here : here + 2])
    return stay


def kept(entries: list[Entry], good: int, failed: int) -> set[str]:
    """Return the ids that stay by number: the last ``good`` live ones, ``failed`` others."""
    live = [entry.id for entry in entries if entry.outcome is Outcome.LIVE]
    bad = [entry.id for entry in entries if entry.outcome is not Outcome.LIVE]
    return set(live[-max(1, good) :]) | set(bad[-failed:] if failed else [])


def prune(project: Project, retention: Mapping[str, Any], under_way: str = "") -> list[str]:
    """Remove what is past the retention; return the ids. Nothing foreign is touched."""
    ledger = Ledger(project.paths.ledger)
    entries = ledger.entries()
    never = protected(ledger) | {under_way}
    stay = never | kept(entries, int(retention.get("good", 5)), int(retention.get("failed", 2)))
    stay |= {entry.release for entry in entries if entry.id in stay}
    past = {name for entry in entries for name in (entry.id, entry.release)} - stay
    removed = [found for found in _on_disk(project) if str(found) in past]
    removed += [found for found in forgotten(project) if str(found) not in stay]
    for identity in removed:
        forget(project, identity)
    if retention.get("size"):
        removed += _shrink(project, parse_size(retention["size"]), stay - never)
    return sorted(map(str, removed))


def _shrink(project: Project, most: int, may_go: set[str]) -> list[DeploymentId]:
    """Remove the oldest of ``may_go`` until all that is kept takes ``most`` bytes at the most."""
    found = usage.measure(project)
    there = sorted(_on_disk(project))
    removed = []
    for identity in there:
        if found.freed(map(str, there)) <= most:
            break
        if str(identity) in may_go:
            forget(project, identity)
            found = found.without(str(identity))
            removed.append(identity)
    return removed


def forgotten(project: Project) -> list[DeploymentId]:
    """Return the ids on the disk that the ledger does not know and that are not of today.

    A release of another environment's is not one of them: somebody put it there to deploy it.
    """
    ended = {entry.id for entry in Ledger(project.paths.ledger).entries()}
    return [
        found
        for found in sorted(_attempts(project))
        if str(found) not in ended and not _is_young(project, found)
    ]


def forget(project: Project, deployment: DeploymentId) -> None:
    """Remove all that is kept of a deployment; its entry in the ledger stays."""
    trees.remove(project.paths.deployment(deployment))
    trees.remove(project.paths.archive(deployment).root)
    trees.remove(project.paths.new_run(deployment))
    releases.remove(project, deployment)
    project.paths.log(deployment).unlink(missing_ok=True)


def _is_young(project: Project, deployment: DeploymentId) -> bool:
    """Tell whether its log was written today: it may wait in the queue, and somebody reads it."""
    log = project.paths.log(deployment)
    return log.exists() and time.time() - log.stat().st_mtime < _DAY


def _on_disk(project: Project) -> set[DeploymentId]:
    return _attempts(project) | releases.deployments(project)


def _attempts(project: Project) -> set[DeploymentId]:
    """Return the deployments of this environment that left something."""
    paths = project.paths
    names = [entry.name for folder in (paths.deploy, paths.archives) for entry in _entries(folder)]
    names += [entry.name.removeprefix("run-") for entry in _entries(paths.build)]
    names += [entry.name.removesuffix(".log") for entry in _entries(paths.state / "logs")]
    found = set()
    for name in names:
        with contextlib.suppress(InvalidInput):
            found.add(DeploymentId.parse(name))
    return found


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
