"""A push into a directory where somebody edits: what moves, what is refused, what stays."""

from __future__ import annotations

import os

import pytest

from corpus.hosts import kernel
from corpus.hosts.local import Local
from corpus.model.errors import DeploymentRefused
from corpus.project import binding, worktree
from projects import Scratch, git
from unit.project.checkouts import TWO, head, refused, tree
from unit.project.checkouts import one as one
from unit.project.checkouts import scratch as scratch
from unit.project.checkouts import two as two

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts: needs root")


def test_the_first_checkout_is_a_clone(scratch: Scratch, one: str) -> None:
    assert binding.is_bound(scratch.project)
    assert head(scratch) == one
    assert worktree.dirty(scratch.project) == []


def test_a_push_arrives_in_place(scratch: Scratch, one: str, two: str) -> None:
    (tree(scratch) / "untracked").write_text("mine\n")
    (tree(scratch) / "other.cfg").write_text("ignored, mine\n")
    worktree.check_out(scratch.project, two)
    assert head(scratch) == two
    assert binding.is_bound(scratch.project)
    for name, text in TWO.items():
        assert (scratch.paths.run / name).read_text() == text
    assert (tree(scratch) / "untracked").read_text() == "mine\n"
    assert (tree(scratch) / "other.cfg").read_text() == "ignored, mine\n"
    worktree.check_out(scratch.project, one)
    assert (tree(scratch) / "was/file").read_text() == "1\n"


def test_every_kind_of_edit_is_listed(scratch: Scratch, one: str, two: str) -> None:
    (tree(scratch) / "a").write_text("edited\n")
    (tree(scratch) / "b").unlink()
    (tree(scratch) / "staged file").write_text("x")
    git("-C", tree(scratch), "add", "staged file")
    (tree(scratch) / "new").mkdir()
    (tree(scratch) / "new/er").write_text("mine\n")
    (tree(scratch) / "my.cfg").symlink_to("elsewhere")
    (tree(scratch) / "untracked").write_text("x")
    assert worktree.dirty(scratch.project) == ["a", "b", "staged file"]
    listed = ["a", "b", "my.cfg", "new/er", "staged file"]
    assert worktree.dirty(scratch.project, two) == listed
    said = refused(scratch, two)
    assert all(f"\n  {path}\n" in said for path in listed)
    assert "git stash" in said


def test_conflicts_are_listed(scratch: Scratch, one: str) -> None:
    for text in ("here\n", "there\n"):
        git("-C", tree(scratch), "checkout", "--quiet", "--detach", one)
        (tree(scratch) / "a").write_text(text)
        git("-C", tree(scratch), "commit", "--quiet", "--all", "--message=x")
        git("-C", tree(scratch), "branch", text.strip())
    git("-C", tree(scratch), "merge", "here", check=False)
    assert worktree.dirty(scratch.project) == ["a"]


def test_an_ignored_file_is_not_overwritten(scratch: Scratch, one: str, two: str) -> None:
    (tree(scratch) / "my.cfg").write_text("of this machine\n")
    assert "my.cfg" in refused(scratch, two)


def test_what_git_alone_sees_is_refused_too(scratch: Scratch, one: str, two: str) -> None:
    (tree(scratch) / "was/untracked").write_text("in a directory that becomes a file\n")
    assert "was" in refused(scratch, two)
    assert not (scratch.paths.state / "checkout").exists()


def test_many_files_are_counted(scratch: Scratch, one: str) -> None:
    many = scratch.commit({f"many/{n}": "" for n in range(30)})
    worktree.check_out(scratch.project, many)
    for file in (tree(scratch) / "many").iterdir():
        file.write_text("edited")
    assert "and 10 more" in refused(scratch, scratch.commit({"x": ""}))


def test_nothing_is_done_for_what_is_checked_out(scratch: Scratch, one: str) -> None:
    (tree(scratch) / "a").write_text("edited\n")
    worktree.check_out(scratch.project, one)
    assert (tree(scratch) / "a").read_text() == "edited\n"


def test_commits_that_only_this_directory_has_are_not_left_behind(
    scratch: Scratch, one: str, two: str
) -> None:
    (tree(scratch) / "a").write_text("edited\n")
    git("-C", tree(scratch), "commit", "--quiet", "--all", "--message=of today")
    assert "git branch NAME" in refused(scratch, two)
    git("-C", tree(scratch), "branch", "today")
    worktree.check_out(scratch.project, two)
    assert head(scratch) == two


def test_no_commit_is_checked_out(scratch: Scratch, one: str, two: str) -> None:
    git("-C", tree(scratch), "checkout", "--quiet", "--orphan", "empty")
    assert "no commit checked out" in refused(scratch, two)


def test_a_binding_without_a_work_tree_is_ended(scratch: Scratch, one: str, two: str) -> None:
    Local().run(["rm", "-r", str(tree(scratch) / ".git")])
    worktree.check_out(scratch.project, two)
    assert not binding.is_bound(scratch.project)
    assert head(scratch) == two
    assert (scratch.paths.run / "a").read_text() == "1\n"


def test_a_lost_binding_is_made_again_before_anything(scratch: Scratch, one: str, two: str) -> None:
    (tree(scratch) / "a").write_text("edited\n")
    kernel.unmount(tree(scratch))
    with pytest.raises(DeploymentRefused, match="edits that"):
        worktree.check_out(scratch.project, two)
    assert binding.is_bound(scratch.project)
    assert (scratch.paths.run / "a").read_text() == "edited\n"


def test_initialising_again_leaves_the_permissions_of_run(scratch: Scratch, one: str) -> None:
    from corpus.project import layout

    layout.initialise(scratch.project)
    assert scratch.paths.run.stat().st_mode & 0o777 == 0o755
