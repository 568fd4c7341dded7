"""What stays of past deployments, and what goes."""

from __future__ import annotations

import os
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.model.deployment import DeploymentId, Outcome
from corpus.project import retention
from corpus.project.ledger import Ledger
from projects import Scratch, entry, ids

OUTCOMES = st.lists(st.sampled_from(Outcome), max_size=15)
DAYS = 3 * 86400


@settings(max_examples=50, deadline=None)
@given(OUTCOMES, st.integers(0, 6), st.integers(0, 6))
def test_the_last_ones_stay(outcomes: list[Outcome], good: int, failed: int) -> None:
    entries = [entry(i, o) for i, o in zip(ids(len(outcomes)), outcomes, strict=True)]
    stay = retention.kept(entries, good, failed)
    live = [e.id for e in entries if e.outcome is Outcome.LIVE]
    bad = [e.id for e in entries if e.outcome is not Outcome.LIVE]
    assert {i for i in live if i in stay} == set(live[-max(1, good) :])
    assert [i for i in bad if i in stay] == bad[max(0, len(bad) - failed) :]
    if live:
        assert live[-1] in stay


def leave_traces(scratch: Scratch, identity: DeploymentId, age: float = 0) -> None:
    """Make everything that a deployment can leave."""
    paths = scratch.paths
    (paths.deployment(identity) / "sub").mkdir(parents=True)
    (paths.archive(identity).root / "data").mkdir(parents=True)
    paths.new_run(identity).mkdir()
    for file in (paths.release(identity), paths.manifest(identity), paths.log(identity)):
        file.parent.mkdir(exist_ok=True)
        file.touch()
        os.utime(file, (time.time() - age,) * 2)


def traces(scratch: Scratch, identity: DeploymentId) -> list[str]:
    return [str(p) for p in scratch.paths.root.rglob(f"*{identity}*")]


def test_it_prunes_every_trace_and_nothing_foreign(scratch: Scratch) -> None:
    known = list(ids(4))
    ledger = Ledger(scratch.paths.ledger)
    for identity, outcome in zip(
        known, (Outcome.LIVE, Outcome.REFUSED, Outcome.LIVE, Outcome.ROLLED_BACK), strict=True
    ):
        leave_traces(scratch, identity)
        ledger.append(entry(identity, outcome))
    foreign = [
        scratch.paths.archives / "notes",
        scratch.paths.deploy / "mine",
        scratch.paths.releases / "demo-old.tar.zst",
        scratch.paths.build / "cache" / "wheel",
    ]
    for path in foreign:
        path.mkdir()
    scratch.paths.current.symlink_to(str(known[2]))
    removed = retention.prune(scratch.project, {"good": 1, "failed": 1})
    assert removed == [str(known[0]), str(known[1])]
    assert [bool(traces(scratch, i)) for i in known] == [False, False, True, True]
    assert len(traces(scratch, known[2])) == 6
    assert all(path.exists() for path in foreign)
    assert scratch.paths.current.exists()
    assert retention.prune(scratch.project, {"good": 1, "failed": 1}) == []


def test_one_that_still_waits_keeps_its_log(scratch: Scratch) -> None:
    """A deployment in the queue is in no ledger yet, and its log is what its pusher reads."""
    waiting, forgotten = ids(2)
    for identity, age in ((waiting, 0.0), (forgotten, DAYS)):
        log = scratch.paths.log(identity)
        log.parent.mkdir(exist_ok=True)
        log.touch()
        os.utime(log, (time.time() - age,) * 2)
    assert retention.prune(scratch.project, {}) == [str(forgotten)]
    assert scratch.paths.log(waiting).exists()
