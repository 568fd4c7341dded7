"""A directory of a developer's own is deployed as it is; it is never moved, and never cleaned."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corpus.model.errors import DeploymentRefused
from corpus.project import binding, repository, worktree
from projects import Scratch, digest, git, share
from unit.project.checkouts import ONE, refused
from unit.project.checkouts import scratch as scratch

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts: needs root")


@pytest.fixture
def laptop(scratch: Scratch, tmp_path: Path) -> Path:
    """Return the developer's own clone, shared as project/."""
    share(scratch.work, scratch.project)
    return scratch.work


def test_what_is_checked_out_on_the_laptop_is_deployed(scratch: Scratch, laptop: Path) -> None:
    commit = scratch.commit(ONE)
    (laptop / "a").write_text("edited\n")
    before = digest(laptop)
    worktree.check_out(scratch.project, commit)
    assert worktree.put_back(scratch.project, commit, "f" * 40) == ""
    assert digest(laptop) == before


def test_a_laptops_directory_is_never_moved(scratch: Scratch, laptop: Path) -> None:
    first, second = scratch.commit(ONE), scratch.commit({"a": "2\n"})
    binding.bind(scratch.project)
    said = refused(scratch, first)
    assert f"was pushed and the shared directory is at {second[:10]}" in said
    assert git("-C", laptop, "branch", "--show-current").stdout == "master\n"


def test_a_laptops_directory_is_never_cleaned(scratch: Scratch, laptop: Path) -> None:
    commit = scratch.commit(ONE)
    (laptop / "untracked").write_text("mine\n")
    paths = scratch.paths
    with pytest.raises(DeploymentRefused, match="would lose them"):
        repository.check_out(scratch.project, paths.project_git, paths.project, commit)
    assert (laptop / "untracked").exists()
