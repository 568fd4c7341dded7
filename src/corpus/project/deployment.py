"""The transaction: one deployment from its lock to its notification, or back.

Read ``deploy`` as the table of contents; ``steps`` has each step with its undoing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from corpus.hosts import processes
from corpus.model.deployment import DeploymentId, Outcome
from corpus.model.errors import CorpusError, RollbackFailed
from corpus.project import journal, lock, phases, reserve, retention, steps, traffic, window
from corpus.project import repository as repo
from corpus.project.ledger import Entry
from corpus.project.log import Log, Sink
from corpus.project.phases import PhaseRunner
from corpus.project.place import Project
from corpus.project.work import Work

MakeRunner = Callable[[Project, DeploymentId], PhaseRunner]
MARK = "CORPUS_DEPLOYMENT"
"""The variable that tells the programs of a deployment, its id, from all others."""
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
            lock.text(identity, request.new, request.branch, request.by),
            lambda ahead: log.title(f"queued behind {ahead}"),
        ):
            recover(project, make_runner, log)
            with processes.marked(MARK, str(identity)):
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
        work.journal.facts(runtime=work.runtime)
        work.journal.begin("live")
    except BaseException as error:  # whatever it was, an interrupt too: the way back is the same
        return _back(work, error)
    return _complete(work)


def _do(work: Work, step: steps.Step) -> None:
    work.journal.begin(step.name, durable=step.name in DURABLE)
    began = time.monotonic()
    try:
        step.do(work)
    finally:
        work.steps[step.name] = round(time.monotonic() - began, 3)


# Step 13 to 15: past the point of no return.


def _complete(work: Work) -> Ending:
    """Mark the deployment live, admit traffic, prune, notify. Done again, it ends the same."""
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
    window.admit(work)  # first: none of the rest may keep it held
    paths = work.project.paths
    link = paths.deploy / ".current"
    link.unlink(missing_ok=True)
    link.symlink_to(str(work.id))
    link.replace(paths.current)
    work.ledger.append(_entry(work, Outcome.LIVE))
    repo.move_branch(work.project, work.branch, work.commit)
    work.log.title(f"live in {time.time() - work.started:.1f} s")
    work.journal.close()


def _tidy(work: Work, outcome: Outcome, error: str) -> None:
    """Prune and notify: neither may change how the deployment ended."""
    try:
        if outcome is not Outcome.ROLLBACK_FAILED:  # of which everything is kept
            _prune(work, work.runtime if outcome is Outcome.LIVE else work.former)
        reserve.keep(work.project)
        if work.common and work.runner.has("notify"):
            work.common |= {"outcome": str(outcome), "error": error}
            phases.run(work.runner, "notify", work.common, work.log)
    except Exception as problem:
        work.log.line(f"after the deployment: {problem}")


def _prune(work: Work, runtime: dict[str, Any]) -> None:
    """Prune as the version that is live asks: one that did not get there has no say."""
    removed = retention.prune(work.project, runtime.get("retention", {}))
    if removed:
        work.log.line(f"pruned {len(removed)} past deployments")


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


def _back(work: Work, error: BaseException) -> Ending:
    """Undo what began, in reverse, and say how it ended."""
    said = work.log.masked(str(error) or type(error).__name__)
    history = journal.read(work.project.paths.journal)
    begun = history.begun if history else []
    # What a failed phase left running would write into what is put back.
    processes.kill_descendants(os.getpid())
    _make_room(work, begun, error)
    with contextlib.suppress(OSError):
        work.journal.begin(journal.ROLLBACK)
    last = next((name for name in reversed(begun) if name not in journal.MARKS), "start")
    if reserve.is_full(error):
        said += f"\nthe disk, or the size of this environment, is used up: {reserve.MEND}"
    work.log.alarm(f"{last} failed")
    work.log.alarm(said)
    outcome, trouble = _undo(work, begun)
    if trouble:
        trouble = work.log.masked(trouble)
        said = f"{said}\nand the way back failed: {trouble}"
    recorded = _record(work, begun, _entry(work, outcome, said))
    if outcome is Outcome.ROLLBACK_FAILED:
        _shout(work, trouble)
    else:
        if recorded:
            work.journal.close()
        work.log.title(_verdict(work, outcome))
    _tidy(work, outcome, said)
    return Ending(str(work.id), outcome, said)


def _make_room(work: Work, begun: list[str], error: BaseException) -> None:
    """Free the reserve when the disk is full, and what was built when that is surely not live.

    Once the swap has begun, the directory of the build may hold the version that was live.
    """
    built = None if "swap" in begun else work.project.paths.new_run(work.id)
    reserve.release(work.project, built, error)


def _record(work: Work, begun: list[str], entry: Entry) -> bool:
    """Write how it ended into the ledger; False, and said, when that cannot be."""
    try:
        try:
            work.ledger.append(entry)
        except OSError as error:
            _make_room(work, begun, error)
            work.ledger.append(entry)
    except OSError as error:
        work.log.alarm(f"how it ended is not recorded: {error}")
        work.log.alarm("the next start of the deploy service, or the next push, records it")
        return False
    return True


def _undo(work: Work, begun: list[str]) -> tuple[Outcome, str]:
    touched = "hold" in begun
    # Traffic was let in again: what users wrote since must not be undone by a second time.
    resumed = journal.RESUME in begun
    try:
        if resumed:
            window.admit(work)
        elif touched:
            work.log.title("putting code and data back")
            traffic.hold(work.project.place, work.ports)
        for step in reversed(_order(begun)):
            if not (resumed and step.name in steps.HELD):
                _undo_step(work, step, begun)
    except Exception as error:
        return Outcome.ROLLBACK_FAILED, str(error) or type(error).__name__
    return (Outcome.ROLLED_BACK if touched else Outcome.REFUSED), ""


def _undo_step(work: Work, step: steps.Step, begun: list[str]) -> None:
    if step.undo is None or (step.undo_once and step.undo_once not in begun):
        return
    try:
        try:
            step.undo(work)
        except Exception as error:
            if not reserve.is_full(error):
                raise
            _make_room(work, begun, error)
            step.undo(work)
    except Exception as error:
        raise RollbackFailed(f"{step.name}: {error}") from error


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
    work.log.alarm("THE ROLLBACK FAILED. Everything is kept, no deployment begins on top of it:")
    work.log.alarm(f"  {trouble}")
    work.log.alarm(f"  the previous run/ and data/: {archive.root}, the journal: {paths.journal}")
    work.log.alarm("  mend the cause, then: systemctl restart corpus-deploy (it tries again).")
    work.log.alarm(f"  A macro that is wrong is corrected here, in {paths.salt}: a push cannot")


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
    # What the dead one left running would write into what is put back.
    orphans = processes.kill_marked(MARK, header["id"])
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
    log.title(f"recovering {work.id}: it was cut off in {(history.begun or ['start'])[-1]}")
    if orphans:
        log.line(f"{orphans} processes that it left were ended")
    with processes.marked(MARK, header["id"]):
        if history.live:
            return _complete(work)
        ending = _back(work, CorpusError("the deployment was cut off"))
    if ending.outcome is Outcome.ROLLBACK_FAILED:
        raise RollbackFailed(
            f"the rollback of {ending.id} could not be finished: {ending.error}",
            mend="mend its cause first: no deployment begins on top of it",
        )
    return ending
