"""The transaction: one deployment from its lock to its notification, or back.

Read ``deploy`` as the table of contents; ``steps`` has each step with its undoing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from corpus.model.deployment import DeploymentId, Outcome
from corpus.model.errors import CorpusError, RollbackFailed
from corpus.project import journal, lock, phases, reserve, retention, steps, traffic
from corpus.project import repository as repo
from corpus.project.ledger import Entry
from corpus.project.log import Log, Sink
from corpus.project.phases import PhaseRunner
from corpus.project.place import Project
from corpus.project.work import Work

MakeRunner = Callable[[Project, DeploymentId], PhaseRunner]
DURABLE = frozenset({"hold", "data", "swap", "start", "live"})


@dataclass(frozen=True)
class Request:
    """What somebody asks to deploy; ``new`` is the commit, ``branch`` the ref it is for."""

    branch: str
    new: str
    by: str = ""


@dataclass(frozen=True)
class Ending:
    """How a deployment ended, and why when it is not live."""

    id: str
    outcome: Outcome
    error: str = ""


def new_id() -> DeploymentId:
    """Return an id for a deployment that begins now."""
    return DeploymentId.make(datetime.now(UTC), uuid4())


def deploy(
    project: Project, request: Request, make_runner: MakeRunner, sink: Sink, identity: DeploymentId
) -> Ending:
    """Deploy a commit: live, or code and data as they were before. Never raises CorpusError.

    ``sink`` gets the log's lines as they are written; an OSError of its is ignored.
    """
    log = Log(project.paths.log(identity), sink)
    try:
        with lock.held(
            project.paths.lock,
            f"deployment {identity} of {request.new[:10]} by {request.by or 'somebody'}",
            lambda ahead: log.title(f"queued behind {ahead}"),
        ):
            recover(project, make_runner, log)
            work = _open(project, request, make_runner, log, identity)
            return _run(work)
    except (CorpusError, OSError) as error:
        log.alarm(str(error))
        return Ending(str(identity), Outcome.REFUSED, log.masked(str(error)))
    finally:
        log.close()


def _open(
    project: Project, request: Request, make_runner: MakeRunner, log: Log, identity: DeploymentId
) -> Work:
    """Check the request and begin the journal: from here on, what happens can be undone."""
    commit = repo.describe(project, request.new)
    log.title(f"{project.name} {identity}")
    log.line(f"commit {commit.sha[:10]} {commit.subject}")
    repo.check_forward(project, request.branch, request.new)
    work = Work(
        project=project,
        id=identity,
        commit=request.new,
        pillar_commit=repo.pillar_tip(project) or "",
        branch=request.branch,
        by=request.by,
        log=log,
        make_runner=make_runner,
    )
    work.journal.open(work.header())
    return work


def _run(work: Work) -> Ending:
    try:
        for step in steps.COOKING[:2]:
            _do(work, step)
        for step in steps.plan(work.common):
            _do(work, step)
    except Exception as error:  # whatever it was, the way back is the same
        return _back(work, error)
    return _complete(work)


def _do(work: Work, step: steps.Step) -> None:
    work.journal.begin(step.name, durable=step.name in DURABLE)
    began = time.monotonic()
    try:
        step.do(work)
    finally:
        work.steps[step.name] = round(time.monotonic() - began, 3)
    work.journal.done(step.name, durable=step.name == "data")


# Step 13 to 15: past the point of no return.


def _complete(work: Work) -> Ending:
    """Mark the deployment live, admit traffic, prune, notify. Done again, it ends the same."""
    work.journal.facts(runtime=work.runtime)
    work.journal.begin("live")
    try:
        _settle(work)
    except (CorpusError, OSError) as error:
        reserve.release(work.project, work.project.paths.new_run(work.id), error)
        try:
            _settle(work)
        except (CorpusError, OSError) as again:
            work.log.alarm(f"live, but not all of it is recorded: {again}")
            work.log.alarm("the next start of the deploy service, or the next push, completes it")
            return Ending(str(work.id), Outcome.LIVE)
    _tidy(work, Outcome.LIVE, "")
    return Ending(str(work.id), Outcome.LIVE)


def _settle(work: Work) -> None:
    paths = work.project.paths
    link = paths.deploy / ".current"
    link.unlink(missing_ok=True)
    link.symlink_to(str(work.id))
    link.replace(paths.current)
    steps.admit(work)
    work.ledger.append(_entry(work, Outcome.LIVE))
    repo.move_branch(work.project, work.branch, work.commit)
    work.log.title(f"live in {time.time() - work.started:.1f} s")
    work.journal.close()


def _tidy(work: Work, outcome: Outcome, error: str) -> None:
    """Prune and notify: neither may change how the deployment ended."""
    try:
        removed = retention.prune(work.project, work.runtime.get("retention", {}))
        if removed:
            work.log.line(f"pruned {len(removed)} past deployments")
        reserve.keep(work.project)
        if work.common and work.runner.has("notify"):
            work.common |= {"outcome": str(outcome), "error": error}
            phases.run(work.runner, "notify", work.common, work.log)
    except Exception as problem:
        work.log.line(f"after the deployment: {problem}")


def _entry(work: Work, outcome: Outcome, error: str = "") -> Entry:
    return Entry(
        id=str(work.id),
        outcome=outcome,
        mode=str(work.mode),
        commit=work.commit,
        pillar_commit=work.pillar_commit,
        started=work.started,
        ended=time.time(),
        by=work.by,
        error=error[:4000],
        runtime=work.runtime,
        steps=work.steps,
        held=round(time.monotonic() - work.held_since, 3) if work.held_since else 0.0,
    )


# The way back.


def _back(work: Work, error: Exception) -> Ending:
    """Undo what began, in reverse, and say how it ended."""
    said = work.log.masked(str(error) or type(error).__name__)
    reserve.release(work.project, work.project.paths.new_run(work.id), error)
    history = journal.read(work.project.paths.journal)
    begun = history.begun if history else []
    last = begun[-1] if begun else "start"
    if reserve.is_full(error):
        said += f"\nthe disk, or the size of this environment, is used up: {reserve.MEND}"
    work.log.alarm(f"{last} failed")
    work.log.alarm(said)
    outcome, trouble = _undo(work, begun)
    if trouble:
        trouble = work.log.masked(trouble)
        said = f"{said}\nand the way back failed: {trouble}"
    work.ledger.append(_entry(work, outcome, said))
    if outcome is Outcome.ROLLBACK_FAILED:
        _shout(work, trouble)
    else:
        work.journal.close()
        work.log.title(_verdict(work, outcome))
    _tidy(work, outcome, said)
    return Ending(str(work.id), outcome, said)


def _undo(work: Work, begun: list[str]) -> tuple[Outcome, str]:
    touched = "hold" in begun
    if touched:
        work.log.title("putting code and data back")
        traffic.hold(work.project.place, work.ports)
    for step in reversed(_order(begun)):
        if step.undo is None or (step.undo_once and step.undo_once not in begun):
            continue
        try:
            step.undo(work)
        except Exception as error:
            return Outcome.ROLLBACK_FAILED, f"{step.name}: {error}"
    return (Outcome.ROLLED_BACK if touched else Outcome.REFUSED), ""


def _order(begun: list[str]) -> list[steps.Step]:
    known = {step.name: step for step in steps.COOKING}
    return [known[name] for name in dict.fromkeys(begun) if name in known]


def _verdict(work: Work, outcome: Outcome) -> str:
    before = f"{work.previous.commit[:10]} is live" if work.previous else "nothing was live before"
    if outcome is Outcome.REFUSED:
        return f"refused: nothing was touched, {before}"
    return f"rolled back: code and data are those of before, {before}"


def _shout(work: Work, trouble: str) -> None:
    paths = work.project.paths
    archive = paths.archive(work.id)
    work.log.alarm("THE ROLLBACK FAILED. Traffic stays held; everything is kept:")
    work.log.alarm(f"  {trouble}")
    work.log.alarm(f"  the previous run/ and data/: {archive.root}, the journal: {paths.journal}")
    work.log.alarm("  mend the cause, then: systemctl restart corpus-deploy (it tries again);")
    work.log.alarm("  or push again: the next deployment begins by finishing this rollback")


# Recovery: the same functions, from the journal of a deployer that died.


def recover(project: Project, make_runner: MakeRunner, log: Log) -> Ending | None:
    """Finish what a dead deployer left: undone, or past step 13 completed.

    The caller holds the project's lock. Raises RollbackFailed when it cannot be finished.
    """
    history = journal.read(project.paths.journal)
    if history is None:
        project.paths.journal.unlink(missing_ok=True)
        return None
    header = history.header
    work = Work(
        project=project,
        id=DeploymentId.parse(header["id"]),
        commit=header["commit"],
        pillar_commit=header["pillar_commit"],
        branch=header["branch"],
        by=header["by"],
        started=header["started"],
        log=log,
        make_runner=make_runner,
        runtime=history.facts.get("runtime", {}),
    )
    log.title(f"recovering {work.id}: its deployer died in {(history.begun or ['start'])[-1]}")
    if history.live:
        return _complete(work)
    ending = _back(work, CorpusError("the deployer died"))
    if ending.outcome is Outcome.ROLLBACK_FAILED:
        raise RollbackFailed(
            f"the rollback of {ending.id} could not be finished: {ending.error}",
            mend="mend its cause first: no deployment begins on top of it",
        )
    return ending
