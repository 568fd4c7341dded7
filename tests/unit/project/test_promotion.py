"""Releases and commits come from the paired staging environment, or lie here already."""

from __future__ import annotations

import itertools
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from corpus.model.deployment import Kind, Outcome
from corpus.model.errors import (
    Conflict,
    CorpusError,
    DeploymentRefused,
    InvalidInput,
    NotFound,
    ReleaseRefused,
)
from corpus.model.manifest import Manifest
from corpus.project import fetching, lock, peers, promotion, releases, repository, room
from corpus.project.ledger import Ledger
from corpus.project.releases import signing
from pairs import FIRST, PROD_ID, SECOND, THIRD, Pair, carry, environment, make_release
from projects import entry, git, ids

C, D = "c" * 40, "d" * 40


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    made = Pair(tmp_path, monkeypatch)
    made.pair()
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    return made


class Told(list[str]):
    """What a person was told."""

    @property
    def text(self) -> str:
        return "\n".join(self)


def obtain(pair: Pair, commit: str = C, wanted: str | None = None) -> tuple[Manifest, Told]:
    told = Told()
    return promotion.obtain(pair.prod.project, commit, wanted, told.append), told


def here(pair: Pair) -> list[str]:
    """The files in production's releases/."""
    return sorted(path.name for path in pair.prod.paths.releases.iterdir())


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


def test_with_an_impostor_s_answer_nothing_counts(both: Pair) -> None:
    both.release()
    obtain(both)
    both.trouble("impostor")
    with pytest.raises(ReleaseRefused, match="Host key verification failed"):
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


# -- ahead of time


