"""The transaction: one deployment from its lock to its notification, or back.

Read ``deploy`` as the table of contents; ``steps`` has each step with its undoing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from corpus.hosts import files, kernel, processes
from corpus.model.deployment import DeploymentId, Kind, Outcome
from corpus.model.errors import CorpusError, RollbackFailed
from corpus.model.mode import Mode
from corpus.project import journal, lock, refusing, request, steps, way_back
from corpus.project.ending import Ending, complete
from corpus.project.log import Log, Sink
from corpus.project.phases import PhaseRunner
from corpus.project.place import Project
from corpus.project.request import Request
from corpus.project.work import Work

MakeRunner = Callable[[Project, DeploymentId], PhaseRunner]
MARK = "CORPUS_DEPLOYMENT"
"""The variable that tells the programs of a deployment, its id, from all others."""
DURABLE = frozenset({"hold", "data", "swap", "bind", "revert", "start", "live"})


def new_id() -> DeploymentId:
    """Return an id for a deployment that begins now."""
    return DeploymentId.make(datetime.now(UTC), uuid4())


def deploy(
    project: Project, asked: Request, make_runner: MakeRunner, sink: Sink, identity: DeploymentId
) -> Ending:
    """Deploy a commit: live, or code and data as they were before. Never raises CorpusError.

    ``sink`` gets the log's lines as they are written; an OSError of its is ignored.
    """
    log = Log(project.paths.log(identity), sink)
    try:
        with lock.held(
            project.paths.lock,
            lock.text(identity, asked.new or asked.kind, asked.branch, asked.by),
            lambda ahead: log.title(f"queued behind {ahead}"),
        ):
            recover(project, make_runner, log)
            with processes.marked(MARK, str(identity)):
                return _run(_open(project, asked, make_runner, log, identity))
    except (CorpusError, OSError) as error:
        log.alarm(str(error))
        return Ending(str(identity), Outcome.REFUSED, log.masked(str(error)))
    finally:
        log.close()


def _open(
    project: Project, asked: Request, make_runner: MakeRunner, log: Log, identity: DeploymentId
) -> Work:
    """Check the request and begin the journal: from here on, what happens can be undone."""
    log.title(f"{project.name} {identity}")
    refusing.by_checkouts(project)
    asked, pillar = request.choose(project, asked, log)
    work = Work.of(asked, project, identity, pillar, log, make_runner)
    work.journal.open(work.header())
    return work


def _run(work: Work) -> Ending:
    try:
        _do(work, steps.CHECKOUT)
        for step in steps.plan(work):
            _do(work, step)
        work.journal.facts(runtime=work.runtime)
        kernel.sync(work.project.paths.run)  # what is told to be live is there after a power cut
        work.journal.begin("live")
    except BaseException as error:  # whatever it was, an interrupt too: the way back is the same
        return way_back.back(work, error)
    return complete(work)


def _do(work: Work, step: steps.Step) -> None:
    work.journal.begin(step.name, durable=step.name in DURABLE)
    began = time.monotonic()
    try:
        step.do(work)
    finally:
        work.steps[step.name] = round(time.monotonic() - began, 3)


# Recovery: the same functions, from the journal of a deployer that died.


def recover(project: Project, make_runner: MakeRunner, log: Log) -> Ending | None:
    """Finish what a dead deployer left: undone, or past step 13 completed.

    The caller holds the project's lock. Raises RollbackFailed when it cannot be finished.
    """
    for folder in (project.paths.state, project.paths.outbox, project.paths.releases):
        files.sweep(folder)
    history = journal.read(project.paths.journal)
    if history is None:
        project.paths.journal.unlink(missing_ok=True)
        return None
    # What the dead one left running would write into what is put back.
    orphans = processes.kill_marked(MARK, history.header["id"])
    work = _work_of(project, history, make_runner, log)
    log.title(f"recovering {work.id}: it was cut off in {(history.begun or ['start'])[-1]}")
    if orphans:
        log.line(f"{orphans} processes that it left were ended")
    with processes.marked(MARK, str(work.id)):
        if history.live:
            return _completed(work)
        ended = way_back.back(work, CorpusError("the deployment was cut off"))
    if ended.outcome is Outcome.ROLLBACK_FAILED:
        raise RollbackFailed(
            f"the rollback of {ended.id} could not be finished: {ended.error}",
            mend="mend its cause first: no deployment begins on top of it",
        )
    return ended


def _work_of(project: Project, history: journal.History, make_runner: MakeRunner, log: Log) -> Work:
    """Return the work that a journal tells of."""
    header, facts = history.header, history.facts
    return Work(
        project=project,
        id=DeploymentId.parse(header["id"]),
        commit=header["commit"],
        pillar_commit=header["pillar_commit"],
        branch=header["branch"],
        by=header["by"],
        started=header["started"],
        log=log,
        make_runner=make_runner,
        kind=Kind(header["kind"]),
        target=header["target"],
        with_data=header["with_data"],
        mode=Mode(facts.get("mode", Mode.COOKING)),
        release=facts.get("release", ""),
        runtime=facts.get("runtime", {}),
    )


def _completed(work: Work) -> Ending:
    """Complete a deployment that is live. Raises CorpusError while that cannot be recorded."""
    ended = complete(work)
    if work.journal.path.exists():
        raise CorpusError(
            f"{work.id} is live and that could not be recorded",
            where=str(work.journal.path),
            mend="mend the cause above first: no deployment begins on top of it",
        )
    return ended
