"""The way back under more than one fault: a full disk, a second death, labels that are gone.

What a deployment put aside is all that there is of the live version then.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts import kernel
from corpus.project import hotfixes, lock, traffic, trees
from corpus.project.__main__ import hold_unfinished
from corpus.project.journal import Journal
from corpus.project.ledger import Ledger
from projects import (
    Deployed,
    Phase,
    Phases,
    Scratch,
    copy_to_run,
    fail,
    fork,
    git,
    in_child,
    kill,
    wait_until,
)

FULL = OSError(errno.EDQUOT, "Disk quota exceeded")


def version(scratch: Scratch, text: str = "version 2\n") -> str:
    return scratch.commit({"app": text})


def armed(scratch: Scratch, arm: Callable[[], None], runner: Phases) -> int:
    """Deploy in a child in which ``arm`` was called; return how the child ended."""
    commit = version(scratch)

    def work() -> None:
        arm()
        scratch.deploy_here(commit, runner)

    return os.waitpid(fork(work), 0)[1]


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


def test_a_failed_rollback_keeps_everything_whatever_the_retention(live: Scratch) -> None:
    before = live.digests()
    broken = Phases({"retention": {"failed": 0}}, build=copy_to_run, deploy=fail, restore=fail)
    assert live.deploy(version(live), broken).outcome == "rollback_failed"
    archive = live.paths.archive(live.ledger[-1].deployment)
    assert archive.data.is_dir()
    ending = live.recover(Phases(build=copy_to_run))
    assert ending is not None
    assert ending.outcome == "rolled_back", ending.error
    assert live.digests() == before


def test_a_refused_deployment_does_not_prune_by_its_own_retention(scratch: Scratch) -> None:
    keeping = Phases({"retention": {"good": 9}}, build=copy_to_run)
    for number in range(7):
        commit = scratch.commit({"app": f"{number}", ".salt/top.sls": ""})
        assert scratch.deploy(commit, keeping).outcome == "live"
    refused = Phases({"unknown": 1}, build=copy_to_run)
    assert scratch.deploy(version(scratch), refused).outcome == "refused"
    good = [entry.id for entry in scratch.ledger if entry.outcome == "live"]
    assert all((scratch.paths.archives / identity).is_dir() for identity in good)


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


def test_dumps_are_not_reloaded_once_traffic_was_admitted(live: Scratch) -> None:
    """A user may have written since: dumps that come back again would undo that."""
    asked = live.folder / "asked"
    asked.unlink(missing_ok=True)

    def restore(_common: dict[str, Any]) -> None:
        with asked.open("a") as file:
            file.write("restored\n")

    def arm() -> None:
        admit = traffic.admit

        def deadly(*args: Any) -> None:
            admit(*args)
            os.kill(os.getpid(), signal.SIGKILL)

        traffic.admit = deadly

    runner = Phases(build=copy_to_run, deploy=fail, restore=restore)
    assert armed(live, arm, runner) == signal.SIGKILL
    assert asked.read_text() == "restored\n"
    (live.paths.data / "db").write_text("written by a user since\n")
    ending = live.recover(Phases(build=copy_to_run, restore=restore))
    assert ending is not None
    assert ending.outcome == "rolled_back"
    assert asked.read_text() == "restored\n"
    assert (live.paths.data / "db").read_text() == "written by a user since\n"
    (live.paths.data / "db").write_text("of version 1\n")


def test_a_deploy_phase_that_takes_the_label_of_run_away(live: Scratch) -> None:
    """As ``rsync --xattrs --delete`` into ``run/`` does."""
    before = live.digests()

    def unlabel(common: dict[str, Any]) -> None:
        os.removexattr(common["paths"]["run"], "user.corpus.label")

    done = live.deploy(version(live), Phases(build=copy_to_run, deploy=unlabel, start=fail))
    assert done.outcome == "rolled_back", done.text
    assert live.digests() == before


def test_an_interrupted_deployment_goes_back_at_once(live: Scratch) -> None:
    """Ctrl-C at ``salt-call mc_project.deploy``: nobody else would put things back."""
    before = live.digests()

    def interrupt(_common: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    phases: dict[str, Phase] = {"build": copy_to_run, "deploy": interrupt}
    done = live.deploy(version(live), Phases(None, **phases))
    assert done.outcome == "rolled_back"
    assert live.digests() == before


def test_what_a_failed_phase_left_running_ends_before_data_comes_back(live: Scratch) -> None:
    pid_file = live.folder / "left"

    def leave(common: dict[str, Any]) -> None:
        pid_file.write_text(str(subprocess.Popen(["sleep", "60"]).pid))
        fail(common)

    def gone(_common: dict[str, Any]) -> None:
        assert not Path("/proc", pid_file.read_text()).exists()

    done = live.deploy(version(live), Phases(build=copy_to_run, deploy=leave, restore=gone))
    assert done.outcome == "rolled_back", done.text


@pytest.mark.parametrize("phase", ["build", "deploy"])
def test_what_a_killed_deployer_left_writes_no_more(live: Scratch, phase: str) -> None:
    """Also when nobody could end it at once, and when it has a session of its own."""
    target, before = live.paths.data / "db", live.digests()
    pids = live.folder / "pids"
    pids.unlink(missing_ok=True)
    loop = f"echo $$ >> {pids}; while :; do echo spoilt >> {target}; sleep 0.01; done"

    def leave(_common: dict[str, Any]) -> None:
        subprocess.Popen(["sh", "-c", loop])
        subprocess.run(["sh", "-c", f"setsid sh -c '{loop}' & exit 0"], check=True)
        wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        time.sleep(60)

    phases: dict[str, Phase] = {"build": copy_to_run}
    child = live.start(version(live), Phases(None, **(phases | {phase: leave})))
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    kill(child)
    left = pids.read_text().split()
    assert all(Path("/proc", pid).exists() for pid in left)
    during: list[bool] = []

    def gone(_common: dict[str, Any]) -> None:
        during.extend(_runs(pid) for pid in left)
        assert not any(during)

    ending = live.recover(Phases(restore=gone))
    assert ending is not None
    assert not any(_runs(pid) for pid in left)
    if phase == "deploy":  # data/ is the application's until traffic is held
        assert ending.outcome == "rolled_back", ending.error
        assert live.digests() == before
    else:
        assert ending.outcome == "refused", ending.error
        target.write_text("of version 1\n")
    log = (live.paths.state / "logs" / "recovery.log").read_text()
    assert "processes that it left were ended" in log


def _runs(pid: str) -> bool:
    """Tell whether a process does; one that is dead and not buried does not."""
    try:
        return ") Z " not in Path("/proc", pid, "stat").read_text()
    except FileNotFoundError:
        return False


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


def test_who_completes_a_live_deployment_offers_its_release(live: Scratch) -> None:
    """Production would promote an older one."""

    def arm() -> None:
        def die(_self: Ledger, _entry: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        Ledger.append = die  # type: ignore[method-assign]

    assert armed(live, arm, Phases(build=copy_to_run)) == signal.SIGKILL
    ending = live.recover(Phases())
    assert ending is not None
    assert ending.outcome == "live"
    last = live.ledger[-1]
    assert last.release == last.id
    assert live.paths.manifest(last.deployment).stat().st_mode & 0o777 == 0o640


def test_a_note_that_cannot_be_written_hinders_nothing(live: Scratch) -> None:
    def arm() -> None:
        def gone(*_args: object) -> None:
            raise FileNotFoundError(errno.ENOENT, "a file of a cache went away")

        hotfixes.note = gone

    assert armed(live, arm, Phases(build=copy_to_run)) == 0
    assert live.ledger[-1].outcome == "live"
    live.assert_clean()


def test_a_branch_whose_lock_was_left_is_moved(live: Scratch) -> None:
    (live.paths.project_git / "refs/heads/master.lock").touch()
    commit = version(live)
    assert live.deploy(commit, Phases(build=copy_to_run)).outcome == "live"
    assert git("-C", live.paths.project_git, "rev-parse", "master").stdout.strip() == commit


def test_one_damaged_project_hinders_no_other(live: Scratch) -> None:
    other = Scratch(live.folder, "other")
    other.paths.ledger.write_text('{"outcome": "live"}\n[]\n17\n{"outcome": "nonsense"}\n')
    other.paths.journal.write_text('{"header": 5}\n')
    assert live.deploy(version(live), Phases(build=copy_to_run)).outcome == "live"
    assert hold_unfinished(live.place) == []
    shutil.rmtree(other.paths.root)


def test_a_copy_of_a_project_beside_it_is_no_project(scratch: Scratch) -> None:
    """The service asks for the names when it starts: one it stumbled over would end it."""
    (scratch.paths.root.parent / "demo.bak" / ".corpus").mkdir(parents=True)
    assert scratch.place.names() == ["demo"]


def test_a_checkout_that_is_damaged_is_made_anew(live: Scratch) -> None:
    (live.paths.project / ".git" / "HEAD").write_text("")
    (live.paths.project / ".git" / "index").write_text("")
    done = live.deploy(version(live, "again\n"), Phases(build=copy_to_run))
    assert done.outcome == "live", done.text


def test_templates_that_hang_are_ended_too(live: Scratch) -> None:
    class Hanging(Phases):
        def check(self, phase: str, common: dict[str, Any]) -> None:
            time.sleep(60)

    done = live.deploy(version(live), Hanging({"timeouts": {"build": 1}}, build=copy_to_run))
    assert done.outcome == "refused"
    assert "the phase build ran for more than 1 s" in done.text


def test_a_file_half_written_at_a_death_is_removed(live: Scratch) -> None:
    def arm() -> None:
        def die(self: Path, _target: Path) -> None:
            if self.name.startswith(".journal."):
                os.kill(os.getpid(), signal.SIGKILL)

        Path.replace = die  # type: ignore[method-assign, assignment]

    assert armed(live, arm, Phases(build=copy_to_run)) == signal.SIGKILL
    assert list(live.paths.state.glob(".*"))
    assert live.recover(Phases()) is None
    assert list(live.paths.state.glob(".*")) == []


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
