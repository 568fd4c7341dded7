"""The way back when more goes wrong: a second death, labels that are gone, processes that stay."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from corpus.project import traffic
from patience import wait_until
from projects import Phase, Phases, Scratch, copy_to_run, fail, kill
from unit.project.endings import armed, version


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


def test_templates_that_hang_are_ended_too(live: Scratch) -> None:
    class Hanging(Phases):
        def check(self, phase: str, common: dict[str, Any]) -> None:
            time.sleep(60)

    done = live.deploy(version(live), Hanging({"timeouts": {"build": 1}}, build=copy_to_run))
    assert done.outcome == "refused"
    assert "the phase build ran for more than 1 s" in done.text
