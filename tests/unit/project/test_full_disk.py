"""A disk that is full, or fails, at whatever moment: nothing of the live version is lost."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts import kernel
from corpus.project import hotfixes, lock, traffic, trees
from corpus.project.journal import Journal
from corpus.project.ledger import Ledger
from projects import Deployed, Phases, Scratch, copy_to_run, fail, fork, in_child
from unit.project.endings import armed, version

FULL = OSError(errno.EDQUOT, "Disk quota exceeded")


def full_once(function: Callable[..., Any], wanted: Callable[..., bool]) -> Callable[..., Any]:
    """Return ``function``, which finds the disk full the first time that ``wanted`` says so."""
    left = [True]

    def wrapper(*args: Any, **more: Any) -> Any:
        if left and wanted(*args):
            left.clear()
            raise FULL
        return function(*args, **more)

    return wrapper


def test_a_full_disk_within_the_swap_does_not_cost_the_live_version(live: Scratch) -> None:
    before = live.digests()

    def arm() -> None:
        rename = full_once(Path.rename, lambda _self, target: Path(target).name == "run")
        Path.rename = rename  # type: ignore[method-assign]

    assert armed(live, arm, Phases(build=copy_to_run)) == 0
    assert live.ledger[-1].outcome == "rolled_back", live.ledger[-1].error
    assert live.digests() == before


def test_a_full_disk_before_the_point_of_no_return_is_rolled_back(live: Scratch) -> None:
    before = live.digests()

    def arm() -> None:
        Journal.begin = full_once(  # type: ignore[method-assign]
            Journal.begin, lambda _self, name, **_: name == "live"
        )

    assert armed(live, arm, Phases(build=copy_to_run)) == 0
    assert live.ledger[-1].outcome == "rolled_back"
    assert live.digests() == before


def test_live_that_is_on_the_disk_is_completed_when_no_rollback_can_be(live: Scratch) -> None:
    """Else a death in the way back would be taken for one past the point of no return."""
    whole = Journal._append

    def full(self: Journal, record: dict[str, Any], durable: bool) -> None:
        if record.get("begin") == "live":
            whole(self, record, durable)
        if record.get("begin") in ("live", "rollback"):
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(self, record, durable)

    def arm() -> None:
        Journal._append = full  # type: ignore[method-assign]

    assert armed(live, arm, Phases(build=copy_to_run)) == 0
    assert live.ledger[-1].outcome == "live"
    assert (live.paths.run / "app").read_text() == "version 2\n"
    live.assert_clean()


def test_a_full_disk_when_the_rollback_is_recorded(live: Scratch) -> None:
    before = live.digests()

    def arm() -> None:
        Ledger.append = full_once(Ledger.append, lambda *_: True)  # type: ignore[method-assign]

    assert armed(live, arm, Phases(build=copy_to_run, deploy=fail)) == 0
    assert live.ledger[-1].outcome == "rolled_back"
    assert live.digests() == before
    assert not live.paths.journal.exists()


def test_a_full_disk_within_the_rollback(live: Scratch) -> None:
    before = live.digests()

    def arm() -> None:
        trees.copy = full_once(trees.copy, lambda _source, target, *_: "restor" in target.name)

    assert armed(live, arm, Phases(build=copy_to_run, deploy=fail)) == 0
    assert live.ledger[-1].outcome == "rolled_back", live.ledger[-1].error
    assert live.digests() == before


def test_the_lock_is_taken_on_a_full_disk_too(tmp_path: Path) -> None:
    limit, path = 0, tmp_path / "lock"

    def work() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with lock.held(path, "recovery", lambda _ahead: None):
            assert lock.is_held(path)

    assert os.waitpid(fork(work), 0)[1] == 0


def test_a_journal_that_cannot_be_ended_changes_nothing_of_the_outcome(
    live: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stays(_journal: Journal) -> None:
        raise OSError(errno.EIO, "I/O error")

    before = live.digests()
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "close", stays)
        done = live.deploy(version(live), Phases(build=copy_to_run, deploy=fail))
    assert done.outcome == "rolled_back", done.text
    assert "the journal stays" in done.text
    assert live.digests() == before
    entries = len(live.ledger)
    assert live.recover(Phases(build=copy_to_run)) is not None
    assert (live.digests(), len(live.ledger)) == (before, entries)
    live.assert_clean()


def test_traffic_is_admitted_though_what_is_live_cannot_be_recorded(live: Scratch) -> None:
    admitted = live.folder / "admitted"
    admitted.unlink(missing_ok=True)

    def arm() -> None:
        def full(*_args: Any, **_more: Any) -> None:
            raise FULL

        Path.symlink_to = full  # type: ignore[method-assign]
        traffic.admit = lambda *_: admitted.touch()

    assert armed(live, arm, Phases(build=copy_to_run)) == 0
    assert admitted.exists()
    ending = live.recover(Phases())
    assert ending is not None
    assert ending.outcome == "live"


def test_a_live_deployment_is_recorded_before_another_begins(live: Scratch) -> None:
    def arm() -> None:
        def full(_self: Ledger, _entry: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        Ledger.append = full  # type: ignore[method-assign]

    assert armed(live, arm, Phases(build=copy_to_run)) == 0
    entries = len(live.ledger)
    third = version(live, "version 3\n")

    def while_it_lasts() -> Deployed:
        arm()
        return live.deploy_here(third, Phases(build=copy_to_run))

    refused = in_child(while_it_lasts)
    assert refused.outcome == "refused"
    assert "no deployment begins on top of it" in refused.text
    assert len(live.ledger) == entries
    assert live.deploy(third, Phases(build=copy_to_run)).outcome == "live"
    assert [entry.outcome for entry in live.ledger[entries:]] == ["live", "live"]
    live.assert_clean()


def test_a_note_that_cannot_be_written_hinders_nothing(live: Scratch) -> None:
    def arm() -> None:
        def gone(*_args: object) -> None:
            raise FileNotFoundError(errno.ENOENT, "a file of a cache went away")

        hotfixes.note = gone

    assert armed(live, arm, Phases(build=copy_to_run)) == 0
    assert live.ledger[-1].outcome == "live"
    live.assert_clean()


@pytest.mark.parametrize("fault", ["death", "full"])
@pytest.mark.parametrize("folder", ["deploy", "archives"])
def test_a_copy_that_is_cut_off_leaves_nothing(live: Scratch, folder: str, fault: str) -> None:
    before = live.digests()

    def arm() -> None:
        def cut_off(path: Path) -> None:
            if folder in path.parts:
                if fault == "full":
                    raise FULL
                os.kill(os.getpid(), signal.SIGKILL)

        kernel.sync = cut_off

    armed(live, arm, Phases(build=copy_to_run))
    live.recover(Phases(build=copy_to_run))
    assert live.ledger[-1].outcome in ("refused", "rolled_back")
    assert live.digests() == before
    live.assert_clean()
