"""Steps 2 to 6: check out, preflight, build, bundle. The live version goes on serving.

A failure here is ``refused``: nothing was touched.
"""

from __future__ import annotations

import time
from copy import deepcopy

from corpus.hosts import kernel
from corpus.model.errors import DeploymentRefused, Unsupported
from corpus.model.mode import Mode
from corpus.model.size import format_size
from corpus.project import claims, phases, releases, repository, room, trees
from corpus.project.work import Work

_ROOM = 64 << 20
_CONFIGURE = 300  # seconds: a pillar may run commands


# 2 -- the pushed commit


def check_out(work: Work) -> None:
    """Check out code and pillar, configure, run the first two phases."""
    project, paths = work.project, work.project.paths
    repository.check_out(project, paths.project_git, paths.project, work.commit)
    if work.pillar_commit:
        repository.check_out(project, paths.pillar_git, paths.pillar, work.pillar_commit)
    if not (paths.salt / "top.sls").is_file():
        raise DeploymentRefused(
            "the project has no .salt/top.sls",
            where=f"commit {work.commit[:10]}",
            mend="add .salt/top.sls with the macros of your project; see docs/tutorial.md",
        )
    with phases.limited("configuration", _CONFIGURE):
        work.configure()
    if work.mode is not Mode.COOKING:
        raise Unsupported(
            f"this version deploys in cooking mode only, not {work.mode}",
            mend="set mode: cooking in the project's pillar",
        )
    work.phase("gather_variables")
    work.phase("pre_install")


def undo_check_out(work: Work) -> None:
    """Put the checkout back to the version that is live."""
    if not work.previous:
        return
    project, paths = work.project, work.project.paths
    repository.check_out(project, paths.project_git, paths.project, work.previous.commit)
    if work.previous.pillar_commit:
        repository.check_out(project, paths.pillar_git, paths.pillar, work.previous.pillar_commit)


# 4 -- preflight


def preflight(work: Work) -> None:
    """Refuse what cannot end well: a phase that does not render, a disk without room."""
    claims.check(work.project, work.common["services"], work.common["ports"])
    rehearsal = deepcopy(work.common) | {"outcome": "live", "error": ""}  # what notify finds
    for name in (*phases.PHASES[2:], *phases.EXTRA):
        if work.runner.has(name):
            with phases.limited(name, phases.seconds(work.common, name)):
                work.runner.check(name, rehearsal)
    paths = work.project.paths
    if trees.hides_something(paths.data):
        raise DeploymentRefused(
            "data/ holds btrfs subvolumes of its own, which no backup of it would hold",
            where=str(paths.data),
            mend="replace them by directories (btrfs subvolume list -o shows them)",
        )
    needed = _ROOM + 2 * int(work.former.get("size", 0))
    if trees.way_of(paths.root, work.project.host) is trees.Way.HARDLINK:
        needed += trees.size_of(paths.data)[0]
    room.ensure(work.project, needed, work.log.line)


# 5 -- build beside the live version


def build(work: Work) -> None:
    """Build into a new, empty ``run/`` that only this process and its children see."""
    paths = work.project.paths
    new = paths.new_run(work.id)
    trees.clear(new)
    trees.set_label(new, str(work.id))
    if any(work.runner.has(name) for name in phases.BUILD):
        with kernel.private_bind(new, paths.run):
            for name in phases.BUILD:
                work.phase(name)


def undo_build(work: Work) -> None:
    """Keep what the build made for inspection."""
    new = work.project.paths.new_run(work.id)
    if new.exists():
        failed = work.project.paths.archive(work.id).run_failed
        failed.parent.mkdir(parents=True, exist_ok=True)
        trees.remove(failed)
        new.rename(failed)


# 6 -- the deployment and its release


def bundle(work: Work) -> None:
    """Keep the new ``run/`` as ``deploy/<id>`` and make the release archive of it."""
    project, paths = work.project, work.project.paths
    new, unpacked = paths.new_run(work.id), paths.deployment(work.id)
    trees.remove(unpacked)
    former = paths.current.resolve() if paths.current.exists() else None
    trees.copy(new, unpacked, trees.way_of(paths.root, project.host), project.host, former)
    if work.runner.has("bundle"):
        with kernel.private_bind(new, paths.run):
            work.phase("bundle")
    commit = repository.describe(project, work.commit)
    facts = {
        "commit": work.commit,
        "pillar_commit": work.pillar_commit,
        "time": commit.time,
        "made_at": int(time.time()),
        "by": work.by,
    }
    work.release = releases.make(project, work.id, unpacked, facts)
    archive = work.release["archive"]
    work.log.line(f"release {archive} ({format_size(work.release['archive_size'])})")
    work.note_runtime()


def undo_bundle(work: Work) -> None:
    """Remove the deployment's directory and its release."""
    trees.remove(work.project.paths.deployment(work.id))
    releases.remove(work.project, work.id)
