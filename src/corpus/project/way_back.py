"""The way back: what a failed deployment began is undone in reverse, and how it ended is said."""

from __future__ import annotations

import contextlib
import os

from corpus.hosts import processes
from corpus.model.deployment import Outcome
from corpus.model.errors import CorpusError, RollbackFailed
from corpus.project import ending, journal, reserve, steps, traffic, window
from corpus.project.ending import Ending
from corpus.project.ledger import Entry
from corpus.project.work import Work


def back(work: Work, error: BaseException) -> Ending:
    """Undo what began, in reverse, and say how it ended."""
    said = work.log.masked(str(error) or type(error).__name__)
    history = journal.read(work.project.paths.journal)
    begun = history.begun if history else []
    # What a failed phase left running would write into what is put back.
    processes.kill_descendants(os.getpid())
    _make_room(work, begun, error)
    try:
        work.journal.begin(journal.ROLLBACK)
    except OSError:
        if "live" in begun:  # all is well but the disk, and a recovery would complete it too
            return ending.complete(work)
    last = next((name for name in reversed(begun) if name not in journal.MARKS), "start")
    if reserve.is_full(error):
        said += f"\nthe disk, or the size of this environment, is used up: {reserve.MEND}"
    work.log.alarm(f"{last} failed")
    work.log.alarm(said)
    outcome, trouble = _undo(work, begun)
    if trouble:
        trouble = work.log.masked(trouble)
        said = f"{said}\nand the way back failed: {trouble}"
    recorded = _record(work, begun, ending.entry(work, outcome, said))
    if outcome is Outcome.ROLLBACK_FAILED:
        _shout(work, trouble)
    else:
        if recorded:
            _close(work)
        work.log.title(_verdict(work, outcome))
    ending.tidy(work, outcome, said)
    return Ending(str(work.id), outcome, said)


def _make_room(work: Work, begun: list[str], error: BaseException) -> None:
    """Free the reserve when the disk is full, and what was built when that is surely not live.

    Once the swap has begun, the directory of the build may hold the version that was live.
    """
    built = None if "swap" in begun else work.project.paths.new_run(work.id)
    # What cannot be freed must not end the way back.
    with contextlib.suppress(CorpusError, OSError):
        reserve.release(work.project, built, error)


def _record(work: Work, begun: list[str], entry: Entry) -> bool:
    """Write how it ended into the ledger; False, and said, when that cannot be."""
    try:
        try:
            ending.record(work, entry)
        except OSError as error:
            _make_room(work, begun, error)
            ending.record(work, entry)
    except OSError as error:
        work.log.alarm(f"how it ended is not recorded: {error}")
        work.log.alarm("the next start of the deploy service, or the next push, records it")
        return False
    return True


def _close(work: Work) -> None:
    """End the journal; one that stays changes nothing of how it ended."""
    try:
        work.journal.close()
    except OSError as error:
        work.log.alarm(f"the journal stays: {error}")
        work.log.alarm("the next start of the deploy service, or the next push, ends it")


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
            if "start" not in begun:  # whose undoing stops them
                # A reboot has started what lay in run/: it must not live through what follows.
                window.stop_units(work)
        for step in reversed(_order(begun)):
            if not (resumed and step.name in steps.HELD):
                _undo_step(work, step, begun)
    except Exception as error:
        return Outcome.ROLLBACK_FAILED, str(error) or type(error).__name__
    return (Outcome.ROLLED_BACK if touched else Outcome.REFUSED), ""


def _undo_step(work: Work, step: steps.Step, begun: list[str]) -> None:
    if step.undo is None or (step.undo_once and not set(step.undo_once) & set(begun)):
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
    return [steps.EVERY[name] for name in dict.fromkeys(begun) if name in steps.EVERY]


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
