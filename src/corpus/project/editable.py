"""Editable mode's own step: ``run/`` is the checkout, built in place.

What a push changes there is put aside first by the cheapest way (a snapshot on btrfs, which
copies nothing), so that a failed one can be undone exactly. It does not stay after that.
"""

from __future__ import annotations

from corpus.project import binding, phases, preparing, trees
from corpus.project.work import Work

_WAS_BOUND = "was_bound"


def bind(work: Work) -> None:
    """Put ``run/`` aside, bind it and ``project/`` when they are not, build in place."""
    project, paths = work.project, work.project.paths
    work.note(**{_WAS_BOUND: binding.is_bound(project)})
    kept = paths.archive(work.id).run
    kept.parent.mkdir(parents=True, exist_ok=True)
    trees.remove(kept)
    trees.copy(paths.run, kept, trees.way_of(paths.root, project.host), project.host)
    bind_and_build(work)


def bind_and_build(work: Work) -> None:
    """Bind ``run/`` and ``project/`` when they are not, and run the phases of a build there."""
    binding.bind(work.project)
    for name in phases.BUILD:
        work.phase(name)


def undo_bind(work: Work) -> None:
    """Make ``run/`` what it was, file by file, and unbind it when it was not bound before."""
    project, archive = work.project, work.project.paths.archive(work.id)
    if not archive.run.exists():
        return
    if not work.journal.fact(_WAS_BOUND):
        binding.unbind(project)
    binding.put_back(project, archive.run, archive.run_failed)
    preparing.undo_check_out(work)  # before the former version starts from there


def forget(work: Work) -> None:
    """Keep nothing of a deployment that is live: there are no copies in this mode."""
    trees.remove(work.project.paths.archive(work.id).root)
