"""Which releases made here paired environments may see: those of deployments that are good."""

from __future__ import annotations

from corpus.model.deployment import DeploymentId
from corpus.project import releases
from corpus.project.ledger import Ledger
from corpus.project.place import Project


def follow(project: Project) -> None:
    """Offer the releases of what is live, and of what one may roll back to, and no others.

    One that was rolled back from is withdrawn. What the ledger does not know stays as it is.
    """
    ledger = Ledger(project.paths.ledger)
    live = ledger.live()
    good = {entry.release for entry in ledger.targets()}
    if live:  # after a rollback, a copy of its target
        copied = ledger.find(live.target)
        good |= {live.release, copied.release if copied else ""}
    for release in {entry.release for entry in ledger.entries()} - {""}:
        releases.offer(project, DeploymentId.parse(release), offered=release in good)
