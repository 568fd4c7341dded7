"""The new ``run/`` of a deployment that builds nothing: from a release, or from a former one.

In final mode a release that staging baked is fetched, verified and unpacked. A rollback
takes what the target's deployment left. The live version goes on serving meanwhile.
"""

from __future__ import annotations

from corpus.model.deployment import DeploymentId
from corpus.model.mode import Mode
from corpus.model.size import format_size
from corpus.project import claims, preparing, promotion, releases, targets, trees, window
from corpus.project.work import Work

# 3 -- the release


def fetch(work: Work) -> None:
    """Have the release of the commit, or the one that was asked for, here and verified."""
    manifest = promotion.obtain(work.project, work.commit, work.target or None, work.log.line)
    work.release, work.size = str(manifest.deployment), manifest.size
    work.note(release=work.release)
    work.log.line(
        f"release {manifest.deployment} of {manifest.commit[:10]}, "
        f"{format_size(manifest.size)}, signed by {manifest.signer}"
    )


# 6 -- unpack


def unpack(work: Work) -> None:
    """Unpack the release to ``deploy/<id>``, copy that to the new ``run/``, configure it there.

    ``configure`` is where production's own settings reach files that are generated.
    """
    project, paths = work.project, work.project.paths
    manifest = releases.verify(project, DeploymentId.parse(work.release), archives=False)
    releases.unpack(project, manifest, paths.deployment(work.id))
    _new_run(work)
    preparing.build_at(work, paths.new_run(work.id), ("configure",))
    claims.check_run(project, work.common, paths.new_run(work.id))


def undo_unpack(work: Work) -> None:
    """Keep what would have gone live for inspection, remove what it was copied from."""
    preparing.undo_build(work)
    for copy in (work.project.paths.new_run(work.id), work.project.paths.deployment(work.id)):
        trees.remove_copy(copy)


def _new_run(work: Work) -> None:
    project, paths = work.project, work.project.paths
    new, way = paths.new_run(work.id), trees.way_of(paths.root, work.project.host)
    trees.remove(new)
    trees.copy(paths.deployment(work.id), new, way, project.host)
    trees.set_label(new, str(work.id))


# A rollback's


def take(work: Work) -> None:
    """Make the new ``run/`` of what the target's deployment unpacked or built."""
    project, paths = work.project, work.project.paths
    source = paths.deployment(DeploymentId.parse(work.target))
    trees.remove(paths.deployment(work.id))
    way = trees.way_of(paths.root, project.host)
    trees.copy(source, paths.deployment(work.id), way, project.host, source)
    _new_run(work)
    work.size = targets.size_of(project, work.target)
    if work.mode is Mode.FINAL:
        preparing.build_at(work, paths.new_run(work.id), ("configure",))
    work.note_runtime()
    claims.check_run(project, work.common, paths.new_run(work.id))


def revert(work: Work) -> None:
    """Put the data in place that the target left, its dumps included."""
    kept = work.project.paths.archive(targets.data_of(work.project, work.target))
    window.put_data(work, kept.data, f"reverted-{work.id}", "data.replaced")
    window.reload(work, kept)
