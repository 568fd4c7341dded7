"""The ledger: one line a deployment, told right after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.model.deployment import Kind, Outcome
from corpus.project.ledger import Ledger, origins
from projects import entry, ids

A, B, C = ids(3)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl")


def test_nothing_yet(ledger: Ledger) -> None:
    assert ledger.entries() == []
    assert ledger.live() is None
    assert ledger.find(str(A)) is None


def test_entries_come_back_as_they_were(ledger: Ledger) -> None:
    first = entry(A, Outcome.LIVE, runtime={"ports": [80]}, by="ann", error="")
    second = entry(B, Outcome.REFUSED, error="a\nb — ü")
    ledger.append(first)
    ledger.append(second)
    assert ledger.entries() == [first, second]
    assert ledger.find(str(B)) == second
    assert first.deployment == A


def test_the_last_live_one_is_live(ledger: Ledger) -> None:
    for identity, outcome in ((A, Outcome.LIVE), (B, Outcome.LIVE), (C, Outcome.ROLLED_BACK)):
        ledger.append(entry(identity, outcome))
    live = ledger.live()
    assert live is not None
    assert live.id == str(B)


def test_the_same_ending_is_written_once(ledger: Ledger) -> None:
    for outcome in (Outcome.ROLLBACK_FAILED, Outcome.ROLLBACK_FAILED, Outcome.ROLLED_BACK):
        ledger.append(entry(A, outcome))
    assert [e.outcome for e in ledger.entries()] == [Outcome.ROLLBACK_FAILED, Outcome.ROLLED_BACK]


def test_a_line_cut_short_costs_that_line_alone(ledger: Ledger) -> None:
    ledger.append(entry(A, Outcome.LIVE))
    ledger.append(entry(B, Outcome.LIVE))
    data = ledger.path.read_bytes()
    ledger.path.write_bytes(data[:-20])
    ledger.append(entry(C, Outcome.LIVE))
    assert [e.id for e in ledger.entries()] == [str(A), str(C)]


def test_it_is_for_root_alone(ledger: Ledger) -> None:
    ledger.append(entry(A, Outcome.LIVE))
    assert ledger.path.stat().st_mode & 0o777 == 0o600


def test_a_release_is_as_good_as_its_last_deployment(tmp_path: Path) -> None:
    first, second, back, again = map(str, ids(4))
    ledger = Ledger(tmp_path / "ledger")
    ledger.append(entry(first, Outcome.LIVE, release="r1"))
    ledger.append(entry(second, Outcome.LIVE, release="r2"))
    assert ledger.bad_releases() == set()
    ledger.append(entry(back, Outcome.LIVE, kind=Kind.ROLLBACK, target=first, replaces=second))
    assert ledger.bad_releases() == {"r2"}
    ledger.append(entry(again, Outcome.LIVE, release="r2"))  # somebody named it
    assert ledger.bad_releases() == set()


def test_a_copy_that_is_left_makes_what_it_copied_bad(tmp_path: Path) -> None:
    oldest, first, second, back, further = map(str, ids(5))
    ledger = Ledger(tmp_path / "ledger")
    for number, identity in enumerate((oldest, first, second)):
        ledger.append(entry(identity, Outcome.LIVE, release=f"r{number}"))
    ledger.append(entry(back, Outcome.LIVE, kind=Kind.ROLLBACK, target=first, replaces=second))
    ledger.append(entry(further, Outcome.LIVE, kind=Kind.ROLLBACK, target=oldest, replaces=back))
    assert ledger.bad_releases() == {"r1", "r2"}


def rolled_back_twice(ledger: Ledger) -> tuple[str, ...]:
    """Write: two good ones, a bad one, back to the second; another bad one, back again."""
    oldest, good, bad, copy, worse, again = map(str, ids(6))
    back = {"kind": Kind.ROLLBACK}
    for identity in (oldest, good, bad):
        ledger.append(entry(identity, Outcome.LIVE, release=f"of {identity}"))
    ledger.append(entry(copy, Outcome.LIVE, **back, target=good, replaces=bad))
    ledger.append(entry(worse, Outcome.LIVE, release=f"of {worse}"))
    ledger.append(entry(again, Outcome.LIVE, **back, target=copy, replaces=worse))
    return oldest, good, bad, copy, worse, again


def test_a_copy_of_a_copy_is_what_the_first_is_a_copy_of(ledger: Ledger) -> None:
    oldest, good, bad, copy, worse, again = rolled_back_twice(ledger)
    copied = origins(ledger.entries())
    assert [name for name in copied if copied[name] == good] == [good, copy, again]
    assert ledger.bad() == {bad, worse}
    assert [e.id for e in ledger.targets()] == [oldest]
    further = str(ids(7)[6])  # type: ignore[index]
    back = {"kind": Kind.ROLLBACK, "target": oldest, "replaces": again}
    ledger.append(entry(further, Outcome.LIVE, **back))
    assert ledger.bad() == {bad, worse, good, copy, again}
    assert ledger.bad_releases() == {f"of {name}" for name in (good, bad, worse)}
    assert ledger.targets() == []


def test_copies_in_a_circle_end_nowhere_but_end(ledger: Ledger) -> None:
    """A damaged ledger hangs nobody."""
    one, two, own = map(str, ids(3))
    for identity, target in ((one, two), (two, one), (own, own)):
        back = {"kind": Kind.ROLLBACK, "target": target, "replaces": "unknown"}
        ledger.append(entry(identity, Outcome.LIVE, **back))
    assert origins(ledger.entries()).keys() == {one, two, own}
    assert ledger.bad() == set()
    assert own not in [e.id for e in ledger.targets()]
