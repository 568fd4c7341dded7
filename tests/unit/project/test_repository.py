"""The repositories: the right commands, as the right account, and what git answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from corpus.model.errors import DeploymentRefused
from corpus.project import repository as repo
from corpus.project.place import Project
from projects import BRANCH, Scratch, git, place_at

ONE, TWO = "1" * 40, "2" * 40


@pytest.fixture
def project(tmp_path: Path, fake: Fake) -> Project:
    return Project.at(replace(place_at(tmp_path, fake), accounts=True), "demo")


def test_git_runs_as_the_projects_account(project: Project, fake: Fake) -> None:
    repo.run(project, ["git", "version"])
    (call,) = fake.calls
    assert call.user == "demo"
    assert call.env == {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    assert call.timeout == 300


def test_the_branch_moves_from_where_it_is(project: Project, fake: Fake) -> None:
    fake.answer(f"git --git-dir={project.paths.project_git} rev-parse", f"{ONE}\n")
    repo.move_branch(project, BRANCH, TWO)
    assert fake.commands[-1][-4:] == ("update-ref", BRANCH, TWO, ONE)
    fake.calls.clear()
    repo.move_branch(project, BRANCH, ONE)
    assert all("update-ref" not in command for command in fake.commands)


def test_a_new_branch_comes_from_nothing(project: Project, fake: Fake) -> None:
    fake.prepare_failure("rev-parse")
    repo.move_branch(project, BRANCH, TWO)
    assert fake.commands[-1][-4:] == ("update-ref", BRANCH, TWO, "0" * 40)


def test_nothing_was_pushed(project: Project, fake: Fake) -> None:
    fake.answer("git", "")
    fake.prepare_failure("refs/heads/master^{commit}")
    fake.prepare_failure("refs/heads/main^{commit}")
    with pytest.raises(DeploymentRefused, match="nothing was pushed to demo"):
        repo.deploy_branch(project)
    assert [command[-1] for command in fake.commands] == [
        "refs/heads/master^{commit}",
        "refs/heads/main^{commit}",
    ]


def test_only_forward(scratch: Scratch) -> None:
    first = scratch.commit({"a": "1"})
    repo.check_forward(scratch.project, BRANCH, first)
    repo.move_branch(scratch.project, BRANCH, first)
    second = scratch.commit({"a": "2"})
    repo.check_forward(scratch.project, BRANCH, second)
    repo.move_branch(scratch.project, BRANCH, second)
    repo.check_forward(scratch.project, BRANCH, second)
    with pytest.raises(DeploymentRefused, match="not a fast-forward"):
        repo.check_forward(scratch.project, BRANCH, first)
    assert repo.deploy_branch(scratch.project) == (BRANCH, second)


def test_the_branch_that_deploys(scratch: Scratch) -> None:
    project, main = scratch.project, "refs/heads/main"
    assert repo.deploy_ref(project) == BRANCH
    first, second = scratch.commit({"a": "1"}), scratch.commit({"a": "2"})
    repo.move_branch(project, main, first)
    assert repo.deploy_ref(project) == main
    repo.move_branch(project, BRANCH, first)
    assert repo.deploy_branch(project) == (BRANCH, first)
    repo.move_branch(project, main, second)  # who went on, went on there
    assert repo.deploy_branch(project) == (main, second)
    repo.move_branch(project, BRANCH, scratch.commit({"a": "3"}))
    assert repo.deploy_ref(project) == BRANCH


def test_the_checkout_holds_exactly_the_commit(scratch: Scratch) -> None:
    paths = scratch.paths
    first = scratch.commit({"a": "1", "sub/b": "1", ".gitignore": "ignored\n"})
    second = scratch.commit({"a": "2", "c": "2"})
    repo.check_out(scratch.project, paths.project_git, paths.project, second)
    (paths.project / "ignored").write_text("x")
    (paths.project / "a").write_text("changed by hand")
    nested = paths.project / "nested"
    git("init", "--quiet", nested)
    for name in ("index.lock", "HEAD.lock"):  # as a checkout leaves them that was killed
        (paths.project / ".git" / name).touch()
    inode = (paths.project / ".git").stat().st_ino
    repo.check_out(scratch.project, paths.project_git, paths.project, first)
    found = {
        str(p.relative_to(paths.project)): p.read_text()
        for p in paths.project.rglob("*")
        if p.is_file() and ".git" not in p.parts
    }
    assert found == {"a": "1", "sub/b": "1", ".gitignore": "ignored\n"}
    assert (paths.project / ".git").stat().st_ino == inode  # not cloned anew


def test_what_a_commit_says(scratch: Scratch) -> None:
    sha = scratch.commit({"a": "1"})
    found = repo.describe(scratch.project, sha)
    assert (found.sha, found.subject) == (sha, "a change")
    assert found.time > 1_600_000_000
    with pytest.raises(DeploymentRefused, match="no commit 1111111111"):
        repo.describe(scratch.project, ONE)


def test_the_pillars_tip(scratch: Scratch) -> None:
    assert repo.pillar_tip(scratch.project) is None
    sha = scratch.pillar("a: 1\n")
    assert repo.pillar_tip(scratch.project) == sha


def test_what_is_checked_out(scratch: Scratch) -> None:
    assert repo.checked_out(scratch.project) == ""
    sha = scratch.commit({"a": "1"})
    repo.check_out(scratch.project, scratch.paths.project_git, scratch.paths.project, sha)
    assert repo.checked_out(scratch.project) == sha
