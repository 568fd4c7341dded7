"""Requests that are refused before anything begins change nothing."""

from __future__ import annotations

from corpus.project import trees
from projects import Phases, Scratch, copy_to_run, git
from unit.project.endings import armed, assert_as_before, state_of, version


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


def test_a_refused_deployment_does_not_prune_by_its_own_retention(scratch: Scratch) -> None:
    keeping = Phases({"retention": {"good": 9}}, build=copy_to_run)
    for number in range(7):
        commit = scratch.commit({"app": f"{number}", ".salt/top.sls": ""})
        assert scratch.deploy(commit, keeping).outcome == "live"
    refused = Phases({"unknown": 1}, build=copy_to_run)
    assert scratch.deploy(version(scratch), refused).outcome == "refused"
    good = [entry.id for entry in scratch.ledger if entry.outcome == "live"]
    assert all((scratch.paths.archives / identity).is_dir() for identity in good)
