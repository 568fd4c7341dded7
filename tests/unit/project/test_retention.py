"""What stays of past deployments, and what goes."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.model.deployment import DeploymentId, Kind, Outcome
from corpus.model.errors import InvalidInput
from corpus.project import configuration, retention, targets, trees, usage
from corpus.project.ledger import Ledger
from corpus.project.place import Project
from projects import Phases, Scratch, copy_to_run, entry, fail, ids, place_at

OUTCOMES = st.lists(st.sampled_from(Outcome), max_size=15)
DAYS = 3 * 86400


@settings(max_examples=50, deadline=None)
@given(OUTCOMES, st.integers(0, 6), st.integers(0, 6))
def test_the_last_ones_stay(outcomes: list[Outcome], good: int, failed: int) -> None:
    entries = [entry(i, o) for i, o in zip(ids(len(outcomes)), outcomes, strict=True)]
    stay = retention.kept(entries, set(), good, failed)
    live = [e.id for e in entries if e.outcome is Outcome.LIVE]
    bad = [e.id for e in entries if e.outcome is not Outcome.LIVE]
    assert {i for i in live if i in stay} == set(live[-max(1, good) :])
    assert [i for i in bad if i in stay] == bad[max(0, len(bad) - failed) :]
    with tempfile.TemporaryDirectory() as folder:
        project = Project.at(place_at(Path(folder)), "demo")
        for each in entries:
            Ledger(project.paths.ledger).append(each)
            project.paths.deployment(each.deployment).mkdir(parents=True)
            project.paths.archive(each.deployment).data.mkdir(parents=True)
        assert retention.protected(project) == set(live[-2:])


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
    known = list(ids(5))
    ledger = Ledger(scratch.paths.ledger)
    outcomes = (Outcome.LIVE, Outcome.LIVE, Outcome.REFUSED, Outcome.LIVE, Outcome.ROLLED_BACK)
    for identity, outcome in zip(known, outcomes, strict=True):
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
    scratch.paths.current.symlink_to(str(known[3]))
    removed = retention.prune(scratch.project, {"good": 1, "failed": 1})
    assert removed == [str(known[0]), str(known[2])]
    assert [bool(traces(scratch, i)) for i in known] == [False, True, False, True, True]
    assert len(traces(scratch, known[3])) == 6
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


def test_what_a_rollback_needs_stays(scratch: Scratch) -> None:
    """After a rollback: the one before that, and the one whose archive has its data."""
    oldest, good, bad, back = map(str, ids(4))
    ledger = Ledger(scratch.paths.ledger)
    for identity in (oldest, good, bad):
        ledger.append(entry(identity, Outcome.LIVE, release=identity))
    ledger.append(entry(back, Outcome.LIVE, kind=Kind.ROLLBACK, target=good, replaces=bad))
    for identity in (oldest, good, bad, back):
        (scratch.paths.deploy / identity).mkdir()
        (scratch.paths.archives / identity / "data").mkdir(parents=True)
    # The last one is a copy of ``good``, whose release is the one on offer.
    assert retention.protected(scratch.project) == {oldest, good, back}


def test_bad_ones_push_out_no_good_one(scratch: Scratch) -> None:
    """Those that somebody went back from count with the failed."""
    known = oldest, good, bad, copy, worse, again = tuple(map(str, ids(6)))
    ledger = Ledger(scratch.paths.ledger)
    back = {"kind": Kind.ROLLBACK}
    for identity in (oldest, good, bad):
        ledger.append(entry(identity, Outcome.LIVE, release=identity))
    ledger.append(entry(copy, Outcome.LIVE, **back, target=good, replaces=bad))
    ledger.append(entry(worse, Outcome.LIVE, release=worse))
    ledger.append(entry(again, Outcome.LIVE, **back, target=copy, replaces=worse))
    stay = retention.kept(ledger.entries(), ledger.bad(), 4, 1)
    assert stay == {oldest, good, copy, worse, again}
    for identity in known:
        (scratch.paths.deploy / identity).mkdir()
        (scratch.paths.archives / identity / "data").mkdir(parents=True)
    # What is live is a copy of a copy of ``good``, whose release is the one on offer.
    assert retention.protected(scratch.project) == {oldest, good, again}
    assert retention.prune(scratch.project, {"good": 4, "failed": 1}) == [bad]
    assert retention.prune(scratch.project, {"good": 1, "failed": 0}) == [copy, worse]


def test_what_leaves_nothing_to_go_back_to_pushes_nothing_out(scratch: Scratch) -> None:
    """A cooked deployment, then many of editable mode, then a cooked one."""
    cooked, *edited, last = ids(9)
    ledger = Ledger(scratch.paths.ledger)
    for identity in (cooked, *edited, last):
        ledger.append(entry(identity, Outcome.LIVE))
    for identity in (cooked, last):
        scratch.paths.deployment(identity).mkdir()
    archive = scratch.paths.archive(edited[0]).data
    archive.mkdir(parents=True)
    assert targets.choose(scratch.project).id == str(cooked)
    retention.prune(scratch.project, {"good": 1, "size": 1})
    assert targets.choose(scratch.project).id == str(cooked)
    assert targets.data_of(scratch.project, str(cooked)) == edited[0]


def test_one_whose_way_back_failed_at_first_counts_once(scratch: Scratch) -> None:
    first, second = ids(2)
    entries = [
        entry(first, Outcome.REFUSED),
        entry(second, Outcome.ROLLBACK_FAILED),
        entry(second, Outcome.ROLLED_BACK),
    ]
    assert retention.kept(entries, set(), 1, 2) == {str(first), str(second)}


def test_a_prune_that_is_killed_leaves_no_half_of_a_deployment(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = list(ids(3))
    for identity in known:
        leave_traces(scratch, identity)
        Ledger(scratch.paths.ledger).append(entry(identity, Outcome.LIVE))

    def killed(_path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trees, "_remove_plain", killed)
        with pytest.raises(KeyboardInterrupt):
            retention.prune(scratch.project, {"good": 1})
    assert not scratch.paths.deployment(known[0]).exists()
    assert [e.deployment for e in targets.kept(scratch.project)] == [known[1]]
    retention.prune(scratch.project, {"good": 1})
    assert traces(scratch, known[0]) == []


def test_releases_of_another_environment(scratch: Scratch) -> None:
    """One that was deployed here goes with its deployment; one that was not yet, stays."""
    *deployed, mine, theirs, waiting = ids(6)
    ledger = Ledger(scratch.paths.ledger)
    ledger.append(entry(deployed[0], Outcome.LIVE, release=str(theirs)))
    for identity in (*deployed[1:], mine):
        ledger.append(entry(identity, Outcome.LIVE))
    for identity in (theirs, waiting):
        scratch.paths.release(identity).touch()
        scratch.paths.manifest(identity).touch()
    assert retention.prune(scratch.project, {"good": 4}) == []
    assert retention.prune(scratch.project, {"good": 3}) == [str(theirs)]
    assert traces(scratch, theirs) == []
    assert len(traces(scratch, waiting)) == 2


# -- by size


def fill(scratch: Scratch, identity: DeploymentId, size: int) -> None:
    archive = scratch.paths.archive(identity)
    (archive.root / "run").mkdir(parents=True)
    archive.data.mkdir()
    scratch.paths.deployment(identity).mkdir()
    (archive.root / "run" / "file").write_bytes(os.urandom(size))


def past(scratch: Scratch, sizes: list[int], bad: int = -1) -> list[str]:
    known = list(ids(len(sizes)))
    for number, (identity, size) in enumerate(zip(known, sizes, strict=True)):
        outcome = Outcome.ROLLED_BACK if number == bad else Outcome.LIVE
        Ledger(scratch.paths.ledger).append(entry(identity, outcome))
        fill(scratch, identity, size)
    return list(map(str, known))


MEGA = 1 << 20


def test_by_size_the_oldest_go(scratch: Scratch) -> None:
    known = past(scratch, [MEGA, MEGA, MEGA, MEGA], bad=1)
    assert retention.prune(scratch.project, {"size": "4M"}) == []
    assert retention.prune(scratch.project, {"size": 3 * MEGA - 1}) == known[:2]
    assert retention.prune(scratch.project, {"size": 3 * MEGA - 1}) == []


def test_by_size_the_protected_stay(scratch: Scratch) -> None:
    known = past(scratch, [MEGA, MEGA, MEGA, MEGA])
    assert retention.prune(scratch.project, {"size": 1}, known[1]) == [known[0]]
    assert retention.prune(scratch.project, {"size": 1}) == [known[1]]
    assert retention.prune(scratch.project, {"size": 1}) == []


def test_by_size_the_release_that_is_live_stays(scratch: Scratch) -> None:
    """In production it bears an id of staging's, which is older than any of here."""
    release, other, *known = ids(5)
    for identity, of in zip(known, (other, other, release), strict=True):
        Ledger(scratch.paths.ledger).append(entry(identity, Outcome.LIVE, release=str(of)))
        fill(scratch, identity, MEGA)
    for identity in (release, other):
        scratch.paths.release(identity).write_bytes(os.urandom(MEGA))
    removed = retention.prune(scratch.project, {"size": 1})
    assert str(release) not in removed
    assert scratch.paths.release(release).exists()


