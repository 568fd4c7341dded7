"""The transaction without Salt: every ending, and a deployer killed around every step.

Each case compares with the state before: the digests of ``run/`` and ``data/``, what is
live, the branch, the ledger; and looks for what was left lying about.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from corpus.hosts import kernel
from corpus.model.errors import CorpusError
from corpus.project import deployment, lock, repository, steps, traffic, trees
from corpus.project.journal import Journal
from corpus.project.ledger import Ledger
from projects import BRANCH, Phase, Phases, Scratch, copy_to_run, fail, fork, git, wait_until

NAMES = [step.name for step in steps.COOKING]
UNDONE = [step.name for step in steps.COOKING if step.undo]


def damage(common: dict[str, Any]) -> None:
    """Be a migration that rewrites the database in place, as SQLite would."""
    with Path(common["paths"]["data"], "db").open("r+") as file:
        file.write("damaged by version 2\n")
    Path(common["paths"]["data"], "new").write_text("of version 2\n")


class Once:
    """A phase that does something the first time only."""

    def __init__(self, phase: Phase) -> None:
        self.phase: Phase | None = phase

    def __call__(self, common: dict[str, Any]) -> None:
        phase, self.phase = self.phase, None
        if phase:
            phase(common)


def damage_and_fail(common: dict[str, Any]) -> None:
    damage(common)
    fail(common)


@dataclass
class Before:
    """What a deployment that does not go live must leave as it was."""

    digests: dict[str, str]
    current: Path
    branch: str | None
    entries: int
    checkout: str


def state_of(scratch: Scratch) -> Before:
    head = git("-C", scratch.paths.project, "rev-parse", "HEAD").stdout
    return Before(
        scratch.digests(),
        scratch.paths.current.readlink(),
        repository.branch_tip(scratch.project, scratch.paths.project_git, BRANCH),
        len(scratch.ledger),
        head,
    )


def assert_as_before(scratch: Scratch, before: Before, outcome: str) -> None:
    now = state_of(scratch)
    assert now == replace(before, entries=now.entries)
    assert now.entries == before.entries + 1
    assert scratch.ledger[-1].outcome == outcome
    scratch.assert_clean()


def version(scratch: Scratch, text: str = "version 2\n") -> str:
    return scratch.commit({"app": text})


# Endings


def test_a_first_deployment(scratch: Scratch) -> None:
    commit = scratch.commit({"app": "version 1\n", ".salt/top.sls": ""})
    done = scratch.deploy(commit, Phases(build=copy_to_run))
    assert done.outcome == "live", done.text
    assert (scratch.paths.run / "app").read_text() == "version 1\n"
    assert scratch.paths.current.resolve() == scratch.paths.deploy / done.ending.id
    assert (scratch.paths.current / "app").read_text() == "version 1\n"
    assert repository.deploy_branch(scratch.project) == (BRANCH, commit)
    (entry,) = scratch.ledger
    assert (entry.outcome, entry.commit, entry.by) == ("live", commit, "ann")
    assert entry.runtime["retention"] == {"good": 5, "failed": 2}
    assert len(list(scratch.paths.releases.iterdir())) == 3  # archive, manifest, signature
    log = scratch.paths.log(entry.deployment).read_text().splitlines()
    assert log == done.lines
    scratch.assert_clean()


def test_the_build_is_not_seen_until_the_swap(live: Scratch, tmp_path: Path) -> None:
    seen, go = tmp_path / "seen", tmp_path / "go"

    def build(common: dict[str, Any]) -> None:
        assert list(Path(common["paths"]["run"]).iterdir()) == []
        copy_to_run(common)
        seen.touch()
        wait_until(go.exists)

    commit, old = version(live, "version X\n"), (live.paths.run / "app").read_text()
    pid = live.start(commit, Phases(build=build))
    wait_until(seen.exists)
    during = (live.paths.run / "app").read_text()
    mounts = Path("/proc/self/mountinfo").read_text()
    go.touch()
    assert os.waitpid(pid, 0)[1] == 0
    assert during == old
    assert str(live.paths.run) not in mounts
    assert (live.paths.run / "app").read_text() == "version X\n"


def test_common_is_one_mapping_for_all_phases(scratch: Scratch) -> None:
    def first(common: dict[str, Any]) -> None:
        common["mine"] = ["gather_variables"]

    def later(name: str) -> Callable[[dict[str, Any]], None]:
        return lambda common: common["mine"].append(name)

    def last(common: dict[str, Any]) -> None:
        Path(common["paths"]["data"], "seen").write_text("\n".join(common["mine"]))

    names = ["pre_install", "configure", "build", "post_build", "bundle", "stop", "backup",
             "deploy", "start", "post_deploy", "post_install", "health"]  # fmt: skip
    commit = scratch.commit({".salt/top.sls": ""})
    runner = Phases(None, gather_variables=first, notify=last, **{n: later(n) for n in names})
    assert scratch.deploy(commit, runner).outcome == "live"
    seen = (scratch.paths.data / "seen").read_text().split()
    assert seen == ["gather_variables", *names]


def test_stop_before_build(live: Scratch) -> None:
    order: list[str] = []
    runner = Phases({"stop_before": "build"}, build=copy_to_run)
    runner.phases["stop"] = lambda _common: order.append("stop")

    def build(common: dict[str, Any]) -> None:
        assert order == ["stop"]
        copy_to_run(common)

    runner.phases["build"] = build
    done = live.deploy(version(live, "literal order\n"), runner)
    assert done.outcome == "live", done.text


@pytest.mark.parametrize(
    ("phase", "outcome"),
    [
        ("gather_variables", "refused"),
        ("pre_install", "refused"),
        ("configure", "refused"),
        ("build", "refused"),
        ("post_build", "refused"),
        ("bundle", "refused"),
        ("stop", "rolled_back"),
        ("backup", "rolled_back"),
        ("deploy", "rolled_back"),
        ("start", "rolled_back"),
        ("post_deploy", "rolled_back"),
        ("post_install", "rolled_back"),
        ("health", "rolled_back"),
    ],
)
def test_a_phase_fails(live: Scratch, phase: str, outcome: str) -> None:
    before = state_of(live)
    phases: dict[str, Phase] = {"build": copy_to_run, "post_install": damage, phase: fail}
    if phase == "post_install":
        phases[phase] = damage_and_fail
    if phase == "stop":  # fails once: a stop that always fails cannot be rolled back
        phases[phase] = Once(fail)
    done = live.deploy(version(live), Phases(None, **phases))
    assert done.outcome == outcome, done.text
    assert "it was told to fail" in done.text
    assert ".salt/top.sls, line 1" in live.ledger[-1].error
    assert_as_before(live, before, outcome)


def test_what_failed_is_kept_for_inspection(live: Scratch) -> None:
    done = live.deploy(version(live), Phases(build=copy_to_run, post_install=damage_and_fail))
    archive = live.paths.archive(live.ledger[-1].deployment)
    assert (archive.run_failed / "app").read_text() == "version 2\n"
    assert (archive.data_failed / "db").read_text() == "damaged by version 2\n"
    assert (archive.data / "db").read_text() == "of version 1\n"
    assert live.ledger[-1].id == done.ending.id


def test_dumps_are_reloaded_only_when_something_could_change_them(live: Scratch) -> None:
    asked = live.folder / "asked"
    asked.unlink(missing_ok=True)

    def restore(_common: dict[str, Any]) -> None:
        asked.touch()

    live.deploy(version(live), Phases(build=copy_to_run, backup=fail, restore=restore))
    assert not asked.exists()
    live.deploy(version(live), Phases(build=copy_to_run, deploy=fail, restore=restore))
    assert asked.exists()


def test_a_release_that_was_refused_is_gone(live: Scratch) -> None:
    before = sorted(live.paths.releases.iterdir())
    done = live.deploy(version(live), Phases(build=copy_to_run, bundle=fail))
    assert done.outcome == "refused"
    assert sorted(live.paths.releases.iterdir()) == before


def test_an_error_of_our_own_goes_the_same_way_back(live: Scratch) -> None:
    before = state_of(live)

    def build(_common: dict[str, Any]) -> None:
        raise ZeroDivisionError

    assert live.deploy(version(live), Phases(build=build)).outcome == "refused"
    assert_as_before(live, before, "refused")


def test_a_build_that_copies_attributes_too(live: Scratch) -> None:
    """The label by which recovery knows the new run/ is an attribute of the directory."""
    before = state_of(live)

    def build(common: dict[str, Any]) -> None:
        copy_to_run(common)
        os.removexattr(common["paths"]["run"], "user.corpus.label")

    done = live.deploy(version(live), Phases(build=build, post_install=damage_and_fail))
    assert done.outcome == "rolled_back", done.text
    assert_as_before(live, before, "rolled_back")


def test_secrets_are_in_neither_log_nor_ledger(live: Scratch) -> None:
    def tell(common: dict[str, Any]) -> None:
        raise CorpusError(f"cannot connect with {common['data']['password']}")

    runner = Phases({"data": {"password": "hunter22"}}, build=copy_to_run, post_install=tell)
    done = live.deploy(version(live), runner)
    assert "cannot connect with ********" in done.text
    assert "hunter22" not in done.ending.error
    written = [p for p in live.paths.state.rglob("*") if p.is_file()]
    assert [p for p in written if b"hunter22" in p.read_bytes()] == []


# Requests that are refused before anything begins


def test_not_a_fast_forward(live: Scratch) -> None:
    before = state_of(live)
    root = git("-C", live.work, "commit-tree", "-m", "other", "HEAD^{tree}").stdout.strip()
    git("-C", live.work, "push", "--quiet", live.paths.project_git, f"{root}:refs/heads/other")
    done = live.deploy(root, Phases(build=copy_to_run))
    assert done.outcome == "refused"
    assert "not a fast-forward" in done.text
    assert state_of(live) == before


def test_no_such_commit(live: Scratch) -> None:
    before = state_of(live)
    done = live.deploy("1" * 40, Phases())
    assert done.outcome == "refused"
    assert "no commit 1111111111" in done.text
    assert state_of(live) == before


def test_no_recipe(scratch: Scratch) -> None:
    done = scratch.deploy(scratch.commit({"app": "1"}), Phases(build=copy_to_run))
    assert done.outcome == "refused"
    assert "the project has no .salt/top.sls" in done.text
    assert "add .salt/top.sls" in done.text
    scratch.assert_clean()


def test_a_disk_without_room(live: Scratch) -> None:
    before = state_of(live)

    def arm() -> None:
        trees.free_bytes = lambda path: 1 << 20

    done = armed(live, arm, Phases(build=copy_to_run))
    assert done == 0
    assert "free and this deployment needs" in live.ledger[-1].error
    assert_as_before(live, before, "refused")


def test_the_second_waits_and_says_so(live: Scratch) -> None:
    go = live.folder / "go-on"
    go.unlink(missing_ok=True)
    first = version(live, "first\n")
    second = version(live, "second\n")

    def build(common: dict[str, Any]) -> None:
        wait_until(go.exists)
        copy_to_run(common)

    slow = live.start(first, Phases(build=build))
    wait_until(lambda: "build" in live.begun)
    other = live.start(second, Phases(build=copy_to_run))

    def waiting() -> bool:
        logs = sorted((live.paths.state / "logs").iterdir())
        return any("queued behind" in log.read_text() for log in logs)

    wait_until(waiting)
    assert first[:10] in lock.holder(live.paths.lock)
    go.touch()
    assert os.waitpid(slow, 0)[1] == 0
    assert os.waitpid(other, 0)[1] == 0
    assert [e.commit for e in live.ledger[-2:]] == [first, second]
    log = live.paths.log(live.ledger[-1].deployment).read_text()
    assert f"queued behind deployment {live.ledger[-2].id} of {first[:10]} on master by ann" in log


# kill -9


def armed(scratch: Scratch, arm: Callable[[], None], runner: Phases) -> int:
    """Deploy in a child in which ``arm`` was called; return how the child ended."""
    commit = version(scratch)

    def work() -> None:
        arm()
        scratch.deploy_here(commit, runner)

    _, status = os.waitpid(fork(work), 0)
    return status


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


# A rollback that fails


def test_a_rollback_that_fails_is_loud_and_keeps_everything(live: Scratch) -> None:
    before = state_of(live)
    broken = Phases(build=copy_to_run, post_install=damage_and_fail, restore=fail)
    done = live.deploy(version(live), broken)
    assert done.outcome == "rollback_failed"
    assert "THE ROLLBACK FAILED" in done.text
    assert "systemctl restart corpus-deploy" in done.text
    assert live.paths.journal.exists()
    archive = live.paths.archive(live.ledger[-1].deployment)
    assert (archive.data / "db").read_text() == "of version 1\n"
    # No deployment begins on top of it ...
    again = live.deploy(version(live), broken)
    assert again.outcome == "refused"
    assert "could not be finished" in again.text
    assert len(live.ledger) == before.entries + 1
    # ... until its cause is mended.
    ending = live.recover(Phases(build=copy_to_run, restore=lambda _common: None))
    assert ending is not None
    assert ending.outcome == "rolled_back"
    assert live.digests() == before.digests
    assert [e.outcome for e in live.ledger[-2:]] == ["rollback_failed", "rolled_back"]
    assert state_of(live).checkout == before.checkout


def test_data_of_the_failed_version_is_not_lost(live: Scratch) -> None:
    live.deploy(version(live), Phases(build=copy_to_run, post_install=damage_and_fail))
    identity = live.ledger[-1].deployment
    assert (live.paths.archive(identity).data_failed / "new").read_text() == "of version 2\n"


def test_retention_prunes_what_is_past(scratch: Scratch) -> None:
    runner = Phases({"retention": {"good": 2, "failed": 1}}, build=copy_to_run)
    for number in range(4):
        commit = scratch.commit({"app": f"{number}", ".salt/top.sls": ""})
        assert scratch.deploy(commit, runner).outcome == "live"
    kept = sorted(entry.id for entry in scratch.ledger[-2:])
    assert sorted(p.name for p in scratch.paths.deploy.iterdir() if not p.is_symlink()) == kept
    assert sorted(p.name for p in scratch.paths.archives.iterdir()) == kept
    assert len(list(scratch.paths.releases.iterdir())) == 6
    assert len(scratch.ledger) == 4
