"""What a deployment is refused for before anything is touched: a plan is refused for the same.

``project`` is the one itself, also where the work is done in a scratch twin of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from corpus.hosts import mounts
from corpus.model.deployment import Kind
from corpus.model.errors import DeploymentRefused
from corpus.model.mode import Mode
from corpus.project import binding, claims, trees
from corpus.project.place import Project
from corpus.project.work import Work


def by_checkouts(project: Project) -> None:
    """Refuse to check out over what is mounted, which git would empty. Raises DeploymentRefused.

    Before the first step: its undoing checks out too.
    """
    paths = project.paths
    edited = binding.is_bound(project) or binding.is_shared(project)
    for folder in (paths.pillar,) if edited else (paths.pillar, paths.project):
        for point in mounts.below(folder):
            raise _mounted(point, f"something is mounted in {folder.name}/, and would be emptied")


def by_mode(work: Work, project: Project) -> None:
    """Refuse what there is not in the mode that was configured. Raises DeploymentRefused."""
    editable = work.mode is Mode.EDITABLE
    if editable and work.kind is not Kind.DEPLOY:
        raise DeploymentRefused(
            f"there is no {work.kind} in editable mode, where run/ is the checkout itself",
            mend="check out the commit that you want in the project's directory",
        )
    if work.kind is Kind.PROMOTE and work.mode is not Mode.FINAL:
        raise DeploymentRefused(
            f"releases are deployed in final mode, and this project runs in {work.mode} mode",
            mend="promote in the environment of type prod, or set mode: final",
        )
    if not editable and binding.is_shared(project):
        raise DeploymentRefused(
            f"project/ is a directory that a developer edits: no {work.mode} version is made of it",
            where=str(project.paths.project),
            mend="set mode: editable, or deploy in another environment",
        )


def by_surroundings(work: Work, project: Project) -> None:
    """Refuse what is others', and what could not be put back. Raises DeploymentRefused.

    After the first two phases, whose macros may change ``common``.
    """
    claims.check(project, work.common["services"], work.common["ports"])
    if work.mode is not Mode.EDITABLE:
        by_obstacles(project)


def by_obstacles(project: Project) -> None:
    """Raise DeploymentRefused for what no copy of ``data/`` holds, or no exchange takes along."""
    for obstacle in obstacles(project):
        raise obstacle


def obstacles(project: Project) -> Iterator[DeploymentRefused]:
    """Yield what makes directories that cannot be put back; editable mode exchanges none."""
    paths = project.paths
    if trees.hides_something(paths.data):
        yield DeploymentRefused(
            "data/ holds btrfs subvolumes of its own, which no backup of it would hold",
            where=str(paths.data),
            mend="replace them by directories (btrfs subvolume list -o shows them)",
        )
    points = [*mounts.below(paths.data), *mounts.below(paths.run)]
    points += [path for path in (paths.archives, paths.build) if mounts.is_point(path)]
    for point in points:
        yield _mounted(
            point,
            "something is mounted where a deployment exchanges directories: no way back succeeds",
        )


def _mounted(point: Path, what: str) -> DeploymentRefused:
    mend = "umount it; where a disk may be mounted instead: docs/how-to/disk.md"
    return DeploymentRefused(what, str(point), mend)
