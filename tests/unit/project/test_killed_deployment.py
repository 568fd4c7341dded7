"""A deployer that is killed around every step: what it began is undone, or ended, by the next."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts import kernel
from corpus.project import deployment, lock, repository, steps, traffic
from corpus.project.journal import Journal
from corpus.project.ledger import Ledger
from projects import BRANCH, Phases, Scratch, copy_to_run, fail
from unit.project.endings import armed, assert_as_before, damage, damage_and_fail, state_of, version

NAMES = [step.name for step in steps.COOKING]
UNDONE = [step.name for step in steps.COOKING if step.undo]


def die(*_args: Any, **_more: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(function: Callable[..., Any], wanted: Callable[..., bool]) -> Callable[..., Any]:
    """Return ``function``, after which the process dies when ``wanted`` says so."""

    def wrapper(*args: Any, **more: Any) -> Any:
        value = function(*args, **more)
        if wanted(*args):
            die()
        return value

    return wrapper


def recovering() -> Phases:
    """Return the engine of a recovery: it has the phases, and must run none that builds."""
    return Phases(build=fail, post_install=fail)


@pytest.mark.parametrize("moment", ["begun", "done"])
@pytest.mark.parametrize("step", NAMES)
def test_killed_around_a_step(live: Scratch, step: str, moment: str) -> None:
    before = state_of(live)

    def arm() -> None:
        if moment == "begun":
            begin = after(Journal.begin, lambda _self, name, **_: name == step)
            Journal.begin = begin  # type: ignore[method-assign]
        else:
            deployment._do = after(deployment._do, lambda _work, one: one.name == step)

    runner = Phases(build=copy_to_run, post_install=damage)
    assert armed(live, arm, runner) == signal.SIGKILL
    assert not lock.is_held(live.paths.lock)
    touched = "hold" in live.begun
    ending = live.recover(recovering())
    assert ending is not None
    outcome = "rolled_back" if touched else "refused"
    assert ending.outcome == outcome
    assert_as_before(live, before, outcome)
    assert live.recover(recovering()) is None


@pytest.mark.parametrize("name", ["exchange", "rename"])
def test_killed_within_the_swap(live: Scratch, name: str) -> None:
    before = state_of(live)

    def arm() -> None:
        if name == "exchange":
            kernel.exchange = after(kernel.exchange, lambda *_: True)
        else:
            rename = after(Path.rename, lambda _self, target: target.name == "run")
            Path.rename = rename  # type: ignore[method-assign]

    assert armed(live, arm, Phases(build=copy_to_run)) == signal.SIGKILL
    assert live.digests()["run"] != before.digests["run"]
    assert live.recover(recovering()) is not None
    assert_as_before(live, before, "rolled_back")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", UNDONE)
def test_killed_while_it_rolls_back(live: Scratch, step: str, moment: str) -> None:
    before = state_of(live)

    def arm() -> None:
        def deadly(one: steps.Step) -> steps.Step:
            if one.name != step or one.undo is None:
                return one
            return replace(one, undo=die if moment == "before" else after(one.undo, lambda _: True))

        steps.EVERY = {name: deadly(one) for name, one in steps.EVERY.items()}

    runner = Phases(build=copy_to_run, post_install=damage_and_fail)
    assert armed(live, arm, runner) == signal.SIGKILL
    ending = live.recover(recovering())
    assert ending is not None
    assert_as_before(live, before, "rolled_back")


def test_killed_while_data_comes_back(live: Scratch) -> None:
    before = state_of(live)

    def arm() -> None:
        def wanted(_one: Path, other: Path) -> bool:
            return other.name == "data"

        kernel.exchange = after(kernel.exchange, wanted)

    runner = Phases(build=copy_to_run, post_install=damage_and_fail)
    assert armed(live, arm, runner) == signal.SIGKILL
    assert live.recover(recovering()) is not None
    assert_as_before(live, before, "rolled_back")
    # What the failed version wrote is still there, not a second copy of the backup.
    archive = live.paths.archive(live.ledger[-1].deployment)
    assert (archive.data_failed / "db").read_text() == "damaged by version 2\n"


@pytest.mark.parametrize("point", ["move_branch", "append", "admit", "close"])
def test_killed_past_the_point_of_no_return(live: Scratch, point: str) -> None:
    entries = len(live.ledger)

    def arm() -> None:
        owner: Any = {"move_branch": repository, "append": Ledger, "admit": traffic}.get(
            point, Journal
        )
        setattr(owner, point, die)

    runner = Phases(build=copy_to_run, post_install=damage)
    assert armed(live, arm, runner) == signal.SIGKILL
    ending = live.recover(recovering())
    assert ending is not None
    assert ending.outcome == "live"
    assert (live.paths.run / "app").read_text() == "version 2\n"
    assert len(live.ledger) == entries + 1
    last = live.ledger[-1]
    assert repository.deploy_branch(live.project) == (BRANCH, last.commit)
    assert live.paths.current.readlink() == Path(last.id)
    assert last.runtime["retention"]
    (live.paths.data / "new").unlink()
    (live.paths.data / "db").write_text("of version 1\n")


def test_the_next_deployment_finishes_a_dead_one_first(live: Scratch) -> None:
    def arm() -> None:
        Journal.begin = after(Journal.begin, lambda _s, name, **_: name == "start")  # type: ignore[method-assign]

    assert armed(live, arm, Phases(build=copy_to_run)) == signal.SIGKILL
    entries = len(live.ledger)
    done = live.deploy(version(live, "version 3\n"), Phases(build=copy_to_run))
    assert done.outcome == "live", done.text
    assert "it was cut off in start" in done.text
    assert [e.outcome for e in live.ledger[entries:]] == ["rolled_back", "live"]
    assert (live.paths.run / "app").read_text() == "version 3\n"


def test_who_completes_a_live_deployment_offers_its_release(live: Scratch) -> None:
    """Production would promote an older one."""

    def arm() -> None:
        Ledger.append = die  # type: ignore[method-assign]

    assert armed(live, arm, Phases(build=copy_to_run)) == signal.SIGKILL
    ending = live.recover(Phases())
    assert ending is not None
    assert ending.outcome == "live"
    last = live.ledger[-1]
    assert last.release == last.id
    assert live.paths.manifest(last.deployment).stat().st_mode & 0o777 == 0o640
