"""Editable mode's own step: ``run/`` is the checkout, built in place.

What a push changes there is put aside first by the cheapest way (a snapshot on btrfs, which
copies nothing), so that a failed one can be undone exactly. It does not stay after that, unless
it is what another version left in ``run/``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from corpus.model.deployment import DeploymentId
from corpus.project import binding, claims, inplace, phases, preparing, trees
from corpus.project.journal import Journal
from corpus.project.place import Project
from corpus.project.work import Work

_WAS_BOUND, _PUT_BACK = "was_bound", "put_back"
_LISTED = 20


def bind(work: Work) -> None:
    """Put ``run/`` aside, bind it and ``project/`` when they are not, build in place."""
    project, archive = work.project, work.project.paths.archive(work.id)
    was_bound = binding.rebind(project)
    work.journal.facts(durable=True, **{_WAS_BOUND: was_bound})
    if was_bound:
        inplace.begin(archive)
        work.around_phase = lambda: inplace.phase(work.journal, archive)
    archive.root.mkdir(parents=True, exist_ok=True)
    trees.remove(archive.run)
    way = trees.way_of(project.paths.root, project.host)
    trees.copy(project.paths.run, archive.run, way, project.host)
    bind_and_build(work)


def bind_and_build(work: Work) -> None:
    """Bind ``run/`` and ``project/`` when they are not, and run the phases of a build there."""
    binding.bind(work.project)
    for name in phases.BUILD:
        work.phase(name)
    claims.check_run(work.project, work.common, work.project.paths.run)


def undo_bind(work: Work) -> None:
    """Make ``run/`` what it was but for edits, unbind it when it was not bound before."""
    if work.journal.fact(_WAS_BOUND) is False:
        binding.unbind(work.project)
    put_back(work.project, work.id, work.journal, work.log.alarm)
    preparing.undo_check_out(work)  # before the former version starts from there


def put_back(
    project: Project, identity: DeploymentId, journal: Journal, tell: Callable[[str], None]
) -> bool:
    """Make ``run/`` what it was when ``bind`` began, once; tell whether it is a checkout then.

    What somebody edited meanwhile stays, and ``tell`` hears the names of that and of what was
    moved to ``run.failed``. Raises CorpusError, OSError.
    """
    archive = project.paths.archive(identity)
    was_bound: bool = journal.fact(_WAS_BOUND) is not False
    if not archive.run.exists():
        trees.remove_copy(archive.run)  # half a one
    elif not journal.fact(_PUT_BACK):
        edits: list[str] = []
        if was_bound:
            edits = inplace.put_back(project, archive, journal)
        else:
            binding.put_back(project, archive.run, archive.run_failed)
        _name(f"moved from run/ to {archive.run_failed}:", _files(archive.run_failed), tell)
        _name("edited in run/ while no phase ran, left as it is:", edits, tell)
        # The checkout moves next: a second time this would put files of one commit below another.
        journal.facts(durable=True, **{_PUT_BACK: True})
    return was_bound


def _name(what: str, names: Sequence[str], tell: Callable[[str], None]) -> None:
    if names:
        more = [f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
        tell("\n".join([what, *(f"  {name}" for name in [*names[:_LISTED], *more])]))


def _files(folder: Path) -> list[str]:
    found = [Path(place, name) for place, _names, files in os.walk(folder) for name in files]
    return sorted(str(path.relative_to(folder)) for path in found)


def forget(work: Work) -> None:
    """Keep no copy of what somebody edits, once the deployment is live.

    What was in ``run/`` before it was bound stays: another version, or edits of an earlier
    time in this mode.
    """
    archive = work.project.paths.archive(work.id)
    if inplace.begun(archive).exists() or not any(archive.run.iterdir()):
        trees.remove(archive.root)
