"""What somebody, or a death, left damaged beside a project or in it hinders no deployment."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from corpus.project.__main__ import hold_unfinished
from projects import Phases, Scratch, copy_to_run, git
from unit.project.endings import armed, version


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
