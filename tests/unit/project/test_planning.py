"""A plan tells what would be done, and leaves no trace, also when it is killed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from corpus.model.deployment import Kind
from corpus.project import deployment, planning, repository, retention, scratches, trees
from corpus.project.log import Log
from corpus.project.request import Request
from corpus.project.trees import Way
from pairs import Pair
from projects import BRANCH, Phases, Scratch, copy_to_run, digest, fork, git, in_child, kill
from projects import wait_until as wait

ROOT = {".salt/top.sls": "", "app": "1"}


def plan(scratch: Scratch, asked: Request) -> dict[str, Any]:
    log = Log(Path(os.devnull))
    return in_child(
        lambda: planning.plan(scratch.project, asked, Phases(), log, deployment.new_id())
    )


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
