"""What a deployment would do, found out without touching the project.

The commit is checked out into a scratch tree, where everything but the checkouts is a link
to the real thing; a commit that is not here yet is fetched into it alone. Phases are rendered
there, and none is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from corpus.model.deployment import DeploymentId, Kind
from corpus.model.mode import Mode
from corpus.model.size import format_size
from corpus.project import (
    copies,
    fetching,
    hotfixes,
    phases,
    preparing,
    promotion,
    refusing,
    repository,
    request,
    room,
    scratches,
    steps,
    worktree,
)
from corpus.project.deployment import MakeRunner
from corpus.project.log import Log
from corpus.project.place import Project
from corpus.project.request import Request
from corpus.project.work import Work

_PHASES = {
    "build": phases.BUILD,
    "bundle": ("bundle",),
    "bind": phases.BUILD,
    "unpack": ("configure",),
    "hold": ("stop",),
    "dump": ("backup",),
    "start": ("deploy", "start", "post_deploy", "post_install"),
    "health": ("health",),
}


def plan(
    project: Project,
    asked: Request,
    make_runner: MakeRunner,
    log: Log,
    identity: DeploymentId,
    *,
    preview: bool = False,
) -> dict[str, Any]:
    """Return what the deployment would do, its steps and copies; tell it to ``log`` too.

    ``preview``: the states of each phase tell what they would change (Salt's ``test=True``).
    Sizes in bytes, times in seconds. Raises what a deployment would be refused for.
    """
    refusing.by_checkouts(project)
    with scratches.made(project, identity) as scratch:
        asked, pillar = request.choose(scratch, asked, log)
        work = _work(project, scratch, asked, pillar, make_runner, log, identity)
        states = _rehearse(work, project, log, preview=preview)
        if work.mode is Mode.FINAL and work.kind is not Kind.ROLLBACK:
            manifest = promotion.find(project, work.commit, work.target or None, log.line)
            work.release, work.size = str(manifest.deployment), manifest.size
            work.download = fetching.lacking(project, manifest)
        copied = copies.of(work)
        needed = sum(copy.size for copy in copied)
        found = {
            "mode": str(work.mode),
            "kind": str(work.kind),
            "commit": work.commit,
            "release": work.release,
            "target": work.target,
            "steps": _steps(work, states),
            "copies": [asdict(copy) for copy in copied],
            "needed": needed,
            "free": room.free(project),
            "services": list(work.common["services"]),
            "ports": work.ports,
            "changed_by_hand": _hand_made(project, work),
        }
    for line in _lines(found):
        log.line(line)
    room.foresee(project, needed, log.line)
    return found


def _work(
    project: Project,
    scratch: Project,
    asked: Request,
    pillar: str,
    make_runner: MakeRunner,
    log: Log,
    identity: DeploymentId,
) -> Work:
    paths = scratch.paths
    worktree.foresee(project, asked.new)
    repository.check_out(scratch, paths.project_git, paths.project, asked.new)
    if pillar:
        repository.check_out(scratch, paths.pillar_git, paths.pillar, pillar)
    work = Work.of(asked, scratch, identity, pillar, log, make_runner)
    preparing.require_macros(work)
    work.configure()
    refusing.by_mode(work, project)
    real = {name: getattr(project.paths, name) for name in work.common["paths"] if name != "dumps"}
    work.common["paths"] |= {
        name: str(path) for name, path in real.items() if name not in ("project", "salt", "pillar")
    }
    return work


def _rehearse(work: Work, project: Project, log: Log, *, preview: bool) -> dict[str, int]:
    """Compile every phase; return how many states each has."""
    first, then = phases.called(work.mode)[:2], phases.called(work.mode)[2:]
    found = _compiled(work, first, work.common, log, preview=preview)
    refusing.by_surroundings(work, project)
    return found | _compiled(work, then, preparing.rehearsal(work), log, preview=preview)


def _compiled(
    work: Work, names: Sequence[str], common: dict[str, Any], log: Log, *, preview: bool
) -> dict[str, int]:
    found = {}
    for name in names:
        if work.runner.has(name):
            with phases.limited(name, phases.seconds(common, name)):
                found[name] = work.runner.check(name, common)
                if preview and name not in ("restore", "notify"):
                    log.title(f"{name} (test)")
                    work.runner.preview(name, common, log.line)
    return found


def _steps(work: Work, states: dict[str, int]) -> list[dict[str, Any]]:
    """Return the steps with their phases, and how long each took the last time."""
    took = work.previous.steps if work.previous else {}
    called = {"checkout": ("gather_variables", "pre_install"), **_PHASES}
    return [
        {
            "name": step.name,
            "phases": {name: states[name] for name in called.get(step.name, ()) if name in states},
            "seconds": took.get(step.name),
        }
        for step in (steps.CHECKOUT, *steps.plan(work))
    ]


def _hand_made(project: Project, work: Work) -> dict[str, str]:
    if work.previous is None or work.mode is Mode.EDITABLE:
        return {}
    return hotfixes.by_hand(project, work.previous.deployment)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['kind']} in {found['mode']} mode" + (
        f", release {found['release']}" if found["release"] else ""
    )
    for step in found["steps"]:
        ran = ", ".join(f"{name} ({count} states)" for name, count in step["phases"].items())
        last = f"{step['seconds']:.2f} s last time" if step["seconds"] is not None else ""
        yield f"{step['name']:10}{'; '.join(part for part in (ran, last) if part)}".rstrip()
    for copy in found["copies"]:
        yield f"copy      {copy['what']} by {copy['way']}: up to {format_size(copy['size'])}"
    yield f"room      {format_size(found['needed'])} needed, {format_size(found['free'])} free"
    if found["changed_by_hand"]:
        yield f"by hand   {len(found['changed_by_hand'])} files of run/ were changed since"
