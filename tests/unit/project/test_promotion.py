"""Which release goes live: the newest of the paired staging environment, or one that is named."""

from __future__ import annotations

import pytest

from corpus.model.deployment import Kind, Outcome
from corpus.model.errors import InvalidInput, NotFound, ReleaseRefused
from corpus.project import peers, promotion, releases
from corpus.project.ledger import Ledger
from pairs import FIRST, SECOND, THIRD, Pair, carry
from projects import entry, ids
from unit.project.promoting import C, D, Told, here, obtain
from unit.project.promoting import both as both


def test_a_release_is_fetched_and_verified(both: Pair) -> None:
    made = both.release(parts={"docs": ["docs"]})
    manifest, told = obtain(both)
    assert manifest == made
    stem = f"demo-{FIRST}"
    assert here(both) == sorted(
        f"{stem}{end}"
        for end in (".docs.tar.zst", ".manifest.json", ".manifest.json.sig", ".tar.zst")
    )
    assert both.asked == ["list", f"get {stem}.tar.zst 0", f"get {stem}.docs.tar.zst 0"]
    assert f"fetching {stem}.tar.zst" in told.text
    target = both.prod.paths.deploy / "x"
    releases.unpack(both.prod.project, manifest, target)
    assert (target / "docs/page").read_text() == "page\n"


def test_what_lies_here_is_not_fetched_again(both: Pair) -> None:
    both.release()
    obtain(both)
    both.trouble("dead")
    asked = len(both.asked)
    assert obtain(both)[0].deployment == FIRST
    assert len(both.asked) == asked


def test_a_dropped_in_release_needs_no_staging(both: Pair) -> None:
    both.release()
    carry(both.staging.project, both.prod.project, FIRST)
    both.trouble("dead")
    for wanted in (None, str(FIRST), f"demo-{FIRST}.tar.zst", f"demo-{FIRST}.manifest.json",
                   str(both.prod.paths.releases / f"demo-{FIRST}.tar.zst")):  # fmt: skip
        assert obtain(both, wanted=wanted)[0].deployment == FIRST
    assert both.asked == []


def test_the_newest_of_the_commit_or_the_one_that_is_named(both: Pair) -> None:
    both.release(FIRST)
    both.release(SECOND)
    both.release(THIRD, D)
    assert obtain(both)[0].deployment == SECOND
    assert obtain(both, D)[0].deployment == THIRD
    assert obtain(both, "", str(FIRST))[0].deployment == FIRST
    assert obtain(both, "")[0].deployment == THIRD
    assert promotion.latest(both.prod.project, Told().append).deployment == THIRD


def test_what_is_on_offer_is_told(both: Pair) -> None:
    both.release(FIRST)
    both.release(SECOND, D)
    with pytest.raises(NotFound, match=f"commit {'e' * 10}.*{SECOND}.*dddddddddd.*{FIRST}"):
        obtain(both, "e" * 40)
    with pytest.raises(NotFound, match=str(THIRD)):
        obtain(both, "", str(THIRD))
    with pytest.raises(NotFound, match=str(SECOND)):
        obtain(both, C, str(SECOND))


def test_what_names_no_release(both: Pair) -> None:
    for wanted in ("x", "../x", "/etc/passwd", f"/tmp/demo-{FIRST}.tar.zst",
                   f"other-{FIRST}.tar.zst", f"a/demo-{FIRST}.tar.zst"):  # fmt: skip
        with pytest.raises(InvalidInput):
            obtain(both, "", wanted)


def test_without_a_pair(both: Pair) -> None:
    peers.unpair(both.prod.project)
    with pytest.raises(NotFound, match="there is none"):
        obtain(both)
    with pytest.raises(NotFound, match="no release that may be deployed"):
        promotion.latest(both.prod.project, Told().append)


def test_without_an_answer_what_lies_here_counts(both: Pair) -> None:
    both.release(FIRST)
    both.release(SECOND)
    carry(both.staging.project, both.prod.project, FIRST)
    assert obtain(both, "")[0].deployment == SECOND
    releases.remove(both.prod.project, SECOND)
    both.trouble("dead")
    found, told = obtain(both, "")
    assert found.deployment == FIRST
    assert "Connection refused; the newest release that lies here is taken" in told.text
    releases.remove(both.prod.project, FIRST)
    with pytest.raises(ReleaseRefused, match="Connection refused"):
        obtain(both, "")


def test_what_was_rolled_back_from_is_taken_only_by_name(both: Pair) -> None:
    both.release(FIRST)
    both.release(SECOND)
    ledger = Ledger(both.prod.paths.ledger)
    good, bad, back = map(str, list(ids(6))[3:])
    ledger.append(entry(good, Outcome.LIVE, release=str(FIRST)))
    ledger.append(entry(bad, Outcome.LIVE, release=str(SECOND)))
    ledger.append(entry(back, Outcome.LIVE, kind=Kind.ROLLBACK, target=good, replaces=bad))
    found, told = obtain(both, "")
    assert found.deployment == FIRST
    assert f"{SECOND} was rolled back from" in told.text
    assert obtain(both, "", str(SECOND))[0].deployment == SECOND
    assert obtain(both, "")[0].deployment == FIRST
