"""A checkout that is undone, or cut off half-way: the live commit is back, and no edit is lost."""

from __future__ import annotations

import os

import pytest

from corpus.commands import git as commands
from corpus.hosts.base import Command, Result
from corpus.hosts.local import Local
from corpus.project import worktree
from instants import Killed
from projects import Scratch, git
from unit.project.checkouts import head, refused, shown, tree
from unit.project.checkouts import one as one
from unit.project.checkouts import scratch as scratch
from unit.project.checkouts import two as two

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts: needs root")


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
