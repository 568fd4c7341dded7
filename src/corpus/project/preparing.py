"""Steps 2 to 6 of a build: check out, preflight, build, bundle. The live version goes on serving.

A failure here is ``refused``: nothing was touched.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from corpus.hosts import kernel
from corpus.model.errors import DeploymentRefused
from corpus.model.mode import Mode
from corpus.model.size import format_size
from corpus.project import (
    binding,
    claims,
    copies,
    hotfixes,
    notifications,
    phases,
    refusing,
    releases,
    repository,
    room,
    trees,
    worktree,
)
from corpus.project.work import Work

_UNBOUND = "unbound"
CONFIGURE = 300  # seconds: a pillar may run commands


# 2 -- the pushed commit


def check_out(work: Work) -> None:
    """Check out code and pillar, configure, run the first two phases."""
    _check_out(work, work.commit, work.pillar_commit)
    require_macros(work)
    with phases.limited("configuration", CONFIGURE):
        work.configure()
    notifications.keep(work.project, work.common["notify"])
    refusing.by_mode(work, work.project)
    _leave_editable(work)
    work.phase("gather_variables")
    work.phase("pre_install")


def require_macros(work: Work) -> None:
    """Raise DeploymentRefused when the commit has no macros."""
    if not (work.project.paths.salt / "top.sls").is_file():
        raise DeploymentRefused(
            "the project has no .salt/top.sls",
            where=f"commit {work.commit[:10]}",
            mend="add .salt/top.sls with the macros of your project; see docs/tutorial.md",
        )


def _leave_editable(work: Work) -> None:
    """Unbind ``run/`` when the project asks for another mode."""
    if work.mode is not Mode.EDITABLE and binding.is_bound(work.project):
        undo_check_out(work)  # run/, which goes on serving, keeps the live version
        work.note(**{_UNBOUND: True})
        binding.unbind(work.project)
        _check_out(work, work.commit, work.pillar_commit)


def _check_out(work: Work, commit: str, pillar_commit: str) -> None:
    paths = work.project.paths
    worktree.check_out(work.project, commit)
    if pillar_commit:
        repository.check_out(work.project, paths.pillar_git, paths.pillar, pillar_commit)


def undo_check_out(work: Work) -> None:
    """Put the checkouts back to the version that is live, and editable mode where it was left."""
    if work.journal.fact(_UNBOUND):
        binding.bind_again(work.project)
    former = work.previous.commit if work.previous else ""
    kept = worktree.put_back(work.project, work.commit, former)
    if kept:
        work.log.line(kept)
    if work.previous and work.previous.pillar_commit:
        paths = work.project.paths
        repository.check_out(
            work.project, paths.pillar_git, paths.pillar, work.previous.pillar_commit
        )


# 4 -- preflight


def preflight(work: Work) -> None:
    """Refuse what cannot end well: a phase that does not render, a disk without room."""
    refusing.by_surroundings(work, work.project)
    if work.mode is Mode.EDITABLE:  # what will be run/ is there already
        claims.check_run(work.project, work.common, work.project.paths.project)
    rehearse(work)
    hotfixes.tell(work)
    room.ensure(work.project, sum(copy.size for copy in copies.of(work)), work.log.line)


def rehearse(work: Work) -> None:
    """Render and compile every phase that this deployment may call. Raises PhaseFailed."""
    common = rehearsal(work)
    for name in phases.called(work.mode)[2:]:
        if work.runner.has(name):
            with phases.limited(name, phases.seconds(work.common, name)):
                work.runner.check(name, common)


def rehearsal(work: Work) -> dict[str, Any]:
    """Return what a rehearsed phase finds as ``common``, the last one what ``notify`` does."""
    return deepcopy(work.common) | {"outcome": "live", "error": ""}


# 5 -- build


def build(work: Work) -> None:
    """Build into a new, empty ``run/`` that only this process and its children see."""
    paths = work.project.paths
    new = paths.new_run(work.id)
    trees.clear(new)
    trees.set_label(new, str(work.id))
    build_at(work, new, phases.BUILD)


def build_at(work: Work, new: Path, names: Sequence[str]) -> None:
    """Run phases that address ``run/`` while ``new`` is mounted there for them alone."""
    if any(work.runner.has(name) for name in names):
        with kernel.private_bind(new, work.project.paths.run):
            for name in names:
                work.phase(name)


def undo_build(work: Work) -> None:
    """Keep what the build made for inspection."""
    new = work.project.paths.new_run(work.id)
    if new.exists():
        failed = work.project.paths.archive(work.id).run_failed
        failed.parent.mkdir(parents=True, exist_ok=True)
        trees.remove(failed)
        new.rename(failed)


# 6 -- bundle


def bundle(work: Work) -> None:
    """Call ``bundle``, keep the result as this deployment's directory, make the release of it.

    The macro comes first: what it changes in ``run/`` goes live, and a release is what
    staging ran.
    """
    project, paths = work.project, work.project.paths
    new, unpacked = paths.new_run(work.id), paths.deployment(work.id)
    build_at(work, new, ("bundle",))
    claims.check_run(project, work.common, new)
    trees.remove(unpacked)
    former = paths.deployment(work.previous.deployment) if work.previous else None
    reference = former if former and former.is_dir() else None
    trees.copy(new, unpacked, trees.way_of(paths.root, project.host), project.host, reference)
    commit = repository.describe(project, work.commit)
    facts = {
        "commit": work.commit,
        "pillar_commit": work.pillar_commit,
        "time": commit.time,
        "made_at": int(time.time()),
        "by": work.by,
    }
    made = releases.make(project, work.id, unpacked, facts, work.common["parts"])
    work.release, work.size = str(work.id), made.size
    work.note(release=work.release)
    work.log.line(f"release {made.parts[0].archive} ({format_size(made.archive_size)})")
    work.note_runtime()


def undo_bundle(work: Work) -> None:
    """Remove the deployment's directory and its release."""
    trees.remove_copy(work.project.paths.deployment(work.id))
    releases.remove(work.project, work.id)
