"""Which releases made here paired environments may see: those of deployments that are good."""

from __future__ import annotations

from corpus.model.deployment import DeploymentId
from corpus.project import releases
from corpus.project.ledger import Ledger, origins
from corpus.project.place import Project


def follow(project: Project) -> None:
    """Offer the releases of what is live, and of what one may roll back to, and no others.

    One that was rolled back from is withdrawn. What the ledger does not know stays as it is.
    """
    ledger = Ledger(project.paths.ledger)
    live = ledger.live()
    seen = [*ledger.targets(), *([live] if live else [])]
    entries = ledger.entries()
    copied = origins(entries)
    # After a rollback what is live is a copy, and the release is that of what it was made of.
    good = {copied[entry.id] for entry in seen}
    offered = {entry.release for entry in entries if entry.id in good}
    for release in {entry.release for entry in entries} - {""}:
        releases.offer(project, DeploymentId.parse(release), offered=release in offered)
