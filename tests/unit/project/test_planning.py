"""A plan tells what would be done, and leaves no trace, also when it is killed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from corpus.model.deployment import Kind
from corpus.model.errors import DeploymentRefused
from corpus.project import (
    deployment,
    planning,
    promotion,
    releases,
    repository,
    retention,
    scratches,
    trees,
)
from corpus.project.log import Log
from corpus.project.request import Request
from corpus.project.trees import Way
from pairs import Pair
from patience import wait_until as wait
from projects import (
    BRANCH,
    Phases,
    Scratch,
    copy_to_run,
    digest,
    fork,
    git,
    in_child,
    kill,
    share,
    unmounted,
)

ROOT = {".salt/top.sls": "", "app": "1"}


def plan(scratch: Scratch, asked: Request, runner: Phases | None = None) -> dict[str, Any]:
    log = Log(Path(os.devnull))
    return in_child(
        lambda: planning.plan(scratch.project, asked, runner or Phases(), log, deployment.new_id())
    )


def refused(scratch: Scratch, asked: Request, runner: Phases) -> str:
    """What the plan and the deployment are refused for, which must be the same."""
    with pytest.raises(DeploymentRefused) as refusal:
        plan(scratch, asked, runner)
    assert list(scratch.paths.build.glob("plan-*")) == []
    done = in_child(lambda: scratch.ask(asked, runner))
    assert (done.outcome, done.ending.error) == ("refused", str(refusal.value))
    return refusal.value.what


def copied(scratch: Scratch, commit: str) -> dict[str, int]:
    """The bytes of each copy that a plan tells of."""
    found = plan(scratch, Request(BRANCH, commit, "ann"))
    return {copy["what"]: copy["size"] for copy in found["copies"]}


def test_the_way_back_of_data_is_a_full_copy(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "way_of", lambda _path, _host: Way.HARDLINK)
    commit = scratch.commit(ROOT)
    (scratch.paths.data / "db").write_bytes(b"x" * 1_000_000)
    found = copied(scratch, commit)
    assert found["data/ to archives/"] >= 1_000_000  # nothing to share files with
    assert found["data/ on the way back"] >= 1_000_000
    assert scratch.deploy(commit, Phases(build=copy_to_run)).outcome == "live"
    (scratch.paths.data / "more").write_bytes(b"x" * 1000)
    found = copied(scratch, commit)
    assert 1000 <= found["data/ to archives/"] < 100_000
    assert found["data/ on the way back"] >= 1_001_000


def test_a_rollback_copies_what_its_target_left(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large what is live is."""
    monkeypatch.setattr(trees, "way_of", lambda _path, _host: Way.HARDLINK)
    for app in ("x" * 1_000_000, "2"):
        commit = scratch.commit(ROOT | {"app": app})
        assert scratch.deploy(commit, Phases(build=copy_to_run)).outcome == "live"
    found = plan(scratch, Request(BRANCH, by="ann", kind=Kind.ROLLBACK))
    assert {c["what"]: c["size"] for c in found["copies"]}["the target's run/"] >= 1_000_000


def test_a_plan_of_a_promotion_fetches_nothing_into_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Pair(tmp_path, monkeypatch)
    both.pair()
    commit = both.staging.commit(ROOT)
    assert both.staging.deploy(commit, Phases(build=copy_to_run)).outcome == "live"
    before = digest(both.prod.paths.git)
    found = plan(both.prod, Request(BRANCH, by="ann", kind=Kind.PROMOTE))
    assert (found["commit"], found["mode"]) == (commit, "final")
    assert not repository.has(both.prod.project, commit)
    assert digest(both.prod.paths.git) == before
    assert list(both.prod.paths.build.glob("plan-*")) == []


def test_a_twin_fetches_for_itself(scratch: Scratch, tmp_path: Path) -> None:
    here = scratch.commit(ROOT)
    other = Scratch(tmp_path / "other")
    elsewhere = other.commit({"app": "2"})
    with scratches.made(scratch.project, deployment.new_id()) as twin:
        git(f"--git-dir={twin.paths.project_git}", "fetch", other.paths.project_git, elsewhere)
        assert repository.has(twin, here)
        assert repository.has(twin, elsewhere)
        assert not repository.has(scratch.project, elsewhere)