def test_what_is_shared_counts_once(scratch: Scratch) -> None:
    known = list(past(scratch, [0, 0, 0, 0]))
    paths = scratch.paths
    first = paths.archives / known[0] / "run" / "large"
    first.write_bytes(os.urandom(4 * MEGA))
    for identity in known[1:]:
        os.link(first, paths.archives / identity / "run" / "large")
    assert usage.measure(scratch.project).freed(known) >= 4 * MEGA
    assert usage.measure(scratch.project).freed(known) < 4.5 * MEGA
    assert retention.prune(scratch.project, {"size": "5M"}) == []
    # Nothing is gained before the last of them goes, so all that may go, goes.
    assert retention.prune(scratch.project, {"size": "3M"}) == known[:2]


def test_a_failed_deployment_prunes_too(live: Scratch) -> None:
    """By the settings of the version that is live."""
    settings = {"retention": {"good": 5, "failed": 1}}
    good = Phases(settings, build=copy_to_run)
    assert live.deploy(live.commit({"app": "2"}), good).outcome == "live"
    failed = [live.deploy(live.commit({"app": "3"}), Phases(build=fail)) for _ in range(2)]
    assert [each.outcome for each in failed] == ["refused", "refused"]
    assert "pruned 1 past deployments" in failed[1].text
    there = {str(found) for found in retention._on_disk(live.project)}
    assert failed[0].ending.id not in there
    assert failed[1].ending.id in there


@pytest.mark.parametrize("size", [0, -1, "", "2X", True, [], "0"])
def test_a_size_that_is_none(size: object) -> None:
    layer = {"makina-projects.demo": {"retention": {"size": size}}}
    with pytest.raises(InvalidInput, match=r"retention\.size must be bytes, or a size such as 2G"):
        configuration.configure("demo", [("here", layer)])


@pytest.mark.parametrize("size", ["2G", 1 << 30, None])
def test_a_size_that_is_one(size: object) -> None:
    layer = {"makina-projects.demo": {"retention": {"size": size}}}
    found = configuration.configure("demo", [("here", layer)])["retention"]
    assert found == {"good": 5, "failed": 2, "size": size}


def test_a_broken_download_stays_for_a_day(scratch: Scratch) -> None:
    folder = scratch.paths.releases
    old, young = folder / ".old.tar.zst.partial", folder / ".young.tar.zst.partial"
    for path, age in ((old, DAYS), (young, 3600)):
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    retention.prune(scratch.project, {})
    assert (old.exists(), young.exists()) == (False, True)
