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
from corpus.model.errors import DeploymentRefused, InvalidInput
from corpus.model.size import parse_size
from corpus.project import fetching, releases, scratches, targets, trees, usage
from corpus.project.ledger import Entry, Ledger, origins
from corpus.project.place import Project

_DAY = 86400


def protected(project: Project) -> set[str]:
    """Return the ids that always stay: the live one, and what a rollback from it needs.

    That is what it goes back to, and the one that put the data of that aside; with the
    releases of them, and of what they are copies of.
    """
    ledger = Ledger(project.paths.ledger)
    live = ledger.live()
    stay = {live.id} if live else set()
    for target in targets.kept(project)[:1]:
        stay.add(target.id)
        with contextlib.suppress(DeploymentRefused):
            stay.add(str(targets.data_of(project, target.id)))
    entries = ledger.entries()
    copied = {origin for name, origin in origins(entries).items() if name in stay}
    return stay | {entry.release for entry in entries if entry.id in stay | copied} - {""}


def kept(entries: list[Entry], left: set[str], good: int, failed: int) -> set[str]:
    """Return the ids that stay by number: the last ``good`` live ones, ``failed`` others.

    Those that were rolled back from, ``left``, count with the failed: they push out no good one.
    """
    # One whose way back failed at first has two entries, the last is how it ended.
    ended = {entry.id: entry.outcome is Outcome.LIVE for entry in entries}
    live = [name for name, lives in ended.items() if lives and name not in left]
    bad = [name for name, lives in ended.items() if not lives or name in left]
    return set(live[-max(1, good) :]) | set(bad[-failed:] if failed else [])


def prune(project: Project, retention: Mapping[str, Any], under_way: str = "") -> list[str]:
    """Remove what is past the retention; return the ids. Nothing foreign is touched.

    What killed plans left goes too.
    """
    _finish(project)
    fetching.forget_stale(project)
    for left in scratches.abandoned(project):
        trees.remove(left)
    ledger = Ledger(project.paths.ledger)
    entries, bad = ledger.entries(), ledger.bad()
    never = protected(project) | {under_way}
    good, failed = int(retention.get("good", 5)), int(retention.get("failed", 2))
    # Those of editable mode leave nothing to go back to: they push out none that does.
    whole = [entry for entry in entries if project.paths.deployment(entry.deployment).is_dir()]
    stay = never | kept(entries, bad, good, failed) | kept(whole, bad, good, 0)
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
    trees.discard(project.paths.deployment(deployment))
    trees.discard(project.paths.archive(deployment).root)
    trees.remove(project.paths.new_run(deployment))
    releases.remove(project, deployment)
    project.paths.log(deployment).unlink(missing_ok=True)


def _finish(project: Project) -> None:
    """Remove what somebody who died was removing."""
    for folder in (project.paths.deploy, project.paths.archives):
        for path in _entries(folder):
            if trees.is_discarded(path) and DeploymentId.within(path.name):
                trees.remove(path)


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
