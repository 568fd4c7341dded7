"""How a deployment ends: past the point of no return, recorded, tidied up (steps 13 to 15)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from corpus.model.deployment import Kind, Outcome
from corpus.model.errors import CorpusError
from corpus.model.mode import Mode
from corpus.project import (
    editable,
    hotfixes,
    notifications,
    offering,
    phases,
    repository,
    reserve,
    retention,
    window,
)
from corpus.project.ledger import Entry
from corpus.project.work import Work


@dataclass(frozen=True)
class Ending:
    """How a deployment ended, and why when it is not live."""

    id: str
    outcome: Outcome
    error: str = ""


def complete(work: Work) -> Ending:
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
    tidy(work, Outcome.LIVE, "")
    return Ending(str(work.id), Outcome.LIVE)


def _settle(work: Work) -> None:
    window.admit(work)  # first: none of the rest may keep it held
    paths = work.project.paths
    link = paths.deploy / ".current"
    link.unlink(missing_ok=True)
    link.symlink_to("../run" if work.mode is Mode.EDITABLE else str(work.id))
    link.replace(paths.current)
    record(work, entry(work, Outcome.LIVE))
    if work.mode is not Mode.EDITABLE:
        _note_generated(work)
    offering.follow(work.project)
    repository.move_branch(work.project, work.branch, work.commit)
    work.log.title(f"live in {time.time() - work.started:.1f} s")
    work.journal.close()


def _note_generated(work: Work) -> None:
    """Remember what the phases made in ``run/``; without it, that counts as made by hand."""
    try:
        hotfixes.note(work.project, work.id)
    except OSError as error:
        work.log.line(f"what was made in run/ is not noted: {error}")


def tidy(work: Work, outcome: Outcome, error: str) -> None:
    """Prune and notify: neither may change how the deployment ended."""
    try:
        if outcome is not Outcome.ROLLBACK_FAILED:  # of which everything is kept
            if outcome is Outcome.LIVE and work.mode is Mode.EDITABLE:
                editable.forget(work)
            _prune(work, work.runtime if outcome is Outcome.LIVE else work.former)
        reserve.keep(work.project)
        if work.common and work.runner.has("notify"):
            work.common |= {"outcome": str(outcome), "error": error}
            phases.run(work.runner, "notify", work.common, work.log)
    except Exception as problem:
        work.log.line(f"after the deployment: {problem}")


def _prune(work: Work, runtime: dict[str, Any]) -> None:
    """Prune as the version that is live asks: one that did not get there has no say."""
    try:
        removed = retention.prune(work.project, runtime.get("retention", {}))
    except CorpusError as error:
        work.log.alarm(f"nothing more is pruned: {error}")
        return
    if removed:
        work.log.line(f"pruned {len(removed)} past deployments")


def record(work: Work, entry: Entry) -> None:
    """Write how it ended into the ledger and, the first time, into the outbox. Raises OSError."""
    known = work.ledger.find(entry.id)
    if known is None or known.outcome is not entry.outcome:
        before = work.previous.commit if work.previous else ""
        status = notifications.Status.of(work.project.name, entry, work.branch, before)
        notifications.put(work.project, status, work.log)
    work.ledger.append(entry)


def entry(work: Work, outcome: Outcome, error: str = "") -> Entry:
    """Return what the ledger keeps of a deployment."""
    return Entry(
        id=str(work.id),
        outcome=outcome,
        mode=str(work.mode),
        kind=work.kind,
        release=work.release,
        target=work.target if work.kind is Kind.ROLLBACK else "",
        replaces=work.previous.id if work.kind is Kind.ROLLBACK and work.previous else "",
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