def test_a_fetch_waits_for_a_deployment_and_it_for_a_fetch(
    both: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What sweeps or prunes releases/ does so under the same lock."""
    commit = both.staging.commit({"a": "1"})
    both.release(FIRST, commit)
    held = []
    brought = fetching.bring

    def bring(*given: Any) -> None:
        held.append(lock.is_held(both.prod.paths.lock))
        brought(*given)

    monkeypatch.setattr(fetching, "bring", bring)
    manifest = promotion.bring(both.prod.project, None, Told().append)
    assert (manifest.deployment, held) == (FIRST, [True])
    assert repository.has(both.prod.project, commit)
    assert not lock.is_held(both.prod.paths.lock)


def test_no_fetch_goes_before_a_recovery(both: Pair) -> None:
    both.release()
    both.prod.paths.journal.touch()
    with pytest.raises(Conflict, match="not finished yet"):
        promotion.bring(both.prod.project, None, Told().append)
    assert both.asked == []


# -- connections that break


def test_a_release_that_comes_too_slowly(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes with each connection: it ends all the same."""
    both.release(size=900_000)
    both.trouble("cut 1000")
    passed = itertools.count(0, 600)
    monkeypatch.setattr(fetching.time, "monotonic", lambda: float(next(passed)))
    with pytest.raises(ReleaseRefused, match="does not give what was asked"):
        obtain(both)
    assert len(both.asked) < 10


def test_a_broken_download_goes_on_where_it_broke(both: Pair) -> None:
    both.release(size=900_000)
    both.trouble("cut 300000")
    manifest, told = obtain(both)
    gets = [line for line in both.asked if line.startswith("get")]
    assert [int(line.split()[2]) for line in gets[:3]] == [0, 300_000, 600_000]
    assert "trying again" in told.text
    assert manifest.deployment == FIRST


def test_what_an_attempt_left_is_gone_on_from(both: Pair) -> None:
    both.release(size=900_000)
    partial = both.prod.paths.releases / f".demo-{FIRST}.tar.zst.partial"
    shutil.copy(both.staging.paths.release(FIRST), partial)
    with partial.open("r+b") as file:
        file.truncate(500_000)
    obtain(both)
    assert both.asked[-1].endswith(" 500000")


def test_what_is_left_of_another_release_is_no_beginning(both: Pair) -> None:
    both.release(size=200_000)
    partial = both.prod.paths.releases / f".demo-{FIRST}.tar.zst.partial"
    partial.write_bytes(b"rubbish")
    (both.prod.paths.releases / f".demo-{SECOND}.tar.zst.partial").write_bytes(b"rubbish")
    obtain(both)
    assert both.asked[-2:] == [f"get demo-{FIRST}.tar.zst 7", f"get demo-{FIRST}.tar.zst 0"]
    assert not [name for name in here(both) if "partial" in name]
    partial.write_bytes(b"x" * 10_000_000)
    releases.remove(both.prod.project, FIRST)
    obtain(both)


@pytest.mark.parametrize("trouble", ["dead", "cut 0"])
def test_a_staging_that_does_not_answer(both: Pair, trouble: str) -> None:
    both.release()
    both.trouble(trouble)
    with pytest.raises(ReleaseRefused, match="does not give what was asked") as caught:
        obtain(both)
    assert "needs no staging" in str(caught.value)
    assert not both.prod.paths.manifest(FIRST).exists()
    with pytest.raises(ReleaseRefused):
        promotion.fetch_commit(both.prod.project, C)


def test_a_staging_that_is_silent(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_PATIENCE", 0.3)
    both.trouble("silent")
    with pytest.raises(ReleaseRefused, match="does not answer in time"):
        promotion.latest(both.prod.project, Told().append)


def test_a_staging_that_sends_for_ever(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_LISTED", 1 << 20)
    both.trouble("endless")
    with pytest.raises(ReleaseRefused, match="its list is longer than"):
        obtain(both)


@pytest.mark.parametrize("trouble", ["damaged", "longer"])
def test_other_bytes_than_were_signed(both: Pair, trouble: str) -> None:
    both.release(size=200_000)
    both.trouble(trouble)
    with pytest.raises(ReleaseRefused, match=r"not the archive that was signed|is longer than"):
        obtain(both)
    assert not both.prod.paths.manifest(FIRST).exists()
    assert not both.prod.paths.release(FIRST).exists()
    both.trouble("")
    assert obtain(both)[0].deployment == FIRST


# -- room


def test_room_is_asked_for_before_anything_is_fetched(
    both: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = both.release(size=300_000)
    asked = []

    def ensure(_project: object, needed: int, _tell: object) -> None:
        asked.append(needed)
        raise DeploymentRefused("no room")

    monkeypatch.setattr(room, "ensure", ensure)
    with pytest.raises(DeploymentRefused, match="no room"):
        obtain(both)
    assert asked == [made.archive_size]
    assert both.asked == ["list"]


def test_a_full_disk_leaves_nothing(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    both.release(size=300_000)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching.os, "fsync", full)
    with pytest.raises(ReleaseRefused, match="No space left on device"):
        obtain(both)
    assert here(both) == []


# -- who signed


def test_a_release_that_nobody_signed_is_not_fetched(both: Pair) -> None:
    both.release()
    signature = both.staging.paths.signature(FIRST)
    signature.write_bytes(signing.sign(both.prod.place, b"something else"))
    with pytest.raises(ReleaseRefused, match="not signed by"):
        obtain(both)
    assert both.asked == ["list"]
    with pytest.raises(NotFound):
        promotion.latest(both.prod.project, Told().append)


def test_a_foreign_release_is_refused_wherever_it_lies(both: Pair, tmp_path: Path) -> None:
    """Somebody else's environment, with a key that nobody was paired with."""
    foreign = environment(tmp_path / "foreign", "33333333-2222-4333-8444-555555555555", "staging")
    make_release(foreign, FIRST)
    carry(foreign.project, both.prod.project, FIRST)
    with pytest.raises(ReleaseRefused, match="not signed by"):
        obtain(both)
    carry(foreign.project, both.staging.project, FIRST)
    with pytest.raises(ReleaseRefused, match="not signed by"):
        obtain(both)


def test_a_refused_release_that_lies_here_is_fetched_anew(both: Pair) -> None:
    both.release(size=100_000)
    carry(both.staging.project, both.prod.project, FIRST)
    both.prod.paths.release(FIRST).write_bytes(b"damaged")
    manifest, told = obtain(both)
    assert "fetched anew" in told.text
    assert releases.verify(both.prod.project, manifest.deployment) == manifest


def test_who_is_paired_for_one_project_signs_no_other(
    both: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The staging of ``demo`` makes a release of ``other``: production of that refuses it."""
    forger = environment(tmp_path / "forger", peers._facts(both.staging.place)["id"], "staging",
                         "other")  # fmt: skip
    shutil.copy(both.staging.place.release_key, forger.place.release_key)
    make_release(forger, FIRST)
    victim = environment(tmp_path / "victim", PROD_ID, "prod", "other")
    shutil.copy(both.prod.place.signers, victim.place.signers)
    carry(forger.project, victim.project, FIRST)
    with pytest.raises(ReleaseRefused, match="not signed by"):
        promotion.obtain(victim.project, C, None, print)
    # Nor does one of ``other`` pass as one of ``demo``.
    for path in forger.paths.releases.iterdir():
        name = path.name.replace("other-", "demo-")
        shutil.copy(path, both.prod.paths.releases / name)
    with pytest.raises(CorpusError):
        obtain(both, wanted=str(FIRST))


def test_another_architecture_is_not_fetched(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    both.release()
    monkeypatch.setattr("corpus.project.releases.system.architecture", lambda: "m68k")
    with pytest.raises(ReleaseRefused, match="another architecture"):
        obtain(both)
    assert both.asked == ["list"]


def test_nonsense_in_a_list_is_left_out(both: Pair) -> None:
    project = both.prod.project
    for line in (b"", b"{}", b"[]", b"\xff", b'{"manifest": 1, "signature": 2}', b"[" * 100_000,
                 b'{"manifest": "{}", "signature": ""}'):  # fmt: skip
        assert fetching._offer(project, line) is None


# -- commits


def test_a_commit_is_fetched_as_it_is(both: Pair) -> None:
    first = both.staging.commit({"a": "1"})
    second = both.staging.commit({"a": "2"})
    promotion.fetch_commit(both.prod.project, first)
    assert repository.has(both.prod.project, first)
    assert not repository.has(both.prod.project, second)
    promotion.fetch_commit(both.prod.project, second)
    asked = len(both.asked)
    promotion.fetch_commit(both.prod.project, second)
    assert len(both.asked) == asked
    refs = git(f"--git-dir={both.prod.paths.project_git}", "for-each-ref").stdout
    assert refs == ""


def test_a_commit_that_is_not_there(both: Pair) -> None:
    both.staging.commit({"a": "1"})
    with pytest.raises(ReleaseRefused, match="commit cccccccccc"):
        promotion.fetch_commit(both.prod.project, C)
    peers.unpair(both.prod.project)
    with pytest.raises(NotFound, match="has no staging environment"):
        promotion.fetch_commit(both.prod.project, C)
    with pytest.raises(InvalidInput):
        promotion.fetch_commit(both.prod.project, "--upload-pack=id")