def test_what_a_killed_plan_left_goes_and_a_living_one_stays(scratch: Scratch) -> None:
    def work() -> None:
        with scratches.made(scratch.project, deployment.new_id()) as twin:
            (twin.paths.state / "made").touch()
            time.sleep(60)

    pid = fork(work)
    wait(lambda: list(scratch.paths.build.glob("plan-*/**/.corpus/made")))
    assert scratches.abandoned(scratch.project) == []
    retention.prune(scratch.project, {})
    assert list(scratch.paths.build.glob("plan-*"))
    kill(pid)
    assert len(scratches.abandoned(scratch.project)) == 1
    retention.prune(scratch.project, {})
    assert list(scratch.paths.build.glob("plan-*")) == []


# -- what a deployment is refused for


def test_what_another_project_has_is_no_plan(tmp_path: Path) -> None:
    alpha, beta = Scratch(tmp_path, "alpha"), Scratch(tmp_path, "beta")
    runner = Phases({"ports": [8000]}, build=copy_to_run)
    assert beta.deploy(beta.commit(ROOT), runner).outcome == "live"
    asked = Request(BRANCH, alpha.commit(ROOT), "ann")
    assert refused(alpha, asked, runner) == "8000 belongs to the project beta"


def test_what_a_macro_adds_is_looked_at_too(scratch: Scratch) -> None:
    class Adding(Phases):
        def check(self, phase: str, common: dict[str, Any]) -> int:
            common["ports"] += [22] if phase == "gather_variables" else [23]
            return 1

    def add(common: dict[str, Any]) -> None:
        common["ports"].append(22)

    asked = Request(BRANCH, scratch.commit(ROOT), "ann")
    said = refused(scratch, asked, Adding(gather_variables=add, start=add))
    assert said == "22 belongs to the system"


def test_no_plan_of_a_promotion_where_things_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Pair(tmp_path, monkeypatch)
    both.pair()
    assert (
        both.staging.deploy(both.staging.commit(ROOT), Phases(build=copy_to_run)).outcome == "live"
    )
    asked = Request(BRANCH, by="ann", kind=Kind.PROMOTE)
    assert "releases are deployed in final mode" in refused(
        both.prod, asked, Phases({"mode": "cooking"})
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts: needs root")
def test_no_plan_of_what_is_built_from_a_shared_directory(scratch: Scratch) -> None:
    laptop = scratch.folder / "laptop"
    commit = scratch.commit(ROOT)
    git("clone", "--quiet", scratch.work, laptop)
    with unmounted(scratch.folder):
        share(laptop, scratch.project)
        said = refused(scratch, Request(BRANCH, commit, "ann"), Phases({"mode": "cooking"}))
        assert "a directory that a developer edits" in said
        later = scratch.commit({"app": "2"})
        said = refused(scratch, Request(BRANCH, later, "ann"), Phases({"mode": "editable"}))
        assert "the shared directory is at" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts: needs root")
def test_no_plan_over_edits(scratch: Scratch) -> None:
    runner = Phases({"mode": "editable"})
    with unmounted(scratch.folder):
        assert scratch.deploy(scratch.commit(ROOT), runner).outcome == "live"
        (scratch.paths.run / "app").write_text("edited")
        asked = Request(BRANCH, scratch.commit({"app": "2"}), "ann")
        assert "has edits" in refused(scratch, asked, runner)
        assert (scratch.paths.run / "app").read_text() == "edited"


def test_no_plan_with_data_that_no_backup_would_hold(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "hides_something", lambda path: path == scratch.paths.data)
    asked = Request(BRANCH, scratch.commit(ROOT), "ann")
    assert "subvolumes of its own" in refused(scratch, asked, Phases())
    assert plan(scratch, asked, Phases({"mode": "editable"}))["mode"] == "editable"


def test_no_plan_without_room(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "free_bytes", lambda _path: 1 << 20)
    asked = Request(BRANCH, scratch.commit(ROOT), "ann")
    assert "1M are free and this deployment needs 64M" in refused(scratch, asked, Phases())


def test_the_download_is_counted_until_it_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Pair(tmp_path, monkeypatch)
    both.pair()
    commit = both.staging.commit(ROOT | {"large": os.urandom(100_000)})
    assert both.staging.deploy(commit, Phases(build=copy_to_run)).outcome == "live"
    (manifest,) = releases.listed(both.staging.project)
    asked = Request(BRANCH, by="ann", kind=Kind.PROMOTE)
    sizes = {copy["what"]: copy["size"] for copy in plan(both.prod, asked)["copies"]}
    assert sizes["the release, fetched"] == manifest.archive_size > 100_000
    in_child(lambda: promotion.bring(both.prod.project, None, lambda _line: None))
    sizes = {copy["what"]: copy["size"] for copy in plan(both.prod, asked)["copies"]}
    assert "the release, fetched" not in sizes
