"""What is fetched of the staging environment: over connections that break, where there is room."""

from __future__ import annotations

import itertools
import shutil
from typing import Any

import pytest

from corpus.model.errors import Conflict, DeploymentRefused, InvalidInput, NotFound, ReleaseRefused
from corpus.project import fetching, lock, peers, promotion, releases, repository, room
from pairs import FIRST, SECOND, Pair
from projects import git
from unit.project.promoting import C, Told, here, obtain
from unit.project.promoting import both as both


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
