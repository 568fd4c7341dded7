"""What a deployment is about, or left when it died, is told, and nothing is taken from it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corpus.model.deployment import Outcome
from corpus.project import lock
from corpus.project.journal import Journal
from corpus.project.ledger import Ledger
from patience import wait_until
from projects import BRANCH, entry, fork, ids, kill
from unit.project.wells import Well, wrong
from unit.project.wells import well as well
from unit.project.wells import wells as wells


@pytest.mark.parametrize(
    ("begun", "said"),
    [
        ([], "cut off in start; nothing was touched"),
        (["checkout", "build"], "cut off in build; nothing was touched"),
        (["hold", "data", "start"], "cut off in start; code and data of before will be put back"),
        (["hold", "start", "rollback", "resume"], "the former version serves again"),
        (["hold", "start", "health", "live"], "the new version is live"),
    ],
)
def test_an_unfinished_deployment(well: Well, begun: list[str], said: str) -> None:
    (identity,) = ids(1)
    journal = Journal(well.paths.journal)
    journal.open({"id": str(identity)})
    for step in begun:
        journal.begin(step)
    half = well.paths.build / f"run-{identity}"
    half.mkdir()
    for mend in (False, True):
        (found,) = wrong(well.examine(mend=mend))
        assert (found["check"], found["state"]) == ("journal", "warn")
        assert said in found["what"]
        assert half.exists()  # which finishing it takes
    journal.close()
    half.rmdir()


def test_a_rollback_that_failed(well: Well) -> None:
    (identity,) = ids(1)
    text = well.paths.ledger.read_text()
    Journal(well.paths.journal).open({"id": str(identity)})
    Ledger(well.paths.ledger).append(
        entry(identity, Outcome.ROLLBACK_FAILED, error="restore: it was told to fail")
    )
    (found,) = wrong(well.examine(mend=True))
    assert (found["check"], found["state"], found["mended"]) == ("journal", "bad", False)
    assert "restore: it was told to fail" in found["what"]
    well.paths.journal.unlink()
    well.paths.ledger.write_text(text)


def holding(well: Well, seen: Path, orphan: bool = False) -> int:
    def work() -> None:
        said = lock.text("20260101T000000-x", "1" * 40, BRANCH, "ann")
        with lock.held(well.paths.lock, said, print):
            if orphan and os.fork():
                os._exit(0)  # without giving it back
            seen.write_text(str(os.getpid()))
            wait_until(lambda: False, 60)

    return fork(work)


def test_nothing_is_mended_under_a_deployment(well: Well, tmp_path: Path) -> None:
    half = well.paths.build / "run-x"
    half.mkdir()
    pid = holding(well, tmp_path / "seen")
    wait_until((tmp_path / "seen").exists)
    well.paths.archives.chmod(0o711)
    found = well.examine(mend=True)
    assert [each["what"] for each in found if each["check"] == "lock"] == [
        f"held by deployment 20260101T000000-x of 1111111111 on master by ann (process {pid})"
    ]
    (left,) = wrong(found)
    assert (left["what"], left["mended"]) == ("mode 0711", False)
    assert half.exists()
    kill(pid)
    assert {each["what"] for each in wrong(well.examine(mend=True))} == {"mode 0711", "half made"}


def test_a_lock_that_a_dead_deployer_left(well: Well, tmp_path: Path) -> None:
    os.waitpid(holding(well, tmp_path / "seen", orphan=True), 0)
    wait_until(lambda: (tmp_path / "seen").exists() and (tmp_path / "seen").read_text())
    left = (tmp_path / "seen").read_text()
    (found,) = wrong(well.examine())
    assert found["check"] == "lock"
    assert f"whose process is dead; it left {left}" in found["what"]
    assert found["mend"] == f"kill -9 {left}"
    assert wrong(well.examine(mend=True))[0]["mended"]
    wait_until(lambda: not lock.is_held(well.paths.lock))
