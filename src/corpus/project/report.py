"""What is to be known of a project: version, deployments, disk, links."""

from __future__ import annotations

from typing import Any

from corpus.project import binding, hotfixes, journal, lock, services, trees, worktree
from corpus.project.ledger import Entry, Ledger
from corpus.project.place import Place, Project


def report(project: Project, limit: int = 10) -> dict[str, Any]:
    """Return the state of a project as plain values; sizes in bytes, times in Unix seconds."""
    paths = project.paths
    ledger = Ledger(paths.ledger)
    live = ledger.live()
    history = journal.read(paths.journal)
    runtime = live.runtime if live else {}
    return {
        "name": project.name,
        "platform": str(project.place.platform()),
        "live": _brief(live) if live else None,
        "deployments": [_brief(entry) for entry in ledger.entries()[-limit:]],
        "under_way": lock.holder(paths.lock) if lock.is_held(paths.lock) else None,
        "unfinished": history.header["id"] if history else None,
        "inactive": services.inactive(project, runtime.get("services", [])),
        "ports": runtime.get("ports", []),
        "releases": sorted(path.name for path in paths.releases.glob("*.tar.zst")),
        "archives": sorted(path.name for path in paths.archives.iterdir()),
        "remote": {"code": "~/project.git", "pillar": "~/pillar.git", "user": project.user},
        "copies_by": str(trees.way_of(paths.root, project.host)),
    }


def changed_by_hand(project: Project) -> dict[str, str]:
    """Return what differs in ``run/`` from what went live, by somebody's own hand."""
    if binding.is_bound(project):
        return dict.fromkeys(worktree.dirty(project), "changed")
    live = Ledger(project.paths.ledger).live()
    return hotfixes.by_hand(project, live.deployment) if live else {}


def _brief(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "outcome": str(entry.outcome),
        "kind": str(entry.kind),
        "mode": entry.mode,
        "release": entry.release,
        "target": entry.target,
        "replaces": entry.replaces,
        "commit": entry.commit,
        "pillar_commit": entry.pillar_commit,
        "by": entry.by,
        "seconds": round(entry.ended - entry.started, 3),
        "steps": entry.steps,
        "held": entry.held,
        "ended": entry.ended,
        "error": entry.error,
    }


def summary(place: Place) -> list[dict[str, Any]]:
    """Return a line for each project of the environment."""
    found = []
    for name in place.names():
        project = Project.existing(place, name)
        live = Ledger(project.paths.ledger).live()
        found.append(
            {
                "name": name,
                "live": live.id if live else None,
                "commit": live.commit if live else None,
            }
        )
    return found
