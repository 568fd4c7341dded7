"""A push into a directory where somebody edits: what moves, what is refused, what stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.commands import git as commands
from corpus.hosts import kernel
from corpus.hosts.base import Command, Result
from corpus.hosts.local import Local
from corpus.model.errors import DeploymentRefused
from corpus.project import binding, repository, worktree
from projects import Scratch, digest, git, share, unmounted

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts: needs root")

ONE = {
    "a": "1\n",
    "b": "1\n",
    "was/file": "1\n",
    "was-not": "1\n",
    ".gitignore": "*.cfg\n",
}
TWO = {"a": "2\n", "was": "a file now\n", "was-not/file": "2\n", "new/er": "2\n", "my.cfg": "2\n"}


class Killed(BaseException):
    """The deployer was killed."""


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    with unmounted(tmp_path):
        yield Scratch(tmp_path)


@pytest.fixture
def one(scratch: Scratch) -> str:
    """Return the commit that is checked out and bound."""
    commit = scratch.commit(ONE)
    worktree.check_out(scratch.project, commit)
    binding.bind(scratch.project)
    return commit


@pytest.fixture
def two(scratch: Scratch, one: str) -> str:
    """Return the commit that is pushed: files new, changed and gone, a directory for a file."""
    for name in ("was/file", "was-not"):
        (scratch.work / name).unlink()
    (scratch.work / "was").rmdir()
    return scratch.commit(TWO)


def tree(scratch: Scratch) -> Path:
    return scratch.paths.project


def head(scratch: Scratch) -> str:
    return repository.checked_out(scratch.project)


def shown(scratch: Scratch) -> dict[str, str]:
    """Return what lies in the work tree, git's own files apart."""
    found = {}
    for path in sorted(tree(scratch).rglob("*")):
        name = str(path.relative_to(tree(scratch)))
        if not name.startswith(".git/"):
            link = path.is_symlink()
            found[name] = str(path.readlink()) if link else path.is_file() and path.read_text()
    return {name: str(text) for name, text in found.items()}


def refused(scratch: Scratch, commit: str) -> str:
    """Check out, which must be refused and touch nothing; return what was said."""
    before, at = shown(scratch), head(scratch)
    with pytest.raises(DeploymentRefused) as error:
        worktree.check_out(scratch.project, commit)
    assert (shown(scratch), head(scratch)) == (before, at)
    return str(error.value)


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


# -- undoing


def test_undoing_goes_back_to_the_live_commit(scratch: Scratch, one: str, two: str) -> None:
    worktree.check_out(scratch.project, two)
    assert worktree.put_back(scratch.project, two, one) == ""
    assert head(scratch) == one
    assert worktree.put_back(scratch.project, two, one) == ""


def test_undoing_keeps_edits_made_meanwhile(scratch: Scratch, one: str, two: str) -> None:
    worktree.check_out(scratch.project, two)
    (tree(scratch) / "a").write_text("edited meanwhile\n")
    assert "project/ stays at" in worktree.put_back(scratch.project, two, one)
    assert head(scratch) == two
    assert (tree(scratch) / "a").read_text() == "edited meanwhile\n"


def test_undoing_a_plain_clone(scratch: Scratch) -> None:
    first, second = scratch.commit({"a": "1"}), scratch.commit({"a": "2"})
    worktree.check_out(scratch.project, second)
    assert worktree.put_back(scratch.project, second, "") == ""
    assert head(scratch) == second
    assert worktree.put_back(scratch.project, second, first) == ""
    assert head(scratch) == first


# -- cut off half-way


def half(scratch: Scratch, new: str, written: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check out ``new``; be killed when ``written`` of the files are."""
    execute = Local.execute
    old = head(scratch)

    def killed(self: Local, command: Command) -> Result:
        if "--no-overwrite-ignore" not in command.argv:
            return execute(self, command)
        shown = git("-C", tree(scratch), *commands.changes(tree(scratch), old, new)[4:]).stdout
        changes = list(commands.parse_changes(shown).items())
        gone = [path for path, (_, after) in changes if not after]
        come = [path for path, (_, after) in changes if after]
        for path in [*gone, *come][:written]:
            file = tree(scratch) / path
            if path in gone:
                file.unlink()
                if file.parent != tree(scratch) and not any(file.parent.iterdir()):
                    file.parent.rmdir()
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(git("-C", tree(scratch), "show", f"{new}:{path}").stdout)
        for name in ("index.lock", "HEAD.lock"):
            (tree(scratch) / ".git" / name).touch()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Local, "execute", killed)
        with pytest.raises(Killed):
            worktree.check_out(scratch.project, new)


@pytest.mark.parametrize("written", [0, 1, 2, 3, 5, 8])
def test_half_a_checkout_is_put_back(
    scratch: Scratch, one: str, two: str, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree(scratch) / "b.orig").write_text("mine\n")
    files = shown(scratch)
    half(scratch, two, written, monkeypatch)
    assert worktree.put_back(scratch.project, two, one) == ""
    assert head(scratch) == one
    assert worktree.dirty(scratch.project) == []
    assert shown(scratch) == files
    worktree.check_out(scratch.project, two)
    assert worktree.dirty(scratch.project) == []


def test_after_half_a_checkout_another_commit_can_come(
    scratch: Scratch, one: str, two: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = scratch.commit({"a": "3\n"})
    half(scratch, two, 4, monkeypatch)
    worktree.check_out(scratch.project, three)
    assert worktree.dirty(scratch.project) == []
    assert (tree(scratch) / "a").read_text() == "3\n"


def test_edits_made_after_half_a_checkout_are_kept(
    scratch: Scratch, one: str, two: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    half(scratch, two, 99, monkeypatch)
    for name in ("a", "was", "new/er"):
        (tree(scratch) / name).write_text("edited\n")
    (tree(scratch) / "b").write_text("edited\n")
    (tree(scratch) / "was-not/mine").write_text("edited\n")
    worktree.put_back(scratch.project, two, one)
    assert head(scratch) == one
    for name in ("a.orig", "was.orig", "new/er.orig", "b", "was-not.orig/mine"):
        assert (tree(scratch) / name).read_text() == "edited\n", name
    assert (tree(scratch) / "a").read_text() == "1\n"
    assert (tree(scratch) / "was-not").read_text() == "1\n"


def test_a_checkout_that_fails_half_way_is_put_back(
    scratch: Scratch, one: str, two: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = Local.execute

    def full(self: Local, command: Command) -> Result:
        if "--no-overwrite-ignore" in command.argv:
            (tree(scratch) / "a").write_text("2\n")
            return Result(command.argv, 128, "", "No space left on device")
        return execute(self, command)

    with monkeypatch.context() as patch:
        patch.setattr(Local, "execute", full)
        assert "No space left" in refused(scratch, two)
    assert worktree.dirty(scratch.project) == []


# -- a directory of the developer's


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
