"""Editable mode's own step: ``run/`` is the checkout, built in place.

What a push changes there is put aside first by the cheapest way (a snapshot on btrfs, which
copies nothing), so that a failed one can be undone exactly. It does not stay after that, unless
it is what another version left in ``run/``.
"""

from __future__ import annotations

from pathlib import Path

from corpus.project import binding, phases, preparing, repository, trees
from corpus.project.work import Work

_WAS_BOUND = "was_bound"


def bind(work: Work) -> None:
    """Put ``run/`` aside, bind it and ``project/`` when they are not, build in place."""
    project, paths = work.project, work.project.paths
    was_bound = binding.rebind(project)
    work.note(**{_WAS_BOUND: was_bound})
    kept = paths.archive(work.id).run
    kept.parent.mkdir(parents=True, exist_ok=True)
    trees.remove(kept)
    trees.copy(paths.run, kept, trees.way_of(paths.root, project.host), project.host)
    if was_bound:
        _mark(work).touch()
    bind_and_build(work)


def bind_and_build(work: Work) -> None:
    """Bind ``run/`` and ``project/`` when they are not, and run the phases of a build there."""
    binding.bind(work.project)
    for name in phases.BUILD:
        work.phase(name)


def undo_bind(work: Work) -> None:
    """Make ``run/`` what it was, file by file, and unbind it when it was not bound before."""
    project, archive = work.project, work.project.paths.archive(work.id)
    new = work.journal.fact(_WAS_BOUND) is False
    if new:
        binding.unbind(project)
    # Once the former commit is checked out again, what was put aside lies below it already.
    done = not (new or binding.is_shared(project))
    done = done and repository.checked_out(project) != work.commit
    if archive.run.exists() and not done:
        binding.put_back(project, archive.run, archive.run_failed)
    if not archive.run.exists():
        trees.remove_copy(archive.run)  # half a one
    preparing.undo_check_out(work)  # before the former version starts from there


def forget(work: Work) -> None:
    """Keep no copy of what somebody edits, once the deployment is live.

    What was in ``run/`` before it was bound stays: another version, or edits of an earlier
    time in this mode.
    """
    archive = work.project.paths.archive(work.id)
    if _mark(work).exists() or not any(archive.run.iterdir()):
        trees.remove(archive.root)


def _mark(work: Work) -> Path:
    """Return the file that says of a copy that it is one of what somebody edits."""
    return work.project.paths.archive(work.id).root / "edited"
